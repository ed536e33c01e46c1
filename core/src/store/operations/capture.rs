//! [`CaptureStore`] on Postgres.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::ids::{ObjectName, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;
use crate::ports::capture_store::{ObservationReport, OutboxReport, StreamPosition};
use crate::ports::job_store::StreamLease;
use crate::ports::{CaptureStore, MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::walk::enqueue_rows;
use crate::store::operations::drain_outbox::drain_outbox;
use crate::store::operations::record_observations::record_observations;
use crate::store::tables::{capture, checkpoint, link};
use crate::store::transaction::Tx;

#[async_trait]
impl CaptureStore for PgStore {
    async fn capture_outbox(
        &self,
        mapped_objects: &[MappedObject],
        limit: usize,
    ) -> Result<OutboxReport, StoreError> {
        Tx::retry(|| async {
            let mut tx = self.begin().await?;
            let report = drain_outbox(&mut tx, mapped_objects, limit).await?;
            tx.commit().await?;
            Ok(report)
        })
        .await
    }

    async fn unlinked(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError> {
        let mut tx = self.begin().await?;
        let unlinked = link::unlinked(&mut tx, mapped, ids).await?;
        tx.rollback().await?;
        Ok(unlinked)
    }

    async fn record_observations(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError> {
        let place = stream
            .as_ref()
            .map(|(lease, position)| (&**lease, position));
        let report = Tx::retry(|| async {
            let mut tx = self.begin().await?;
            let report = record_observations(&mut tx, mapped_objects, observations, place).await?;
            tx.commit().await?;
            Ok(report)
        })
        .await?;
        if let Some((lease, position)) = stream {
            lease.position = Some(position.cursor);
            lease.needs_resync = position.needs_resync.unwrap_or(lease.needs_resync);
            lease.age_ms = Some(0);
        }
        Ok(report)
    }

    async fn clear_position(
        &self,
        lease: &mut StreamLease,
        needs_resync: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        checkpoint::lock_checkpoint(&mut tx, lease).await?;
        checkpoint::clear_position(&mut tx, lease).await?;
        checkpoint::mark_scans_need_resync(&mut tx, &lease.tenant, needs_resync, reason).await?;
        tx.commit().await?;
        lease.position = None;
        lease.age_ms = Some(0);
        Ok(())
    }

    async fn mark_needs_resync(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        checkpoint::mark_scans_need_resync(&mut tx, tenant, objects, reason).await?;
        tx.commit().await
    }

    async fn captured_objects(
        &self,
        tenant: &TenantId,
    ) -> Result<BTreeMap<ObjectName, bool>, StoreError> {
        let mut tx = self.begin().await?;
        let captured = capture::captured(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(captured)
    }

    async fn enqueue_existing_rows(
        &self,
        mapped: &MappedObject,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(usize, Option<String>), StoreError> {
        let mut tx = self.begin().await?;
        let (count, next) = enqueue_rows(&mut tx, mapped, after, limit).await?;
        if next.is_none() {
            capture::note_rows_enqueued(&mut tx, mapped).await?;
        }
        tx.commit().await?;
        Ok((count, next))
    }
}
