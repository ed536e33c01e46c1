//! The outbox itself: holding a tenant's, claiming rows, and telling what was emitted before.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::transaction::{Tx, recordset};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::OrgEpoch;

/// The stream that the outbox counts as.
pub(super) const OUTBOX: &str = "outbox";

/// An outbox row as it was claimed.
#[derive(Debug, Clone, sqlx::FromRow, Serialize)]
pub(super) struct Claimed {
    pub(super) outbox_id: i64,
    pub(super) tenant: Option<String>,
    pub(super) object: Option<String>,
    pub(super) operation: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) old_external_id: Option<String>,
    pub(super) local_key: Option<serde_json::Value>,
    pub(super) changed: Option<serde_json::Value>,
    pub(super) tombstone: Option<bool>,
    pub(super) cursor: Option<String>,
    pub(super) xid: Option<i64>,
    pub(super) changed_at: Option<DateTime<Utc>>,
}

/// Returns the tenants whose outbox holds something and is ours to drain now.
pub(super) async fn hold_outbox(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
) -> Result<Vec<String>, StoreError> {
    let tenants: BTreeSet<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let tenants: Vec<&str> = tenants.into_iter().collect();
    let waiting: Vec<bool> = tx
        .values(
            "looking into the outbox",
            sqlx::query_scalar(
                "select exists (
                    select
                    from syncline.sync_outbox
                    where tenant = any($1)
                    or coalesce(btrim(tenant), '') = ''
                )",
            )
            .bind(&tenants),
        )
        .await?;
    if waiting != [true] {
        return Ok(Vec::new());
    }
    tx.run(
        "opening the outbox stream",
        sqlx::query(
            "insert into syncline.sync_checkpoint (tenant, stream, needs_resync)
            select tenant, $2, false
            from unnest($1::text[]) as tenant
            order by tenant
            on conflict (tenant, stream) do nothing",
        )
        .bind(&tenants)
        .bind(OUTBOX),
    )
    .await?;
    tx.values(
        "holding the outbox stream",
        sqlx::query_scalar(
            "select tenant
            from syncline.sync_checkpoint
            where tenant = any($1)
            and stream = $2
            order by tenant
            -- One capture drains a tenant's outbox at a time; a second one has nothing to do.
            for update skip locked",
        )
        .bind(&tenants)
        .bind(OUTBOX),
    )
    .await
}

/// Claims at most `limit` rows of these tenants, oldest first, and those that name no tenant at all.
pub(super) async fn claim(
    tx: &mut Tx,
    tenants: &[String],
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    tx.rows(
        "claiming outbox rows",
        sqlx::query_as(
            "with claimed as materialized (
                select outbox_id
                from syncline.sync_outbox
                where tenant = any($1)
                or coalesce(btrim(tenant), '') = ''
                order by outbox_id
                limit $2
                for update skip locked
            ),
            -- Claiming deletes: what happens to these rows commits with it or not at all.
            taken as (
                delete from syncline.sync_outbox as outbox
                using claimed
                where outbox.outbox_id = claimed.outbox_id
                returning outbox.*
            )
            select *
            from taken
            order by outbox_id",
        )
        .bind(tenants)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX)),
    )
    .await
}

/// A row to which an application gave a cursor.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Emitted<'a> {
    /// The tenant.
    pub(super) tenant: &'a str,
    /// The org epoch.
    pub(super) org_epoch: OrgEpoch,
    /// The cursor, encoded.
    pub(super) cursor: String,
    /// The object.
    pub(super) object: &'a str,
    /// The external id.
    pub(super) record: &'a str,
    /// Hash of what it says.
    pub(super) payload_hash: String,
}

/// Remembers what applications emitted, and returns which of `rows` were seen before, by place.
pub(super) async fn seen_before(
    tx: &mut Tx,
    rows: &[(usize, Emitted<'_>)],
) -> Result<BTreeSet<usize>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let emitted: Vec<&Emitted<'_>> = rows.iter().map(|(_, emitted)| emitted).collect();
    let fresh: Vec<(String, String, String, String)> = tx
        .rows(
            "remembering what was emitted",
            sqlx::query_as(REMEMBER)
                .bind(recordset(&emitted))
                .bind(OUTBOX),
        )
        .await?;
    let fresh: BTreeSet<(&str, &str, &str, &str)> = fresh
        .iter()
        .map(|(tenant, cursor, object, record)| {
            (
                tenant.as_str(),
                cursor.as_str(),
                object.as_str(),
                record.as_str(),
            )
        })
        .collect();
    let mut taken = BTreeSet::new();
    let mut before = BTreeSet::new();
    for (place, row) in rows {
        let cursor = format!("{} {}", row.cursor, row.payload_hash);
        let known = !fresh.contains(&(row.tenant, cursor.as_str(), row.object, row.record));
        if known || !taken.insert(row) {
            before.insert(*place);
        }
    }
    Ok(before)
}

/// One cursor may stand for several rows, so the content is part of the name by which one is remembered.
const REMEMBER: &str = "insert into syncline.sync_seen (
        tenant, org_epoch, stream, cursor, object, record, ordinal, payload_hash
    )
    select distinct tenant, org_epoch, $2, cursor || ' ' || payload_hash, object, record, 0, payload_hash
    from jsonb_to_recordset($1) as emitted (
        tenant text, org_epoch bigint, cursor text, object text, record text, payload_hash text
    )
    -- Emitted before with the same content: a duplicate, and not returned.
    on conflict do nothing
    returning tenant, cursor, object, record";

/// Notes that the tenants' outboxes were drained just now.
pub(super) async fn note_capture(tx: &mut Tx, tenants: &[String]) -> Result<(), StoreError> {
    tx.run(
        "noting the capture",
        sqlx::query(
            "update syncline.sync_checkpoint
            set captured_at = now(),
                updated_at = now()
            where tenant = any($1)
            and stream = $2",
        )
        .bind(tenants)
        .bind(OUTBOX),
    )
    .await?;
    Ok(())
}
