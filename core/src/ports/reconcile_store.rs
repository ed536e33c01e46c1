//! The store's calls for reconcile: the sweep, and comparing both sides.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::ids::{RecordId, SalesforceId};

use super::mapped_object::MappedObject;
use super::record::ObservedRecord;
use super::store_error::StoreError;

/// The calls of reconcile on one tenant's Postgres.
#[async_trait]
pub trait ReconcileStore: Send + Sync {
    /// Handles expired leases, unknown intents, intents without an echo and broken capture triggers, and
    /// removes rows past their retention.
    async fn sweep(&self, mapped_objects: &[MappedObject]) -> Result<SweepReport, StoreError>;

    /// Reads links and live rows of the records with these Salesforce ids, without locks.
    async fn observe(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<ObservedRecord>, StoreError>;

    /// Returns linked records whose Salesforce id is in `(after, upto]` and not among `seen`: the scan did
    /// not return them. `upto = None`: to the end.
    async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError>;

    /// Marks records to be refreshed and makes their tasks ready. Never writes a record.
    async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<usize, StoreError>;

    /// Returns those of `records` that have no task, no open or unknown intent: drift on them is real.
    async fn idle_records(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError>;

    /// Publishes the result of a full comparison.
    async fn publish_comparison(
        &self,
        mapped: &MappedObject,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError>;
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Leases that had expired.
    pub leases_expired: usize,
    /// Intents that became unknown.
    pub intents_unknown: usize,
    /// Applied intents whose echo never arrived: their records are refreshed.
    pub echoes_missing: usize,
    /// Mapped tables whose triggers, identity or partitions changed, with what is wrong.
    pub capture_broken: Vec<String>,
    /// Journal, dedupe and settled rows removed.
    pub rows_removed: usize,
}
