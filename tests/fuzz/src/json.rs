//! What a text of JSON contains, for the properties that compare it with what a parser made of it.

use serde_json::Value as Json;

/// Returns all values that are no list and no object, with the key of each.
pub(crate) fn leaves(json: &Json) -> Vec<(&str, &Json)> {
    let mut found = Vec::new();
    let mut waiting = vec![("", json)];
    while let Some((key, json)) = waiting.pop() {
        match json {
            Json::Array(items) => waiting.extend(items.iter().map(|item| (key, item))),
            Json::Object(members) => {
                waiting.extend(members.iter().map(|(key, value)| (key.as_str(), value)));
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                found.push((key, json));
            }
        }
    }
    found
}

/// Fails if an error quotes a text of the document that is not the value of one of the `public` keys. Only texts
/// with a character that no name and no error of ours has are compared.
pub(crate) fn assert_quotes_nothing(error: &str, json: &Json, public: &[&str]) {
    const CHARACTERS_MIN: usize = 8;
    for (key, value) in leaves(json) {
        let Json::String(text) = value else { continue };
        let is_value = text.contains(['&', '@', '<', 'É']);
        let is_compared =
            is_value && text.chars().count() >= CHARACTERS_MIN && !public.contains(&key);
        assert!(
            !is_compared || !error.contains(text.as_str()),
            "the error quotes {text:?}: {error}"
        );
    }
}

/// Fails if a text for logs is longer than a person would read.
pub(crate) fn assert_is_short(text: &str) {
    const CHARACTERS_MAX: usize = 1_200;
    let length = text.chars().count();
    assert!(length <= CHARACTERS_MAX, "an error has {length} characters");
}

/// Returns the document, if the bytes are one.
pub(crate) fn document(bytes: &[u8]) -> Option<Json> {
    serde_json::from_slice(bytes).ok()
}
