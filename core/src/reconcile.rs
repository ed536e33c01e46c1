//! What keeps both sides honest between changes: the sweep, and the comparison of both live sides.
//!
//! Reconcile never writes a record. It marks records to be looked at and enqueues them; drift counts
//! only when it stands on a second read with no work open.

pub(crate) mod compare;
pub(crate) mod drift;

use crate::engine::SyncEngine;
use crate::engine::deadline::Deadline;
use crate::engine::error::Error;
use crate::engine::job::Job;
use crate::model::ids::TenantId;
use crate::ports::reconcile_store::SweepReport;

pub use compare::DriftItem;
pub(crate) use drift::{full, incremental};

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

/// Finds the records of the tenant that are not the same on both live sides, and should be. Nothing is
/// enqueued. Each stood on a second read, with no work open for it.
pub async fn detect_drift(
    engine: &SyncEngine,
    tenant: &TenantId,
    deadline: Deadline,
) -> Result<Vec<DriftItem>, Error> {
    drift::detect(&engine.job(tenant).await?, deadline).await
}

/// Marks drifted records to be looked at on both sides, and rings for them. Touches the records'
/// tasks, never an old payload. Returns how many were enqueued.
pub async fn enqueue_repair(
    engine: &SyncEngine,
    tenant: &TenantId,
    items: &[DriftItem],
) -> Result<usize, Error> {
    drift::repair(&engine.job(tenant).await?, items).await
}

/// Compares every record of both sides once, and enqueues what has drifted.
pub async fn run_reconcile_once(
    engine: &SyncEngine,
    tenant: &TenantId,
    deadline: Deadline,
) -> Result<ReconcileReport, Error> {
    engine.reconcile_full(tenant, deadline).await
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
