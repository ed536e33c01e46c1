//! Intents: remote writes, recorded before they are made.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::ids::{FencingToken, FieldName, IntentId, RecordId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::value::Payload;
use crate::ports::record::{LeasedTask, MISSING_PARENT, ParkReason, RefusedValue};
use crate::ports::salesforce::Refusal;
use crate::ports::{MappedObject, StoreError};
use crate::store::enum_text::{enum_text, parse_enum};
use crate::store::transaction::{Tx, recordset};

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

/// Loads the writes of these records that are neither confirmed nor refused, oldest first.
pub(crate) async fn live_intents(
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
            action: parse_enum::<WriteAction>(&row.action)?,
            fields: row.fields.0,
            state: parse_enum::<IntentState>(&row.state)?,
            echoed: row.echoed.0,
        });
    }
    Ok(intents)
}

/// Records writes before they are made. Each must be made before its lease ends.
pub(crate) async fn insert_intents(
    tx: &mut Tx,
    mapped: &MappedObject,
    intents: &[Intent],
) -> Result<(), StoreError> {
    if intents.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = intents.iter().map(|new| new.intent_id.0).collect();
    let (records, tokens): (Vec<Uuid>, Vec<i64>) = intents
        .iter()
        .map(|new| (new.record_id.0, new.fencing_token.0))
        .unzip();
    let actions: Vec<String> = intents.iter().map(|new| enum_text(new.action)).collect();
    let fields: Vec<Json<&Payload>> = intents.iter().map(|new| Json(&new.fields)).collect();
    tx.run(
        "recording intents",
        sqlx::query(
            "insert into syncline.sync_intent (
                intent_id, record_id, tenant, object, fencing_token, action, fields, deadline, config_hash
            )
            select
                new.intent_id, task.record_id, task.tenant, task.object, new.token, new.action, new.fields,
                task.lease_until, $2
            from unnest($1::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::jsonb[]) as new (
                intent_id, record_id, token, action, fields
            )
            join syncline.sync_task as task using (record_id)",
        )
        .bind(ids)
        .bind(&*mapped.config_hash)
        .bind(records)
        .bind(tokens)
        .bind(actions)
        .bind(fields),
    )
    .await?;
    Ok(())
}

#[derive(Serialize)]
struct SavedIntent<'a> {
    intent_id: IntentId,
    state: String,
    echoed: &'a BTreeSet<FieldName>,
}

/// Saves state and echoes of intents of locked records.
pub(crate) async fn save_intents(tx: &mut Tx, intents: &[Intent]) -> Result<(), StoreError> {
    if intents.is_empty() {
        return Ok(());
    }
    let saved: Vec<SavedIntent<'_>> = intents
        .iter()
        .map(|intent| SavedIntent {
            intent_id: intent.intent_id,
            state: enum_text(intent.state),
            echoed: &intent.echoed,
        })
        .collect();
    tx.run(
        "saving intents",
        sqlx::query(
            "update syncline.sync_intent as intent
            set state = saved.state,
                echoed = saved.echoed,
                updated_at = syncline.clock()
            from jsonb_to_recordset($1) as saved (intent_id uuid, state text, echoed jsonb)
            where intent.intent_id = saved.intent_id",
        )
        .bind(recordset(&saved)),
    )
    .await?;
    Ok(())
}

/// The refusal of one intent.
#[derive(Serialize)]
pub(crate) struct RefusalLine {
    pub(crate) intent_id: IntentId,
    pub(crate) refusal: SavedRefusal,
}

/// Stores why intents were refused.
pub(crate) async fn save_refusals(tx: &mut Tx, refusals: &[RefusalLine]) -> Result<(), StoreError> {
    if refusals.is_empty() {
        return Ok(());
    }
    tx.run(
        "saving refusals",
        sqlx::query(
            "update syncline.sync_intent as intent
            set refusal = new.refusal
            from jsonb_to_recordset($1) as new (intent_id uuid, refusal jsonb)
            where intent.intent_id = new.intent_id",
        )
        .bind(recordset(refusals)),
    )
    .await?;
    Ok(())
}

