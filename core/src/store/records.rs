//! Records as the control plane keeps them: reading, saving, naming.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use super::transaction::{Tx, recordset};
use crate::engine::ports::StoreError;
use crate::model::SyncLink;
use crate::model::ids::{
    FencingToken, FieldName, IntentId, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId,
};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{AutomationOverride, Presence, RemoteState};
use crate::model::value::Payload;

/// A link with what only the store knows of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KnownRecord {
    /// The link.
    pub(super) link: SyncLink,
    /// Its external id was generated and neither side has confirmed it.
    pub(super) generated: bool,
    /// Its row took the external id of another live record.
    pub(super) key_conflict: bool,
    /// What was last seen of the row.
    pub(super) postgres_presence: Presence,
    /// When the row last changed, by the trigger's clock.
    pub(super) postgres_changed_at_ms: Option<i64>,
}

/// A row of `sync_link`.
#[derive(sqlx::FromRow)]
pub(super) struct LinkRow {
    record_id: Uuid,
    tenant: String,
    object: String,
    org_epoch: i64,
    external_id: String,
    canonical_id: String,
    generated: bool,
    key_conflict: bool,
    salesforce_id: Option<String>,
    local_key: Option<serde_json::Value>,
    base: Json<Payload>,
    agreed: bool,
    remote_state: Json<RemoteState>,
    automation_overrides: Json<BTreeMap<FieldName, AutomationOverride>>,
    postgres_presence: String,
    postgres_changed_at: Option<DateTime<Utc>>,
    version: i64,
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
            postgres_presence: word_as(&row.postgres_presence)?,
            postgres_changed_at_ms: row.postgres_changed_at.map(|at| at.timestamp_millis()),
        })
    }
}

/// The control plane holds something that this program never writes.
pub(super) fn corrupt(error: impl std::fmt::Display) -> StoreError {
    StoreError::Mapping(format!(
        "the control plane holds something that was not written by this version: {error}"
    ))
}

/// Reads one of our words (`present`, `applied`, `update` …) back into its type.
pub(super) fn word_as<T>(word: &str) -> Result<T, StoreError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    word.parse().map_err(corrupt)
}

/// Returns the word that stands for `value` in the control plane.
pub(super) fn word_of(value: impl Into<&'static str>) -> String {
    value.into().to_owned()
}

/// Loads links and locks them against every other writer of ours, in record order.
pub(super) async fn lock_records(
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

#[derive(Serialize)]
struct SavedLink<'a> {
    record_id: RecordId,
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
}

/// Saves links whole. They were locked by this transaction, so nothing of anybody else's is lost.
/// Then brings the aliases in line: what a record is called now is current, the rest is history.
pub(super) async fn save_records(
    tx: &mut Tx,
    records: &[KnownRecord],
    config_hash: &str,
) -> Result<(), StoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let saved: Vec<SavedLink<'_>> = records.iter().map(saved_link).collect();
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
                base_config_hash = $2,
                agreed = saved.agreed,
                remote_state = saved.remote_state,
                automation_overrides = saved.automation_overrides,
                postgres_presence = saved.postgres_presence,
                postgres_changed_at = to_timestamp(saved.postgres_changed_at_ms / 1000.0),
                version = link.version + 1,
                updated_at = now()
            from jsonb_to_recordset($1) as saved (
                record_id uuid, external_id text, canonical_id text, generated boolean, key_conflict boolean, salesforce_id text,
                local_key jsonb, org_epoch bigint, base jsonb, agreed boolean, remote_state jsonb, automation_overrides jsonb,
                postgres_presence text, postgres_changed_at_ms bigint
            )
            where link.record_id = saved.record_id",
        )
        .bind(recordset(&saved))
        .bind(config_hash),
    )
    .await?;
    align_aliases(tx, records).await
}

fn saved_link(record: &KnownRecord) -> SavedLink<'_> {
    SavedLink {
        record_id: record.link.record_id,
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
        postgres_presence: word_of(record.postgres_presence),
        postgres_changed_at_ms: record.postgres_changed_at_ms,
    }
}

