//! [`PgStore`] as the engine's store: each call by name, nothing else.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::PgStore;
use crate::engine::ports::store::{
    Control, DelayedWakeUp, LeasedTask, NextWakeUp, ObservationReport, ObservedRecord,
    OutboxReport, PlannedRecord, Settlement, StreamLease, StreamName, StreamPosition, SweepReport,
    TableFacts, TaskRelease, WritesSent,
};
use crate::engine::ports::{MappedObject, RecordPlanner, StoreError, StorePort};
use crate::model::ids::{ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;

#[async_trait]
impl StorePort for PgStore {
    async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError> {
        self.control(tenant).await
    }

    async fn adopt_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgEpoch, StoreError> {
        self.adopt_org(tenant, organization).await
    }

    async fn table_facts(&self, mapped: &MappedObject) -> Result<TableFacts, StoreError> {
        self.table_facts(mapped).await
    }

    async fn capture_outbox(
        &self,
        mapped_objects: &[MappedObject],
        limit: usize,
    ) -> Result<OutboxReport, StoreError> {
        self.capture_outbox(mapped_objects, limit).await
    }

    async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError> {
        self.acquire_stream(tenant, stream, owner, lease_ms).await
    }

    async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError> {
        self.release_stream(lease).await
    }

    async fn unlinked(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError> {
        self.unlinked(mapped, ids).await
    }

    async fn record_observations(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError> {
        self.record_observations(mapped_objects, observations, stream)
            .await
    }

    async fn mark_needs_resync(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError> {
        self.mark_needs_resync(tenant, objects, reason).await
    }

    async fn enqueue_existing_rows(
        &self,
        mapped: &MappedObject,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(usize, Option<String>), StoreError> {
        self.enqueue_existing_rows(mapped, after, limit).await
    }

    async fn claim_permits(
        &self,
        tenant: &TenantId,
        permits_max: i32,
        tasks_per_permit: i64,
        permit_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError> {
        self.claim_permits(tenant, permits_max, tasks_per_permit, permit_ms)
            .await
    }

    async fn keep_or_free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        permit_ms: i64,
        delayed: DelayedWakeUp,
    ) -> Result<NextWakeUp, StoreError> {
        self.keep_or_free_permit(tenant, object, permit, permit_ms, delayed)
            .await
    }

    async fn free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Result<(), StoreError> {
        self.free_permit(tenant, object, permit).await
    }

    async fn lease_tasks(
        &self,
        mapped: &MappedObject,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        self.lease_tasks(mapped, limit, worker, lease_ms).await
    }

    async fn plan_and_write(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedRecord>, StoreError> {
        self.plan_and_write(mapped, leases, planner).await
    }

    async fn settle(
        &self,
        mapped: &MappedObject,
        settlements: &[Settlement],
    ) -> Result<usize, StoreError> {
        self.settle(mapped, settlements).await
    }

    async fn release_tasks(
        &self,
        mapped: &MappedObject,
        releases: &[TaskRelease],
    ) -> Result<(), StoreError> {
        self.release_tasks(mapped, releases).await
    }

    async fn abandon_tasks(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        writes_sent: WritesSent,
    ) -> Result<(), StoreError> {
        self.abandon_tasks(mapped, leases, writes_sent).await
    }

    async fn sweep(&self, mapped_objects: &[MappedObject]) -> Result<SweepReport, StoreError> {
        self.sweep(mapped_objects).await
    }

    async fn observe(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<ObservedRecord>, StoreError> {
        self.observe(mapped, ids).await
    }

    async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError> {
        self.vanished(mapped, after, upto, seen).await
    }

    async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<usize, StoreError> {
        self.enqueue_repair(mapped, records).await
    }

    async fn idle_records(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        self.idle_records(mapped, records).await
    }

    async fn publish_comparison(
        &self,
        mapped: &MappedObject,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError> {
        self.publish_comparison(mapped, compared, differing).await
    }
}
