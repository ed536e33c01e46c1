//! Links: a record's ids, remote state and base.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::SyncLink;
use crate::model::ids::{FieldName, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use crate::model::link::{AutomationOverride, RemoteState};
use crate::model::value::Payload;
pub(crate) use crate::planner::identity::KnownRecord;
use crate::ports::{MappedObject, StoreError};
use crate::store::enum_text::{enum_text, parse_enum};
use crate::store::error::corrupt;
use crate::store::tables::alias::{Wanted, align_aliases};
use crate::store::transaction::{Tx, recordset};

/// A row of `sync_link`.
#[derive(sqlx::FromRow)]
pub(crate) struct LinkRow {
    pub(crate) record_id: Uuid,
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) org_epoch: i64,
    pub(crate) external_id: String,
    pub(crate) canonical_id: String,
    pub(crate) generated: bool,
    pub(crate) key_conflict: bool,
    pub(crate) salesforce_id: Option<String>,
    pub(crate) local_key: Option<serde_json::Value>,
    pub(crate) base: Json<Payload>,
    pub(crate) agreed: bool,
    pub(crate) remote_state: Json<RemoteState>,
    pub(crate) automation_overrides: Json<BTreeMap<FieldName, AutomationOverride>>,
    pub(crate) postgres_presence: String,
    pub(crate) postgres_changed_at: Option<DateTime<Utc>>,
    pub(crate) postgres_edited: Json<BTreeMap<FieldName, i64>>,
    pub(crate) version: i64,
}

impl TryFrom<LinkRow> for KnownRecord {
    type Error = StoreError;

    fn try_from(row: LinkRow) -> Result<Self, StoreError> {
        Ok(Self {
            link: SyncLink {
                record_id: RecordId(row.record_id),
                tenant: TenantId::parse(&row.tenant).map_err(corrupt)?,
                object: ObjectName::parse(&row.object).map_err(corrupt)?,
                org_epoch: OrgEpoch(row.org_epoch),
                external_id: row.external_id,
                canonical_id: row.canonical_id,
                salesforce_id: row
                    .salesforce_id
                    .map(|id| SalesforceId::parse(&id))
                    .transpose()
                    .map_err(corrupt)?,
                local_key: row.local_key,
                base: row.base.0,
                agreed: row.agreed,
                remote_state: row.remote_state.0,
                automation_overrides: row.automation_overrides.0,
                version: row.version,
            },
            generated: row.generated,
            key_conflict: row.key_conflict,
            postgres_presence: parse_enum(&row.postgres_presence)?,
            postgres_changed_at_ms: row.postgres_changed_at.map(|at| at.timestamp_millis()),
            postgres_edited: row.postgres_edited.0,
        })
    }
}

/// Loads and locks links, in record order. Excludes other transactions of the engine.
pub(crate) async fn lock_records(
    tx: &mut Tx,
    records: &[RecordId],
) -> Result<Vec<KnownRecord>, StoreError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    let rows: Vec<LinkRow> = tx
        .rows(
            "locking links",
            sqlx::query_as(
                "select link.*
                from syncline.sync_link as link
                where link.record_id = any($1)
                order by link.record_id
                -- Excludes other writers of these links; foreign keys may still point to them.
                for no key update of link",
            )
            .bind(ids),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}

