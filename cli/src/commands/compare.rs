//! Compares every record of both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use syncline::job::error::error_chain;
use syncline::model::ids::TenantId;
use syncline::ports::comparison::{Begin, Comparison, RecordClass, WalkPosition};
use syncline::reconcile::CompareOptions;
use tokio_util::sync::CancellationToken;

use crate::outcome::{Outcome, Status, moment, table};

use super::Context;
use super::run::stop_on_signal;

/// Longer than any comparison takes: it ends when everything is compared, or at a signal.
const NO_DEADLINE: Duration = Duration::from_hours(24 * 365);

/// A tenant's comparisons.
#[derive(Serialize)]
struct Compared {
    tenant: TenantId,
    /// Every chosen object was compared to its end.
    complete: bool,
    /// Why it was not, if it failed.
    error: Option<String>,
    /// Records that were enqueued, to be read and planned again.
    enqueued: usize,
    objects: Vec<Shown>,
}

/// One object's comparison.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    comparison: Comparison,
    /// The sum of the classes.
    records: u64,
    /// Every row and every record was met, and is equal or deleted on both sides.
    verified_equal: bool,
}

/// Compares the chosen objects of the selected tenants.
pub(super) async fn compare(context: &Context, object: Option<&str>) -> anyhow::Result<Outcome> {
    let options = CompareOptions {
        object: context.object_option(object).await?,
        begin: Begin::Now,
    };
    let stop = CancellationToken::new();
    let stopping = tokio::spawn(stop_on_signal(stop.clone()));
    let asked = context.each(async |tenant| compared(context, tenant, &options, &stop).await);
    let asked = asked.await;
    stopping.abort();
    let (all, failures) = asked?;
    let all: Vec<Compared> = all.into_iter().map(|(_, compared)| compared).collect();
    let is_well = |one: &Compared| {
        let mut objects = one.objects.iter();
        one.complete && objects.all(|shown| shown.comparison.tally.is_well())
    };
    let outcome = Outcome {
        status: match all.iter().all(is_well) {
            true => Status::Well,
            false => Status::Found,
        },
        ..Outcome::well(
            all.iter().map(|one| json!(one)).collect(),
            all.iter().map(text).collect(),
        )
    };
    Ok(outcome.with_failures(failures))
}

async fn compared(
    context: &Context,
    tenant: &TenantId,
    options: &CompareOptions,
    stop: &CancellationToken,
) -> anyhow::Result<Compared> {
    let engine = context.instance.engine(tenant).await?;
    let (stopper, stopped) = (engine.clone(), stop.clone());
    let stopping = tokio::spawn(async move {
        stopped.cancelled().await;
        stopper.stop();
    });
    let progress = ProgressBar::new_spinner();
    progress.set_style(ProgressStyle::with_template("{msg} ({elapsed})")?);
    let mut show = |comparison: &Comparison| progress.set_message(progress_text(comparison));
    let deadline = engine.deadline_in(NO_DEADLINE);
    let done = engine.compare(tenant, options, deadline, &mut show).await;
    progress.finish_and_clear();
    stopping.abort();
    let (complete, enqueued, error) = match &done {
        Ok(report) => (report.complete, report.enqueued, None),
        Err(error) => (false, 0, Some(error_chain(error))),
    };
    let mut last: BTreeMap<String, Comparison> = BTreeMap::new();
    for comparison in context
        .instance
        .store(tenant)
        .await?
        .comparisons(tenant)
        .await?
    {
        let chosen = options.object.as_ref();
        if chosen.is_none_or(|chosen| *chosen == comparison.object) {
            // The one under way comes after the last finished one.
            last.insert(comparison.object.to_string(), comparison);
        }
    }
    let shown = |comparison: Comparison| Shown {
        records: comparison.tally.records(),
        verified_equal: comparison.finished_at.is_some() && comparison.tally.is_verified_equal(),
        comparison,
    };
    Ok(Compared {
        tenant: tenant.clone(),
        complete,
        error,
        enqueued,
        objects: last.into_values().map(shown).collect(),
    })
}

fn progress_text(comparison: &Comparison) -> String {
    let side = match &comparison.position {
        Some(WalkPosition::Salesforce { .. }) => "records of Salesforce and their rows",
        Some(WalkPosition::Postgres { .. }) => "rows",
        None => "done",
    };
    let tally = &comparison.tally;
    format!(
        "{}: {side}, {} compared, {} equal, {} unexplained",
        comparison.object,
        tally.records(),
        tally.of(RecordClass::Equal),
        tally.unexplained()
    )
}

