//! Finding and making links by the names a record goes by.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::records::{KnownRecord, LinkRow};
use super::transaction::{Tx, recordset};
use crate::engine::ports::StoreError;
use crate::model::ids::{OrgEpoch, RecordId, SalesforceId};
use crate::model::link::{Presence, RemoteState};

/// A name to look for.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
pub(super) struct Wanted {
    /// The tenant.
    pub(super) tenant: String,
    /// The object.
    pub(super) object: String,
    /// External id as compared.
    pub(super) canonical_id: Option<String>,
    /// Primary key.
    pub(super) local_key: Option<serde_json::Value>,
    /// Salesforce id, current or former.
    pub(super) salesforce_id: Option<SalesforceId>,
}

/// Finds links by any of their names, former Salesforce ids included, and locks them against other
/// writers of ours.
pub(super) async fn lock_by_names(
    tx: &mut Tx,
    wanted: &[Wanted],
) -> Result<Vec<KnownRecord>, StoreError> {
    let rows: Vec<LinkRow> = tx
        .rows(
            "finding links",
            sqlx::query_as(LOCK_BY_NAMES).bind(recordset(wanted)),
        )
        .await?;
    rows.into_iter().map(KnownRecord::try_from).collect()
}

/// Each kind of name has its own index. Locks exclude other writers of these links, in record order.
const LOCK_BY_NAMES: &str = "with wanted as materialized (
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
    order by link.record_id
    for no key update of link";

/// A link to make.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewLink {
    /// The tenant.
    pub(super) tenant: String,
    /// The object.
    pub(super) object: String,
    /// The org epoch.
    pub(super) org_epoch: OrgEpoch,
    /// External id as written.
    pub(super) external_id: String,
    /// External id as compared.
    pub(super) canonical_id: String,
    /// It is ours.
    pub(super) generated: bool,
    /// Salesforce id.
    pub(super) salesforce_id: Option<SalesforceId>,
    /// Primary key.
    pub(super) local_key: Option<serde_json::Value>,
    /// What is seen of the row.
    pub(super) postgres_presence: Presence,
    /// When it changed.
    pub(super) postgres_changed_at_ms: Option<i64>,
    /// What is seen in Salesforce.
    pub(super) remote_state: RemoteState,
}

#[derive(sqlx::FromRow)]
struct MadeRow {
    record_id: Uuid,
    tenant: String,
    object: String,
    canonical_id: String,
}

/// Makes links and returns their records, in the order of `links`; none where another session was
/// faster: the caller starts over and finds it.
pub(super) async fn make_links(
    tx: &mut Tx,
    links: &[NewLink],
) -> Result<Vec<Option<RecordId>>, StoreError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let made: Vec<MadeRow> = tx
        .rows(
            "making links",
            sqlx::query_as(MAKE_LINKS).bind(recordset(links)),
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
    let record = |link: &NewLink| {
        made.get(&(
            link.tenant.as_str(),
            link.object.as_str(),
            link.canonical_id.as_str(),
        ))
        .copied()
    };
    Ok(links.iter().map(record).collect())
}

/// Inserted in key order, so that two sessions that make the same links wait and do not deadlock.
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

/// An external id as it is written in some row, of a record that may be written otherwise elsewhere.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RawAlias {
    /// The record.
    pub(super) record_id: RecordId,
    /// As written.
    pub(super) value: String,
}

/// Adds external ids as rows write them: rows are found by these.
pub(super) async fn add_raw_aliases(tx: &mut Tx, aliases: &[RawAlias]) -> Result<(), StoreError> {
    if aliases.is_empty() {
        return Ok(());
    }
    tx.run(
        "adding external ids as written",
        sqlx::query(
            "insert into syncline.sync_link_alias (tenant, object, kind, value, record_id)
            select link.tenant, link.object, 'external_id', alias.value, link.record_id
            from jsonb_to_recordset($1) as alias (record_id uuid, value text)
            join syncline.sync_link as link using (record_id)
            order by link.record_id, alias.value
            -- The spelling moves to the record that goes by it now.
            on conflict (tenant, object, kind, value) where is_current do update
            set record_id = excluded.record_id
            where sync_link_alias.record_id <> excluded.record_id",
        )
        .bind(recordset(aliases)),
    )
    .await?;
    Ok(())
}