/// Finds links by any of their keys, former Salesforce ids included, and locks them. Excludes other
/// transactions of the engine.
pub(crate) async fn lock_by_names(
    tx: &mut Tx,
    wanted: &[Wanted],
) -> Result<Vec<KnownRecord>, StoreError> {
    let rows: Vec<LinkRow> = tx
        .rows(
            "finding links",
            // Locks, taken in record order, exclude other writers of these links; foreign keys may still point to them.
            sqlx::query_as(AssertSqlSafe(format!(
                "{BY_NAMES}\nfor no key update of link"
            )))
            .bind(recordset(wanted)),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}

/// Finds links by any of their keys as [`lock_by_names`] does, without locks.
pub(crate) async fn read_by_names(
    tx: &mut Tx,
    wanted: &[Wanted],
) -> Result<Vec<KnownRecord>, StoreError> {
    let rows: Vec<LinkRow> = tx
        .rows(
            "reading links by their keys",
            sqlx::query_as(BY_NAMES).bind(recordset(wanted)),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}

/// Each kind of key has its own index.
const BY_NAMES: &str = "with wanted as materialized (
        select *
        from jsonb_to_recordset($1) as wanted (
            tenant text, object text, canonical_id text, local_key jsonb, salesforce_id text
        )
    )
    select link.*
    from syncline.sync_link as link
    where link.record_id in (
        select known.record_id
        from wanted
        join syncline.sync_link as known using (tenant, object, canonical_id)
        union
        select known.record_id
        from wanted
        join syncline.sync_link as known using (tenant, object, local_key)
        union
        select known.record_id
        from wanted
        join syncline.sync_link as known using (tenant, object, salesforce_id)
        union
        select former.record_id
        from wanted
        join syncline.sync_link_alias as former
            on former.tenant = wanted.tenant
            and former.object = wanted.object
            and former.kind = 'salesforce_id'
            and former.value = wanted.salesforce_id
            and not former.is_current
    )
    order by link.record_id";

/// Reads links by their Salesforce ids, without locks.
pub(crate) async fn by_salesforce_id(
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

/// Finds a link by any current key.
pub(crate) const FIND_BY_NAME: &str = "select link.*
    from syncline.sync_link as link
    where link.record_id = (
        select found.record_id
        from (
            select link.record_id
            from syncline.sync_link as link
            where link.tenant = $1
            and link.object = $2
            and link.canonical_id in ($3, lower(btrim($3)))
            union all
            select alias.record_id
            from syncline.sync_link_alias as alias
            where alias.tenant = $1
            and alias.object = $2
            and alias.value = $3
            and alias.is_current
        ) as found
        limit 1
    )";

/// Returns the external ids of linked records by their Salesforce ids.
pub(crate) async fn resolve_parents(
    tx: &mut Tx,
    tenant: &TenantId,
    pointed: &BTreeSet<(ObjectName, SalesforceId)>,
) -> Result<BTreeMap<SalesforceId, String>, StoreError> {
    if pointed.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (objects, ids): (Vec<&str>, Vec<&str>) = pointed
        .iter()
        .map(|(object, id)| (object.as_str(), id.as_str()))
        .unzip();
    let rows: Vec<(String, String)> = tx
        .rows(
            "resolving references",
            sqlx::query_as(
                "select link.salesforce_id, link.external_id
                from unnest($2::text[], $3::text[]) as pointed (object, salesforce_id)
                join syncline.sync_link as link
                    on link.tenant = $1
                    and link.object = pointed.object
                    and link.salesforce_id = pointed.salesforce_id",
            )
            .bind(tenant.as_str())
            .bind(objects)
            .bind(ids),
        )
        .await?;
    rows.into_iter()
        .map(|(id, external_id)| {
            let id = SalesforceId::parse(&id).map_err(corrupt)?;
            Ok((id, external_id))
        })
        .collect()
}

#[derive(Serialize)]
struct SavedLink<'a> {
    record_id: RecordId,
    tenant: &'a TenantId,
    object: &'a ObjectName,
    external_id: &'a str,
    canonical_id: &'a str,
    generated: bool,
    key_conflict: bool,
    salesforce_id: Option<&'a SalesforceId>,
    local_key: Option<&'a serde_json::Value>,
    org_epoch: OrgEpoch,
    base: &'a Payload,
    agreed: bool,
    remote_state: &'a RemoteState,
    automation_overrides: &'a BTreeMap<FieldName, AutomationOverride>,
    postgres_presence: String,
    postgres_changed_at_ms: Option<i64>,
    postgres_edited: &'a BTreeMap<FieldName, i64>,
    is_idle: bool,
}

/// Saves complete links. This transaction has locked them, so it overwrites no other change. Then updates the
/// aliases: a record's present keys become current, its other keys former.
pub(crate) async fn save_records(tx: &mut Tx, records: &[KnownRecord]) -> Result<(), StoreError> {
    save_seen_records(tx, records, &BTreeSet::new()).await
}

/// Like [`save_records`]. Those of `idle` that have no task forget when their columns were edited: nothing is left to
/// decide about them.
pub(crate) async fn save_seen_records(
    tx: &mut Tx,
    records: &[KnownRecord],
    idle: &BTreeSet<RecordId>,
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let saved: Vec<SavedLink<'_>> = records
        .iter()
        .map(|record| saved_link(record, idle.contains(&record.link.record_id)))
        .collect();
    tx.run(
        "saving links",
        sqlx::query(
            "update syncline.sync_link as link
            set external_id = saved.external_id,
                canonical_id = saved.canonical_id,
                generated = saved.generated,
                key_conflict = saved.key_conflict,
                salesforce_id = saved.salesforce_id,
                local_key = saved.local_key,
                org_epoch = saved.org_epoch,
                base = saved.base,
                agreed = saved.agreed,
                remote_state = saved.remote_state,
                automation_overrides = saved.automation_overrides,
                postgres_presence = saved.postgres_presence,
                postgres_changed_at = to_timestamp(saved.postgres_changed_at_ms / 1000.0),
                postgres_edited = case
                    when saved.is_idle and not exists (
                        select
                        from syncline.sync_task as task
                        where task.record_id = link.record_id
                    ) then '{}'
                    else saved.postgres_edited
                end,
                version = link.version + 1,
                updated_at = syncline.clock()
            from jsonb_to_recordset($1) as saved (
                record_id uuid, external_id text, canonical_id text, generated boolean, key_conflict boolean, salesforce_id text,
                local_key jsonb, org_epoch bigint, base jsonb, agreed boolean, remote_state jsonb, automation_overrides jsonb,
                postgres_presence text, postgres_changed_at_ms bigint, postgres_edited jsonb, is_idle boolean
            )
            where link.record_id = saved.record_id",
        )
        .bind(recordset(&saved)),
    )
    .await?;
    let ids: Vec<Uuid> = records
        .iter()
        .map(|record| record.link.record_id.0)
        .collect();
    align_aliases(tx, &ids).await
}

fn saved_link(record: &KnownRecord, is_idle: bool) -> SavedLink<'_> {
    SavedLink {
        record_id: record.link.record_id,
        tenant: &record.link.tenant,
        object: &record.link.object,
        external_id: &record.link.external_id,
        canonical_id: &record.link.canonical_id,
        generated: record.generated,
        key_conflict: record.key_conflict,
        salesforce_id: record.link.salesforce_id.as_ref(),
        local_key: record.link.local_key.as_ref(),
        org_epoch: record.link.org_epoch,
        base: &record.link.base,
        agreed: record.link.agreed,
        remote_state: &record.link.remote_state,
        automation_overrides: &record.link.automation_overrides,
        postgres_presence: enum_text(record.postgres_presence),
        postgres_changed_at_ms: record.postgres_changed_at_ms,
        postgres_edited: &record.postgres_edited,
        is_idle,
    }
}

