//! Converts both sides of a record to the planner's form: canonical values, references by external id. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::config::{FieldSync, ObjectSync};
use crate::model::canonical::{self, ValueError};
use crate::model::edit_time::EditTime;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::{ColumnName, FieldName, SalesforceId};
use crate::model::link::{Presence, RemoteState};
use crate::model::schema::FieldType;
use crate::model::value::Value;
use crate::planner::facts::{OverwrittenValue, SideState};
use crate::planner::mapping::Mapping;
use crate::ports::MappedObject;
use crate::ports::record::{MISSING_PARENT, ObservedRecord, ParkReason, PostgresRow};

/// One mapped field, with what is needed to convert its values.
#[derive(Debug, Clone)]
pub(crate) struct MappedField {
    pub(crate) id: FieldId,
    pub(crate) name: FieldName,
    pub(crate) column: ColumnName,
    pub(crate) field_type: FieldType,
    /// The column contains a parent's external id.
    pub(crate) is_lookup: bool,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    /// Our user has lost the right to write it.
    pub(crate) became_read_only: bool,
}

/// A column with a value that is invalid for its field. It is not sent; the other columns are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invalid {
    pub(crate) id: FieldId,
    field: FieldName,
    column: ColumnName,
    error: ValueError,
}

impl Invalid {
    /// Returns why the field is parked.
    pub(crate) fn park_reason(&self, mapped: &MappedObject) -> ParkReason {
        let Self {
            field,
            column,
            error,
            ..
        } = self;
        ParkReason {
            code: "invalid_value".to_owned(),
            field: Some(field.clone()),
            message: format!(
                "column {column} cannot go to {}.{field}: {error}. Correct the row; it is tried again by \
                 itself",
                mapped.sync.object
            ),
        }
    }
}

/// Returns why fields of the remote state stop that Salesforce does not let us read.
pub(crate) fn unreadable_fields(
    mapped: &MappedObject,
    remote_state: &RemoteState,
) -> Vec<ParkReason> {
    if remote_state.presence != Presence::Present {
        return Vec::new();
    }
    let is_mapped = |field: &&FieldName| mapped.sync.fields.contains_key(*field);
    remote_state
        .unreadable
        .iter()
        .filter(|(field, _)| is_mapped(field))
        .map(|(field, reason)| ParkReason {
            code: "unreadable_value".to_owned(),
            field: Some(field.clone()),
            message: format!(
                "{}.{field} cannot be read: {reason}. Nothing is written to it on either side until it can",
                mapped.sync.object
            ),
        })
        .collect()
}

/// Returns why a lookup is withheld whose parent has no link.
pub(crate) fn unknown_lookup(mapped: &MappedObject, field: &FieldName) -> ParkReason {
    ParkReason {
        code: MISSING_PARENT.to_owned(),
        field: Some(field.clone()),
        message: format!(
            "the record that {}.{field} points to is not synchronised. Map its object, or bring the record into \
             its filter; it is tried again by itself",
            mapped.sync.object
        ),
    }
}

/// Returns every mapped field of the object, including the external id.
pub(crate) fn mapped_fields(mapped: &MappedObject, mapping: &Mapping) -> Vec<MappedField> {
    let ObjectSync {
        fields,
        external_id,
        ..
    } = &*mapped.sync;
    mapping
        .fields()
        .filter_map(|id| {
            let name = mapping.name(id);
            let (column, is_lookup) = match fields.get(name) {
                Some(FieldSync {
                    column, references, ..
                }) => (column, references.is_some()),
                None => (&external_id.column, false),
            };
            let schema = mapped.schema.fields.get(name)?;
            Some(MappedField {
                id,
                name: name.clone(),
                column: column.clone(),
                field_type: schema.field_type.clone(),
                is_lookup,
                createable: schema.createable,
                updateable: schema.updateable,
                became_read_only: schema.became_read_only(),
            })
        })
        .collect()
}

