//! Shows the state of each tenant.

use serde::Serialize;
use serde_json::json;
use syncline::ObjectSync;
use syncline::ports::job_store::{Outage, WithheldField};
use syncline::store::{CheckpointState, ObjectStatus, TenantStatus};

use crate::outcome::{Outcome, Status, table};

use super::{Context, compare};

/// How long a change may wait in the outbox, in seconds, before capture counts as stopped. It is drained every
/// second by `syncline run`, and every minute by a schedule.
const OUTBOX_SECONDS_MAX: f64 = 300.0;

/// A tenant's status, with what stands against it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: TenantStatus,
    /// What a person must mend; empty if all is well.
    problems: Vec<String>,
}

/// Shows what is in sync, pending, in conflict and parked, and the age of the streams.
pub(super) async fn status(context: &Context) -> anyhow::Result<Outcome> {
    let mut found: Vec<Shown> = Vec::new();
    for tenant in &context.tenants {
        let store = context.instance.store(tenant).await?;
        let status = store.status(tenant).await?;
        let mapped = &context.instance.tenant(tenant).await?.objects;
        let problems = problems(&status, mapped);
        found.push(Shown { status, problems });
    }
    let well = found.iter().all(|shown| shown.problems.is_empty());
    Ok(Outcome {
        json: json!(found),
        text: found.iter().map(tenant_text).collect(),
        status: match well {
            true => Status::Well,
            false => Status::Found,
        },
    })
}

/// Returns what a person must mend.
fn problems(status: &TenantStatus, mapped: &[ObjectSync]) -> Vec<String> {
    // In another database than the tenant's, or in a copy, nothing else says anything.
    if let Some(hold) = status.database.hold() {
        return match status.database.needs_decision() {
            true => vec![hold],
            false => Vec::new(),
        };
    }
    let mut problems = Vec::new();
    for sync in mapped {
        let object = &sync.object;
        let known = status.objects.iter().find(|known| known.object == *object);
        let broken = known.and_then(|known| known.capture_broken.as_deref());
        if !known.is_some_and(|known| known.capture_installed) {
            problems.push(format!(
                "capture was never installed for {object}, so edits in its table are not seen: run `syncline install`"
            ));
        } else if let Some(broken) = broken {
            problems.push(format!(
                "capture of {object} is broken ({broken}): run `syncline install`"
            ));
        }
        problems.extend(known.and_then(|known| known.events_missing.clone()));
    }
    problems.extend(status.outage.as_ref().map(outage_text));
    problems.extend(status.withheld.iter().map(withheld_text));
    let oldest = status.outbox.oldest_seconds.unwrap_or_default();
    if oldest > OUTBOX_SECONDS_MAX {
        problems.push(format!(
            "changes have waited in the outbox for {}: capture of Postgres is not running or fails; look at its log",
            age(oldest)
        ));
    }
    problems
}

fn outage_text(outage: &Outage) -> String {
    let again = match outage.retry_in_ms {
        ..=0 => "it is due to be tried again".to_owned(),
        waits_ms => format!(
            "it is tried again in {}",
            age(std::time::Duration::from_millis(waits_ms.unsigned_abs()).as_secs_f64())
        ),
    };
    format!(
        "Salesforce cannot be used since {}: {} ({}). Tried {} times; {again}. No record is parked for it.",
        outage.since.format("%F %T"),
        outage.code,
        outage.message,
        outage.tries
    )
}

fn withheld_text(withheld: &WithheldField) -> String {
    let since = withheld
        .since
        .map(|since| since.format("%F %T").to_string());
    let field = match withheld.field.as_str() {
        "" => "all fields",
        field => field,
    };
    format!(
        "changes of {} ({field}) are withheld since {}: {}",
        withheld.object,
        since.unwrap_or_default(),
        withheld.problem
    )
}

