//! Which fields of an object are mapped, and how: decided from its describe alone.

use std::collections::BTreeMap;

use super::{LeftOut, Picklists};
use crate::config::{DeleteMode, Deletes, Direction, ExternalId, FieldSync, ObjectSync, Owner};
use crate::engine::check::unmappable;
use crate::model::column::{ColumnKind, ColumnType};
use crate::model::ids::{ColumnName, FieldName, ObjectName, TableName};
use crate::model::schema::{FieldSchema, ObjectSchema};
use crate::model::type_table::FieldKind;
use crate::ports::salesforce::ObjectAccess;
use crate::store::{Choices, Index, NewColumn};

/// The type of the external id column of each object that a lookup can reference.
pub(super) type Parents = BTreeMap<ObjectName, ColumnType>;

/// An object that gets a mapping.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) schema: ObjectSchema,
    pub(super) access: ObjectAccess,
    /// The external id field.
    pub(super) key: FieldName,
    pub(super) table: TableName,
}

/// A field that can be mapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) field: &'a FieldSchema,
    /// The object whose external ids its column holds, for a lookup.
    pub(super) parent: Option<&'a ObjectName>,
}

/// Fields that every object has, and that no mapping needs, with the reason.
const NEEDLESS: [(&str, &str); 10] = [
    ("Id", "the view syncline.record_status has it"),
    ("IsDeleted", "deletes are synchronised as deletes"),
    ("LastActivityDate", "change events never carry it"),
    ("LastModifiedById", "every write changes it, ours too"),
    ("LastModifiedDate", "every write changes it, ours too"),
    ("LastReferencedDate", "it differs from user to user"),
    ("LastViewedDate", "it differs from user to user"),
    ("MasterRecordId", "only deleted records have it"),
    ("PhotoUrl", "change events never carry it"),
    ("SystemModstamp", "every write changes it, ours too"),
];

impl Source {
    /// Returns the external id field.
    pub(super) fn key_field(&self) -> Option<&FieldSchema> {
        self.schema.fields.get(&self.key)
    }

    /// Returns the type of the external id column of a new table.
    pub(super) fn key_type(&self) -> ColumnType {
        let described = self.key_field();
        let fitting = described.and_then(|field| ColumnType::for_field(&field.field_type));
        fitting.unwrap_or_else(|| ColumnType::plain(ColumnKind::Text))
    }

