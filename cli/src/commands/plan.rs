//! Shows what the jobs would do, and writes nothing.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use serde_json::{Value as Json, json};
use syncline::engine::plan::{ObjectPlan, PlanListener, PlanProgress, TenantPlan, Work};
use syncline::model::ids::{FieldName, ObjectName, TenantId};
use syncline::planner::facts::RecordFacts;

use crate::arguments::Plan;
use crate::outcome::{Outcome, Status, table};

use super::Context;
use super::setup::spinner;

/// Plans the chosen objects of the selected tenants.
pub(super) async fn plan(context: &Context, asked: Plan) -> anyhow::Result<Outcome> {
    let only = context.object_option(asked.object.as_deref()).await?;
    let records = Cell::new(match &asked.records {
        Some(path) => {
            require_one_object(context, only.as_ref()).await?;
            Some(Records::create(path, asked.force)?)
        }
        None => None,
    });
    let (plans, failures) = context
        .each(async |tenant| {
            let spinner = spinner(&format!("reading both sides of {tenant}"));
            let engine = context.instance.engine(tenant).await?;
            // Only one tenant has a file.
            let mut file = records.take();
            let mut shown = Shown {
                tenant,
                spinner: &spinner,
                records: file.as_mut(),
            };
            let planned = engine.plan(tenant, only.as_ref(), &mut shown).await;
            spinner.finish_and_clear();
            records.set(file);
            Ok(planned?)
        })
        .await?;
    let saved = match records.take() {
        Some(records) => Some(records.finish()?),
        None => None,
    };
    let plans: Vec<TenantPlan> = plans.into_iter().map(|(_, plan)| plan).collect();
    let mut text: String = plans.iter().map(plan_text).collect();
    if let (Some((path, count)), false) = (&saved, plans.is_empty()) {
        text.push_str(&format!(
            "{count} records were written to {}, with their values: the page's batch view reads it\n",
            path.display()
        ));
    }
    let needs_person = |plan: &TenantPlan| plan.objects.iter().any(ObjectPlan::needs_person);
    let json: Vec<Json> = plans.iter().map(|plan| json!(plan)).collect();
    let outcome = Outcome {
        status: match plans.iter().any(needs_person) {
            true => Status::Found,
            false => Status::Well,
        },
        ..Outcome::well(json, text)
    };
    Ok(outcome.with_failures(failures))
}

/// Fails unless one object of one tenant is planned: a file of records has the rules of one object.
async fn require_one_object(context: &Context, only: Option<&ObjectName>) -> anyhow::Result<()> {
    let (tenant, _) = context.only_tenant().await?;
    let objects = context.instance.tenant(tenant).await?.objects.len();
    if only.is_none() && objects > 1 {
        bail!("--records is about one object: name it with --object");
    }
    Ok(())
}

/// The file of records, as JSON Lines.
struct Records {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
    count: u64,
    /// Why a line could not be written; none is written after that.
    failed: Option<std::io::Error>,
}

impl Records {
    fn create(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path.exists() && !force {
            bail!("{} exists; --force replaces it", path.display());
        }
        let mut options = OpenOptions::new();
        options.write(true);
        match force {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        let file = options
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufWriter::new(file),
            count: 0,
            failed: None,
        })
    }

    fn add(&mut self, facts: &RecordFacts<FieldName>) {
        if self.failed.is_some() {
            return;
        }
        let line = serde_json::to_string(facts).expect("facts are JSON");
        match writeln!(self.file, "{line}") {
            Ok(()) => self.count += 1,
            Err(error) => self.failed = Some(error),
        }
    }

    fn finish(mut self) -> anyhow::Result<(PathBuf, u64)> {
        let written = match self.failed.take() {
            Some(error) => Err(error),
            None => self.file.flush(),
        };
        written.with_context(|| format!("{} cannot be written", self.path.display()))?;
        Ok((self.path, self.count))
    }
}

/// Shows how far a plan is, and writes its records.
struct Shown<'a> {
    tenant: &'a TenantId,
    spinner: &'a ProgressBar,
    records: Option<&'a mut Records>,
}

impl PlanListener for Shown<'_> {
    fn progress(&mut self, progress: &PlanProgress<'_>) {
        self.spinner.set_message(format!(
            "{}, {}: {} records of Salesforce and {} rows read",
            self.tenant, progress.object, progress.in_salesforce, progress.in_postgres
        ));
    }

    fn record(&mut self, _: &ObjectName, facts: RecordFacts<FieldName>) {
        if let Some(records) = &mut self.records {
            records.add(&facts);
        }
    }

    fn wants_records(&self) -> bool {
        self.records.is_some()
    }
}

fn plan_text(plan: &TenantPlan) -> String {
    let what = match plan.has_control_plane {
        true => "what the jobs would do now",
        false => "what they would do after `syncline migrate` and `syncline install`",
    };
    let mut lines = table([
        "object",
        "records",
        "Postgres",
        "Salesforce",
        "for a person",
        "left alone",
        "API calls",
        "time",
    ]);
    for object in &plan.objects {
        lines.add_row([
            object.object.to_string(),
            object.records.to_string(),
            counts(object, &POSTGRES),
            counts(object, &SALESFORCE),
            counts(object, &PERSON),
            counts(object, &ALONE),
            object.calls.to_string(),
            duration(object.seconds),
        ]);
    }
    let mut text = format!("{}: {what}; nothing was written\n{lines}\n", plan.tenant);
    for object in &plan.objects {
        text.push_str(&object_text(object));
    }
    if plan.objects.len() > 1 {
        text.push_str(&format!(
            "about {} API calls in all, {}\n",
            plan.calls,
            duration(plan.seconds)
        ));
    }
    text
}

