//! Apply: leases tasks, refreshes, plans, writes rows, records intents, writes to Salesforce, settles.
//!
//! [`apply`] works in rounds until nothing is due or the deadline is near. A round has four steps, and the
//! process may die after each of them: the leases expire, the intents show which writes may have been
//! sent, and the next worker refreshes before it writes.

mod cascades;
mod changed;
mod outcome;
mod perform;
mod refresh;

use std::time::Duration;

use crate::config::CaptureMode;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::guard::LeaseGuard;
use crate::job::{DELAYED_WAKE_UP, Job, PERMIT_MS};
use crate::model::ids::ObjectName;
use crate::observe::planner::ObjectPlanner;
use crate::planner::policy::delete_guard::MASS_DELETE;
use crate::planner::policy::freshness::{Freshness, STREAM_AGE_MS_MAX};
use crate::ports::job_store::{Control, NextWakeUp, Outage};
use crate::ports::salesforce::Disposition;
use crate::ports::{MappedObject, StreamName};
use crate::salesforce::ALL_CHANGES_TOPIC;

use perform::{Batch, perform};
use refresh::refresh;

/// Most records of one round: the collections calls of one round fit well into a lease.
const ROUND_RECORDS_MAX: usize = 2_000;

/// Most values of one round: each is held several times, as row, remote state, base and write. With 100 mapped fields
/// a round still has as many records as it may have.
const ROUND_VALUES_MAX: usize = 200_000;

/// How long a worker owns a record. Three times the usual 60 s of a function, so that a slow worker keeps
/// its records. Safety does not depend on it: the fencing token and the intent are the fence.
const LEASE_MS: i64 = 180_000;

/// Least time for a round: a read, a transaction, a write and a settlement with a slow org.
const ROUND_TIME_MIN: Duration = Duration::from_secs(10);

/// The result of an apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Rounds.
    pub rounds: usize,
    /// Records leased.
    pub leased: usize,
    /// Records read in Salesforce before they were planned.
    pub refreshed: usize,
    /// Records without remaining work.
    pub settled: usize,
    /// Rows written.
    pub rows_written: usize,
    /// Writes to Salesforce by single calls.
    pub single: usize,
    /// Writes to Salesforce by collections.
    pub collections: usize,
    /// Writes that took effect.
    pub applied: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Writes with an unknown outcome.
    pub unknown: usize,
    /// Writes whose answer came after the lease was lost: it settled nothing.
    pub lost: usize,
    /// Records that are retried later.
    pub requeued: usize,
    /// Records that were parked with a reason.
    pub parked: usize,
    /// Of those: deletes that the delete guard withholds until a person approves them.
    pub withheld_deletes: usize,
    /// The wake-up was sent again.
    pub sent_again: bool,
    /// The tenant is paused: nothing was leased.
    pub paused: bool,
    /// The org's API quota is used up.
    pub quota_spent: bool,
    /// How long records wait because the org cannot be used; absent while it can.
    pub org_wait_ms: Option<i64>,
    /// The tenant has an outage, and the org is to be tried again now.
    outage_is_due: bool,
}

/// How long records wait for an org whose outage could not be recorded.
const OUTAGE_UNRECORDED_MS: i64 = 60_000;

impl ApplyReport {
    /// Notes that the org cannot be used from now on.
    fn note_outage(&mut self, outage: Option<Outage>, disposition: Disposition) {
        let wait_ms = outage.map_or(OUTAGE_UNRECORDED_MS, |outage| outage.retry_in_ms.max(0));
        self.org_wait_ms = Some(wait_ms);
        self.outage_is_due = false;
        self.quota_spent |= disposition == Disposition::WaitForQuota;
    }
}

/// Works on the object's due records.
pub(crate) async fn apply(
    job: &mut Job<'_>,
    object: &ObjectName,
    permit: i32,
    deadline: Deadline,
) -> Result<ApplyReport, Error> {
    let mut report = ApplyReport::default();
    // Records that need the org wait; those that need only Postgres go on, one round each time.
    while may_begin_round(job, deadline) && report.org_wait_ms.is_none() {
        // Asked again each round: connections may lead to another server since the last one.
        let control = job.control().await?;
        if control.paused {
            report.paused = true;
            break;
        }
        let state = CaptureState {
            needs_resync: control.needs_resync.contains(object),
            freshness: freshness(job, object, &control),
        };
        if let Some(outage) = job.outage_now(control.outage).await? {
            report.outage_is_due = !outage.holds();
            report.org_wait_ms = outage.holds().then_some(outage.retry_in_ms);
        }
        if round(job, object, state, deadline, &mut report).await? == 0 {
            break;
        }
    }
    // A paused tenant has no due work: its permit is freed, and the first wake-up after the pause takes it.
    wake_up_again(job, object, permit, &mut report).await?;
    log(job, object, &report);
    Ok(report)
}

/// What is known of the capture of an object's changes in Salesforce.
#[derive(Clone, Copy)]
struct CaptureState {
    /// Records may exist that were never seen.
    needs_resync: bool,
    /// How recent the remote states are.
    freshness: Freshness,
}

