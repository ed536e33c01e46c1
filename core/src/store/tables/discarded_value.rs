//! Discarded values. Each can be restored from here.

use serde::Serialize;

use crate::model::ids::{FieldName, RecordId};
use crate::ports::StoreError;
use crate::store::transaction::{Tx, recordset};

/// A discarded value.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DiscardedValue {
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
}

/// Logs discarded values, so that each can be restored.
pub(crate) async fn insert_discarded_values(
    tx: &mut Tx,
    lost: &[DiscardedValue],
    config_hash: &str,
) -> Result<(), StoreError> {
    if lost.is_empty() {
        return Ok(());
    }
    tx.run(
        "logging discarded values",
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
