//! Comparing the records of both sides.

use super::engine::RUN_MAX;
use super::error::ForceSyncError;
use super::model::payload_hash;
use super::store::{LINES, LinkedEngine, PgStore, newest_line};
use crate::ports::ReconcileStore;
use crate::reconcile;

/// A record that differs between the sides although no change is pending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftItem {
    /// The record's newest line with content in the journal; 0 without one.
    pub journal_id: i64,
    /// The tenant.
    pub tenant: String,
    /// The object.
    pub object_name: String,
    /// The record's external id.
    pub external_id: String,
    /// The hash of that line's payload.
    pub payload_hash: Vec<u8>,
}

/// Returns at most `limit` drifted records. Enqueues nothing.
pub async fn detect_drift(store: &PgStore, limit: i64) -> Result<Vec<DriftItem>, ForceSyncError> {
    let linked = store.linked().await?;
    let mut items = Vec::new();
    for item in drifted(&linked, limit).await? {
        let history = store
            .store()
            .record_history(&item.tenant, &item.object, &item.external_id, LINES)
            .await?;
        let newest = history.and_then(|history| newest_line(history.journal));
        items.push(DriftItem {
            journal_id: newest.as_ref().map_or(0, |entry| entry.journal_id),
            tenant: item.tenant.to_string(),
            object_name: item.object.to_string(),
            external_id: item.external_id,
            payload_hash: newest
                .and_then(|entry| entry.payload)
                .map(|payload| payload_hash(&payload).to_vec())
                .unwrap_or_default(),
        });
    }
    Ok(items)
}

/// Enqueues the record of a journal line, so that both sides are read again. Returns the line's id: a
/// record has only one task, and the task has no id.
pub async fn enqueue_repair(store: &PgStore, journal_id: i64) -> Result<i64, ForceSyncError> {
    let linked = store.linked().await?;
    let entry = store
        .store()
        .journal_entry(&linked.tenant, journal_id)
        .await?;
    let not_found = || ForceSyncError::NotFound {
        entity: "record in the journal",
    };
    let entry = entry.ok_or_else(not_found)?;
    let record = entry.record_id.ok_or_else(not_found)?;
    let job = linked.engine.job(&linked.tenant).await?;
    store
        .store()
        .enqueue_repair(job.mapped(&entry.object)?, &[record], &[])
        .await?;
    Ok(journal_id)
}

/// Enqueues at most `limit` drifted records. Returns their number.
pub async fn run_reconcile_once(store: &PgStore, limit: i64) -> Result<usize, ForceSyncError> {
    let linked = store.linked().await?;
    let items = drifted(&linked, limit).await?;
    Ok(linked.engine.enqueue_repair(&linked.tenant, &items).await?)
}

async fn drifted(
    linked: &LinkedEngine,
    limit: i64,
) -> Result<Vec<reconcile::DriftItem>, ForceSyncError> {
    let deadline = linked.engine.deadline_in(RUN_MAX);
    let mut items = linked.engine.detect_drift(&linked.tenant, deadline).await?;
    items.truncate(usize::try_from(limit).unwrap_or(0));
    Ok(items)
}
