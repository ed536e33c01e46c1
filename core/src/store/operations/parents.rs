//! The parents that a record's references point to.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::value::Value;
use crate::ports::MappedObject;
use crate::store::tables::link::KnownRecord;

/// Returns the objects and ids that a record's references point to.
pub(crate) fn references<'a>(
    mapped: &MappedObject,
    value: impl Fn(&FieldName) -> Option<&'a Value>,
) -> Vec<(ObjectName, SalesforceId)> {
    mapped
        .sync
        .fields
        .iter()
        .filter_map(|(name, field)| {
            let Some(Value::Text(id)) = value(name) else {
                return None;
            };
            Some((field.references.clone()?, SalesforceId::parse(id).ok()?))
        })
        .collect()
}

/// Returns the objects and ids that the remote states of these records point to.
pub(crate) fn remote_parents<'k>(
    mapped: &MappedObject,
    records: impl IntoIterator<Item = &'k KnownRecord>,
) -> BTreeSet<(ObjectName, SalesforceId)> {
    let records = records.into_iter();
    records
        .flat_map(|record| {
            let remote_state = &record.link.remote_state.fields;
            let held = references(mapped, |field| {
                remote_state.get(field).map(|field| &field.value)
            });
            let overwritten = references(mapped, |field| {
                let edit = remote_state.get(field)?.overwritten.as_ref();
                edit.map(|edit| &edit.value)
            });
            held.into_iter().chain(overwritten)
        })
        .collect()
}

/// Returns those of `parents` that the record's remote state points to.
pub(crate) fn parents_of(
    mapped: &MappedObject,
    known: &KnownRecord,
    parents: &BTreeMap<SalesforceId, String>,
) -> BTreeMap<SalesforceId, String> {
    remote_parents(mapped, [known])
        .into_iter()
        .filter_map(|(_, id)| parents.get(&id).cloned().map(|parent| (id, parent)))
        .collect()
}
