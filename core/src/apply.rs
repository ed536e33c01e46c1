//! From tasks to equal sides: lease, look, plan and write rows, intend, write to Salesforce, settle.
//!
//! [`apply`] works in rounds until nothing is due or the deadline is near. A round is four steps, each
//! of which may be the last that a process makes: the leases lapse, the intents say what may have
//! left, and the next worker looks before it writes.

mod outcome;
pub(crate) mod perform;
pub(crate) mod planner;
mod project;
pub(crate) mod refresh;
pub(crate) mod state;

use std::time::Duration;

use crate::engine::deadline::Deadline;
use crate::engine::error::Error;
use crate::engine::job::{Job, PERMIT_MS, WAKE_UP};
use crate::engine::orphans::LeaseGuard;
use crate::engine::ports::MappedObject;
use crate::engine::ports::store::{LeasedTask, NextWakeUp, PlannedRecord};
use crate::model::ids::ObjectName;
use crate::planner::policy::delete_guard::MASS_DELETE;

use perform::{Batch, Intended, perform};
use planner::ObjectPlanner;
use refresh::refresh;

pub use project::project_sync_link;

/// Most records of one round: the collections calls of one round fit well into a lease.
const ROUND_RECORDS_MAX: usize = 2_000;

/// How long a worker owns a record. Three times the 60 s that a function commonly has: a worker that
/// is merely slow keeps its records. Safety does not rest on it: the epoch and the intent are the fence.
const LEASE_MS: i64 = 180_000;

/// What a round needs at least: a read, a transaction, a write and a settle against a slow org.
const ROUND_TIME_MIN: Duration = Duration::from_secs(10);

/// How long an object rests once the org has no calls to give.
const QUOTA_REST_SECONDS: u32 = 60;

/// What an apply did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApplyReport {
    /// Rounds.
    pub rounds: usize,
    /// Records leased.
    pub leased: usize,
    /// Records read in Salesforce first.
    pub refreshed: usize,
    /// Records with nothing left to do.
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
    /// Writes nobody knows the outcome of.
    pub unknown: usize,
    /// Writes whose answer came after the lease was lost: they settled nothing.
    pub lost: usize,
    /// Records that are tried again later.
    pub requeued: usize,
    /// Records that were stopped with a reason.
    pub parked: usize,
    /// Of those: deletes that wait until a person releases them, because there were too many at once.
    pub withheld_deletes: usize,
    /// The slot was rung again.
    pub sent_again: bool,
    /// The tenant is paused: nothing was leased.
    pub paused: bool,
    /// The org has no calls to give.
    pub quota_spent: bool,
}

/// Works on the object's due records.
pub(crate) async fn apply(
    job: &Job<'_>,
    object: &ObjectName,
    permit: i32,
    deadline: Deadline,
) -> Result<ApplyReport, Error> {
    let mapped = job.mapped(object)?;
    let mut report = ApplyReport::default();
    while may_begin_round(job, deadline) && !report.quota_spent {
        let control = job.store().control(job.id()).await?;
        if control.paused {
            report.paused = true;
            break;
        }
        let needs_resync = control.needs_resync.contains(object);
        if round(job, mapped, needs_resync, deadline, &mut report).await? == 0 {
            break;
        }
    }
    // A paused tenant has no due work: its slot is freed, and the first ring after the pause finds it.
    wake_up_again(job, object, permit, &mut report).await?;
    log(job, object, &report);
    Ok(report)
}

fn may_begin_round(job: &Job<'_>, deadline: Deadline) -> bool {
    !job.shared.stopping() && deadline.remaining(job.now_ms()) >= ROUND_TIME_MIN
}

/// Makes one round. Returns how many records it leased.
async fn round(
    job: &Job<'_>,
    mapped: &MappedObject,
    needs_resync: bool,
    deadline: Deadline,
    report: &mut ApplyReport,
) -> Result<usize, Error> {
    let lease_end = Deadline::at_ms(job.now_ms().saturating_add(LEASE_MS));
    let leases = job
        .store()
        .lease_tasks(mapped, ROUND_RECORDS_MAX, &job.shared.worker, LEASE_MS)
        .await?;
    let leased = leases.len();
    let mut withheld = LeaseGuard::records(job.shared, mapped, &leases);
    report.rounds += usize::from(leased > 0);
    report.leased += leased;
    let leases = refresh(job, mapped, leases, needs_resync, report).await?;
    if leases.is_empty() {
        withheld.disarm();
        return Ok(leased);
    }
    let planner = ObjectPlanner::new(mapped);
    let planned = job
        .store()
        .plan_and_write(mapped, &leases, &planner)
        .await?;
    let intended = tally(&leases, planned, report);
    let batch = Batch {
        mapped,
        plans: planner.into_plans(),
        end: lease_end.min(deadline),
    };
    withheld.mark_writes_sent();
    perform(job, &batch, intended, report).await?;
    withheld.disarm();
    Ok(leased)
}

/// Counts what the transaction left of each lease and returns the writes to make.
fn tally(
    leases: &[LeasedTask],
    planned: Vec<PlannedRecord>,
    report: &mut ApplyReport,
) -> Vec<Intended> {
    debug_assert!(planned.len() <= leases.len(), "a lease has one outcome");
    let mut intended = Vec::new();
    for record in planned {
        match record {
            PlannedRecord::Settled { wrote_row, .. } => {
                report.settled += 1;
                report.rows_written += usize::from(wrote_row);
            }
            PlannedRecord::Intended {
                lease,
                intent,
                salesforce_id,
                wrote_row,
                withheld,
            } => {
                report.rows_written += usize::from(wrote_row);
                intended.push(Intended {
                    lease,
                    intent,
                    salesforce_id,
                    withheld,
                });
            }
            PlannedRecord::Requeued { .. } => report.requeued += 1,
            PlannedRecord::Parked {
                wrote_row, code, ..
            } => {
                report.parked += 1;
                report.withheld_deletes += usize::from(code == MASS_DELETE);
                report.rows_written += usize::from(wrote_row);
            }
        }
    }
    intended
}

/// Rings the own slot again while work is due, else frees it; rings later for what falls due soon.
async fn wake_up_again(
    job: &Job<'_>,
    object: &ObjectName,
    permit: i32,
    report: &mut ApplyReport,
) -> Result<(), Error> {
    let next = job
        .store()
        .keep_or_free_permit(job.id(), object, permit, PERMIT_MS, WAKE_UP)
        .await?;
    match next {
        NextWakeUp::Now => {
            let rest = if report.quota_spent {
                QUOTA_REST_SECONDS
            } else {
                0
            };
            job.wake_up_again(object, permit, rest).await;
            report.sent_again = true;
        }
        NextWakeUp::After { delay_ms } => {
            // Not before it is due: a ring that finds nothing due would only ring again.
            let delay_seconds = u32::try_from(delay_ms.max(0) / 1000 + 1).unwrap_or(u32::MAX);
            job.wake_up_again(object, WAKE_UP.permit, delay_seconds)
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
            "too many deletes at once: they wait for `syncline deletes approve {object}`"
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
        "applied due records"
    );
}
