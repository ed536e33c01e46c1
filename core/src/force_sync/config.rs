//! The mapping of an object.

use std::collections::BTreeMap;

use serde_json::json;

use super::error::ForceSyncError;
use crate::config;
use crate::model::ids::FieldName;

pub use crate::config::{ConflictPolicy, Owner};

/// The schema of tables that are named without one.
const SCHEMA: &str = "public";

/// The limits between the lanes, in records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneThresholds {
    lanes: config::LaneThresholds,
}

impl LaneThresholds {
    /// Returns the largest batch that is written with single REST calls.
    pub const fn rest_max_batch_size(&self) -> usize {
        self.lanes.rest_max_batch_size
    }

    /// Returns the smallest batch that is written with Bulk API 2.0.
    pub const fn bulk_min_batch_size(&self) -> usize {
        self.lanes.bulk_min_batch_size
    }
}

/// One mapped object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectSync {
    object_name: String,
    external_id_field: Option<String>,
    conflict_policy: ConflictPolicy,
    lane_thresholds: LaneThresholds,
    field_ownership: BTreeMap<String, Owner>,
    table: Option<String>,
    columns: BTreeMap<String, String>,
}

impl ObjectSync {
    /// Returns a mapping of the object without fields.
    pub fn new(object_name: impl Into<String>) -> Self {
        Self {
            object_name: object_name.into(),
            external_id_field: None,
            conflict_policy: ConflictPolicy::default(),
            lane_thresholds: LaneThresholds::default(),
            field_ownership: BTreeMap::new(),
            table: None,
            columns: BTreeMap::new(),
        }
    }

    /// Sets the external id field.
    #[must_use]
    pub fn external_id(mut self, external_id_field: impl Into<String>) -> Self {
        self.external_id_field = Some(external_id_field.into());
        self
    }

    /// Maps a field and sets who owns it.
    #[must_use]
    pub fn field_owner(mut self, field_name: impl Into<String>, owner: Owner) -> Self {
        self.field_ownership.insert(field_name.into(), owner);
        self
    }

    /// Sets the table, as `name` or `schema.name`. The default is the object's name in lower case, without
    /// `__c`, in the schema `public`.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Maps a field to a column. The default for a field with an owner is the field's name in lower case,
    /// without `__c`.
    #[must_use]
    pub fn column(mut self, field_name: impl Into<String>, column: impl Into<String>) -> Self {
        self.columns.insert(field_name.into(), column.into());
        self
    }

    /// Returns the object's API name.
    pub fn object_name(&self) -> &str {
        &self.object_name
    }

    /// Returns the external id field, if it is set.
    pub fn external_id_field(&self) -> Option<&str> {
        self.external_id_field.as_deref()
    }

    /// Returns the conflict policy.
    pub const fn conflict_policy(&self) -> &ConflictPolicy {
        &self.conflict_policy
    }

    /// Returns the limits between the lanes.
    pub const fn lane_thresholds(&self) -> &LaneThresholds {
        &self.lane_thresholds
    }

    /// Returns who owns the field, if that is set.
    pub fn field_owner_for(&self, field_name: &str) -> Option<Owner> {
        self.field_ownership.get(field_name).copied()
    }

    /// Returns the owner of every field that has one.
    pub const fn field_ownership(&self) -> &BTreeMap<String, Owner> {
        &self.field_ownership
    }

    /// Returns the rules for merging a payload. Merging does not use the names of object, table and
    /// external id. Owners of invalid field names are ignored.
    pub(super) fn rules(&self) -> config::ObjectSync {
        let fields = self
            .field_ownership
            .iter()
            .filter(|(field, _)| FieldName::parse(field).is_ok())
            .map(|(field, owner)| (field.clone(), json!({"column": "column", "owner": owner})));
        object_sync("Object", (SCHEMA, "table"), ("Id", "id"), fields)
            .expect("fixed names and checked field names are valid")
    }

    /// Returns the engine's mapping. Fails if the external id field is not set or a name is not valid.
    pub(super) fn mapping(&self) -> Result<config::ObjectSync, ForceSyncError> {
        let external_id =
            self.external_id_field
                .as_deref()
                .ok_or(ForceSyncError::MissingConfiguration {
                    field: "external_id_field",
                })?;
        let named = self.table.clone();
        let table = named.unwrap_or_else(|| postgres_name(&self.object_name));
        let table = table.split_once('.').unwrap_or((SCHEMA, &table));
        let mapped = self.field_ownership.keys().chain(self.columns.keys());
        let fields = mapped.filter(|field| *field != external_id).map(|field| {
            let owner = self.field_owner_for(field).unwrap_or_default();
            let sync = json!({"column": self.column_of(field), "owner": owner});
            (field.clone(), sync)
        });
        let column = self.column_of(external_id);
        object_sync(&self.object_name, table, (external_id, &column), fields)
    }

    fn column_of(&self, field: &str) -> String {
        let named = self.columns.get(field).cloned();
        named.unwrap_or_else(|| postgres_name(field))
    }
}

fn object_sync(
    object: &str,
    (schema, table): (&str, &str),
    (field, column): (&str, &str),
    fields: impl Iterator<Item = (String, serde_json::Value)>,
) -> Result<config::ObjectSync, ForceSyncError> {
    let fields: serde_json::Map<String, serde_json::Value> = fields.collect();
    serde_json::from_value(json!({
        "object": object,
        "table": {"schema": schema, "table": table},
        "external_id": {"field": field, "column": column},
        "fields": fields,
    }))
    .map_err(|error| ForceSyncError::invalid("object sync", error))
}

/// Returns the default name in Postgres for an API name.
fn postgres_name(api_name: &str) -> String {
    let name = api_name.strip_suffix("__c").unwrap_or(api_name);
    name.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{ColumnName, ObjectName};

    #[test]
    fn names_in_postgres_follow_the_api_names() {
        let mapping = ObjectSync::new("Order_Line__c")
            .external_id("External_Id__c")
            .field_owner("Amount__c", Owner::Postgres)
            .column("Name", "title")
            .mapping()
            .unwrap();
        assert_eq!(mapping.object, ObjectName::parse("Order_Line__c").unwrap());
        assert_eq!(mapping.table.table.as_str(), "order_line");
        assert_eq!(mapping.external_id.column.as_str(), "external_id");
        let column = |field: &str| {
            mapping.fields[&FieldName::parse(field).unwrap()]
                .column
                .clone()
        };
        assert_eq!(column("Amount__c"), ColumnName::parse("amount").unwrap());
        assert_eq!(column("Name"), ColumnName::parse("title").unwrap());
    }

    #[test]
    fn a_mapping_needs_an_external_id_and_valid_names() {
        let missing = ObjectSync::new("Account").mapping().unwrap_err();
        assert!(matches!(
            missing,
            ForceSyncError::MissingConfiguration { .. }
        ));
        let invalid = ObjectSync::new("Acc ount").external_id("Key__c").mapping();
        let invalid = invalid.unwrap_err();
        assert!(matches!(invalid, ForceSyncError::InvalidStoredValue { .. }));
    }
}
