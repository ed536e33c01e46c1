//! What keeps both sides honest between changes: the sweep, and the comparison of both live sides.
//!
//! Reconcile never writes a record. It marks records to be looked at and enqueues them; drift counts
//! only when it stands on a second read with no work open.

pub(crate) mod compare;
pub(crate) mod drift;

use crate::engine::deadline::Deadline;
use crate::engine::error::Error;
use crate::engine::job::Job;
use crate::engine::ports::store::SweepReport;

pub use compare::DriftItem;
pub(crate) use drift::{detect, full, incremental, repair};

/// What a sweep found and rang for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SweepOutcome {
    /// What the store found.
    pub found: SweepReport,
    /// Wake-ups rung for due work.
    pub sent: usize,
}

/// What a comparison of both live sides showed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReconcileReport {
    /// Records compared.
    pub compared: u64,
    /// Records whose difference stood on a second read, with no work open.
    pub drifted: Vec<DriftItem>,
    /// Records that differ because a person must decide first, or a rule keeps them apart.
    pub held: u64,
    /// Records enqueued to be looked at on both sides.
    pub enqueued: usize,
    /// Every record of every object was compared; false if the deadline came first.
    pub complete: bool,
}

/// Sweeps and rings.
pub(crate) async fn sweep(job: &Job<'_>) -> Result<SweepOutcome, Error> {
    let found = job.store().sweep(job.mapped_objects()).await?;
    for broken in &found.capture_broken {
        tracing::error!(
            tenant = %job.id(), broken,
            "capture of a table is broken: run `syncline install` to mend it"
        );
    }
    let sent = job.wake_up_for_due_work().await?;
    tracing::info!(
        tenant = %job.id(),
        leases_expired = found.leases_expired,
        intents_unknown = found.intents_unknown,
        echoes_missing = found.echoes_missing,
        capture_broken = found.capture_broken.len(),
        rows_removed = found.rows_removed,
        sent,
        "swept"
    );
    Ok(SweepOutcome { found, sent })
}

/// Returns true while another page may be compared.
fn has_time(job: &Job<'_>, deadline: Deadline) -> bool {
    const PAGE_TIME_MIN: std::time::Duration = std::time::Duration::from_secs(10);
    !job.shared.stopping() && deadline.remaining(job.now_ms()) >= PAGE_TIME_MIN
}
