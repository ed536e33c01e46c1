//! The outbox: changes written by the capture triggers and by `syncline.emit`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value as Json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::model::ids::RecordId;
use crate::ports::{MappedObject, StoreError};
use crate::store::transaction::{Tx, recordset};

/// A claimed outbox row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Claimed {
    pub(crate) outbox_id: i64,
    pub(crate) tenant: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) old_external_id: Option<String>,
    pub(crate) local_key: Option<Json>,
    pub(crate) changed_columns: Option<Vec<String>>,
    pub(crate) changed: Option<Json>,
    pub(crate) tombstone: Option<bool>,
    pub(crate) cursor: Option<String>,
    pub(crate) changed_at: Option<DateTime<Utc>>,
    pub(crate) nested: Option<bool>,
}

/// The same as the database gives it: any application may have written its JSON.
#[derive(sqlx::FromRow)]
struct ClaimedRow {
    outbox_id: i64,
    tenant: Option<String>,
    object: Option<String>,
    operation: Option<String>,
    external_id: Option<String>,
    old_external_id: Option<String>,
    local_key: Option<String>,
    changed_columns: Option<Vec<String>>,
    changed: Option<String>,
    tombstone: Option<bool>,
    cursor: Option<String>,
    changed_at: Option<DateTime<Utc>>,
    nested: Option<bool>,
}

impl From<ClaimedRow> for Claimed {
    fn from(row: ClaimedRow) -> Self {
        Self {
            outbox_id: row.outbox_id,
            tenant: row.tenant,
            object: row.object,
            operation: row.operation,
            external_id: row.external_id,
            old_external_id: row.old_external_id,
            local_key: row.local_key.map(json_of),
            changed_columns: row.changed_columns,
            changed: row.changed.map(json_of),
            tombstone: row.tombstone,
            cursor: row.cursor,
            changed_at: row.changed_at,
            nested: row.nested,
        }
    }
}

/// Returns the JSON in a text, or the text itself if it is nested more deeply than we read: a row that cannot be read
/// would stop all others.
fn json_of(text: String) -> Json {
    serde_json::from_str(&text).unwrap_or(Json::String(text))
}

/// Which rows a claim takes.
const CLAIMABLE: &str = "(tenant = any($1) or coalesce(btrim(tenant), '') = '')";

/// Claims at most `limit` rows of these tenants and rows without a tenant, oldest first.
pub(crate) async fn claim(
    tx: &mut Tx,
    tenants: &[String],
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    let sql = take(&format!(
        "claimed as materialized (
            select outbox_id
            from syncline.sync_outbox
            where {CLAIMABLE}
            order by outbox_id
            limit $2
            -- Excludes another claim of these rows; rows that are being deleted by hand are skipped.
            for update skip locked
        )"
    ));
    let rows: Vec<ClaimedRow> = tx
        .rows(
            "claiming outbox rows",
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(tenants)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX)),
        )
        .await?;
    Ok(rows.into_iter().map(Claimed::from).collect())
}

/// Returns the statement that deletes and returns the rows which `claimed` selects. Claiming deletes: what happens to
/// these rows commits with it or not at all.
fn take(claimed: &str) -> String {
    format!(
        "with {claimed},
        taken as (
            delete from syncline.sync_outbox as outbox
            using claimed
            where outbox.outbox_id = claimed.outbox_id
            -- Another tenant's row may have the same id: no constraint makes them unique.
            and {CLAIMABLE}
            returning outbox.*
        )
        select outbox_id, tenant, object, operation, external_id, old_external_id, local_key::text, changed_columns,
            changed::text, tombstone, cursor, changed_at, nested
        from taken
        order by outbox_id"
    )
}

/// A change that came before a claimed one, but may be captured after it. It has one of the names.
#[derive(Debug, Serialize)]
pub(crate) struct EarlierChange<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) object: &'a str,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) canonical_id: Option<&'a str>,
    pub(crate) local_key: Option<Json>,
    /// It took the name from its row, else gave it.
    pub(crate) took: bool,
    /// A claimed change gave the name to a row.
    pub(crate) live: bool,
}

