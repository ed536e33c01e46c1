//! The store's calls for reconcile: the sweep, and comparing both sides.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ids::{ObjectName, RecordId, SalesforceId, TenantId};

use super::comparison::{Begin, Comparison, Explanations, ObservedPage, PageRecord, RowPage};
use super::job_store::StreamLease;
use super::mapped_object::MappedObject;
use super::store_error::StoreError;

/// The calls of reconcile on one tenant's Postgres.
#[async_trait]
pub trait ReconcileStore: Send + Sync {
    /// Handles expired leases, unknown intents, intents without an echo and broken capture triggers, and
    /// removes rows past their retention.
    async fn sweep(&self, mapped_objects: &[MappedObject]) -> Result<SweepReport, StoreError>;

    /// Stores of which objects change events arrive, with the reason where none do.
    async fn note_events(
        &self,
        tenant: &TenantId,
        found: &[(ObjectName, Option<String>)],
    ) -> Result<(), StoreError>;

    /// Notes that no event told a change of the object at this time, milliseconds since 1970, unless a relayed event
    /// of the object has arrived since. The next one that arrives takes the note back.
    async fn note_unheard(&self, mapped: &MappedObject, changed_ms: i64) -> Result<(), StoreError>;

    /// Returns why of which objects no change events arrive.
    async fn missing_events(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError>;

    /// Reads links and live rows of the records of one page, without locks; and which of them were linked after
    /// `started_at`.
    async fn observe_page(
        &self,
        mapped: &MappedObject,
        seen: &[PageRecord<'_>],
        started_at: Option<DateTime<Utc>>,
    ) -> Result<ObservedPage, StoreError>;

    /// Reads at most `limit` rows after a row, in the order of their identity, with the links of those that have no
    /// Salesforce id.
    async fn observe_rows(
        &self,
        mapped: &MappedObject,
        started_at: DateTime<Utc>,
        after: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<RowPage, StoreError>;

    /// Returns what may explain that the sides of these records differ, whose rows were read before.
    async fn explain(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<Explanations, StoreError>;

    /// Returns at most `limit` Salesforce ids of links in the range `(after, upto]` that are not among `seen`, in
    /// order: the scan did not return them.
    async fn ids_not_seen(
        &self,
        mapped: &MappedObject,
        range: (Option<&SalesforceId>, Option<&SalesforceId>),
        seen: &[&SalesforceId],
        limit: usize,
    ) -> Result<Vec<SalesforceId>, StoreError>;

    /// Returns linked records whose Salesforce id is in `(after, upto]` and not among `seen`: the scan did
    /// not return them. `upto = None`: to the end.
    async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError>;

    /// Marks records to be refreshed and makes their tasks ready. Never writes a record. Of those that are `missing` a
    /// comparison found no row: where both sides had agreed on them, their rows count as deleted from now on.
    async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
        missing: &[RecordId],
    ) -> Result<usize, StoreError>;

    /// Captures rows that belong to no record, by what identifies them, as if they had just been written. Does
    /// nothing while the object's existing rows are left out on purpose. Returns how many.
    async fn enqueue_unknown_rows(
        &self,
        mapped: &MappedObject,
        rows: &[serde_json::Value],
    ) -> Result<usize, StoreError>;

    /// Begins a comparison of the object if it is time, and returns the one under way. One that compares under
    /// another configuration starts over.
    async fn begin_comparison(
        &self,
        mapped: &MappedObject,
        begin: Begin,
    ) -> Result<Option<Comparison>, StoreError>;

    /// Stores the progress of a comparison under the lease of its stream. Without a position it is finished: it
    /// replaces the last one, and the time is returned.
    async fn save_comparison(
        &self,
        lease: &StreamLease,
        comparison: &Comparison,
    ) -> Result<Option<DateTime<Utc>>, StoreError>;
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
