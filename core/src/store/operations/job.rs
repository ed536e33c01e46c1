//! [`JobStore`] on Postgres: switches, streams, wake-up permits, leases of a worker that gave up.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::model::ids::{ColumnName, ObjectName, SalesforceId, TableName, TenantId};
use crate::ports::fence::{FenceClaim, FenceMove};
use crate::ports::job_store::{
    ClockSkew, Control, DelayedWakeUp, JobKind, KnownSchemas, MappedSchemas, NewOutage, NextWakeUp,
    OrgMatch, Outage, StreamLease, WritesSent,
};
use crate::ports::record::LeasedTask;
use crate::ports::salesforce::ApiUsage;
use crate::ports::{JobStore, MappedObject, StoreError, StreamName};
use crate::store::PgStore;
use crate::store::error::{contended, corrupt};
use crate::store::mapped_table::columns::read_columns;
use crate::store::tables::{checkpoint, control, database, job, outage, permit, schema, task};

#[async_trait]
impl JobStore for PgStore {
    async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError> {
        let mut tx = self.begin().await?;
        let mut control = control::read_control(&mut tx, tenant, &self.endpoint()).await?;
        control.outage = outage::read_outage(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(control)
    }

    async fn replays(&self, tenant: &TenantId) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        let replays = control::replays(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(replays)
    }

    async fn note_clock_skew(&self, tenant: &TenantId, skew: ClockSkew) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        control::note_clock_skew(&mut tx, tenant, skew).await?;
        tx.commit().await
    }

    async fn note_api_usage(&self, tenant: &TenantId, usage: ApiUsage) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        control::note_api_usage(&mut tx, tenant, usage).await?;
        tx.commit().await
    }

    async fn register_database(&self, tenant: &TenantId) -> Result<(), StoreError> {
        self.remember_database(tenant).await
    }

    async fn claim_fence(
        &self,
        tenant: &TenantId,
        id: &str,
        every_ms: i64,
    ) -> Result<Option<FenceClaim>, StoreError> {
        let mut tx = self.begin().await?;
        let claim = database::claim_fence(&mut tx, tenant, id, every_ms).await?;
        tx.commit().await?;
        Ok(claim)
    }

    async fn settle_fence(
        &self,
        tenant: &TenantId,
        claim: &FenceClaim,
        moved: &FenceMove,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        database::settle_fence(&mut tx, tenant, claim, moved).await?;
        tx.commit().await
    }

    async fn register_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgMatch, StoreError> {
        let mut tx = self.begin().await?;
        let met = match control::set_first_org(&mut tx, tenant, organization).await? {
            Some(epoch) => {
                checkpoint::forget_positions(&mut tx, tenant).await?;
                OrgMatch::Known(epoch)
            }
            None => {
                control::note_login(&mut tx, tenant, organization).await?;
                match control::known_org(&mut tx, tenant).await? {
                    Some((known, _)) if known != *organization => OrgMatch::Other { known },
                    Some((_, epoch)) => OrgMatch::Known(epoch),
                    None => return Err(contended("meeting the org")),
                }
            }
        };
        tx.commit().await?;
        Ok(met)
    }

    async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError> {
        let mut tx = self.begin().await?;
        let lease = checkpoint::lease_stream(&mut tx, tenant, stream, owner, lease_ms).await?;
        tx.commit().await?;
        Ok(lease)
    }

    async fn stream_owner(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
    ) -> Result<Option<String>, StoreError> {
        let mut tx = self.begin().await?;
        let streams = checkpoint::read_checkpoints(&mut tx, tenant, Some(stream)).await?;
        tx.rollback().await?;
        Ok(streams.into_iter().find_map(|stream| stream.owner))
    }

    async fn end_leases_of(&self, tenant: &TenantId, owner: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        checkpoint::end_leases_of(&mut tx, tenant, owner).await?;
        tx.commit().await
    }

    async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        checkpoint::end_stream_lease(&mut tx, lease).await?;
        tx.commit().await
    }

    async fn claim_permits(
        &self,
        tenant: &TenantId,
        permits_max: i32,
        tasks_per_permit: i64,
        permit_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError> {
        let mut tx = self.begin().await?;
        let permits =
            permit::claim_permits(&mut tx, tenant, permits_max, tasks_per_permit, permit_ms)
                .await?;
        tx.commit().await?;
        Ok(permits)
    }

    async fn keep_or_free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        permit_ms: i64,
        delayed: DelayedWakeUp,
    ) -> Result<NextWakeUp, StoreError> {
        let mut tx = self.begin().await?;
        let next = permit::keep_or_free_permit(&mut tx, tenant, object, permit, permit_ms, delayed)
            .await?;
        tx.commit().await?;
        Ok(next)
    }

    async fn free_permits(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        permit::free_permits(&mut tx, tenant).await?;
        tx.commit().await
    }

    async fn free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        permit::free_permit(&mut tx, tenant, object, permit).await?;
        tx.commit().await
    }

    async fn columns_of(&self, table: &TableName) -> Result<BTreeSet<ColumnName>, StoreError> {
        let mut tx = self.begin().await?;
        let columns = read_columns(&mut tx, table).await?;
        tx.rollback().await?;
        Ok(columns.into_iter().map(|column| column.name).collect())
    }

    async fn known_schemas(&self, tenant: &TenantId) -> Result<KnownSchemas, StoreError> {
        let mut tx = self.begin().await?;
        let known = schema::known_schemas(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(known)
    }

    async fn keep_schemas(
        &self,
        tenant: &TenantId,
        schemas: &MappedSchemas,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        schema::keep_schemas(&mut tx, tenant, schemas).await?;
        tx.commit().await
    }

    async fn note_activity(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        control::note_activity(&mut tx, tenant).await?;
        tx.commit().await
    }

    async fn idle_ms(&self, tenant: &TenantId) -> Result<Option<i64>, StoreError> {
        let mut tx = self.begin().await?;
        let idle_ms = control::idle_ms(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(idle_ms)
    }

    async fn note_outage(
        &self,
        tenant: &TenantId,
        outage: &NewOutage,
    ) -> Result<Outage, StoreError> {
        let mut tx = self.begin().await?;
        let noted = outage::note_outage(&mut tx, tenant, outage).await?;
        tx.commit().await?;
        noted.ok_or_else(|| corrupt("an outage was recorded without a result"))
    }

    async fn note_job(
        &self,
        tenant: &TenantId,
        job: (JobKind, Option<&ObjectName>),
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        job::note_job(&mut tx, tenant, job, error).await?;
        tx.commit().await
    }

    async fn end_outage(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let ended = outage::end_outage(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(ended)
    }

    async fn abandon_tasks(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        writes_sent: WritesSent,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        task::abandon_leases(&mut tx, mapped, leases, writes_sent).await?;
        tx.commit().await
    }
}
