//! The parts of an object's describe that canonical values and writes depend on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{FieldName, ObjectName};

/// The type of a field, with the properties that shape its canonical value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum FieldType {
    /// string, textarea, picklist, phone, email, url, combobox, encrypted string.
    Text {
        /// Longest content in characters.
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
    /// Returns whether values are numbers.
    pub fn is_number(&self) -> bool {
        self.scale().is_some()
    }

    /// Returns whether values are dates, times or both.
    pub fn is_time(&self) -> bool {
        match self {
            Self::Date | Self::DateTime | Self::Time => true,
            Self::Text { .. }
            | Self::MultiPicklist
            | Self::Reference { .. }
            | Self::Id
            | Self::Boolean
            | Self::Integer
            | Self::Decimal { .. }
            | Self::Unsupported { .. } => false,
        }
    }

    /// Returns whether values are checkboxes, which are never null.
    pub fn is_boolean(&self) -> bool {
        *self == Self::Boolean
    }

    /// Returns the most characters of a text.
    pub fn length(&self) -> Option<u32> {
        match self {
            Self::Text { length } => Some(*length),
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

    /// Returns the digits after the point of a number.
    pub fn scale(&self) -> Option<u32> {
        match self {
            Self::Integer => Some(0),
            Self::Decimal { scale, .. } => Some(*scale),
            Self::Text { .. }
            | Self::MultiPicklist
            | Self::Reference { .. }
            | Self::Id
            | Self::Boolean
            | Self::Date
            | Self::DateTime
            | Self::Time
            | Self::Unsupported { .. } => None,
        }
    }

    /// Returns the objects that a lookup may point to; `None` for a field that is not a lookup.
    pub fn targets(&self) -> Option<&[ObjectName]> {
        match self {
            Self::Reference { to, .. } => Some(to),
            Self::Text { .. }
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

    /// Returns the name of a lookup's relationship in SOQL and in payloads, if it has one.
    pub fn relationship(&self) -> Option<&str> {
        match self {
            Self::Reference { relationship, .. } => relationship.as_deref(),
            Self::Text { .. }
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
}
