//! The parts of an object's describe that canonical values and writes depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{FieldName, ObjectName};
use super::type_table::FieldKind;

/// The type of a field, with the properties that shape its canonical value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum FieldType {
    /// string, textarea, picklist, phone, url, combobox.
    Text {
        /// Longest content in UTF-16 units.
        length: u32,
    },
    /// Stored in lower case.
    Email {
        /// Longest content in UTF-16 units.
        length: u32,
    },
    /// HTML, of which Salesforce stores what its sanitiser leaves.
    RichText {
        /// Longest content in UTF-16 units.
        length: u32,
    },
    /// Text that Salesforce shows masked to users without the permission to see it.
    EncryptedText {
        /// Longest content in UTF-16 units.
        length: u32,
    },
    /// Values joined with `;`, in canonical (sorted) order.
    MultiPicklist,
    /// 18-character id of another record.
    Reference {
        /// Objects it may point to.
        to: Vec<ObjectName>,
        /// Name of the relationship in SOQL and in payloads, `Parent` or `Owner__r`.
        relationship: Option<String>,
    },
    /// The record's own id.
    Id,
    /// Checkbox.
    Boolean,
    /// Whole number.
    Integer,
    /// double, currency, percent.
    Decimal {
        /// Digits in all.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// `2026-05-01`.
    Date,
    /// `2026-05-01T09:30:00.000Z`.
    DateTime,
    /// `09:30:00.000Z`.
    Time,
    /// Compound, base64, anyType …: never mapped.
    Unsupported {
        /// The type as describe names it.
        name: String,
    },
}

/// Properties of a type, so that only decisions about every type list them all.
impl FieldType {
    /// Returns the kind, whose row in the type table has the rules.
    pub fn kind(&self) -> FieldKind {
        match self {
            Self::Text { .. } => FieldKind::Text,
            Self::Email { .. } => FieldKind::Email,
            Self::RichText { .. } => FieldKind::RichText,
            Self::EncryptedText { .. } => FieldKind::EncryptedText,
            Self::MultiPicklist => FieldKind::MultiPicklist,
            Self::Reference { .. } => FieldKind::Reference,
            Self::Id => FieldKind::Id,
            Self::Boolean => FieldKind::Boolean,
            Self::Integer => FieldKind::Integer,
            Self::Decimal { .. } => FieldKind::Decimal,
            Self::Date => FieldKind::Date,
            Self::DateTime => FieldKind::DateTime,
            Self::Time => FieldKind::Time,
            Self::Unsupported { .. } => FieldKind::Unsupported,
        }
    }

    /// Returns whether values are numbers.
    pub fn is_number(&self) -> bool {
        matches!(self.kind(), FieldKind::Integer | FieldKind::Decimal)
    }

    /// Returns whether values are dates, times or both.
    pub fn is_time(&self) -> bool {
        matches!(
            self.kind(),
            FieldKind::Date | FieldKind::DateTime | FieldKind::Time
        )
    }

    /// Returns whether values are checkboxes, which are never null.
    pub fn is_boolean(&self) -> bool {
        *self == Self::Boolean
    }

    /// Returns the most UTF-16 units of a text.
    pub fn length(&self) -> Option<u32> {
        match self {
            Self::Text { length }
            | Self::Email { length }
            | Self::RichText { length }
            | Self::EncryptedText { length } => Some(*length),
            Self::MultiPicklist
            | Self::Reference { .. }
            | Self::Id
            | Self::Boolean
            | Self::Integer
            | Self::Decimal { .. }
            | Self::Date
            | Self::DateTime
            | Self::Time
            | Self::Unsupported { .. } => None,
        }
    }

    /// Returns the objects that a lookup may point to; `None` for a field that is not a lookup.
    pub fn targets(&self) -> Option<&[ObjectName]> {
        self.lookup().map(|(to, _)| to)
    }

    /// Returns the name of a lookup's relationship in SOQL and in payloads, if it has one.
    pub fn relationship(&self) -> Option<&str> {
        self.lookup().and_then(|(_, relationship)| relationship)
    }

    fn lookup(&self) -> Option<(&[ObjectName], Option<&str>)> {
        match self {
            Self::Reference { to, relationship } => Some((to, relationship.as_deref())),
            Self::Text { .. }
            | Self::Email { .. }
            | Self::RichText { .. }
            | Self::EncryptedText { .. }
            | Self::MultiPicklist
            | Self::Id
            | Self::Boolean
            | Self::Integer
            | Self::Decimal { .. }
            | Self::Date
            | Self::DateTime
            | Self::Time
            | Self::Unsupported { .. } => None,
        }
    }
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldSchema {
    /// API name, as describe writes it.
    pub name: FieldName,
    /// Its type.
    pub field_type: FieldType,
    /// May be given on create.
    pub createable: bool,
    /// May be given on update.
    pub updateable: bool,
    /// May be null.
    pub nillable: bool,
    /// Salesforce fills it when it is not given.
    pub defaulted_on_create: bool,
    /// Marked as external id.
    pub external_id: bool,
    /// Must be unique.
    pub unique: bool,
    /// External ids compare with case.
    pub case_sensitive: bool,
    /// Formula, roll-up or auto number.
    pub calculated: bool,
    /// Could be given on update at some time since the object was first described.
    #[serde(default)]
    pub was_updateable: bool,
}

impl FieldSchema {
    /// Returns whether our user has lost the right to write the field.
    pub fn became_read_only(&self) -> bool {
        self.was_updateable && !self.updateable && !self.calculated
    }

    /// Returns whether a record cannot be created without a value of the field.
    pub fn is_required(&self) -> bool {
        self.createable
            && !self.nillable
            && !self.defaulted_on_create
            && !self.field_type.is_boolean()
    }
}

/// One object as describe shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectSchema {
    /// API name, as describe writes it.
    pub object: ObjectName,
    /// First three characters of its record ids.
    pub key_prefix: String,
    /// Its fields by API name.
    pub fields: BTreeMap<FieldName, FieldSchema>,
    /// Lookups of other objects whose records Salesforce deletes together with the record that they point to.
    #[serde(default)]
    pub cascades: Vec<Cascade>,
}

impl ObjectSchema {
    /// Takes over from an earlier describe which fields could be written then. Returns whether one of them can be
    /// written again that could not be written there.
    pub fn follow(&mut self, earlier: &Self) -> bool {
        let mut regained = false;
        for (name, before) in &earlier.fields {
            if let Some(field) = self.fields.get_mut(name) {
                field.was_updateable |= before.was_updateable;
                regained |= before.became_read_only() && field.updateable;
            }
        }
        regained
    }
}

/// A lookup whose records go with the record that it points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cascade {
    /// The object that has the lookup.
    pub object: ObjectName,
    /// The lookup.
    pub field: FieldName,
}
