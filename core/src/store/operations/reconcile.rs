//! [`ReconcileStore`] on Postgres.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId, SalesforceId, TenantId};
use crate::ports::comparison::{
    Begin, Comparison, Explanations, ObservedPage, PageRecord, RowPage,
};
use crate::ports::job_store::StreamLease;
use crate::ports::reconcile_store::SweepReport;
use crate::ports::{MappedObject, ReconcileStore, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::walk::enqueue_places;
use crate::store::operations::compare;
use crate::store::operations::sweep::{
    PARTITION_DAYS_AHEAD, end_expired_leases, remove_old_rows, sweep_capture,
};
use crate::store::tables::capture::captured;
use crate::store::tables::task::{NewWork, add_work};
use crate::store::tables::{capture, comparison, journal, link};
use crate::store::transaction::Tx;

#[async_trait]
impl ReconcileStore for PgStore {
    async fn sweep(&self, mapped_objects: &[MappedObject]) -> Result<SweepReport, StoreError> {
        let tenants: BTreeSet<&str> = mapped_objects
            .iter()
            .map(|mapped| mapped.tenant.as_str())
            .collect();
        let tenants: Vec<&str> = tenants.into_iter().collect();
        let mut report = SweepReport::default();
        let mut tx = self.begin().await?;
        end_expired_leases(&mut tx, &tenants, &mut report).await?;
        tx.commit().await?;
        let mut tx = self.begin().await?;
        report.capture_broken = sweep_capture(&mut tx, mapped_objects).await?;
        tx.commit().await?;
        let mut tx = self.begin().await?;
        report.rows_removed = remove_old_rows(&mut tx, &tenants).await?;
        tx.commit().await?;
        // In separate transactions: partitions need locks for which they may have to wait.
        self.make_journal_partitions(PARTITION_DAYS_AHEAD).await?;
        let mut tx = self.begin().await?;
        journal::drop_partitions(&mut tx).await?;
        tx.commit().await?;
        Ok(report)
    }

    async fn note_events(
        &self,
        tenant: &TenantId,
        found: &[(ObjectName, Option<String>)],
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        capture::note_events(&mut tx, tenant, found).await?;
        tx.commit().await
    }

    async fn note_unheard(&self, mapped: &MappedObject, changed_ms: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        capture::note_unheard(&mut tx, mapped, changed_ms).await?;
        tx.commit().await
    }

    async fn missing_events(&self, tenant: &TenantId) -> Result<Vec<String>, StoreError> {
        let mut tx = self.begin().await?;
        let missing = capture::missing_events(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(missing)
    }

    async fn observe_page(
        &self,
        mapped: &MappedObject,
        seen: &[PageRecord<'_>],
        started_at: Option<DateTime<Utc>>,
    ) -> Result<ObservedPage, StoreError> {
        let mut tx = self.begin().await?;
        let page = compare::observe_page(&mut tx, mapped, seen, started_at).await?;
        tx.rollback().await?;
        Ok(page)
    }

    async fn observe_rows(
        &self,
        mapped: &MappedObject,
        started_at: DateTime<Utc>,
        after: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<RowPage, StoreError> {
        let mut tx = self.begin().await?;
        let page = compare::observe_rows(&mut tx, mapped, started_at, after, limit).await?;
        tx.rollback().await?;
        Ok(page)
    }

    async fn explain(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<Explanations, StoreError> {
        let mut tx = self.begin().await?;
        let explanations = comparison::explain(&mut tx, mapped, records).await?;
        tx.rollback().await?;
        Ok(explanations)
    }

    async fn ids_not_seen(
        &self,
        mapped: &MappedObject,
        range: (Option<&SalesforceId>, Option<&SalesforceId>),
        seen: &[&SalesforceId],
        limit: usize,
    ) -> Result<Vec<SalesforceId>, StoreError> {
        let mut tx = self.begin().await?;
        let ids = link::ids_not_seen(&mut tx, mapped, range, seen, limit).await?;
        tx.rollback().await?;
        Ok(ids)
    }

    async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError> {
        let mut tx = self.begin().await?;
        let records = link::vanished(&mut tx, mapped, after, upto, seen).await?;
        tx.rollback().await?;
        Ok(records)
    }

    async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
        missing: &[RecordId],
    ) -> Result<usize, StoreError> {
        if records.is_empty() {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let ours = link::records_of(&mut tx, mapped, records).await?;
        note_missing_rows(&mut tx, mapped, missing).await?;
        let work: Vec<NewWork> = ours.into_iter().map(NewWork::refresh).collect();
        add_work(&mut tx, &work).await?;
        tx.commit().await?;
        Ok(work.len())
    }

    async fn enqueue_unknown_rows(
        &self,
        mapped: &MappedObject,
        rows: &[serde_json::Value],
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let all = captured(&mut tx, &mapped.tenant).await?;
        let enqueued = match all.get(&mapped.sync.object) {
            Some(true) => enqueue_places(&mut tx, mapped, rows).await?,
            Some(false) | None => 0,
        };
        tx.commit().await?;
        Ok(usize::try_from(enqueued).unwrap_or(usize::MAX))
    }

    async fn begin_comparison(
        &self,
        mapped: &MappedObject,
        begin: Begin,
    ) -> Result<Option<Comparison>, StoreError> {
        let mut tx = self.begin().await?;
        let comparison = comparison::begin_comparison(&mut tx, mapped, begin).await?;
        tx.commit().await?;
        Ok(comparison)
    }

    async fn save_comparison(
        &self,
        lease: &StreamLease,
        comparison: &Comparison,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let mut tx = self.begin().await?;
        let finished_at = comparison::save_comparison(&mut tx, lease, comparison).await?;
        tx.commit().await?;
        Ok(finished_at)
    }
}

/// Notes that a comparison found no row of these records, on which both sides had agreed.
async fn note_missing_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[RecordId],
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    tx.run(
        "noting missing rows",
        sqlx::query(
            "update syncline.sync_link as link
            set postgres_presence = 'deleted',
                version = link.version + 1,
                updated_at = syncline.clock()
            from (
                select record_id
                from syncline.sync_link
                where record_id = any($1)
                and tenant = $2
                and object = $3
                and agreed
                and postgres_presence <> 'deleted'
                order by record_id
                -- Excludes other writers of these links.
                for no key update
            ) as missing
            where link.record_id = missing.record_id",
        )
        .bind(ids)
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str()),
    )
    .await?;
    Ok(())
}