    /// Returns the fields that can be mapped, besides the external id, and the others with the reason.
    pub(super) fn fields<'a>(&'a self, parents: &'a Parents) -> (Vec<Wanted<'a>>, Vec<LeftOut>) {
        let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
        let others = self.schema.fields.values();
        for field in others.filter(|field| field.name != self.key) {
            let possible = match reason_against(field) {
                Some(why) => Err(why),
                None => parent_of(field, parents),
            };
            match possible {
                Ok(parent) => wanted.push(Wanted { field, parent }),
                Err(why) => left_out.push(LeftOut {
                    field: field.name.clone(),
                    why,
                    sql: None,
                }),
            }
        }
        (wanted, left_out)
    }

    /// Returns the direction of the mapping, and why it is not both ways.
    pub(super) fn direction(&self, left_out: &[LeftOut]) -> (Direction, Option<String>) {
        let object = &self.schema.object;
        if !(self.access.createable && self.access.updateable) {
            let why = format!("our user may not create and edit records of {object}");
            return (Direction::ToPostgres, Some(why));
        }
        let required = left_out.iter().find(|left| {
            let field = self.schema.fields.get(&left.field);
            field.is_some_and(FieldSchema::is_required)
        });
        match required {
            None => (Direction::Both, None),
            Some(left) => {
                let why = format!("{} is required in Salesforce but left out", left.field);
                (Direction::ToPostgres, Some(why))
            }
        }
    }

    /// Returns the mapping with these columns.
    pub(super) fn mapping(
        &self,
        direction: Direction,
        key: ColumnName,
        fields: impl IntoIterator<Item = (FieldName, ColumnName, Option<ObjectName>)>,
    ) -> ObjectSync {
        let read_only = |name: &FieldName| {
            let field = self.schema.fields.get(name);
            direction == Direction::Both && field.is_some_and(|field| !field.updateable)
        };
        let fields = fields.into_iter().map(|(name, column, references)| {
            let owner = match read_only(&name) {
                true => Owner::Salesforce,
                false => Owner::Shared,
            };
            let sync = FieldSync {
                column,
                owner,
                references,
            };
            (name, sync)
        });
        let mode = match direction == Direction::Both && !self.access.deletable {
            true => DeleteMode::Ignore,
            false => DeleteMode::Propagate,
        };
        ObjectSync {
            object: self.schema.object.clone(),
            table: self.table.clone(),
            external_id: ExternalId {
                field: self.key.clone(),
                column: key,
            },
            direction,
            conflicts: Default::default(),
            seed: Default::default(),
            deletes: Deletes {
                mode,
                ..Deletes::default()
            },
            lanes: Default::default(),
            filter: None,
            on_filter_exit: Default::default(),
            auto_assign: false,
            duplicate_rules: Default::default(),
            fields: fields.collect(),
        }
    }

    /// Returns a new column for a field.
    pub(super) fn new_column(
        &self,
        wanted: Wanted<'_>,
        name: ColumnName,
        parents: &Parents,
        picklists: Picklists,
    ) -> NewColumn {
        let field = wanted.field;
        let picklist = self.access.picklists.get(&field.name);
        let of_parent = wanted.parent.and_then(|parent| parents.get(parent));
        let column_type = match (of_parent, picklist) {
            (Some(of_parent), _) => Some(of_parent.clone()),
            // Its choices bound its length.
            (None, Some(_)) => Some(ColumnType::plain(ColumnKind::Text)),
            (None, None) => ColumnType::for_field(&field.field_type),
        };
        let choices = picklist
            .filter(|picklist| picklists == Picklists::Check && picklist.restricted)
            .map(|picklist| Choices {
                values: picklist.values.iter().cloned().collect(),
                several: picklist.several,
            });
        NewColumn {
            name,
            column_type: column_type.unwrap_or_else(|| ColumnType::plain(ColumnKind::Text)),
            not_null: refuses_null(wanted),
            index: match wanted.parent {
                Some(_) => Index::Plain,
                None => Index::None,
            },
            choices,
        }
    }

    /// Returns a new column for the external id. It accepts null: a row without one gets one.
    pub(super) fn new_key_column(&self, name: ColumnName) -> NewColumn {
        NewColumn {
            name,
            column_type: self.key_type(),
            not_null: false,
            index: Index::Unique,
            choices: None,
        }
    }
}

/// Returns whether null has no meaning on either side. A lookup may wait for its parent while its record is written
/// already. A custom field may have become required after its first records, which then lack it; a text column takes
/// empty text for those.
fn refuses_null(wanted: Wanted<'_>) -> bool {
    let field = wanted.field;
    let is_custom = super::names::stem(field.name.as_str()) != field.name.as_str();
    let is_safe = !is_custom || field.field_type.length().is_some();
    let is_checkbox = field.field_type.is_boolean() && field.createable;
    wanted.parent.is_none() && (is_checkbox || field.is_required() && is_safe)
}

/// Returns why a field is not mapped, lookups aside.
fn reason_against(field: &FieldSchema) -> Option<String> {
    let needless = NEEDLESS
        .iter()
        .find(|(name, _)| *name == field.name.as_str());
    if let Some((_, why)) = needless {
        return Some((*why).to_owned());
    }
    if let Some((what, fix)) = unmappable(&field.field_type) {
        return Some(format!("{what}: {fix}"));
    }
    (field.field_type.kind() == FieldKind::EncryptedText).then(|| {
        "encrypted text: it is shown masked to a user without the permission \"View Encrypted Data\"; with it, map the \
         field by hand"
            .to_owned()
    })
}

/// Returns the object that a lookup points to; `None` for a field that is not a lookup.
///
/// Fails if a mapping cannot say which object that is, or if it is not mapped.
fn parent_of<'a>(
    field: &'a FieldSchema,
    parents: &Parents,
) -> Result<Option<&'a ObjectName>, String> {
    let Some(targets) = field.field_type.targets() else {
        return Ok(None);
    };
    match targets {
        [] => Err("describe does not say what it points to".to_owned()),
        [parent] if parents.contains_key(parent) => Ok(Some(parent)),
        [parent] => Err(format!("{parent}, which it points to, is not mapped")),
        several => {
            let names: Vec<&str> = several.iter().map(ObjectName::as_str).collect();
            Err(format!(
                "it may point to several objects ({}), and a column holds external ids of one",
                names.join(", ")
            ))
        }
    }
}
