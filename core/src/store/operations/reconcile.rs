//! [`ReconcileStore`] on Postgres.

use std::collections::BTreeSet;

use super::sweep::PARTITION_DAYS_AHEAD;
use async_trait::async_trait;

use crate::model::ids::{RecordId, SalesforceId};
use crate::ports::reconcile_store::SweepReport;
use crate::ports::record::ObservedRecord;
use crate::ports::{MappedObject, ReconcileStore, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::read::{FoundRows, Locking, RowError, read_rows};
use crate::store::mapped_table::shape::{TableShape, read_shape};
use crate::store::operations::parents::{parents_of, remote_parents};
use crate::store::operations::sweep::{doubt_and_release, remove_old_rows, sweep_capture};
use crate::store::tables::capture::skew_and_installed;
use crate::store::tables::intent::live_intents;
use crate::store::tables::link::{KnownRecord, by_salesforce_id, resolve_parents};
use crate::store::tables::task::{NewWork, add_work};
use crate::store::tables::{comparison, journal, link};
use crate::store::transaction::Tx;

/// Reads the rows of records; where Postgres refuses an external id that the column's type does not take,
/// tries the halves. A record whose external id no row can have has no row.
async fn read_taken_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    records: Vec<&KnownRecord>,
) -> Result<FoundRows, StoreError> {
    let mut found = FoundRows::default();
    let mut batches = vec![records];
    // Each refusal halves a batch, so there are at most twice as many batches as records.
    while let Some(batch) = batches.pop() {
        tx.savepoint().await?;
        match read_rows(tx, mapped, shape, &batch, Locking::Refresh).await {
            Ok(read) => {
                tx.keep().await?;
                found.rows.extend(read.rows);
            }
            Err(RowError::Refused(_)) => {
                tx.back().await?;
                if batch.len() > 1 {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([second.to_vec(), first.to_vec()]);
                }
            }
            Err(RowError::Store(error)) => return Err(error),
        }
    }
    Ok(found)
}

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
        doubt_and_release(&mut tx, &tenants, &mut report).await?;
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

    async fn observe(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<ObservedRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let known = by_salesforce_id(&mut tx, mapped, ids).await?;
        let records: Vec<RecordId> = known.iter().map(|known| known.link.record_id).collect();
        let mut intents = live_intents(&mut tx, &records).await?;
        let shape = read_shape(&mut tx, mapped).await?;
        let borrowed: Vec<&KnownRecord> = known.iter().collect();
        let mut found = read_taken_rows(&mut tx, mapped, &shape, borrowed).await?;
        let pointed = remote_parents(mapped, &known);
        let parents = resolve_parents(&mut tx, &mapped.tenant, &pointed).await?;
        let (clock_skew_ms, _) = skew_and_installed(&mut tx, mapped).await?;
        tx.rollback().await?;
        Ok(known
            .into_iter()
            .map(|known| {
                let record_id = known.link.record_id;
                ObservedRecord {
                    intents: intents.remove(&record_id).unwrap_or_default(),
                    rows: found.rows.remove(&record_id).unwrap_or_default(),
                    row_locked: false,
                    parents: parents_of(mapped, &known, &parents),
                    external_id_held: false,
                    clock_skew_ms,
                    refused: Vec::new(),
                    known,
                }
            })
            .collect())
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
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let ours = link::records_of(&mut tx, mapped, records).await?;
        let work: Vec<NewWork> = ours.into_iter().map(NewWork::refresh).collect();
        add_work(&mut tx, &work).await?;
        tx.commit().await?;
        Ok(work.len())
    }

    async fn idle_records(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        let mut tx = self.begin().await?;
        let idle = link::idle_records(&mut tx, mapped, records).await?;
        tx.rollback().await?;
        Ok(idle)
    }

    async fn publish_comparison(
        &self,
        mapped: &MappedObject,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        comparison::publish_comparison(&mut tx, mapped, compared, differing).await?;
        tx.commit().await
    }
}
