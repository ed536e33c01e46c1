//! Canonical JSON and its hash: equal content, equal bytes, equal hash.

use serde_json::Value as Json;

use super::text::JsonText;
use super::value::Payload;

/// Returns `json` as text with keys sorted at any depth, numbers in their one form (`1.50` is
/// `1.5`, `1E2` is `100`) and no white space.
pub fn canonical_json(json: &Json) -> String {
    JsonText::canonical(json)
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
    text_hash(&JsonText::canonical(payload))
}