/// The content of a row.
#[derive(Debug, Default)]
pub(crate) struct RowContent {
    /// Its values by field. A value that is invalid for its field is kept: it differs from the value in
    /// Salesforce, so the rules decide about it as about any other edit.
    pub(crate) values: FieldMap<FieldId, Value>,
    /// The fields that cannot hold the row's value.
    pub(crate) invalid: Vec<Invalid>,
}

/// Returns the canonical content of a row.
pub(crate) fn row_content(fields: &[MappedField], row: &PostgresRow) -> RowContent {
    let mut content = RowContent::default();
    for field in fields {
        let Some(raw) = row.columns.get(field.column.as_str()) else {
            continue;
        };
        let value = canonical_column(field, raw).unwrap_or_else(|error| {
            content.invalid.push(Invalid {
                id: field.id,
                field: field.name.clone(),
                column: field.column.clone(),
                error,
            });
            Value::from_json(raw).unwrap_or_else(|| Value::Text(raw.to_string()))
        });
        content.values.insert(field.id, value);
    }
    content
}

/// Returns the canonical value of one column.
fn canonical_column(field: &MappedField, raw: &Json) -> Result<Value, ValueError> {
    let value = canonical::from_postgres(&field.field_type, raw)?;
    match (&field.field_type, field.is_lookup, &value) {
        // The column of a lookup to an unmapped object contains the id itself, with 15 or 18 characters.
        (FieldType::Reference { .. }, false, Value::Text(id)) => SalesforceId::parse(id)
            .map(|id| Value::text(id.as_str()))
            .map_err(|_| ValueError::NotA {
                wanted: "a Salesforce id",
            }),
        _ => Ok(value),
    }
}

/// Converts values to a row's columns, in the JSON form that Postgres reads.
pub(crate) fn wire_columns(
    fields: &[MappedField],
    values: &FieldMap<FieldId, Value>,
) -> Map<String, Json> {
    fields
        .iter()
        .filter_map(|field| Some((field, values.get(&field.id)?)))
        .map(|(field, value)| {
            let json = canonical::to_postgres_json(&field.field_type, value);
            (field.column.as_str().to_owned(), json)
        })
        .collect()
}

/// Returns the Postgres side of a record, and which of its fields cannot be sent. Fails if its external id is
/// invalid, so that the record cannot be identified.
pub(crate) fn postgres_side(
    mapped: &MappedObject,
    fields: &[MappedField],
    observed: &ObservedRecord,
) -> Result<(SideState, Vec<Invalid>), Invalid> {
    let gone = if observed.known.link.agreed {
        Presence::Deleted
    } else {
        Presence::Unseen
    };
    let (presence, content) = match observed.rows.first() {
        Some(row) if is_soft_deleted(&mapped.sync, row) => {
            (Presence::Deleted, row_content(fields, row))
        }
        Some(row) => (Presence::Present, row_content(fields, row)),
        None => (gone, RowContent::default()),
    };
    let mut invalid = content.invalid.iter();
    if let Some(nameless) = invalid.find(|one| one.id == Mapping::EXTERNAL_ID) {
        return Err(nameless.clone());
    }
    let side = SideState {
        presence,
        fields: content.values,
        changed_at_ms: observed.known.postgres_changed_at_ms,
        edited: edits(fields, |name| {
            let at_ms = observed.known.postgres_edited.get(name).copied();
            at_ms.or_else(|| sent_ms(observed, name)).map(EditTime::at)
        }),
    };
    Ok((side, content.invalid))
}

/// Returns when the row was edited as a write of ours sent it, if that write replaced an edit which is to be decided.
fn sent_ms(observed: &ObservedRecord, name: &FieldName) -> Option<i64> {
    let remote = observed.known.link.remote_state.fields.get(name)?;
    remote.overwritten.as_ref()?;
    remote.replaced.as_ref()?.row_edited_ms
}

