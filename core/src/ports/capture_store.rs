//! The store's calls for capture: draining the outbox, and recording observations of Salesforce.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::cursor::SourceCursor;
use crate::model::ids::{ObjectName, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;

use super::job_store::StreamLease;
use super::mapped_object::MappedObject;
use super::store_error::StoreError;

/// The calls of capture on one tenant's Postgres.
#[async_trait]
pub trait CaptureStore: Send + Sync {
    /// Claims at most `limit` outbox rows, and in the same transaction journals them, resolves or
    /// creates their links (renames included), makes their records dirty, and turns invalid rows into dead
    /// letters with the reason.
    async fn capture_outbox(
        &self,
        mapped_objects: &[MappedObject],
        limit: usize,
    ) -> Result<OutboxReport, StoreError>;

    /// Returns those of `ids` that have no link yet.
    async fn unlinked(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError>;

    /// In one transaction: dedupes, journals, absorbs each observation into its link's remote state
    /// ([`crate::planner::observation`]), echoes intents, adds work, logs overwritten values, and, given a
    /// stream, moves its checkpoint by compare-and-set. [`StoreError::LeaseLost`] if the lease or the
    /// previous position is not what it was; then nothing has happened.
    async fn record_observations(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError>;

    /// Clears the position of a stream and marks objects for a resync, in one transaction: the stream begins
    /// again at the oldest event that is kept. Fails if the lease or its position is not current any more.
    async fn clear_position(
        &self,
        lease: &mut StreamLease,
        needs_resync: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError>;

    /// Marks the objects as needing a resync: their scan streams start over.
    async fn mark_needs_resync(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError>;

    /// Returns the objects whose tables are captured, and whether all existing rows of each are enqueued since
    /// its triggers were installed.
    async fn captured_objects(
        &self,
        tenant: &TenantId,
    ) -> Result<BTreeMap<ObjectName, bool>, StoreError>;

    /// Enqueues existing rows of a mapped table after the place `after`, as if they had just been written.
    /// Returns how many, and the place to go on from; `None` when the table is done.
    async fn enqueue_existing_rows(
        &self,
        mapped: &MappedObject,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(usize, Option<String>), StoreError>;
}

/// How many changes of a batch were journaled, duplicate, refused or out of scope. The counts must balance
/// before a cursor moves:
/// `seen = journaled + duplicate + refused + out_of_scope`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCounts {
    /// Changes seen.
    pub seen: usize,
    /// Journaled.
    pub journaled: usize,
    /// Duplicates of journaled changes.
    pub duplicate: usize,
    /// Refused: they became dead letters.
    pub refused: usize,
    /// Of no mapped object or field.
    pub out_of_scope: usize,
}

/// The result of draining the outbox.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutboxReport {
    /// The counts.
    pub counts: CaptureCounts,
    /// Records with new work.
    pub dirty: usize,
    /// More rows may be waiting.
    pub more: bool,
}

/// The result of recording observations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservationReport {
    /// The counts.
    pub counts: CaptureCounts,
    /// Records with new work.
    pub dirty: usize,
    /// Observations that contain only our own writes.
    pub echoes: usize,
    /// Observations that were older than the remote state.
    pub superseded: usize,
}

/// The position of a stream after a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPosition {
    /// The new position.
    pub cursor: SourceCursor,
    /// Whether the object needs a resync from now on; `None` leaves that unchanged.
    pub needs_resync: Option<bool>,
    /// Changes of the batch without an observation (unmapped objects or fields).
    pub out_of_scope: usize,
}