/// Returns how recent the object's remote states are. Relayed events have no stream of ours that could be late.
fn freshness(job: &Job<'_>, object: &ObjectName, control: &Control) -> Freshness {
    let stream = match job.tenant.config.capture {
        CaptureMode::Pubsub => StreamName::Events(ALL_CHANGES_TOPIC.to_owned()),
        CaptureMode::Poll => StreamName::Poll(object.clone()),
        CaptureMode::Relay => return Freshness::Streamed,
    };
    match control.stream_ages_ms.get(&stream) {
        Some(age_ms) if *age_ms <= STREAM_AGE_MS_MAX => Freshness::Streamed,
        Some(_) | None => Freshness::Behind,
    }
}

fn may_begin_round(job: &Job<'_>, deadline: Deadline) -> bool {
    !job.shared.stopping() && deadline.remaining(job.now_ms()) >= ROUND_TIME_MIN
}

/// Runs one round. Returns how many records it leased.
async fn round(
    job: &mut Job<'_>,
    object: &ObjectName,
    capture: CaptureState,
    deadline: Deadline,
    report: &mut ApplyReport,
) -> Result<usize, Error> {
    let lease_end = Deadline::at_ms(job.now_ms().saturating_add(LEASE_MS));
    let mapped = job.mapped(object)?;
    let leases = job
        .store()
        .lease_tasks(mapped, round_records(mapped), &job.shared.worker, LEASE_MS)
        .await?;
    let leased = leases.len();
    if leased == 0 {
        return Ok(0);
    }
    let mut guard = LeaseGuard::records(job.shared, mapped, &leases);
    job.note_replays().await?;
    let (job, mapped) = (&*job, job.mapped(object)?);
    report.rounds += 1;
    report.leased += leased;
    let refreshed_at_ms = job.now_ms();
    let leases = refresh(job, mapped, leases, capture.needs_resync, report).await?;
    if leases.is_empty() {
        guard.disarm();
        return Ok(leased);
    }
    let planner = ObjectPlanner::new(mapped).with_freshness(capture.freshness);
    let planned = job
        .store()
        .plan_and_write(mapped, &leases, &planner)
        .await?;
    report.settled += planned.settled;
    report.rows_written += planned.rows_written;
    report.requeued += planned.requeued;
    report.parked += planned.parked.len();
    let withheld_deletes = planned.parked.iter().filter(|code| *code == MASS_DELETE);
    report.withheld_deletes += withheld_deletes.count();
    let batch = Batch {
        mapped,
        end: lease_end.min(deadline),
        refreshed_at_ms,
    };
    guard.mark_writes_sent();
    perform(job, &batch, planned.writes, report).await?;
    guard.disarm();
    Ok(leased)
}

/// Returns how many records of an object one round may have: fewer the more fields are mapped, so that a worker's
/// memory is limited for objects with hundreds of them, too.
pub(crate) fn round_records(mapped: &MappedObject) -> usize {
    let fields = mapped.sync.fields.len() + 1;
    (ROUND_VALUES_MAX / fields).min(ROUND_RECORDS_MAX)
}

/// Sends the wake-up of the own permit again while work is due, else frees the permit. Sends a delayed
/// wake-up for work that falls due soon.
async fn wake_up_again(
    job: &Job<'_>,
    object: &ObjectName,
    permit: i32,
    report: &mut ApplyReport,
) -> Result<(), Error> {
    let next = job
        .store()
        .keep_or_free_permit(job.id(), object, permit, PERMIT_MS, DELAYED_WAKE_UP)
        .await?;
    match next {
        NextWakeUp::Now => {
            let delay_seconds = report.org_wait_ms.map_or(0, |wait_ms| {
                u32::try_from(wait_ms / 1_000 + 1).unwrap_or(u32::MAX)
            });
            job.wake_up_again(object, permit, delay_seconds).await;
            report.sent_again = true;
        }
        NextWakeUp::After { delay_ms } => {
            // Not before the work is due: an early wake-up would only send another one.
            let delay_seconds = u32::try_from(delay_ms.max(0) / 1000 + 1).unwrap_or(u32::MAX);
            job.wake_up_again(object, DELAYED_WAKE_UP.permit, delay_seconds)
                .await;
        }
        NextWakeUp::Unneeded => {}
    }
    Ok(())
}

fn log(job: &Job<'_>, object: &ObjectName, report: &ApplyReport) {
    if report.withheld_deletes > 0 {
        tracing::error!(
            tenant = %job.id(),
            object = %object,
            withheld = report.withheld_deletes,
            "too many deletes at once; they wait for `syncline deletes approve {object}`"
        );
    }
    tracing::info!(
        tenant = %job.id(),
        object = %object,
        rounds = report.rounds,
        leased = report.leased,
        refreshed = report.refreshed,
        settled = report.settled,
        rows_written = report.rows_written,
        single = report.single,
        collections = report.collections,
        applied = report.applied,
        refused = report.refused,
        unknown = report.unknown,
        lost = report.lost,
        requeued = report.requeued,
        parked = report.parked,
        paused = report.paused,
        quota_spent = report.quota_spent,
        org_wait_ms = report.org_wait_ms,
        "applied due records"
    );
}
