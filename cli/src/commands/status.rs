//! Shows the state of each tenant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use syncline::config::{CaptureMode, TenantConfig};
use syncline::model::ids::ObjectName;
use syncline::ports::StreamName;
use syncline::ports::comparison::RecordClass;
use syncline::ports::job_store::{JobKind, Outage, WithheldField};
use syncline::store::{CheckpointState, JobStatus, ObjectStatus, TenantStatus};

use crate::outcome::{Outcome, Status, table};

use super::{Context, compare};

/// A tenant's status, with what stands against it.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    status: TenantStatus,
    /// What a person must mend; empty if all is well.
    problems: Vec<String>,
}

/// Shows what is in sync, pending, in conflict and parked, and the age of the streams.
///
/// A job counts as stopped once it has not ended well for `stale_minutes`. `syncline run` and the schedules run each
/// of them at least once a minute.
pub(super) async fn status(context: &Context, stale_minutes: u32) -> anyhow::Result<Outcome> {
    let stale = Duration::from_secs(60).saturating_mul(stale_minutes);
    let (found, failures) = context
        .each(async |tenant| {
            let store = context.instance.store(tenant).await?;
            let status = store.status(tenant).await?;
            let config = context.instance.tenant(tenant).await?;
            let problems = problems(&status, config, stale.as_secs_f64());
            Ok(Shown { status, problems })
        })
        .await?;
    let found: Vec<Shown> = found.into_iter().map(|(_, shown)| shown).collect();
    let well = found.iter().all(|shown| shown.problems.is_empty());
    let outcome = Outcome {
        status: match well {
            true => Status::Well,
            false => Status::Found,
        },
        ..Outcome::well(
            found.iter().map(|shown| json!(shown)).collect(),
            found.iter().map(tenant_text).collect(),
        )
    };
    Ok(outcome.with_failures(failures))
}

/// Returns what a person must mend.
fn problems(status: &TenantStatus, config: &TenantConfig, stale: f64) -> Vec<String> {
    // In another database than the tenant's, or in a copy, nothing else says anything.
    if let Some(hold) = status.database.hold() {
        return match status.database.needs_decision() {
            true => vec![hold],
            false => Vec::new(),
        };
    }
    let mut problems = Vec::new();
    for sync in &config.objects {
        let object = &sync.object;
        let known = status.objects.iter().find(|known| known.object == *object);
        let broken = known.and_then(|known| known.capture_broken.as_deref());
        if !known.is_some_and(|known| known.capture_installed) {
            problems.push(format!(
                "capture was never installed for {object}, so edits in its table are not seen: run `syncline install`"
            ));
        } else if let Some(broken) = broken {
            problems.push(format!(
                "capture of {object} is broken ({broken}): what names no other fix is repaired by `syncline install`"
            ));
        }
        problems.extend(known.and_then(|known| known.events_missing.clone()));
    }
    problems.extend(status.fence_problem.as_ref().map(|problem| {
        format!(
            "the fence cannot be reached ({problem}): jobs go on until 15 minutes after it was reached last"
        )
    }));
    problems.extend(status.outage.as_ref().map(outage_text));
    problems.extend(status.withheld.iter().map(withheld_text));
    problems.extend(outbox_problem(status, stale));
    problems.extend(
        REGULAR_JOBS
            .iter()
            .filter_map(|job| stopped_job(status, *job, stale)),
    );
    problems.extend(idle_apply(status, stale));
    problems.extend(missing_comparison(status));
    problems.extend(status.objects.iter().filter_map(unexplained_records));
    problems.extend(status.objects.iter().filter_map(withheld_deletes));
    problems.extend(
        status
            .jobs
            .iter()
            .filter_map(|job| failing_comparison(status, job, stale)),
    );
    problems.extend(stale_streams(status, config, stale));
    problems
}

/// A job, and the object that it works on if it is one of a single object.
type Job<'a> = (JobKind, Option<&'a ObjectName>);

/// Jobs that `syncline run` and the schedules run at least once a minute, whether there is work or not.
const REGULAR_JOBS: [JobKind; 3] = [
    JobKind::CapturePostgres,
    JobKind::CaptureSalesforce,
    JobKind::Sweep,
];

/// Returns how many seconds ago a moment was, by the database's clock.
fn seconds_since(status: &TenantStatus, moment: DateTime<Utc>) -> f64 {
    (status.read_at - moment).as_seconds_f64()
}

