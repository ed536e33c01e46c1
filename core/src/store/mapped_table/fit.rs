//! Fits the columns of a write to their types, before Postgres sees them.
//!
//! Postgres refuses what is too long, but rounds a number and respells a text without a word. The
//! row would then hold a value that no one wrote, and it would come back as an edit.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::model::column::ColumnError;
use crate::model::ids::{ColumnName, FieldName};
use crate::model::key::KeyForm;
use crate::model::value::Value;
use crate::ports::MappedObject;
use crate::ports::operator_store::ColumnFacts;
use crate::store::error::{RefusalKind, RowRefusal};
use crate::store::mapped_table::rejected_columns::Rejected;
use crate::store::mapped_table::shape::{TableShape, key_form};

/// Brings the columns into the form that is cast to their types, and returns those that would not hold
/// their value.
pub(crate) fn fit_columns(
    mapped: &MappedObject,
    shape: &TableShape,
    columns: &mut Map<String, Json>,
) -> Rejected {
    let mut rejected = Rejected::new();
    for (field, column) in mapped_fields(mapped) {
        let (Some(json), Some(facts)) =
            (columns.get_mut(column.as_str()), shape.columns.get(column))
        else {
            continue;
        };
        if let Err(error) = holds(mapped, field, facts, json) {
            rejected.insert(column.to_string(), refusal(column, &error));
        }
        *json = facts.column_type.wire(facts.not_null, json.take());
    }
    rejected
}

fn mapped_fields(mapped: &MappedObject) -> BTreeMap<&FieldName, &ColumnName> {
    let external_id = &mapped.sync.external_id;
    let fields = mapped.sync.fields.iter();
    fields
        .map(|(name, field)| (name, &field.column))
        .chain([(&external_id.field, &external_id.column)])
        .collect()
}

fn holds(
    mapped: &MappedObject,
    field: &FieldName,
    facts: &ColumnFacts,
    json: &Json,
) -> Result<(), ColumnError> {
    let (Some(described), Some(value)) = (mapped.schema.fields.get(field), Value::from_json(json))
    else {
        return Ok(());
    };
    let is_key = *field == mapped.sync.external_id.field;
    let value = match (key_form(mapped), value) {
        // Salesforce compares such keys without case, so a uuid column may write them in its own.
        (KeyForm::CaseFolded, Value::Text(key)) if is_key => Value::Text(key.to_lowercase()),
        (_, value) => value,
    };
    facts.column_type.holds(&described.field_type, &value)
}

fn refusal(column: &ColumnName, error: &ColumnError) -> RowRefusal {
    RowRefusal {
        kind: RefusalKind::ValueRejected,
        place: Some(column.to_string()),
        column: Some(column.to_string()),
        message: error.to_string(),
        key: None,
    }
}
