//! Events seen before, so that duplicates are recognised.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::model::ids::{ObjectName, OrgEpoch, SalesforceId, TenantId};
use crate::ports::{StoreError, StreamName};
use crate::store::transaction::{Tx, recordset};

/// The stream name of events that have no stream of ours, to recognise repeated ones.
pub(crate) const RELAY: &str = "relay";

/// An event to remember.
#[derive(Serialize)]
pub(crate) struct SeenRow<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) org_epoch: i64,
    pub(crate) cursor: String,
    pub(crate) object: &'a ObjectName,
    pub(crate) record: &'a SalesforceId,
    pub(crate) ordinal: i32,
    pub(crate) payload_hash: String,
}

/// Remembers events of a stream. Returns those that are new, by cursor, object, record and ordinal.
pub(crate) async fn remember_events(
    tx: &mut Tx,
    rows: &[SeenRow<'_>],
    stream: &str,
) -> Result<BTreeSet<(String, String, String, i32)>, StoreError> {
    let fresh: Vec<(String, String, String, i32)> = tx
        .rows(
            "remembering seen events",
            sqlx::query_as(REMEMBER).bind(recordset(rows)).bind(stream),
        )
        .await?;
    Ok(fresh.into_iter().collect())
}

/// An event with the same position and other content is new.
const REMEMBER: &str = "insert into syncline.sync_seen as known (
        tenant, org_epoch, stream, cursor, object, record, ordinal, payload_hash
    )
    select tenant, org_epoch, $2, cursor, object, record, ordinal, payload_hash
    from jsonb_to_recordset($1) as row (
        tenant text, org_epoch bigint, cursor text, object text, record text, ordinal integer, payload_hash text
    )
    order by cursor, object, record, ordinal
    -- Known with the same content: a duplicate, and not returned.
    on conflict (tenant, org_epoch, stream, cursor, object, record, ordinal) do update
    set payload_hash = excluded.payload_hash,
        seen_at = syncline.clock()
    where known.payload_hash <> excluded.payload_hash
    returning cursor, object, record, ordinal";

/// An outbox row with a cursor from an application.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Emitted<'a> {
    /// The tenant.
    pub(crate) tenant: &'a str,
    /// The org epoch.
    pub(crate) org_epoch: OrgEpoch,
    /// The cursor, encoded.
    pub(crate) cursor: String,
    /// The object.
    pub(crate) object: &'a str,
    /// The external id.
    pub(crate) record: &'a str,
    /// Hash of its content.
    pub(crate) payload_hash: String,
}

/// Remembers rows that applications emitted, and returns the indexes of those of `rows` that were seen before.
pub(crate) async fn seen_before(
    tx: &mut Tx,
    rows: &[(usize, Emitted<'_>)],
) -> Result<BTreeSet<usize>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let emitted: Vec<&Emitted<'_>> = rows.iter().map(|(_, emitted)| emitted).collect();
    let fresh: Vec<(String, String, String, String)> = tx
        .rows(
            "remembering emitted rows",
            sqlx::query_as(REMEMBER_EMITTED)
                .bind(recordset(&emitted))
                .bind(StreamName::Outbox.to_string()),
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

/// Several rows may have the same cursor, so a row is identified by its content too.
const REMEMBER_EMITTED: &str = "insert into syncline.sync_seen (
        tenant, org_epoch, stream, cursor, object, record, ordinal, payload_hash
    )
    select distinct tenant, org_epoch, $2, cursor || ' ' || payload_hash, object, record, 0, payload_hash
    from jsonb_to_recordset($1) as emitted (
        tenant text, org_epoch bigint, cursor text, object text, record text, payload_hash text
    )
    -- Emitted before with the same content: a duplicate, and not returned.
    on conflict do nothing
    returning tenant, cursor, object, record";
