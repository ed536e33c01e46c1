//! References from a contained call to the answer of an earlier one, `@{ref.member[0].x}`.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::message::Response;
use crate::model::error::SfError;

/// The answers so far, by reference id.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_reference: HashMap<String, Json>,
}

impl Answers {
    /// Stores an answer.
    pub(super) fn note(&mut self, reference: &str, response: &Response) {
        self.by_reference
            .insert(reference.to_owned(), response.to_json());
    }

    /// Replaces the references in every text of `json`.
    pub(super) fn fill(&self, json: &Json) -> Result<Json, SfError> {
        Ok(match json {
            Json::String(text) => match whole(text) {
                // A text that consists of one reference becomes the value itself.
                Some(path) => self.value(path)?.clone(),
                None => Json::String(self.fill_text(text)?),
            },
            Json::Array(items) => {
                let items: Result<_, _> = items.iter().map(|item| self.fill(item)).collect();
                Json::Array(items?)
            }
            Json::Object(members) => {
                let filled = |(name, value): (&String, &Json)| {
                    self.fill(value).map(|value| (name.clone(), value))
                };
                Json::Object(members.iter().map(filled).collect::<Result<_, _>>()?)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
        })
    }

    /// Replaces the references in a text.
    pub(super) fn fill_text(&self, text: &str) -> Result<String, SfError> {
        self.filled(text, |value| value)
    }

    /// Replaces the references in a URL. Each value becomes part of one segment, whatever it
    /// contains.
    pub(super) fn fill_url(&self, url: &str) -> Result<String, SfError> {
        self.filled(url, |value| {
            let escaped = |byte: u8| match byte {
                b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            value.bytes().map(escaped).collect()
        })
    }

    fn filled(&self, text: &str, written: impl Fn(String) -> String) -> Result<String, SfError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, path, after)) = next_reference(rest) {
            out.push_str(before);
            out.push_str(&written(match self.value(path)? {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            }));
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value(&self, path: &str) -> Result<&Json, SfError> {
        let (reference, _) = split_head(path);
        self.find(path).ok_or_else(|| {
            let message =
                format!("Invalid reference specified. No value for {path} found in {reference}.");
            SfError::new("PROCESSING_HALTED", message)
        })
    }

    fn find(&self, path: &str) -> Option<&Json> {
        let (reference, mut rest) = split_head(path);
        let mut at = self.by_reference.get(reference)?;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = split_head(after);
                at = at.as_object()?.get(name)?;
                rest = after;
            } else {
                let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
                at = at.as_array()?.get(index.trim().parse::<usize>().ok()?)?;
                rest = after;
            }
        }
        Some(at)
    }
}

/// Returns the reference ids that a text uses.
pub(super) fn references(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, path, after)) = next_reference(rest) {
        found.push(split_head(path).0);
        rest = after;
    }
    found
}

/// Splits a text at its first reference: the text before it, its path, the text after it.
fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("@{")?;
    let (path, after) = rest.split_once('}')?;
    Some((before, path, after))
}

/// Returns the path of a text that consists of one reference.
fn whole(text: &str) -> Option<&str> {
    let (before, path, after) = next_reference(text)?;
    (before.is_empty() && after.is_empty()).then_some(path)
}

/// Splits a path after its first name.
fn split_head(path: &str) -> (&str, &str) {
    path.split_at(path.find(['.', '[']).unwrap_or(path.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Answers, references};
    use crate::rest::message::Response;

    fn answers() -> Answers {
        let mut answers = Answers::default();
        let body = json!({"id": "001/x", "n": 5, "records": [{"Id": "a b"}], "none": null});
        answers.note("ref", &Response::json(200, body.to_string()));
        answers.note("list", &Response::json(200, "[{\"id\":\"z\"}]".to_owned()));
        answers
    }

    #[test]
    fn references_are_replaced_in_place() {
        let filled = answers().fill(&json!({
            "a": "@{ref.id}", "b": "x-@{ref.n}-@{list[0].id}", "c": ["@{ref.n}"],
            "d": {"e": "@{ref.records[0].Id}"}, "f": "@{ref.none}", "g": "@{open", "h": 1,
        }));
        let expected = json!({
            "a": "001/x", "b": "x-5-z", "c": [5], "d": {"e": "a b"}, "f": null, "g": "@{open",
            "h": 1,
        });
        assert_eq!(filled.unwrap(), expected);
        let url = answers().fill_url("/x/@{ref.id}?q=@{ref.records[0].Id}");
        assert_eq!(url.unwrap(), "/x/001%2Fx?q=a%20b");
    }

    #[test]
    fn unknown_references_are_named_in_the_error() {
        for text in [
            "@{ref.nope}",
            "@{none.id}",
            "@{list[1].id}",
            "@{ref.id.x}",
            "@{ref[0]}",
            "@{}",
        ] {
            let error = answers().fill_text(text).unwrap_err();
            assert_eq!(error.code(), "PROCESSING_HALTED", "{text}");
        }
        let error = answers().fill_text("@{ref.records[3].Id}").unwrap_err();
        let message = "Invalid reference specified. No value for ref.records[3].Id found in ref.";
        assert_eq!(error.message(), message);
    }

    #[test]
    fn referenced_calls_are_found_before_the_run() {
        assert_eq!(references("/a/@{b.id}/@{c[0].id}?x=@{"), ["b", "c"]);
    }
}