async fn align_aliases(tx: &mut Tx, records: &[KnownRecord]) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = records
        .iter()
        .map(|record| record.link.record_id.0)
        .collect();
    tx.run(
        "ending aliases",
        sqlx::query(
            "update syncline.sync_link_alias as alias
            set is_current = false,
                valid_to = now()
            from syncline.sync_link as link
            where alias.record_id = link.record_id
            and link.record_id = any($1)
            and alias.kind = 'salesforce_id'
            and alias.is_current
            and alias.value is distinct from link.salesforce_id",
        )
        .bind(&ids),
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
        .bind(&ids),
    )
    .await?;
    Ok(())
}

/// Frees the external ids of records that are about to get other ones, so that two may swap, and
/// ends the aliases that go with them. [`save_records`] writes the new ones.
pub(super) async fn free_keys(tx: &mut Tx, records: &[RecordId]) -> Result<(), StoreError> {
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
                valid_to = now()
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
struct IntentRow {
    intent_id: Uuid,
    record_id: Uuid,
    fencing_token: i64,
    action: String,
    fields: Json<Payload>,
    state: String,
    echoed: Json<BTreeSet<FieldName>>,
}

/// Loads the writes of these records that are neither retired nor refused, oldest first.
pub(super) async fn live_intents(
    tx: &mut Tx,
    records: &[RecordId],
) -> Result<BTreeMap<RecordId, Vec<Intent>>, StoreError> {
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    let rows: Vec<IntentRow> = tx
        .rows(
            "loading intents",
            sqlx::query_as(
                "select intent_id, record_id, fencing_token, action, fields, state, echoed
                from syncline.sync_intent
                where record_id = any($1)
                and state in ('open', 'applied', 'unknown', 'abandoned')
                order by record_id, created_at, intent_id",
            )
            .bind(ids),
        )
        .await?;
    let mut intents: BTreeMap<RecordId, Vec<Intent>> = BTreeMap::new();
    for row in rows {
        let record_id = RecordId(row.record_id);
        intents.entry(record_id).or_default().push(Intent {
            intent_id: IntentId(row.intent_id),
            record_id,
            fencing_token: FencingToken(row.fencing_token),
            action: word_as::<WriteAction>(&row.action)?,
            fields: row.fields.0,
            state: word_as::<IntentState>(&row.state)?,
            echoed: row.echoed.0,
        });
    }
    Ok(intents)
}

#[derive(Serialize)]
struct SavedIntent<'a> {
    intent_id: IntentId,
    state: String,
    echoed: &'a BTreeSet<FieldName>,
}

/// Saves state and echoes of intents of locked records.
pub(super) async fn save_intents(tx: &mut Tx, intents: &[Intent]) -> Result<(), StoreError> {
    if intents.is_empty() {
        return Ok(());
    }
    let saved: Vec<SavedIntent<'_>> = intents
        .iter()
        .map(|intent| SavedIntent {
            intent_id: intent.intent_id,
            state: word_of(intent.state),
            echoed: &intent.echoed,
        })
        .collect();
    tx.run(
        "saving intents",
        sqlx::query(
            "update syncline.sync_intent as intent
            set state = saved.state,
                echoed = saved.echoed,
                updated_at = now()
            from jsonb_to_recordset($1) as saved (intent_id uuid, state text, echoed jsonb)
            where intent.intent_id = saved.intent_id",
        )
        .bind(recordset(&saved)),
    )
    .await?;
    Ok(())
}

/// A value that lost.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LostValue {
    /// The record.
    pub(super) record_id: RecordId,
    /// The field.
    pub(super) field: FieldName,
    /// The side it stood on.
    pub(super) side: String,
    /// The value, wrapped so that a cleared field is not mistaken for none.
    pub(super) value: [serde_json::Value; 1],
    /// The rule.
    pub(super) rule: String,
}

/// Logs values that lost, so that each can be restored.
pub(super) async fn log_lost_values(
    tx: &mut Tx,
    lost: &[LostValue],
    config_hash: &str,
) -> Result<(), StoreError> {
    if lost.is_empty() {
        return Ok(());
    }
    tx.run(
        "logging values that lost",
        sqlx::query(
            "insert into syncline.sync_discarded_value (record_id, tenant, object, field, side, value, rule, config_hash)
            select lost.record_id, link.tenant, link.object, lost.field, lost.side, lost.value -> 0, lost.rule, $2
            from jsonb_to_recordset($1) as lost (record_id uuid, field text, side text, value jsonb, rule text)
            join syncline.sync_link as link using (record_id)",
        )
        .bind(recordset(lost))
        .bind(config_hash),
    )
    .await?;
    Ok(())
}
