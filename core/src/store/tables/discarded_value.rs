//! Discarded values. Each can be restored from here.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::model::Side;
use crate::model::edit_time::EditTime;
use crate::model::ids::{FieldName, RecordId};
use crate::model::value::Value;
use crate::planner::facts::BySide;
use crate::ports::StoreError;
use crate::store::enum_text::enum_text;
use crate::store::transaction::{Tx, recordset};

/// A discarded value to log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewDiscardedValue {
    /// The record.
    pub(crate) record_id: RecordId,
    /// The field.
    pub(crate) field: FieldName,
    /// The side that had it.
    pub(crate) side: String,
    /// The value, wrapped so that a cleared field (JSON null) stays distinct from a missing value.
    pub(crate) value: [serde_json::Value; 1],
    /// The rule.
    pub(crate) rule: String,
    /// When each side edited the field, if that decided.
    pub(crate) edited: Option<BySide<EditTime>>,
}

/// Returns the log entry of an edit in Salesforce that a write of ours replaced unseen.
pub(crate) fn overwritten_value(
    record_id: RecordId,
    field: FieldName,
    value: &Value,
) -> NewDiscardedValue {
    NewDiscardedValue {
        record_id,
        field,
        side: enum_text(Side::Salesforce),
        value: [value.to_json()],
        rule: "overwritten".to_owned(),
        edited: None,
    }
}

/// Logs discarded values, so that each can be restored. A value is logged once for one piece of work, however
/// often a refused write is planned again.
pub(crate) async fn insert_discarded_values(
    tx: &mut Tx,
    lost: &[NewDiscardedValue],
    config_hash: &str,
) -> Result<(), StoreError> {
    if lost.is_empty() {
        return Ok(());
    }
    tx.run(
        "logging discarded values",
        sqlx::query(
            "insert into syncline.sync_discarded_value (record_id, tenant, object, field, side, value, rule, edited, config_hash)
            select lost.record_id, link.tenant, link.object, lost.field, lost.side, lost.value -> 0, lost.rule, lost.edited, $2
            from jsonb_to_recordset($1) as lost (record_id uuid, field text, side text, value jsonb, rule text, edited jsonb)
            join syncline.sync_link as link using (record_id)
            where not exists (
                select
                from syncline.sync_discarded_value as known
                join syncline.sync_task as task using (record_id)
                where known.record_id = lost.record_id
                and known.field = lost.field
                and known.side = lost.side
                and known.value = lost.value -> 0
                and known.rule = lost.rule
                and known.logged_at >= task.dirty_since
            )",
        )
        .bind(recordset(lost))
        .bind(config_hash),
    )
    .await?;
    Ok(())
}

/// A discarded value as the table has it, with the names of its record.
#[derive(sqlx::FromRow)]
pub(crate) struct DiscardedValueRow {
    pub(crate) discarded_value_id: i64,
    pub(crate) record_id: Uuid,
    pub(crate) object: String,
    pub(crate) external_id: String,
    pub(crate) salesforce_id: Option<String>,
    pub(crate) field: String,
    pub(crate) side: String,
    pub(crate) value: serde_json::Value,
    pub(crate) rule: String,
    pub(crate) edited: Option<Json<BySide<EditTime>>>,
    pub(crate) logged_at: DateTime<Utc>,
}

/// Lists discarded values of a tenant, newest first: of one object or all, with one number or any.
pub(crate) const LIST: &str = "select lost.*, link.external_id, link.salesforce_id
    from syncline.sync_discarded_value as lost
    join syncline.sync_link as link using (record_id)
    where lost.tenant = $1
    and ($2::text is null or lost.object = $2)
    and ($3::bigint is null or lost.discarded_value_id = $3)
    order by lost.discarded_value_id desc
    limit $4";
