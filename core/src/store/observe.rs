//! What reconcile needs: reading without locks, finding what vanished, enqueueing, publishing a proof.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::PgStore;
use super::apply::clock_skew;
use super::observations::{parents_of, references, resolve_parents};
use super::records::{KnownRecord, LinkRow, live_intents};
use super::rows::{Locking, RowError, read_rows};
use super::table::read_shape;
use super::tasks::{NewWork, add_work};
use super::transaction::Tx;
use crate::engine::ports::store::ObservedRecord;
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{RecordId, SalesforceId};

impl PgStore {
    /// See [`crate::engine::ports::StorePort::observe`].
    pub(super) async fn observe(
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
        let mut found = match read_rows(&mut tx, mapped, &shape, &borrowed, Locking::Refresh).await
        {
            Ok(found) => found,
            Err(RowError::Store(error)) => return Err(error),
            Err(RowError::Refused(refusal)) => {
                return Err(StoreError::Mapping(format!(
                    "the external ids of {} do not fit column {}: {}",
                    mapped.sync.object, mapped.sync.external_id.column, refusal.message
                )));
            }
        };
        let pointed: BTreeSet<_> = known
            .iter()
            .flat_map(|known| {
                let remote_state = &known.link.remote_state.fields;
                references(mapped, |field| {
                    remote_state.get(field).map(|field| &field.value)
                })
            })
            .collect();
        let parents = resolve_parents(&mut tx, &mapped.tenant, &pointed).await?;
        let clock_skew_ms = clock_skew(&mut tx, mapped).await?;
        tx.rollback().await?;
        Ok(known
            .into_iter()
            .map(|known| {
                let record_id = known.link.record_id;
                let rows = found.rows.remove(&record_id).unwrap_or_default();
                ObservedRecord {
                    lease: None,
                    intents: intents.remove(&record_id).unwrap_or_default(),
                    rows: rows.into_iter().map(|found| found.row).collect(),
                    row_locked: false,
                    postgres_changed_at_ms: known.postgres_changed_at_ms,
                    parents: parents_of(mapped, &known, &parents),
                    clock_skew_ms,
                    refused: Vec::new(),
                    link: known.link,
                }
            })
            .collect())
    }

    /// See [`crate::engine::ports::StorePort::unlinked`].
    pub(super) async fn unlinked(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError> {
        let mut tx = self.begin().await?;
        let wanted: Vec<&str> = ids.iter().map(SalesforceId::as_str).collect();
        let unknown: Vec<String> = tx
            .values(
                "finding ids without a link",
                sqlx::query_scalar(
                    "select wanted.id
                    from unnest($3::text[]) as wanted (id)
                    where not exists (
                        select
                        from syncline.sync_link as link
                        where link.tenant = $1
                        and link.object = $2
                        and link.salesforce_id = wanted.id
                    )
                    and not exists (
                        select
                        from syncline.sync_link_alias as former
                        where former.tenant = $1
                        and former.object = $2
                        and former.kind = 'salesforce_id'
                        and former.value = wanted.id
                        and not former.is_current
                    )",
                )
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(wanted),
            )
            .await?;
        tx.rollback().await?;
        let unknown: BTreeSet<String> = unknown.into_iter().collect();
        Ok(ids
            .iter()
            .filter(|id| unknown.contains(id.as_str()))
            .cloned()
            .collect())
    }

    /// See [`crate::engine::ports::StorePort::vanished`].
    pub(super) async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError> {
        let mut tx = self.begin().await?;
        let seen: Vec<&str> = seen.iter().map(SalesforceId::as_str).collect();
        let records: Vec<Uuid> = tx
            .values(
                "finding records that a scan did not show",
                sqlx::query_scalar(
                    "select link.record_id
                    from syncline.sync_link as link
                    where link.tenant = $1
                    and link.object = $2
                    and link.salesforce_id is not null
                    and ($3::text is null or link.salesforce_id > $3)
                    and ($4::text is null or link.salesforce_id <= $4)
                    and link.remote_state ->> 'presence' = 'present'
                    and not exists (
                        select
                        from unnest($5::text[]) as shown (id)
                        where shown.id = link.salesforce_id
                    )
                    order by link.salesforce_id",
                )
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(after.map(SalesforceId::as_str))
                .bind(upto.map(SalesforceId::as_str))
                .bind(seen),
            )
            .await?;
        tx.rollback().await?;
        Ok(records.into_iter().map(RecordId).collect())
    }

    /// See [`crate::engine::ports::StorePort::enqueue_repair`].
    pub(super) async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
        let ours: Vec<Uuid> = tx
            .values(
                "finding records to repair",
                sqlx::query_scalar(
                    "select record_id
                    from syncline.sync_link
                    where record_id = any($1)
                    and tenant = $2
                    and object = $3",
                )
                .bind(ids)
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str()),
            )
            .await?;
        let work: Vec<NewWork> = ours
            .into_iter()
            .map(|record| NewWork {
                record_id: RecordId(record),
                needs_refresh: true,
                xid: None,
            })
            .collect();
        add_work(&mut tx, &work).await?;
        tx.commit().await?;
        Ok(work.len())
    }

    /// See [`crate::engine::ports::StorePort::idle_records`].
    pub(super) async fn idle_records(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        let mut tx = self.begin().await?;
        let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
        let idle: Vec<Uuid> = tx
            .values(
                "finding records at rest",
                sqlx::query_scalar(
                    "select link.record_id
                    from syncline.sync_link as link
                    where link.record_id = any($1)
                    and link.tenant = $2
                    and not exists (
                        select
                        from syncline.sync_task as task
                        where task.record_id = link.record_id
                    )
                    and not exists (
                        select
                        from syncline.sync_intent as intent
                        where intent.record_id = link.record_id
                        and intent.state in ('open', 'unknown')
                    )",
                )
                .bind(ids)
                .bind(mapped.tenant.as_str()),
            )
            .await?;
        tx.rollback().await?;
        Ok(idle.into_iter().map(RecordId).collect())
    }

    /// See [`crate::engine::ports::StorePort::publish_comparison`].
    pub(super) async fn publish_comparison(
        &self,
        mapped: &MappedObject,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "publishing a proof",
            sqlx::query(
                "insert into syncline.sync_comparison (tenant, object, compared, differing, config_hash)
                values ($1, $2, $3, $4, $5)
                -- The last comparison is the one that counts.
                on conflict (tenant, object) do update
                set compared = excluded.compared,
                    differing = excluded.differing,
                    config_hash = excluded.config_hash,
                    compared_at = now()",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(i64::try_from(compared).unwrap_or(i64::MAX))
            .bind(i64::try_from(differing).unwrap_or(i64::MAX))
            .bind(&*mapped.config_hash),
        )
        .await?;
        tx.commit().await
    }
}

async fn by_salesforce_id(
    tx: &mut Tx,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<Vec<KnownRecord>, StoreError> {
    let ids: Vec<&str> = ids.iter().map(SalesforceId::as_str).collect();
    let rows: Vec<LinkRow> = tx
        .rows(
            "reading links",
            sqlx::query_as(
                "select link.*
                from syncline.sync_link as link
                where link.tenant = $1
                and link.object = $2
                and link.salesforce_id = any($3)
                order by link.salesforce_id",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(ids),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}
