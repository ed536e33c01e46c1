//! The parents that a record's references point to.

use std::collections::BTreeMap;

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

/// Returns those of `parents` that the record's remote state points to.
pub(crate) fn parents_of(
    mapped: &MappedObject,
    known: &KnownRecord,
    parents: &BTreeMap<SalesforceId, String>,
) -> BTreeMap<SalesforceId, String> {
    let remote_state = &known.link.remote_state.fields;
    references(mapped, |field| {
        remote_state.get(field).map(|field| &field.value)
    })
    .into_iter()
    .filter_map(|(_, id)| Some((id.clone(), parents.get(&id)?.clone())))
    .collect()
}