/// Claims the first change of each kind. It reads the whole outbox.
pub(crate) async fn claim_earlier(
    tx: &mut Tx,
    tenants: &[String],
    changes: &[EarlierChange<'_>],
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    let sql = take(CLAIM_EARLIER);
    let rows: Vec<ClaimedRow> = tx
        .rows(
            "claiming changes that came before those of triggers",
            sqlx::query_as(AssertSqlSafe(sql))
                .bind(tenants)
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .bind(recordset(changes)),
        )
        .await?;
    Ok(rows.into_iter().map(Claimed::from).collect())
}

const CLAIM_EARLIER: &str = "wanted as materialized (
        select wanted.*, row_number() over () as place
        from jsonb_to_recordset($3) as wanted (
            tenant text, object text, external_id text, canonical_id text, local_key jsonb, took boolean, live boolean
        )
        where not wanted.took
        or wanted.live
        or exists (
            select
            from syncline.sync_link as link
            where link.tenant = wanted.tenant
            and link.object = wanted.object
            and link.canonical_id = wanted.canonical_id
            and link.postgres_presence = 'present'
        )
    ),
    named as materialized (
        -- Gave an external id.
        select wanted.place, outbox.outbox_id
        from syncline.sync_outbox as outbox
        join wanted using (tenant, object, external_id)
        where not wanted.took
        and (
            outbox.operation = 'insert'
            or outbox.operation = 'update' and (outbox.old_external_id is not null or outbox.local_key is not null)
        )
        union all
        -- Took it away.
        select wanted.place, outbox.outbox_id
        from syncline.sync_outbox as outbox
        join wanted
            on wanted.tenant = outbox.tenant
            and wanted.object = outbox.object
            and wanted.external_id = coalesce(outbox.old_external_id, outbox.external_id)
        where wanted.took
        and (
            outbox.operation = 'delete'
            or outbox.operation = 'update' and outbox.old_external_id is not null
        )
        union all
        -- The same of rows without one, known by their primary keys.
        select wanted.place, outbox.outbox_id
        from syncline.sync_outbox as outbox
        join wanted using (tenant, object, local_key)
        where case
            when wanted.took then outbox.operation = 'delete'
                or outbox.operation = 'update' and outbox.external_id is not null and outbox.old_external_id is null
            else outbox.external_id is null
                and (outbox.operation = 'insert' or outbox.operation = 'update' and outbox.old_external_id is not null)
        end
    ),
    claimed as materialized (
        select outbox.outbox_id
        from syncline.sync_outbox as outbox
        where outbox.outbox_id in (
            select min(named.outbox_id)
            from named
            group by named.place
        )
        order by outbox.outbox_id
        limit $2
        -- As in the claim of all rows.
        for update skip locked
    )";

/// The names by which the outbox may have a record's row.
#[derive(Debug, Serialize)]
pub(crate) struct RowName<'a> {
    pub(crate) record_id: RecordId,
    pub(crate) external_id: Option<&'a str>,
    pub(crate) local_key: Option<&'a Json>,
}

/// Returns the records of whose rows the outbox has edits. It reads the whole outbox, which is short unless capture
/// is behind; few records are ever asked about.
pub(crate) async fn uncaptured(
    tx: &mut Tx,
    mapped: &MappedObject,
    rows: &[RowName<'_>],
) -> Result<BTreeSet<RecordId>, StoreError> {
    let records: Vec<Uuid> = tx
        .values(
            "looking for edits that are not captured",
            sqlx::query_scalar(
                "select distinct wanted.record_id
                from jsonb_to_recordset($3) as wanted (record_id uuid, external_id text, local_key jsonb)
                join syncline.sync_outbox as edit
                    on edit.external_id = wanted.external_id
                    or edit.local_key = wanted.local_key
                where edit.tenant = $1
                and edit.object = $2",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(recordset(rows)),
        )
        .await?;
    Ok(records.into_iter().map(RecordId).collect())
}
