//! From tasks to equal sides: lease, look, plan and write rows, intend, write to Salesforce, settle.
//!
//! [`apply`] works in rounds until nothing is due or the deadline is near. A round is four steps, each
//! of which may be the last that a process makes: the leases lapse, the intents say what may have
//! left, and the next worker looks before it writes.

pub(crate) mod look;
mod outcome;
pub(crate) mod perform;
pub(crate) mod planner;
mod project;
pub(crate) mod state;

use std::time::Duration;

use crate::engine::abandoned::Held;
use crate::engine::deadline::Deadline;
use crate::engine::error::ForceSyncError;
use crate::engine::job::{Job, RUNG_MS, WAKE_UP};
use crate::engine::ports::ObjectScope;
use crate::engine::ports::store::{LeasedTask, NextRing, PlannedRecord};
use crate::model::ids::ObjectName;
use crate::plan::brake::MASS_DELETE;

use look::look;
use perform::{Batch, Intended, perform};
use planner::ScopePlanner;

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
    pub looked: usize,
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
    pub stale: usize,
    /// Records that are tried again later.
    pub requeued: usize,
    /// Records that were stopped with a reason.
    pub parked: usize,
    /// Of those: deletes that wait until a person releases them, because there were too many at once.
    pub held_deletes: usize,
    /// The slot was rung again.
    pub rung_again: bool,
    /// The tenant is paused: nothing was leased.
    pub paused: bool,
    /// The org has no calls to give.
    pub quota_spent: bool,
}

/// Works on the object's due records.
pub(crate) async fn apply(
    job: &Job<'_>,
    object: &ObjectName,
    slot: i32,
    deadline: Deadline,
) -> Result<ApplyReport, ForceSyncError> {
    let scope = job.scope(object)?;
    let mut report = ApplyReport::default();
    while may_begin_round(job, deadline) && !report.quota_spent {
        let control = job.store().control(job.id()).await?;
        if control.paused {
            report.paused = true;
            break;
        }
        let is_stale = control.stale.contains(object);
        if round(job, scope, is_stale, deadline, &mut report).await? == 0 {
            break;
        }
    }
    // A paused tenant has no due work: its slot is freed, and the first ring after the pause finds it.
    ring_again(job, object, slot, &mut report).await?;
    log(job, object, &report);
    Ok(report)
}

fn may_begin_round(job: &Job<'_>, deadline: Deadline) -> bool {
    !job.shared.stopping() && deadline.remaining(job.now_ms()) >= ROUND_TIME_MIN
}

/// Makes one round. Returns how many records it leased.
async fn round(
    job: &Job<'_>,
    scope: &ObjectScope,
    is_stale: bool,
    deadline: Deadline,
    report: &mut ApplyReport,
) -> Result<usize, ForceSyncError> {
    let lease_end = Deadline::at_ms(job.now_ms().saturating_add(LEASE_MS));
    let leases = job
        .store()
        .lease_tasks(scope, ROUND_RECORDS_MAX, &job.shared.worker, LEASE_MS)
        .await?;
    let leased = leases.len();
    let mut held = Held::records(job.shared, scope, &leases);
    report.rounds += usize::from(leased > 0);
    report.leased += leased;
    let leases = look(job, scope, leases, is_stale, report).await?;
    if leases.is_empty() {
        held.was_given_back();
        return Ok(leased);
    }
    let planner = ScopePlanner::new(scope);
    let planned = job.store().plan_and_write(scope, &leases, &planner).await?;
    let intended = tally(&leases, planned, report);
    let batch = Batch {
        scope,
        plans: planner.into_plans(),
        end: lease_end.min(deadline),
    };
    held.writes_leave();
    perform(job, &batch, intended, report).await?;
    held.was_given_back();
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
                held,
            } => {
                report.rows_written += usize::from(wrote_row);
                intended.push(Intended {
                    lease,
                    intent,
                    salesforce_id,
                    held,
                });
            }
            PlannedRecord::Requeued { .. } => report.requeued += 1,
            PlannedRecord::Parked {
                wrote_row, code, ..
            } => {
                report.parked += 1;
                report.held_deletes += usize::from(code == MASS_DELETE);
                report.rows_written += usize::from(wrote_row);
            }
        }
    }
    intended
}

/// Rings the own slot again while work is due, else frees it; rings later for what falls due soon.
async fn ring_again(
    job: &Job<'_>,
    object: &ObjectName,
    slot: i32,
    report: &mut ApplyReport,
) -> Result<(), ForceSyncError> {
    let next = job
        .store()
        .keep_or_free_doorbell(job.id(), object, slot, RUNG_MS, WAKE_UP)
        .await?;
    match next {
        NextRing::Now => {
            let rest = if report.quota_spent {
                QUOTA_REST_SECONDS
            } else {
                0
            };
            job.ring_again(object, slot, rest).await;
            report.rung_again = true;
        }
        NextRing::After { delay_ms } => {
            // Not before it is due: a ring that finds nothing due would only ring again.
            let delay_seconds = u32::try_from(delay_ms.max(0) / 1000 + 1).unwrap_or(u32::MAX);
            job.ring_again(object, WAKE_UP.slot, delay_seconds).await;
        }
        NextRing::Unneeded => {}
    }
    Ok(())
}

fn log(job: &Job<'_>, object: &ObjectName, report: &ApplyReport) {
    if report.held_deletes > 0 {
        tracing::error!(
            tenant = %job.id(),
            object = %object,
            held = report.held_deletes,
            "too many deletes at once: they wait for `syncline brake release {object}`"
        );
    }
    tracing::info!(
        tenant = %job.id(),
        object = %object,
        rounds = report.rounds,
        leased = report.leased,
        looked = report.looked,
        settled = report.settled,
        rows_written = report.rows_written,
        single = report.single,
        collections = report.collections,
        applied = report.applied,
        refused = report.refused,
        unknown = report.unknown,
        stale = report.stale,
        requeued = report.requeued,
        parked = report.parked,
        paused = report.paused,
        quota_spent = report.quota_spent,
        "applied due records"
    );
}