/// A first load may take longer than that: the outbox is stale only if capture takes nothing from it.
fn outbox_problem(status: &TenantStatus, stale: f64) -> Option<String> {
    let oldest = status.outbox.oldest_seconds.unwrap_or_default();
    let mut streams = status.streams.iter();
    let taken = streams.find(|stream| stream.stream == StreamName::Outbox);
    let taken = taken.and_then(|stream| stream.captured_at);
    let is_taken = taken.is_some_and(|at| seconds_since(status, at) <= stale);
    (oldest > stale && !is_taken).then(|| {
        format!(
            "changes have waited in the outbox for {}: capture of Postgres is not running or fails; look at its log",
            age(oldest)
        )
    })
}

/// Returns what is wrong with a job that should run all the time. Before its first run, it is expected since capture
/// was installed; the tenants of a new configuration are not late.
fn stopped_job(status: &TenantStatus, kind: JobKind, stale: f64) -> Option<String> {
    // An outage is a problem of its own, with its reason and its next try.
    if kind == JobKind::CaptureSalesforce && status.outage.is_some() {
        return None;
    }
    let job = (kind, None);
    let late = seconds_without(status, job)?;
    (late > stale).then(|| not_ending_well(status, job, late, stale))
}

/// Returns for how long a job has not ended well: since it last did, or since capture was installed.
fn seconds_without(status: &TenantStatus, job: Job<'_>) -> Option<f64> {
    let succeeded_at = known(status, job).and_then(|job| job.succeeded_at);
    let expected_since = succeeded_at.into_iter().chain(status.installed_at).max()?;
    Some(seconds_since(status, expected_since))
}

fn known<'s>(status: &'s TenantStatus, (kind, object): Job<'_>) -> Option<&'s JobStatus> {
    let mut jobs = status.jobs.iter();
    jobs.find(|job| job.job == kind && job.object.as_ref() == object)
}

/// Returns why a job has not ended well: it fails, or nothing starts it.
fn not_ending_well(status: &TenantStatus, job: Job<'_>, late: f64, stale: f64) -> String {
    let (kind, _) = job;
    let known = known(status, job);
    let name = job_name(kind);
    let since = match known.and_then(|job| job.succeeded_at) {
        Some(_) => format!("has not ended well for {}", age(late)),
        None => "has never ended well".to_owned(),
    };
    let is_trying = |job: &&JobStatus| {
        job.failed_at
            .is_some_and(|at| seconds_since(status, at) <= stale)
    };
    match known.filter(is_trying).and_then(|job| job.error.as_deref()) {
        Some(error) => format!("{name} {since}; it fails: {error}"),
        None => format!(
            "{name} {since} and does not run: start `syncline run`, or {} and look at its log",
            starter(kind)
        ),
    }
}

/// Returns what starts a job in AWS, by its name in the template.
fn starter(kind: JobKind) -> &'static str {
    match kind {
        JobKind::CapturePostgres => "enable the schedule `Postgres` of the function capture",
        JobKind::CaptureSalesforce => "enable the schedule `Salesforce` of the function capture",
        JobKind::Apply => "enable the wake-up queue of the function apply",
        JobKind::Sweep => "enable the schedule `Sweep` of the function reconcile",
        JobKind::CompareRecent => "enable the schedule `Incremental` of the function reconcile",
        JobKind::Compare => "enable the schedule `Full` of the function reconcile",
    }
}

/// Returns of which objects records are due and no apply takes them. Without due work apply need not run.
fn idle_apply(status: &TenantStatus, stale: f64) -> Vec<String> {
    if status.paused.is_some() || status.outage.is_some() {
        return Vec::new();
    }
    let idle = |object: &ObjectStatus| {
        let waited = object.oldest_due_seconds.filter(|due| *due > stale)?;
        let job = (JobKind::Apply, Some(&object.object));
        let late = seconds_without(status, job).unwrap_or(waited);
        (late > stale).then(|| {
            format!(
                "records of {} have been due for {}: {}",
                object.object,
                age(waited),
                not_ending_well(status, job, late, stale)
            )
        })
    };
    status.objects.iter().filter_map(idle).collect()
}

/// How long a full comparison may be missing: it is scheduled once a day, and one of a large org takes hours.
const COMPARISON_AGE_MAX: f64 = 48.0 * 3_600.0;

/// Returns that nothing compares both sides. Only comparisons find what no event showed.
fn missing_comparison(status: &TenantStatus) -> Option<String> {
    if status.outage.is_some() {
        return None;
    }
    let job = (JobKind::Compare, None);
    let late = seconds_without(status, job)?;
    (late > COMPARISON_AGE_MAX).then(|| not_ending_well(status, job, late, COMPARISON_AGE_MAX))
}