fn text(compared: &Compared) -> String {
    let mut lines = table(["object", "records", "equal", "result", "differs by field"]);
    for Shown {
        comparison,
        records,
        verified_equal,
    } in &compared.objects
    {
        let tally = &comparison.tally;
        let result = match (comparison.finished_at, verified_equal) {
            (None, _) => format!("not finished: {}", classes_text(&tally.classes)),
            (Some(_), true) => "verified equal".to_owned(),
            (Some(_), false) => classes_text(&tally.classes),
        };
        let fields = tally.fields.iter();
        let fields: Vec<String> = fields
            .map(|(field, count)| format!("{field} {count}"))
            .collect();
        lines.add_row([
            comparison.object.to_string(),
            records.to_string(),
            tally.of(RecordClass::Equal).to_string(),
            result,
            fields.join(", "),
        ]);
    }
    let since = compared
        .objects
        .iter()
        .map(|shown| shown.comparison.started_at);
    let head = match since.min() {
        Some(since) => format!("{}: compared since {}", compared.tenant, moment(&since)),
        None => format!("{}: nothing was compared", compared.tenant),
    };
    let mut text = format!("{head}\n{lines}\n");
    for shown in &compared.objects {
        text.push_str(&samples_text(&shown.comparison));
    }
    if let Some(error) = &compared.error {
        text.push_str(&format!("it failed: {error}\n"));
    }
    if !compared.complete {
        text.push_str("it did not come to its end: run `syncline compare` again, it goes on where it stopped\n");
    }
    if compared.enqueued > 0 {
        text.push_str(&format!(
            "{} records were enqueued, to be read and planned again\n",
            compared.enqueued
        ));
    }
    text
}

/// Returns some keys of each class that is a fault, and what to do.
fn samples_text(comparison: &Comparison) -> String {
    let mut of_class: BTreeMap<RecordClass, Vec<String>> = BTreeMap::new();
    for sample in &comparison.tally.samples {
        let fields: Vec<&str> = sample.fields.iter().map(|field| field.as_str()).collect();
        let text = match fields.is_empty() {
            true => sample.key.clone(),
            false => format!("{} ({})", sample.key, fields.join(", ")),
        };
        of_class.entry(sample.class).or_default().push(text);
    }
    let line = |(class, keys): (RecordClass, Vec<String>)| {
        let count = comparison.tally.of(class);
        let more = match usize::try_from(count).unwrap_or(usize::MAX) > keys.len() {
            true => ", …",
            false => "",
        };
        format!(
            "{} {} {}: {}{more}\n  {}\n",
            comparison.object,
            count,
            <&str>::from(class),
            keys.join(", "),
            advice(class)
        )
    };
    of_class.into_iter().map(line).collect()
}

/// Returns the counts of the classes that are not equal.
pub(super) fn classes_text(classes: &BTreeMap<RecordClass, u64>) -> String {
    let texts: Vec<String> = classes
        .iter()
        .map(|(class, count)| format!("{count} {}", <&str>::from(*class)))
        .collect();
    texts.join(", ")
}

/// Returns what a person does about a class.
fn advice(class: RecordClass) -> &'static str {
    match class {
        RecordClass::Conflicting => "both sides changed a field: `syncline conflicts list`",
        RecordClass::Parked => "it stopped with a reason: `syncline deadletters list`",
        RecordClass::DeleteWithheld => {
            "too many deletes at once: `syncline deletes approve OBJECT`, or bring the records back"
        }
        RecordClass::Withheld => {
            "a field cannot be written or compared: `syncline deadletters list` and `syncline status` say why"
        }
        RecordClass::Unreadable => {
            "Salesforce does not let our user read it: grant access, or see `syncline deadletters list`"
        }
        RecordClass::OnlyInSalesforce => {
            "no row, and no work for it: it was enqueued; compare again later, then `syncline explain KEY`"
        }
        RecordClass::OnlyInPostgres => {
            "not in Salesforce, and no work for it: it was enqueued unless existing rows were left out at \
             `syncline install`; compare again later, then `syncline explain KEY`"
        }
        RecordClass::WithoutId => {
            "no external id, and no record is known for it: fill the external id, or delete it"
        }
        RecordClass::Unexplained => {
            "it differs without open work: it was enqueued; compare again later, then `syncline explain KEY`"
        }
        RecordClass::Equal
        | RecordClass::Deleted
        | RecordClass::Pending
        | RecordClass::Appeared
        | RecordClass::KeptApart
        | RecordClass::FilteredOut => "nothing",
    }
}
