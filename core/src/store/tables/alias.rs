//! Aliases: every key that a record has or had.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId, SalesforceId, TenantId};
use crate::ports::StoreError;
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, recordset};

/// Keys to look for.
#[derive(Debug, Clone, Default, Serialize, PartialEq)]
pub(crate) struct Wanted {
    /// The tenant.
    pub(crate) tenant: String,
    /// The object.
    pub(crate) object: String,
    /// Canonical external id.
    pub(crate) canonical_id: Option<String>,
    /// Primary key.
    pub(crate) local_key: Option<serde_json::Value>,
    /// Salesforce id, current or former.
    pub(crate) salesforce_id: Option<SalesforceId>,
}

/// An external id as a row spells it; other rows may spell it differently.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RawAlias {
    /// The record.
    pub(crate) record_id: RecordId,
    /// As written.
    pub(crate) value: String,
}

/// Adds external ids as rows spell them, by which rows are found.
pub(crate) async fn add_raw_aliases(tx: &mut Tx, aliases: &[RawAlias]) -> Result<(), StoreError> {
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

/// Ends the aliases of Salesforce ids that records no longer have, and adds their current keys.
pub(crate) async fn align_aliases(tx: &mut Tx, records: &[Uuid]) -> Result<(), StoreError> {
    tx.run(
        "ending aliases",
        sqlx::query(
            "update syncline.sync_link_alias as alias
            set is_current = false,
                valid_to = syncline.clock()
            from syncline.sync_link as link
            where alias.record_id = link.record_id
            and link.record_id = any($1)
            and alias.kind = 'salesforce_id'
            and alias.is_current
            and alias.value is distinct from link.salesforce_id",
        )
        .bind(records),
    )
    .await?;
    tx.run(
        "beginning aliases",
        sqlx::query(
            "insert into syncline.sync_link_alias (tenant, object, kind, value, record_id)
            select link.tenant, link.object, name.kind, name.value, link.record_id
            from syncline.sync_link as link
            cross join lateral (
                values ('salesforce_id', link.salesforce_id), ('external_id', link.external_id)
            ) as name (kind, value)
            where link.record_id = any($1)
            and name.value is not null
            order by link.record_id
            -- A name that is current already, for this record or (an external id in another case) for
            -- the same canonical one.
            on conflict do nothing",
        )
        .bind(records),
    )
    .await?;
    Ok(())
}

/// Returns the records that had these Salesforce ids before, the latest holder of each.
pub(crate) async fn former_ids(
    tx: &mut Tx,
    wanted: &[Wanted],
) -> Result<BTreeMap<(ObjectName, SalesforceId), RecordId>, StoreError> {
    let rows: Vec<(String, String, Uuid)> = tx
        .rows(
            "finding former Salesforce ids",
            sqlx::query_as(
                "select former.object, former.value, former.record_id
                from jsonb_to_recordset($1) as wanted (tenant text, object text, salesforce_id text)
                join syncline.sync_link_alias as former
                    on former.tenant = wanted.tenant
                    and former.object = wanted.object
                    and former.kind = 'salesforce_id'
                    and former.value = wanted.salesforce_id
                    and not former.is_current
                order by former.valid_to",
            )
            .bind(recordset(wanted)),
        )
        .await?;
    rows.into_iter()
        .map(|(object, id, record)| {
            let object = ObjectName::parse(&object).map_err(corrupt)?;
            let id = SalesforceId::parse(&id).map_err(corrupt)?;
            Ok(((object, id), RecordId(record)))
        })
        .collect()
}

/// Returns the external ids that the records of these former ones have now, for those that no record has today.
pub(crate) async fn present_ids(
    tx: &mut Tx,
    tenant: &TenantId,
    former: &BTreeSet<(ObjectName, String)>,
) -> Result<BTreeMap<(ObjectName, String), String>, StoreError> {
    if former.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (objects, values): (Vec<&str>, Vec<&str>) = former
        .iter()
        .map(|(object, value)| (object.as_str(), value.as_str()))
        .unzip();
    let rows: Vec<(String, String, String)> = tx
        .rows(
            "finding former external ids",
            sqlx::query_as(
                "select distinct on (former.object, former.value) former.object, former.value, link.external_id
                from unnest($2::text[], $3::text[]) as wanted (object, value)
                join syncline.sync_link_alias as former
                    on former.tenant = $1
                    and former.object = wanted.object
                    and former.kind = 'external_id'
                    and former.value = wanted.value
                    and not former.is_current
                join syncline.sync_link as link on link.record_id = former.record_id
                where link.remote_state ->> 'presence' = 'present'
                and not exists (
                    select
                    from syncline.sync_link_alias as holder
                    where holder.tenant = $1
                    and holder.object = wanted.object
                    and holder.kind = 'external_id'
                    and holder.value = wanted.value
                    and holder.is_current
                )
                -- The latest holder is the one that whoever wrote the id has seen.
                order by former.object, former.value, former.valid_to desc",
            )
            .bind(tenant.as_str())
            .bind(objects)
            .bind(values),
        )
        .await?;
    rows.into_iter()
        .map(|(object, value, now)| {
            let object = ObjectName::parse(&object).map_err(corrupt)?;
            Ok(((object, value), now))
        })
        .collect()
}
