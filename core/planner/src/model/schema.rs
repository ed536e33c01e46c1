//! What describe says about an object, as far as canonical values and writes depend on it.

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
