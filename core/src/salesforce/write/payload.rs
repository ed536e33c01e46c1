//! Builds the body, path and headers of a write.

use std::collections::BTreeMap;

use chrono::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value as Json;

use crate::model::ids::SalesforceId;
use crate::ports::salesforce::{FieldWrite, Write, WriteTarget};
use crate::salesforce::describe::Schemas;

/// Longest encoded external id in a path; longer ones are sent in the body.
const PATH_VALUE_BYTES_MAX: usize = 1_000;

/// Returns whether a write can be a single call. An external id that is unsafe in a path (empty, with
/// slashes, or ending like a file name, which Salesforce's edge servers filter) is sent in the body of a
/// collection instead.
pub(super) fn fits_single_call(write: &Write) -> bool {
    match &write.target {
        WriteTarget::UpsertByExternalId { value, .. } => {
            let ends_like_a_file = value.rsplit_once('.').is_some_and(|(_, extension)| {
                extension.chars().all(|c| c.is_alphabetic()) || extension.is_empty()
            });
            !value.is_empty()
                && !value.contains(['/', '\\'])
                && !value.contains(char::is_control)
                && !ends_like_a_file
                && path_segment(value).len() <= PATH_VALUE_BYTES_MAX
        }
        WriteTarget::UpdateById(_) | WriteTarget::DeleteById(_) => true,
    }
}

/// All characters except letters, digits and `-_.~` (RFC 3986, "Unreserved Characters").
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Percent-encodes a text as one segment of a path.
pub(super) fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Returns the body of a single write. The external id is in the path and must not be in the body.
pub(super) fn single_body(write: &Write, schemas: &Schemas) -> String {
    let mut fields = members(write, schemas);
    if let WriteTarget::UpsertByExternalId { field, .. } = &write.target {
        fields.remove(field.as_str());
    }
    to_text(&fields)
}

/// Returns the body of one record of a collection, `attributes` first.
pub(super) fn collection_record(write: &Write, schemas: &Schemas) -> String {
    let mut fields = members(write, schemas);
    if let WriteTarget::UpsertByExternalId { field, value } = &write.target {
        let external_id = schemas.external_id_json(&write.object, field, value);
        fields.insert(field.as_str(), external_id);
    }
    to_text(&CollectionRecord {
        attributes: Attributes {
            object: write.object.as_str(),
        },
        id: match &write.target {
            WriteTarget::UpdateById(id) => Some(id),
            WriteTarget::UpsertByExternalId { .. } | WriteTarget::DeleteById(_) => None,
        },
        fields,
    })
}

/// Returns the headers that change what a write does. Without them Salesforce runs assignment rules
/// and enforces duplicate rules.
pub(super) fn headers(auto_assign: bool, allow_duplicates: bool) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    if !auto_assign {
        headers.push(("Sforce-Auto-Assign", "FALSE".to_owned()));
    }
    if allow_duplicates {
        headers.push(("Sforce-Duplicate-Rule-Header", "allowSave=true".to_owned()));
    }
    headers
}

/// Returns the header that makes Salesforce refuse a single write with 412 if the record has changed
/// since (REST API Developer Guide, "Use Conditional Requests").
pub(super) fn if_unmodified_since(write: &Write) -> Option<(&'static str, String)> {
    let WriteTarget::UpdateById(_) = write.target else {
        return None;
    };
    let since = DateTime::from_timestamp_millis(write.unmodified_since_ms?)?;
    Some((
        "If-Unmodified-Since",
        since.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
    ))
}

/// Returns the members of a record: values by field, parents by relationship.
fn members<'a>(write: &'a Write, schemas: &Schemas) -> BTreeMap<&'a str, Json> {
    let object = &write.object;
    write
        .fields
        .iter()
        .filter(|(name, _)| name.as_str() != "Id")
        .map(|(name, write)| match write {
            FieldWrite::Value(value) => (name.as_str(), value.to_json()),
            FieldWrite::Parent {
                relationship,
                field,
                external_id,
            } => {
                let external_id = match schemas.parent_of(object, name) {
                    Some(parent) => schemas.external_id_json(&parent, field, external_id),
                    None => Json::from(external_id.as_str()),
                };
                (
                    relationship.as_str(),
                    serde_json::json!({ field.as_str(): external_id }),
                )
            }
        })
        .collect()
}

