//! The parents that a record's references point to.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::model::ids::{FieldName, ObjectName, RecordId, SalesforceId};
use crate::model::link::{Presence, RemoteState};
use crate::model::value::Value;
use crate::ports::record::PostgresRow;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::read::FoundRows;
use crate::store::mapped_table::references::rows_with;
use crate::store::tables::alias::present_ids;
use crate::store::tables::link::KnownRecord;
use crate::store::transaction::Tx;

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

/// Returns the Salesforce ids of the parents that a record pointed to before, and does not any more.
pub(crate) fn former_parents(
    mapped: &MappedObject,
    before: &RemoteState,
    after: &RemoteState,
) -> Vec<String> {
    let parents = |state: &RemoteState| match state.presence == Presence::Present {
        true => references(mapped, |field| Some(&state.fields.get(field)?.value)),
        false => Vec::new(),
    };
    let after = parents(after);
    let former = parents(before).into_iter();
    let former = former.filter(|parent| !after.contains(parent));
    former.map(|(_, id)| id.to_string()).collect()
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

/// Replaces the former external ids of renamed parents in the rows of these records, as a foreign key would have done.
/// Returns the columns that differ from the rows in Postgres. Without this, a lookup that was set before its parent was
/// renamed on the other side would name no one.
///
/// An id that a row of the parent's table has today names that row, also if it is not captured yet.
pub(crate) async fn follow_renamed_parents(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[RecordId],
    found: &mut FoundRows,
) -> Result<BTreeMap<RecordId, Map<String, Json>>, StoreError> {
    let rows = records.iter().filter_map(|record| found.rows.get(record));
    let named = rows.flatten().flat_map(|row| named_parents(mapped, row));
    let named = named.map(|(_, object, id)| (object.clone(), id.into_owned()));
    let mut present = present_ids(tx, &mapped.tenant, &named.collect()).await?;
    if present.is_empty() {
        return Ok(BTreeMap::new());
    }
    for table in mapped.tables.iter() {
        let object = &table.sync.object;
        let of_table = present.keys().filter(|(of, _)| of == object);
        let former: Vec<&str> = of_table.map(|(_, id)| id.as_str()).collect();
        if former.is_empty() {
            continue;
        }
        let key = &table.sync.external_id.column;
        for row in rows_with(tx, table, key, &former, &BTreeSet::from([key])).await? {
            present.remove(&(object.clone(), row.external_id));
        }
    }
    let mut changed = BTreeMap::new();
    for record in records {
        for row in found.rows.get_mut(record).into_iter().flatten() {
            let renamed = named_parents(mapped, row).filter_map(|(column, object, id)| {
                let now = present.get(&(object.clone(), id.into_owned()))?;
                Some((column.to_owned(), Json::from(now.as_str())))
            });
            let renamed: Map<String, Json> = renamed.collect();
            if !renamed.is_empty() {
                row.columns.extend(renamed.clone());
                changed.insert(*record, renamed);
            }
        }
    }
    Ok(changed)
}

/// Returns the columns of a row that name parents by an external id, with the parent's object.
fn named_parents<'a>(
    mapped: &'a MappedObject,
    row: &'a PostgresRow,
) -> impl Iterator<Item = (&'a str, &'a ObjectName, Cow<'a, str>)> {
    mapped.sync.fields.values().filter_map(|field| {
        let id = match row.columns.get(field.column.as_str())? {
            Json::String(id) => Cow::Borrowed(id.as_str()),
            Json::Number(id) => Cow::Owned(id.to_string()),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
        };
        Some((field.column.as_str(), field.references.as_ref()?, id))
    })
}
