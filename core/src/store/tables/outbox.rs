//! The outbox: changes written by the capture triggers and by `syncline.emit`.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::ports::StoreError;
use crate::store::transaction::Tx;

/// The stream name of the outbox.
pub(crate) const OUTBOX: &str = "outbox";

/// A claimed outbox row.
#[derive(Debug, Clone, sqlx::FromRow, Serialize)]
pub(crate) struct Claimed {
    pub(crate) outbox_id: i64,
    pub(crate) tenant: Option<String>,
    pub(crate) object: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) old_external_id: Option<String>,
    pub(crate) local_key: Option<serde_json::Value>,
    pub(crate) changed: Option<serde_json::Value>,
    pub(crate) tombstone: Option<bool>,
    pub(crate) cursor: Option<String>,
    pub(crate) xid: Option<i64>,
    pub(crate) changed_at: Option<DateTime<Utc>>,
}

/// Claims at most `limit` rows of these tenants and rows without a tenant, oldest first.
pub(crate) async fn claim(
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
                -- Excludes another claim of these rows; rows that are being deleted by hand are skipped.
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