/// The refusal that a refused intent keeps beside its fields.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct SavedRefusal {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
    /// The fields that the next attempt leaves out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) withheld: Vec<FieldName>,
}

impl SavedRefusal {
    /// Returns the refusal with the fields that the next attempt leaves out.
    pub(crate) fn of(refusal: &Refusal, withheld: &[FieldName]) -> Self {
        Self {
            code: refusal.code.clone(),
            message: refusal.message.clone(),
            fields: refusal.fields.clone(),
            withheld: withheld.to_vec(),
        }
    }
}

#[derive(sqlx::FromRow)]
struct RefusedRow {
    record_id: Uuid,
    fields: Json<Payload>,
    refusal: Json<SavedRefusal>,
}

/// How long a lookup is not sent again to a parent that Salesforce did not know. Its creation wakes the record sooner;
/// that our user may see it from now on does not.
const PARENT_REFUSED_MINUTES: i32 = 60;

/// Returns the values that were refused in earlier attempts, newest first. A first attempt sends all values,
/// because the reason may not exist any more.
pub(crate) async fn refused_values(
    tx: &mut Tx,
    leases: &[LeasedTask],
) -> Result<BTreeMap<RecordId, Vec<RefusedValue>>, StoreError> {
    let tried: Vec<Uuid> = leases
        .iter()
        .filter(|lease| lease.attempts.any())
        .map(|lease| lease.record_id.0)
        .collect();
    if tried.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<RefusedRow> = tx
        .rows(
            "loading refused values",
            sqlx::query_as(
                "select record_id, fields, refusal
                from syncline.sync_intent
                where record_id = any($1)
                and state = 'refused'
                and refusal ? 'withheld'
                and (refusal ->> 'code' <> $2 or created_at > syncline.clock() - make_interval(mins => $3))
                order by record_id, created_at desc, intent_id",
            )
            .bind(tried)
            .bind(MISSING_PARENT)
            .bind(PARENT_REFUSED_MINUTES),
        )
        .await?;
    let mut refused: BTreeMap<RecordId, Vec<RefusedValue>> = BTreeMap::new();
    for RefusedRow {
        record_id,
        fields: Json(fields),
        refusal: Json(refusal),
    } in rows
    {
        let values = refused.entry(RecordId(record_id)).or_default();
        for field in refusal.withheld {
            let Some(value) = fields.get(&field) else {
                continue;
            };
            // Of several refusals of one value the newest gives the reason.
            let is_known = |one: &RefusedValue| one.field == field && one.value == *value;
            if values.iter().any(is_known) {
                continue;
            }
            values.push(RefusedValue {
                value: value.clone(),
                reason: ParkReason {
                    code: refusal.code.clone(),
                    field: Some(field.clone()),
                    message: refusal.message.clone(),
                },
                field,
            });
        }
    }
    Ok(refused)
}

/// Marks open intents without a valid lease as unknown.
pub(crate) async fn mark_orphans_unknown(
    tx: &mut Tx,
    tenants: &[&str],
) -> Result<usize, StoreError> {
    let marked = tx
        .run(
            "marking orphaned intents as unknown",
            sqlx::query(
                "update syncline.sync_intent as intent
                set state = 'unknown',
                    updated_at = syncline.clock()
                where intent.tenant = any($1)
                and intent.state = 'open'
                and intent.deadline < syncline.wall_clock()
                and not exists (
                    select
                    from syncline.sync_task as task
                    where task.record_id = intent.record_id
                    and task.state = 'leased'
                    and task.fencing_token = intent.fencing_token
                )",
            )
            .bind(tenants),
        )
        .await?;
    Ok(usize::try_from(marked).unwrap_or(usize::MAX))
}
