//! [`ApplyStore`] on Postgres.

use async_trait::async_trait;

use crate::ports::apply_store::{PlannedRecord, Settlement, TaskRelease};
use crate::ports::record::LeasedTask;
use crate::ports::{ApplyStore, MappedObject, RecordPlanner, StoreError};
use crate::store::PgStore;
use crate::store::operations::plan_and_write::plan_and_write;
use crate::store::operations::settle::settle;
use crate::store::tables::task::{self, LeaseEnd};
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
    ) -> Result<Vec<PlannedRecord>, StoreError> {
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
        settlements: &[Settlement],
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
        releases: &[TaskRelease],
    ) -> Result<(), StoreError> {
        let ends: Vec<(LeasedTask, LeaseEnd)> = releases
            .iter()
            .map(|release| (release.lease.clone(), lease_end(release)))
            .collect();
        let mut tx = self.begin().await?;
        task::end_leases(&mut tx, mapped, &ends).await?;
        tx.commit().await
    }
}

fn lease_end(release: &TaskRelease) -> LeaseEnd {
    match &release.park {
        Some(reason) => LeaseEnd::Park(reason.clone()),
        None => LeaseEnd::Later {
            delay_ms: release.delay_ms,
            counts: release.counts,
            // A required refresh may not have been made.
            needs_refresh: release.lease.needs_refresh,
            code: None,
            reason: release.reason.clone(),
            awaits: Vec::new(),
        },
    }
}