fn tenant_text(Shown { status, problems }: &Shown) -> String {
    let org = match &status.organization_id {
        Some(org) => format!("org {org}"),
        None => "org not yet seen".to_owned(),
    };
    let state = match (status.database.hold(), status.paused.as_deref()) {
        (Some(_), _) if status.database.needs_decision() => "HELD".to_owned(),
        (Some(hold), _) => format!("COPY: {hold}"),
        (None, None) => "running".to_owned(),
        (None, Some("")) => "PAUSED".to_owned(),
        (None, Some(reason)) => format!("PAUSED: {reason}"),
    };
    let waiting = match status.outbox.oldest_seconds {
        Some(seconds) => format!(
            "{} changes wait in the outbox, the oldest for {}",
            status.outbox.waiting,
            age(seconds)
        ),
        None => "the outbox is empty".to_owned(),
    };
    let problems: String = problems
        .iter()
        .map(|problem| format!("PROBLEM: {problem}\n"))
        .collect();
    format!(
        "{}: {state}; {org}; {waiting}\n{problems}{}\n{}\n",
        status.tenant,
        objects_table(&status.objects),
        streams_table(&status.streams)
    )
}

fn objects_table(objects: &[ObjectStatus]) -> String {
    let mut shown = table([
        "object",
        "records",
        "in sync",
        "pending",
        "conflicts",
        "parked",
        "oldest work",
        "last comparison",
        "remarks",
    ]);
    for object in objects {
        shown.add_row([
            object.object.to_string(),
            object.records.to_string(),
            object.in_sync.to_string(),
            object.pending.to_string(),
            object.conflicts.to_string(),
            object.parked.to_string(),
            object.oldest_work_seconds.map(age).unwrap_or_default(),
            comparison_text(object),
            remarks(object).join("; "),
        ]);
    }
    shown.to_string()
}

/// Returns when the object was compared completely, and what was found.
fn comparison_text(object: &ObjectStatus) -> String {
    let under_way = object
        .comparing_since
        .map(|since| format!("under way since {}", since.format("%F %R")));
    let last = object.last_comparison.as_ref().map(|last| {
        let classes = compare::classes_text(&last.classes);
        let result = match last.verified_equal {
            true => format!("verified equal, {} records", last.records),
            false => format!("{} records: {classes}", last.records),
        };
        format!("{}: {result}", last.finished_at.format("%F %R"))
    });
    let texts: Vec<String> = last.into_iter().chain(under_way).collect();
    match texts.is_empty() {
        true => "never".to_owned(),
        false => texts.join("; "),
    }
}

fn remarks(object: &ObjectStatus) -> Vec<String> {
    let mut remarks = Vec::new();
    if object.withheld_deletes > 0 {
        remarks.push(format!(
            "the delete guard withholds {} deletes, there were too many at once: run `syncline deletes approve {}`",
            object.withheld_deletes, object.object
        ));
    }
    if object.needs_resync {
        remarks.push("needs resync: all its records are being read again".to_owned());
    }
    if object.filtered_out > 0 {
        remarks.push(format!("{} filtered out", object.filtered_out));
    }
    if object.automation_overrides > 0 {
        remarks.push(format!(
            "{} overridden by automation in Salesforce",
            object.automation_overrides
        ));
    }
    if object.unknown_writes > 0 {
        remarks.push(format!(
            "{} writes with an unknown outcome",
            object.unknown_writes
        ));
    }
    if object.detection_narrowed {
        remarks.push(
            "without events: an edit that our write replaces between two readings may be missed"
                .to_owned(),
        );
    }
    remarks
}

fn streams_table(streams: &[CheckpointState]) -> String {
    let mut shown = table(["stream", "last moved", "reader", "remarks"]);
    for stream in streams {
        shown.add_row([
            stream.stream.0.clone(),
            stream
                .captured_at
                .map_or_else(|| "never".to_owned(), |at| at.format("%F %T").to_string()),
            stream.owner.clone().unwrap_or_default(),
            match (stream.needs_resync, &stream.resync_reason) {
                (false, _) => String::new(),
                (true, Some(reason)) => format!("needs resync: {reason}"),
                (true, None) => "needs resync".to_owned(),
            },
        ]);
    }
    shown.to_string()
}

/// Returns an age in a unit that suits it.
fn age(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_a_fitting_unit() {
        let ages = [3.4, 119.0, 180.0, 7_300.0, 200_000.0].map(age);
        assert_eq!(ages, ["3 s", "119 s", "3 min", "2 h", "2 d"]);
    }
}
