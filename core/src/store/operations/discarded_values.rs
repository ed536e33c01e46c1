//! Lists and restores discarded values: those that lost to the value of the other side.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::{Direction, FieldSync, Owner};
use crate::model::Side;
use crate::model::edit_time::EditTime;
use crate::model::ids::{FieldName, ObjectName, RecordId, SalesforceId, TenantId};
use crate::model::value::Value;
use crate::planner::facts::BySide;
use crate::ports::apply_store::PlannedPostgres;
use crate::ports::{MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::enum_text::parse_enum;
use crate::store::error::corrupt;
use crate::store::mapped_table::read::{Locking, RowError, read_rows};
use crate::store::mapped_table::shape::read_shape;
use crate::store::mapped_table::write::{RowOutcome, RowWrite, write_rows};
use crate::store::operations::refused_row::refusal_text;
use crate::store::tables::discarded_value::{DiscardedValueRow, LIST};
use crate::store::tables::link::lock_records;

/// A value that lost to the value of the other side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiscardedValue {
    /// Its number.
    pub discarded_value_id: i64,
    /// The record.
    pub record_id: RecordId,
    /// The record's object.
    pub object: ObjectName,
    /// The record's external id.
    pub external_id: String,
    /// The record's Salesforce id, once known.
    pub salesforce_id: Option<SalesforceId>,
    /// The field.
    pub field: FieldName,
    /// The side that had the value.
    pub side: Side,
    /// The value.
    pub value: Value,
    /// What decided against it.
    pub rule: String,
    /// When each side edited the field, if that decided.
    pub edited: Option<BySide<EditTime>>,
    /// When.
    pub logged_at: DateTime<Utc>,
}

/// The result of restoring a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Restored {
    /// The row has it, and it is written to Salesforce next.
    Written,
    /// The tenant has no such discarded value.
    Unknown,
    /// The field is not mapped any more, or belongs to Salesforce, which would undo an edit of the row.
    NotEditable,
    /// The row does not exist.
    NoRow,
    /// Another transaction has locked the row: try again.
    Busy,
    /// Postgres refused the value.
    Refused {
        /// What it reported. Quotes values.
        message: String,
    },
}

impl PgStore {
    /// Returns the tenant's discarded values, newest first, of one object or of all.
    pub async fn discarded_values(
        &self,
        tenant: &TenantId,
        object: Option<&ObjectName>,
        limit: i64,
    ) -> Result<Vec<DiscardedValue>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<DiscardedValueRow> = tx
            .rows(
                "listing discarded values",
                sqlx::query_as(LIST)
                    .bind(tenant.as_str())
                    .bind(object.map(ObjectName::as_str))
                    .bind(None::<i64>)
                    .bind(limit),
            )
            .await?;
        tx.rollback().await?;
        rows.into_iter().map(DiscardedValue::try_from).collect()
    }

    /// Writes a discarded value into the record's row. It is an ordinary edit of the row: captured, planned
    /// and written to Salesforce like any other.
    pub async fn restore_value(
        &self,
        tenant: &TenantId,
        mapped_objects: &[MappedObject],
        discarded_value_id: i64,
    ) -> Result<Restored, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<DiscardedValueRow> = tx
            .row(
                "reading a discarded value",
                sqlx::query_as(LIST)
                    .bind(tenant.as_str())
                    .bind(None::<&str>)
                    .bind(discarded_value_id)
                    .bind(1_i64),
            )
            .await?;
        let Some(lost) = row.map(DiscardedValue::try_from).transpose()? else {
            return Ok(Restored::Unknown);
        };
        let Some((mapped, field)) = editable(mapped_objects, &lost) else {
            return Ok(Restored::NotEditable);
        };
        let known = lock_records(&mut tx, &[lost.record_id]).await?;
        let [known] = known.as_slice() else {
            return Ok(Restored::Unknown);
        };
        let shape = read_shape(&mut tx, mapped).await?;
        let found = match read_rows(&mut tx, mapped, &shape, &[known], Locking::Lock).await {
            Ok(found) => found,
            Err(error) => return refused(mapped, error),
        };
        if found.locked_elsewhere.contains(&lost.record_id) {
            return Ok(Restored::Busy);
        }
        let rows = found.rows.get(&lost.record_id);
        let Some(standing) = rows.and_then(|rows| rows.first()) else {
            return Ok(Restored::NoRow);
        };
        let facts = shape.facts(&mapped.sync.table, &field.column)?;
        let json = facts.column_type.wire(facts.not_null, lost.value.to_json());
        let patch = serde_json::Map::from_iter([(field.column.to_string(), json)]);
        let write = RowWrite {
            record_id: lost.record_id,
            external_id: &lost.external_id,
            identity: Some(&standing.identity),
            write: &PlannedPostgres::Update(patch),
            must_insert: false,
        };
        // The transaction is not marked as ours, so the triggers capture it.
        match write_rows(&mut tx, mapped, &shape, &[write], &BTreeSet::new()).await {
            Ok(outcomes) => match outcomes.get(&lost.record_id) {
                Some(RowOutcome::Stands(_)) => {}
                Some(RowOutcome::Gone | RowOutcome::KeyTaken | RowOutcome::Suppressed) | None => {
                    return Ok(Restored::Refused {
                        message: "a trigger or rule of the table prevented it".to_owned(),
                    });
                }
            },
            Err(error) => return refused(mapped, error),
        }
        tx.commit().await?;
        Ok(Restored::Written)
    }
}

/// Returns the object and the field of a value, if an edit of the row would be written to Salesforce.
fn editable<'a>(
    mapped_objects: &'a [MappedObject],
    lost: &DiscardedValue,
) -> Option<(&'a MappedObject, &'a FieldSync)> {
    let mut mapped = mapped_objects.iter();
    let mapped = mapped.find(|mapped| mapped.sync.object == lost.object)?;
    let field = mapped.sync.fields.get(&lost.field)?;
    let is_ours =
        field.owner != Owner::Salesforce && mapped.sync.direction != Direction::ToPostgres;
    is_ours.then_some((mapped, field))
}

/// Returns why Postgres refused the row, or the error itself if it is not about a row.
fn refused(mapped: &MappedObject, error: RowError) -> Result<Restored, StoreError> {
    match error {
        RowError::Refused(refusal) => Ok(Restored::Refused {
            message: refusal_text(mapped, &refusal),
        }),
        RowError::Store(error) => Err(error),
    }
}

impl TryFrom<DiscardedValueRow> for DiscardedValue {
    type Error = StoreError;

    fn try_from(row: DiscardedValueRow) -> Result<Self, StoreError> {
        Ok(Self {
            discarded_value_id: row.discarded_value_id,
            record_id: RecordId(row.record_id),
            object: ObjectName::parse(&row.object).map_err(corrupt)?,
            external_id: row.external_id,
            salesforce_id: row
                .salesforce_id
                .as_deref()
                .map(SalesforceId::parse)
                .transpose()
                .map_err(corrupt)?,
            field: FieldName::parse(&row.field).map_err(corrupt)?,
            side: parse_enum(&row.side)?,
            value: Value::from_json(&row.value)
                .ok_or_else(|| corrupt("a discarded value that is no value"))?,
            rule: row.rule,
            edited: row.edited.map(|edited| edited.0),
            logged_at: row.logged_at,
        })
    }
}
