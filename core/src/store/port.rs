//! [`PgStore`] as the engine's store: each call by name, nothing else.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::PgStore;
use crate::engine::ports::store::{
    Control, LeasedTask, NextRing, ObservationReport, ObservedRecord, OutboxReport, PlannedRecord,
    Settlement, StreamLease, StreamName, StreamPosition, SweepReport, TableFacts, TaskRelease,
    WakeUp, WritesLeft,
};
use crate::engine::ports::{ObjectScope, RecordPlanner, StoreError, StorePort};
use crate::model::ids::{ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;

#[async_trait]
impl StorePort for PgStore {
    async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError> {
        self.read_control(tenant).await
    }

    async fn adopt_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgEpoch, StoreError> {
        self.take_org(tenant, organization).await
    }

    async fn table_facts(&self, scope: &ObjectScope) -> Result<TableFacts, StoreError> {
        self.read_table_facts(scope).await
    }

    async fn capture_outbox(
        &self,
        scopes: &[ObjectScope],
        limit: usize,
    ) -> Result<OutboxReport, StoreError> {
        self.drain_outbox(scopes, limit).await
    }

    async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError> {
        self.take_stream(tenant, stream, owner, lease_ms).await
    }

    async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError> {
        self.free_stream(lease).await
    }

    async fn unlinked(
        &self,
        scope: &ObjectScope,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError> {
        self.unknown_ids(scope, ids).await
    }

    async fn record_observations(
        &self,
        scopes: &[ObjectScope],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError> {
        self.record_sightings(scopes, observations, stream).await
    }

    async fn mark_stale(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError> {
        self.make_stale(tenant, objects, reason).await
    }

    async fn enqueue_existing_rows(
        &self,
        scope: &ObjectScope,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(usize, Option<String>), StoreError> {
        self.enqueue_rows(scope, after, limit).await
    }

    async fn claim_doorbells(
        &self,
        tenant: &TenantId,
        slots_max: i32,
        tasks_per_slot: i64,
        rung_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError> {
        self.take_doorbells(tenant, slots_max, tasks_per_slot, rung_ms)
            .await
    }

    async fn keep_or_free_doorbell(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        slot: i32,
        rung_ms: i64,
        wake_up: WakeUp,
    ) -> Result<NextRing, StoreError> {
        self.renew_doorbell(tenant, object, slot, rung_ms, wake_up)
            .await
    }

    async fn free_doorbell(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        slot: i32,
    ) -> Result<(), StoreError> {
        self.drop_doorbell(tenant, object, slot).await
    }

    async fn lease_tasks(
        &self,
        scope: &ObjectScope,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        self.take_leases(scope, limit, worker, lease_ms).await
    }

    async fn plan_and_write(
        &self,
        scope: &ObjectScope,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedRecord>, StoreError> {
        self.plan_and_write_rows(scope, leases, planner).await
    }

    async fn settle(
        &self,
        scope: &ObjectScope,
        settlements: &[Settlement],
    ) -> Result<usize, StoreError> {
        self.settle_writes(scope, settlements).await
    }

    async fn release_tasks(
        &self,
        scope: &ObjectScope,
        releases: &[TaskRelease],
    ) -> Result<(), StoreError> {
        self.give_leases_back(scope, releases).await
    }

    async fn abandon_tasks(
        &self,
        scope: &ObjectScope,
        leases: &[LeasedTask],
        writes_left: WritesLeft,
    ) -> Result<(), StoreError> {
        self.let_leases_lapse(scope, leases, writes_left).await
    }

    async fn sweep(&self, scopes: &[ObjectScope]) -> Result<SweepReport, StoreError> {
        self.sweep_all(scopes).await
    }

    async fn observe(
        &self,
        scope: &ObjectScope,
        ids: &[SalesforceId],
    ) -> Result<Vec<ObservedRecord>, StoreError> {
        self.observe_records(scope, ids).await
    }

    async fn vanished(
        &self,
        scope: &ObjectScope,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError> {
        self.vanished_records(scope, after, upto, seen).await
    }

    async fn enqueue_repair(
        &self,
        scope: &ObjectScope,
        records: &[RecordId],
    ) -> Result<usize, StoreError> {
        self.enqueue_looks(scope, records).await
    }

    async fn idle_records(
        &self,
        scope: &ObjectScope,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        self.records_at_rest(scope, records).await
    }

    async fn publish_proof(
        &self,
        scope: &ObjectScope,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError> {
        self.write_proof(scope, compared, differing).await
    }
}
