//! Objects for the tests of events, from Pub/Sub and from Event Relay.

use std::sync::Arc;

use crate::model::ids::{FieldName, ObjectName};
use crate::model::observation::SalesforceObservation;
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};
use crate::ports::salesforce::{Changes, Interest};

pub(super) const TEXT: FieldType = FieldType::Text { length: 255 };
pub(super) const MONEY: FieldType = FieldType::Decimal {
    precision: 18,
    scale: 2,
};

/// Returns an object with these fields; the first is its external id.
pub(super) fn object(name: &str, key_prefix: &str, fields: &[(&str, FieldType)]) -> ObjectSchema {
    let field = |(place, (name, field_type)): (usize, &(&str, FieldType))| FieldSchema {
        name: field_name(name),
        field_type: field_type.clone(),
        createable: true,
        updateable: true,
        nillable: true,
        defaulted_on_create: false,
        external_id: place == 0,
        unique: false,
        case_sensitive: false,
        calculated: *name == "Formula__c",
        was_updateable: true,
    };
    ObjectSchema {
        object: ObjectName::parse(name).unwrap(),
        key_prefix: key_prefix.to_owned(),
        fields: fields
            .iter()
            .enumerate()
            .map(field)
            .map(|field| (field.name.clone(), field))
            .collect(),
        cascades: Vec::new(),
    }
}

/// Maps these fields of the object.
pub(super) fn mapped(
    object: ObjectSchema,
    fields: &[&str],
    changes: Changes,
) -> (Arc<ObjectSchema>, Interest) {
    let key = object.fields.iter().find(|(_, field)| field.external_id);
    let interest = Interest {
        external_id: key.expect("an external id").0.clone(),
        fields: fields.iter().map(|name| field_name(name)).collect(),
        changes,
    };
    (Arc::new(object), interest)
}

/// Formats an observation as a line: the kind, then the fields.
pub(super) fn line_of(observation: &SalesforceObservation) -> String {
    let fields: Vec<String> = observation
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_json()))
        .collect();
    format!("{:?} {}", observation.kind, fields.join(" "))
}

fn field_name(name: &str) -> FieldName {
    FieldName::parse(name).unwrap()
}