/// Most records that a comparison may find without an explanation before that is a problem: it has them mended.
const UNEXPLAINED_MAX: u64 = 5;

/// Returns that the last full comparison found most of an object's records unequal, as in an emptied table. Rows that
/// were left out on purpose when capture was installed do not count.
fn unexplained_records(object: &ObjectStatus) -> Option<String> {
    let last = object.last_comparison.as_ref()?;
    let counted = [RecordClass::OnlyInSalesforce, RecordClass::Unexplained];
    let found = counted.map(|class| last.classes.get(&class).copied().unwrap_or_default());
    let unexplained: u64 = found.iter().sum();
    (unexplained > UNEXPLAINED_MAX.max(last.records / 2)).then(|| {
        format!(
            "the last full comparison of {} found {unexplained} of {} records that nothing explains ({}): look whether \
             the table, the org or the filter is the right one, then run `syncline compare`",
            object.object,
            last.records,
            compare::classes_text(&last.classes)
        )
    })
}

/// Returns that deletes wait for a person, because there were too many.
fn withheld_deletes(object: &ObjectStatus) -> Option<String> {
    (object.withheld_deletes > 0).then(|| {
        format!(
            "the delete guard withholds {} deletes of {}: run `syncline deletes approve {}` if they are meant, else bring \
             the records back",
            object.withheld_deletes, object.object, object.object
        )
    })
}

/// Returns why comparisons fail. They may be scheduled at any interval, so only errors show that they are late.
fn failing_comparison(status: &TenantStatus, job: &JobStatus, stale: f64) -> Option<String> {
    let is_comparison = matches!(job.job, JobKind::CompareRecent | JobKind::Compare);
    let late = seconds_since(status, job.failing_since?);
    (is_comparison && late > stale && status.outage.is_none()).then(|| {
        let error = job.error.as_deref().unwrap_or_default();
        format!("{} fails for {}: {error}", job_name(job.job), age(late))
    })
}

/// Returns the streams of Salesforce that no capture reads although the capture itself ends well.
fn stale_streams(status: &TenantStatus, config: &TenantConfig, stale: f64) -> Vec<String> {
    let is_stopped = stopped_job(status, JobKind::CaptureSalesforce, stale).is_some();
    if is_stopped || status.outage.is_some() {
        return Vec::new();
    }
    let is_read = |stream: &&CheckpointState| match config.capture {
        CaptureMode::Pubsub => matches!(stream.stream, StreamName::Events(_)),
        CaptureMode::Poll => match &stream.stream {
            StreamName::Poll(polled) => config.objects.iter().any(|sync| sync.object == *polled),
            StreamName::Outbox
            | StreamName::Events(_)
            | StreamName::Scan(_)
            | StreamName::Comparison(_)
            | StreamName::Other(_) => false,
        },
        CaptureMode::Relay => false,
    };
    let problem = |stream: &CheckpointState| {
        let last = stream.read_at.into_iter().chain(stream.captured_at).max()?;
        let late = seconds_since(status, last);
        (late > stale).then(|| {
            format!(
                "the stream {} was not read for {}: look at the log of the capture of Salesforce",
                stream.stream,
                age(late)
            )
        })
    };
    let streams = status.streams.iter().filter(is_read);
    streams.filter_map(problem).collect()
}

fn job_name(job: JobKind) -> &'static str {
    match job {
        JobKind::CapturePostgres => "capture of Postgres",
        JobKind::CaptureSalesforce => "capture of Salesforce",
        JobKind::Apply => "apply",
        JobKind::Sweep => "the sweep",
        JobKind::CompareRecent => "the comparison of recent changes",
        JobKind::Compare => "the full comparison",
    }
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
    let waiting = match (status.outbox.waiting, status.outbox.oldest_seconds) {
        (0, _) => "the outbox is empty".to_owned(),
        (waiting, Some(seconds)) => format!(
            "{waiting} changes wait in the outbox, the oldest for {}",
            age(seconds)
        ),
        (waiting, None) => format!("{waiting} changes wait in the outbox"),
    };
    let problems: String = problems
        .iter()
        .map(|problem| format!("PROBLEM: {problem}\n"))
        .collect();
    let requests = status.api_requests.map(|requests| {
        format!(
            "; {} of {} API requests of 24 hours used at {}",
            requests.used,
            requests.max,
            requests.measured_at.format("%R")
        )
    });
    format!(
        "{}: {state}; {org}; {waiting}{}\n{problems}{}\n{}\n",
        status.tenant,
        requests.unwrap_or_default(),
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
            stream.stream.to_string(),
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