/// Frees the external ids of records that are about to get other ones, so that two records may swap, and ends
/// their aliases. [`save_records`] writes the new ones.
pub(crate) async fn free_keys(tx: &mut Tx, records: &[RecordId]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    tx.run(
        "freeing external ids",
        sqlx::query(
            "with ended as (
                -- Ends the names that go with the freed keys.
                update syncline.sync_link_alias
                set is_current = false,
                valid_to = syncline.clock()
                where record_id = any($1)
                and kind = 'external_id'
                and is_current
            )
            update syncline.sync_link
            set canonical_id = '~' || record_id
            where record_id = any($1)",
        )
        .bind(ids),
    )
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct MadeRow {
    record_id: Uuid,
    tenant: String,
    object: String,
    canonical_id: String,
}

/// Creates the links of new records, which have no record id yet, and returns their ids in the order of
/// `records`. A record that another session has just created has no id: the caller starts over and finds it.
pub(crate) async fn make_links(
    tx: &mut Tx,
    records: &[KnownRecord],
) -> Result<Vec<Option<RecordId>>, StoreError> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let new: Vec<SavedLink<'_>> = records
        .iter()
        .map(|record| saved_link(record, false))
        .collect();
    let made: Vec<MadeRow> = tx
        .rows(
            "making links",
            sqlx::query_as(MAKE_LINKS).bind(recordset(&new)),
        )
        .await?;
    let made: BTreeMap<(&str, &str, &str), RecordId> = made
        .iter()
        .map(|row| {
            let name = (
                row.tenant.as_str(),
                row.object.as_str(),
                row.canonical_id.as_str(),
            );
            (name, RecordId(row.record_id))
        })
        .collect();
    let record = |new: &KnownRecord| {
        made.get(&(
            new.link.tenant.as_str(),
            new.link.object.as_str(),
            new.link.canonical_id.as_str(),
        ))
        .copied()
    };
    Ok(records.iter().map(record).collect())
}

/// Inserts in key order, so that two sessions that create the same links wait and do not deadlock.
const MAKE_LINKS: &str = "insert into syncline.sync_link (
        tenant, object, org_epoch, external_id, canonical_id, generated, salesforce_id, local_key,
        postgres_presence, postgres_changed_at, remote_state
    )
    select
        tenant, object, org_epoch, external_id, canonical_id, generated, salesforce_id, local_key,
        postgres_presence, to_timestamp(postgres_changed_at_ms / 1000.0), remote_state
    from jsonb_to_recordset($1) as new (
        tenant text, object text, org_epoch bigint, external_id text, canonical_id text, generated boolean,
        salesforce_id text, local_key jsonb, postgres_presence text, postgres_changed_at_ms bigint, remote_state jsonb
    )
    order by tenant, object, canonical_id
    -- Another session made it meanwhile: the caller starts over.
    on conflict do nothing
    returning record_id, tenant, object, canonical_id";

