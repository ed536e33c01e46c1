//! [`ApplyStore`] on Postgres.

use async_trait::async_trait;

use crate::ports::apply_store::{PlannedBatch, Settlement};
use crate::ports::record::{LeaseEnd, LeasedTask};
use crate::ports::{ApplyStore, MappedObject, RecordPlanner, StoreError};
use crate::store::PgStore;
use crate::store::operations::plan_and_write::plan_and_write;
use crate::store::operations::settle::settle;
use crate::store::tables::task;
use crate::store::transaction::Tx;

#[async_trait]
impl ApplyStore for PgStore {
    async fn lease_tasks(
        &self,
        mapped: &MappedObject,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        let mut tx = self.begin().await?;
        let leases = task::lease_tasks(&mut tx, mapped, limit, worker, lease_ms).await?;
        tx.commit().await?;
        Ok(leases)
    }

    async fn plan_and_write(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<PlannedBatch, StoreError> {
        Tx::retry(|| async {
            let mut tx = self.begin().await?;
            let planned = plan_and_write(&mut tx, mapped, leases, planner).await?;
            tx.commit().await?;
            Ok(planned)
        })
        .await
    }

    async fn settle(
        &self,
        mapped: &MappedObject,
        settlements: &[Settlement<'_>],
    ) -> Result<usize, StoreError> {
        Tx::retry(|| async {
            let mut tx = self.begin().await?;
            let late = settle(&mut tx, mapped, settlements).await?;
            tx.commit().await?;
            Ok(late)
        })
        .await
    }

    async fn release_tasks(
        &self,
        mapped: &MappedObject,
        releases: &[(LeasedTask, LeaseEnd)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        task::end_leases(&mut tx, mapped, releases).await?;
        tx.commit().await
    }
}