fn to_text(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("text keys and JSON values serialize")
}

#[derive(Serialize)]
struct CollectionRecord<'a> {
    attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a SalesforceId>,
    #[serde(flatten)]
    fields: BTreeMap<&'a str, Json>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    #[serde(rename = "type")]
    object: &'a str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::model::ids::{FieldName, IntentId, ObjectName};
    use crate::model::value::{Decimal, Value};

    fn upsert(external_id: &str, fields: &[(&str, FieldWrite)]) -> Write {
        Write {
            intent_id: IntentId(Uuid::nil()),
            object: ObjectName::parse("Account").unwrap(),
            target: WriteTarget::UpsertByExternalId {
                field: FieldName::parse("External_Id__c").unwrap(),
                value: external_id.to_owned(),
            },
            fields: fields
                .iter()
                .map(|(name, write)| (FieldName::parse(name).unwrap(), write.clone()))
                .collect(),
            auto_assign: false,
            allow_duplicates: false,
            unmodified_since_ms: None,
        }
    }

    #[test]
    fn bodies_keep_digits_nulls_and_parent_external_ids() {
        let digits = Decimal::parse("123456789012345678.5").unwrap();
        let write = upsert(
            "a-1",
            &[
                ("Amount__c", FieldWrite::Value(Value::Number(digits))),
                ("Phone", FieldWrite::Value(Value::Null)),
                (
                    "ParentId",
                    FieldWrite::Parent {
                        relationship: "Parent".to_owned(),
                        field: FieldName::parse("External_Id__c").unwrap(),
                        external_id: "p-1".to_owned(),
                    },
                ),
            ],
        );
        assert_eq!(
            single_body(&write, &Schemas::default()),
            r#"{"Amount__c":123456789012345678.5,"Parent":{"External_Id__c":"p-1"},"Phone":null}"#
        );
        assert_eq!(
            collection_record(&write, &Schemas::default()),
            r#"{"attributes":{"type":"Account"},"Amount__c":123456789012345678.5,"External_Id__c":"a-1","Parent":{"External_Id__c":"p-1"},"Phone":null}"#
        );
    }

    #[test]
    fn external_id_is_in_path_or_body_never_both() {
        let write = upsert(
            "a-1",
            &[("External_Id__c", FieldWrite::Value(Value::text("a-1")))],
        );
        assert_eq!(single_body(&write, &Schemas::default()), "{}");
        assert!(
            collection_record(&write, &Schemas::default()).contains(r#""External_Id__c":"a-1""#)
        );
    }

    #[test]
    fn cleared_reference_sets_the_field_itself_to_null() {
        let write = upsert("a-1", &[("ParentId", FieldWrite::Value(Value::Null))]);
        assert_eq!(
            single_body(&write, &Schemas::default()),
            r#"{"ParentId":null}"#
        );
    }

    #[test]
    fn external_id_unsafe_in_a_path_is_sent_in_the_body() {
        for fits in ["a-1", "ünï cödé", "50%", "a.1", "x@y.z1", "a b+c'd"] {
            assert!(fits_single_call(&upsert(fits, &[])), "{fits}");
        }
        for garbled in [
            "",
            "a/b",
            "a\\b",
            "x@y.inc",
            "report.csv",
            ".",
            "..",
            "a\nb",
        ] {
            assert!(!fits_single_call(&upsert(garbled, &[])), "{garbled}");
        }
        assert!(!fits_single_call(&upsert(&"x".repeat(1_001), &[])));
    }

    proptest! {
        #[test]
        fn path_segment_decodes_to_the_same_text(text in any::<String>()) {
            let url = reqwest::Url::parse(&format!("http://host/a/x{}/b", path_segment(&text)));
            let url = url.unwrap();
            let segments: Vec<&str> = url.path_segments().unwrap().collect();
            prop_assert_eq!(segments.len(), 3);
            let mut bytes = Vec::new();
            let mut rest = segments[1].as_bytes();
            while let Some((&byte, after)) = rest.split_first() {
                rest = after;
                if byte == b'%' {
                    let digits = std::str::from_utf8(&rest[..2]).unwrap();
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    rest = &rest[2..];
                } else {
                    bytes.push(byte);
                }
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("x{text}"));
        }
    }
}