/// Removes records that proved to be the Salesforce side of another record, and their tasks.
pub(crate) async fn remove_merged(tx: &mut Tx, records: &[RecordId]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    tx.run(
        "removing merged links",
        sqlx::query("delete from syncline.sync_link where record_id = any($1)").bind(ids),
    )
    .await?;
    Ok(())
}

/// Returns those of `ids` that no link has or had.
pub(crate) async fn unlinked(
    tx: &mut Tx,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<Vec<SalesforceId>, StoreError> {
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
    let unknown: BTreeSet<String> = unknown.into_iter().collect();
    Ok(ids
        .iter()
        .filter(|id| unknown.contains(id.as_str()))
        .cloned()
        .collect())
}

/// Returns present records whose Salesforce id is in `(after, upto]` and not among `seen`.
pub(crate) async fn vanished(
    tx: &mut Tx,
    mapped: &MappedObject,
    after: Option<&SalesforceId>,
    upto: Option<&SalesforceId>,
    seen: &[SalesforceId],
) -> Result<Vec<RecordId>, StoreError> {
    let seen: Vec<&str> = seen.iter().map(SalesforceId::as_str).collect();
    let records: Vec<Uuid> = tx
        .values(
            "finding records missing from a scan",
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
    Ok(records.into_iter().map(RecordId).collect())
}

/// Returns those of `records` that are records of the object.
pub(crate) async fn records_of(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[RecordId],
) -> Result<Vec<RecordId>, StoreError> {
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
    Ok(ours.into_iter().map(RecordId).collect())
}

/// Returns at most `limit` Salesforce ids of links in `(after, upto]` that are not among `seen`, in id order.
pub(crate) async fn ids_not_seen(
    tx: &mut Tx,
    mapped: &MappedObject,
    (after, upto): (Option<&SalesforceId>, Option<&SalesforceId>),
    seen: &[&SalesforceId],
    limit: usize,
) -> Result<Vec<SalesforceId>, StoreError> {
    let seen: Vec<&str> = seen.iter().map(|id| id.as_str()).collect();
    let ids: Vec<String> = tx
        .values(
            "finding links that a page does not show",
            sqlx::query_scalar(
                "select link.salesforce_id
                from syncline.sync_link as link
                where link.tenant = $1
                and link.object = $2
                and link.salesforce_id is not null
                and ($3::text is null or link.salesforce_id > $3)
                and ($4::text is null or link.salesforce_id <= $4)
                and not exists (
                    select
                    from unnest($5::text[]) as shown (id)
                    where shown.id = link.salesforce_id
                )
                order by link.salesforce_id
                limit $6",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(after.map(SalesforceId::as_str))
            .bind(upto.map(SalesforceId::as_str))
            .bind(seen)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX)),
        )
        .await?;
    ids.iter()
        .map(|id| SalesforceId::parse(id).map_err(corrupt))
        .collect()
}

/// Returns records by their canonical external ids.
pub(crate) async fn named(
    tx: &mut Tx,
    mapped: &MappedObject,
    canonical_ids: &[&str],
) -> Result<BTreeMap<String, RecordId>, StoreError> {
    let rows: Vec<(String, Uuid)> = tx
        .rows(
            "finding records by external id",
            sqlx::query_as(
                "select canonical_id, record_id
                from syncline.sync_link
                where tenant = $1
                and object = $2
                and canonical_id = any($3)",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(canonical_ids),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(name, record)| (name, RecordId(record)))
        .collect())
}

/// Returns the links that rows with these external ids or primary keys may belong to, without locks.
pub(crate) async fn of_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    canonical_ids: &[String],
    written: &[&str],
    local_keys: &[&serde_json::Value],
) -> Result<Vec<KnownRecord>, StoreError> {
    let rows: Vec<LinkRow> = tx
        .rows(
            "finding the links of rows",
            sqlx::query_as(
                "select link.*
                from syncline.sync_link as link
                where link.record_id in (
                    select record_id
                    from syncline.sync_link
                    where tenant = $1
                    and object = $2
                    and canonical_id = any($3)
                    union
                    select record_id
                    from syncline.sync_link_alias
                    where tenant = $1
                    and object = $2
                    and kind = 'external_id'
                    and is_current
                    and value = any($4)
                    union
                    select record_id
                    from syncline.sync_link
                    where tenant = $1
                    and object = $2
                    and local_key = any($5)
                )",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(canonical_ids)
            .bind(written)
            .bind(local_keys),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}
