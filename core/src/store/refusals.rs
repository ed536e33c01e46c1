//! Values that Salesforce refused, remembered for as long as a record is tried again.

use std::collections::BTreeMap;

use sqlx::types::Json;
use uuid::Uuid;

use super::transaction::Tx;
use crate::engine::ports::StoreError;
use crate::engine::ports::salesforce::Refusal;
use crate::engine::ports::store::{LeasedTask, ParkReason, RefusedValue};
use crate::model::ids::{FieldName, RecordId};
use crate::model::value::Payload;

/// What a refused intent says beside its fields.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct SavedRefusal {
    code: String,
    message: String,
    fields: Vec<String>,
    /// The fields to go on without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    withheld: Vec<FieldName>,
}

impl SavedRefusal {
    pub(super) fn of(refusal: &Refusal, withheld: &[FieldName]) -> Self {
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

/// Returns the values that the tries before this one were refused for, newest first. A first try knows
/// of none: everything is sent, for the reason may be gone.
pub(super) async fn refused_values(
    tx: &mut Tx,
    leases: &[LeasedTask],
) -> Result<BTreeMap<RecordId, Vec<RefusedValue>>, StoreError> {
    let tried: Vec<Uuid> = leases
        .iter()
        .filter(|lease| lease.attempt > 0)
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
                order by record_id, created_at desc, intent_id",
            )
            .bind(tried),
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
            // Of several refusals of one value the newest says why.
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