/// Returns true if the row's soft-delete column is filled.
pub(crate) fn is_soft_deleted(sync: &ObjectSync, row: &PostgresRow) -> bool {
    sync.deletes
        .column
        .as_ref()
        .and_then(|column| row.columns.get(column.as_str()))
        .is_some_and(|filled| !filled.is_null())
}

/// Returns the Salesforce side of a record, from its remote state, and the lookups whose parents are unknown: the
/// side lacks them.
pub(crate) fn salesforce_side(
    fields: &[MappedField],
    remote_state: &RemoteState,
    parents: &BTreeMap<SalesforceId, String>,
) -> (SideState, Vec<FieldName>) {
    if remote_state.presence != Presence::Present {
        let side = SideState {
            presence: remote_state.presence,
            fields: FieldMap::default(),
            changed_at_ms: remote_state.presence_version.modified_ms,
            edited: FieldMap::default(),
        };
        return (side, Vec::new());
    }
    let seen = |name: &FieldName| remote_state.fields.get(name).map(|field| &field.value);
    let (named, unknown) = named_by_external_id(fields, seen, parents);
    let side = SideState {
        presence: Presence::Present,
        fields: named,
        changed_at_ms: remote_state
            .fields
            .values()
            .map(|field| field.version.modified_ms)
            .max()
            .flatten(),
        edited: edits(fields, |name| remote_state.fields.get(name)?.edited),
    };
    (side, unknown)
}

/// Returns when each field was edited, of those for which that is known.
fn edits(
    fields: &[MappedField],
    edited: impl Fn(&FieldName) -> Option<EditTime>,
) -> FieldMap<FieldId, EditTime> {
    let fields = fields.iter();
    fields
        .filter_map(|field| Some((field.id, edited(&field.name)?)))
        .collect()
}

/// Returns the edits that our writes replaced before they were seen. A lookup whose parent is unknown waits.
pub(crate) fn overwritten(
    fields: &[MappedField],
    remote_state: &RemoteState,
    parents: &BTreeMap<SalesforceId, String>,
) -> FieldMap<FieldId, OverwrittenValue> {
    let edit = |name: &FieldName| remote_state.fields.get(name)?.overwritten.as_ref();
    let (values, _) =
        named_by_external_id(fields, |name| edit(name).map(|edit| &edit.value), parents);
    let edits = fields.iter().filter_map(|field| {
        let edit = edit(&field.name)?;
        let value = values.get(&field.id)?.clone();
        let overwritten = OverwrittenValue {
            value,
            base: edit.base.clone(),
            edited: edit.edited,
        };
        Some((field.id, overwritten))
    });
    edits.collect()
}

/// Returns what was seen of each mapped field, with each mapped lookup's id replaced by its parent's
/// external id; and the lookups whose parents are unknown.
pub(crate) fn named_by_external_id<'v>(
    fields: &[MappedField],
    seen: impl Fn(&FieldName) -> Option<&'v Value>,
    parents: &BTreeMap<SalesforceId, String>,
) -> (FieldMap<FieldId, Value>, Vec<FieldName>) {
    let mut unknown = Vec::new();
    let mut named = FieldMap::with_capacity(fields.len());
    for field in fields {
        let Some(value) = seen(&field.name) else {
            continue;
        };
        let value = match (field.is_lookup, value) {
            (true, Value::Text(id)) => match parent_name(id, parents) {
                Some(name) => Value::Text(name),
                None => {
                    unknown.push(field.name.clone());
                    continue;
                }
            },
            (true, Value::Null | Value::Boolean(_) | Value::Number(_)) | (false, _) => {
                value.clone()
            }
        };
        named.insert(field.id, value);
    }
    (named, unknown)
}

fn parent_name(id: &str, parents: &BTreeMap<SalesforceId, String>) -> Option<String> {
    parents.get(&SalesforceId::parse(id).ok()?).cloned()
}
