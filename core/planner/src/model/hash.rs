//! Canonical JSON and its hash: equal content, equal bytes, equal hash.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::{Decimal, Payload};

/// Returns `json` as text with keys sorted at any depth, numbers in their one form (`1.50` is
/// `1.5`, `1E2` is `100`) and no white space.
pub fn canonical_json(json: &Json) -> String {
    canonical(json).to_string()
}

/// Returns canonical values as canonical JSON.
pub fn canonical_payload(payload: &Payload) -> String {
    let members = payload.iter();
    let members = members.map(|(field, value)| (field.as_str().to_owned(), value.to_json()));
    Json::Object(members.collect()).to_string()
}

fn canonical(json: &Json) -> Json {
    match json {
        Json::Null | Json::Bool(_) | Json::String(_) => json.clone(),
        Json::Number(number) => Decimal::parse(number.as_str())
            .map_or_else(|| json.clone(), |number| Json::Number(number.to_json())),
        Json::Array(items) => Json::Array(items.iter().map(canonical).collect()),
        Json::Object(members) => {
            // Sorted here, because a map of serde_json may have another order.
            let sorted: BTreeMap<&String, &Json> = members.iter().collect();
            let members = sorted.into_iter();
            let members = members.map(|(name, value)| (name.clone(), canonical(value)));
            Json::Object(members.collect())
        }
    }
}

/// Returns the BLAKE3 hash of the canonical JSON, in hexadecimal.
///
/// ```
/// use syncline_planner::model::hash::canonical_hash;
/// let one = serde_json::json!({"b": {"y": 1, "x": [2]}, "a": null});
/// let other = serde_json::from_str(r#"{"a":null,"b":{"x":[2],"y":1}}"#).unwrap();
/// assert_eq!(canonical_hash(&one), canonical_hash(&other));
/// ```
pub fn canonical_hash(json: &Json) -> String {
    text_hash(&canonical_json(json))
}

/// Returns the BLAKE3 hash of a text, in hexadecimal.
pub fn text_hash(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

/// Returns the hash of canonical values, the same as [`canonical_hash`] of them as a JSON object.
pub fn payload_hash(payload: &Payload) -> String {
    text_hash(&canonical_payload(payload))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::canonical_json;

    #[test]
    fn numbers_and_members_have_one_form() {
        let digits: Json = serde_json::from_str("[12345678901234567.890, 1E2]").unwrap();
        assert_eq!(canonical_json(&digits), "[12345678901234567.89,100]");
        let members = json!({"b": {"y": [], "x": null}, "a": "\u{1F388}\n"});
        assert_eq!(
            canonical_json(&members),
            "{\"a\":\"\u{1F388}\\n\",\"b\":{\"x\":null,\"y\":[]}}"
        );
    }
}
