//! Canonical JSON and its hash: equal content, equal bytes, equal hash.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::value::{Decimal, Payload};

/// Returns `json` as text with keys sorted at any depth, numbers in their one form (`1.50` is
/// `1.5`, `1E2` is `100`) and no white space.
pub fn canonical_json(json: &Json) -> String {
    let mut text = String::new();
    write_canonical(&mut text, json);
    text
}

/// Returns the BLAKE3 hash of the canonical JSON, in hexadecimal.
///
/// ```
/// use syncline::model::hash::canonical_hash;
/// let one = serde_json::json!({"b": {"y": 1, "x": [2]}, "a": null});
/// let other = serde_json::from_str(r#"{"a":null,"b":{"x":[2],"y":1}}"#).unwrap();
/// assert_eq!(canonical_hash(&one), canonical_hash(&other));
/// ```
pub fn canonical_hash(json: &Json) -> String {
    blake3::hash(canonical_json(json).as_bytes())
        .to_hex()
        .to_string()
}

/// Returns the hash of canonical values, the same as [`canonical_hash`] of them as a JSON object.
pub fn payload_hash(payload: &Payload) -> String {
    let object: serde_json::Map<String, Json> = payload
        .iter()
        .map(|(field, value)| (field.as_str().to_owned(), value.to_json()))
        .collect();
    canonical_hash(&Json::Object(object))
}

fn write_canonical(text: &mut String, json: &Json) {
    match json {
        Json::Null | Json::Bool(_) | Json::String(_) => {
            write!(text, "{json}").expect("writing to a string cannot fail");
        }
        Json::Number(number) => {
            let given = number.to_string();
            match Decimal::parse(&given) {
                Some(number) => text.push_str(number.as_str()),
                None => text.push_str(&given),
            }
        }
        Json::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(text, item);
            }
            text.push(']');
        }
        Json::Object(members) => {
            let sorted: BTreeMap<&String, &Json> = members.iter().collect();
            text.push('{');
            for (place, (name, member)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(text, &Json::from(name.as_str()));
                text.push(':');
                write_canonical(text, member);
            }
            text.push('}');
        }
    }
}