const POSTGRES: [(Work, &str); 3] = [
    (Work::CreateInPostgres, "created"),
    (Work::UpdateInPostgres, "changed"),
    (Work::DeleteInPostgres, "deleted"),
];

const SALESFORCE: [(Work, &str); 3] = [
    (Work::CreateInSalesforce, "created"),
    (Work::UpdateInSalesforce, "changed"),
    (Work::DeleteInSalesforce, "deleted"),
];

const PERSON: [(Work, &str); 3] = [
    (Work::Conflict, "in conflict"),
    (Work::Withhold, "with withheld fields"),
    (Work::Park, "parked"),
];

const ALONE: [(Work, &str); 4] = [
    (Work::Equal, "equal"),
    (Work::KeptApart, "kept apart"),
    (Work::FilteredOut, "filtered out"),
    (Work::Wait, "waiting"),
];

fn counts(object: &ObjectPlan, works: &[(Work, &str)]) -> String {
    let counts = works.iter().map(|(work, name)| (object.of(*work), name));
    let counts = counts.filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, name)| format!("{count} {name}"))
        .collect();
    counts.join(", ")
}

/// Returns samples, reasons and notes of an object.
fn object_text(object: &ObjectPlan) -> String {
    let mut text = String::new();
    let name = &object.object;
    for work in Work::ALL {
        let count = object.of(*work);
        let samples = object.samples.iter().filter(|sample| sample.work == *work);
        let samples: Vec<String> = samples
            .map(|sample| {
                let fields: Vec<&str> = sample.fields.iter().map(FieldName::as_str).collect();
                match fields.is_empty() {
                    true => sample.key.clone(),
                    false => format!("{} ({})", sample.key, fields.join(", ")),
                }
            })
            .collect();
        let Some(what) = words(*work).filter(|_| count > 0) else {
            continue;
        };
        let more = match usize::try_from(count).unwrap_or(usize::MAX) > samples.len() {
            true => ", …",
            false => "",
        };
        text.push_str(&format!(
            "{name}, {what} ({count}): {}{more}\n",
            samples.join(", ")
        ));
        if let Some(advice) = advice(*work) {
            text.push_str(&format!("  {advice}\n"));
        }
    }
    text.push_str(&fields_text(object));
    for reason in &object.reasons {
        let field = reason.field.as_ref().map(|field| format!(" of {field}"));
        text.push_str(&format!(
            "{name}, {}{} ({}), such as {}: {}\n",
            reason.code,
            field.unwrap_or_default(),
            reason.records,
            reason.key,
            reason.message
        ));
    }
    for note in &object.notes {
        text.push_str(&format!("{name}: {note}\n"));
    }
    if let Some(problem) = &object.problem {
        text.push_str(&format!(
            "{name} could not be planned to its end: {problem}\n"
        ));
    }
    text
}

/// Returns in how many records each field is changed, in conflict or withheld.
fn fields_text(object: &ObjectPlan) -> String {
    let fields = object.fields.iter().map(|(field, counts)| {
        let counts = [
            (counts.to_postgres, "changed in Postgres"),
            (counts.to_salesforce, "changed in Salesforce"),
            (counts.conflicts, "in conflict"),
            (counts.withheld, "withheld"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<String> = counts
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        format!("{field} {}", counts.join(", "))
    });
    let fields: Vec<String> = fields.collect();
    match fields.is_empty() {
        true => String::new(),
        false => format!("{}, by field: {}\n", object.object, fields.join("; ")),
    }
}

/// Returns what happens to the records of a work; `None` if that needs no sample.
fn words(work: Work) -> Option<&'static str> {
    match work {
        Work::CreateInPostgres => Some("created in Postgres"),
        Work::UpdateInPostgres => Some("changed in Postgres"),
        Work::DeleteInPostgres => Some("deleted in Postgres"),
        Work::CreateInSalesforce => Some("created in Salesforce"),
        Work::UpdateInSalesforce => Some("changed in Salesforce"),
        Work::DeleteInSalesforce => Some("deleted in Salesforce"),
        Work::GenerateId => Some("given a generated external id"),
        Work::Conflict => Some("in conflict"),
        Work::Withhold => Some("with withheld fields"),
        Work::Park => Some("stopped with a reason"),
        Work::Wait => Some("waiting for what is under way"),
        Work::KeptApart => Some("different, and left so by a rule"),
        Work::FilteredOut | Work::Equal => None,
    }
}

/// Returns what a person may do about a work.
fn advice(work: Work) -> Option<&'static str> {
    match work {
        Work::Conflict => Some(
            "decide in advance: `seed` at the first contact, `conflicts` afterwards, an `owner` always (docs/merging.md); or \
             later, one by one: `syncline conflicts list`",
        ),
        Work::GenerateId => Some(
            "one that exists on both sides is created a second time: give both the same external id first",
        ),
        Work::DeleteInPostgres
        | Work::DeleteInSalesforce
        | Work::CreateInPostgres
        | Work::UpdateInPostgres
        | Work::CreateInSalesforce
        | Work::UpdateInSalesforce
        | Work::Withhold
        | Work::Park
        | Work::Wait
        | Work::KeptApart
        | Work::FilteredOut
        | Work::Equal => None,
    }
}

/// Returns a duration in words.
fn duration(seconds: u64) -> String {
    match seconds {
        0..90 => format!("about {seconds} s"),
        90..5_400 => format!("about {} min", seconds.div_ceil(60)),
        _ => format!("about {} h", seconds.div_ceil(3_600)),
    }
}
