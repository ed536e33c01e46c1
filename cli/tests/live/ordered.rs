//! Replaces ids and times of a history, so that two runs have the same output.
//!
//! Equal ids stay equal, and the order of times stays the same.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value as Json, json};

/// The first time after replacement.
const BEGINNING: &str = "2026-05-04T08:00:00Z";

/// The step between two times after replacement.
const STEP: Duration = Duration::seconds(61);

/// Replaces ids and times of a history.
pub(crate) fn in_order(history: &mut Json) {
    let mut names = Names::default();
    names.replace(history);
    let entries = history["entries"]
        .as_array_mut()
        .expect("a list of entries");
    let mut moments = Moments::default();
    for entry in entries {
        moments.replace(entry);
    }
}

/// Replacements of ids and hashes that are random or contain the address of a server.
#[derive(Default)]
struct Names(BTreeMap<String, String>);

impl Names {
    fn replace(&mut self, json: &mut Json) {
        match json {
            Json::Object(members) => {
                for (name, member) in members {
                    match (name.as_str(), &member) {
                        ("record_id" | "intent_id", Json::String(id)) => {
                            *member = json!(self.named(id, id_of));
                        }
                        // In a cursor only an id at its end is random.
                        ("cursor", Json::String(cursor)) if ends_with_id(cursor) => {
                            let (kind, id) = cursor.split_at(cursor.len() - ID_CHARS);
                            let id = self.named(id, id_of);
                            *member = json!(format!("{kind}{id}"));
                        }
                        ("config_hash", Json::String(hash)) => {
                            *member = json!(self.named(hash, |number| format!("config-{number}")));
                        }
                        _ => self.replace(member),
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }

    fn named(&mut self, id: &str, name: impl FnOnce(usize) -> String) -> String {
        let number = self.0.len() + 1;
        let name = self.0.entry(id.to_owned()).or_insert_with(|| name(number));
        name.clone()
    }
}

/// Characters of an id as text.
const ID_CHARS: usize = 36;

fn id_of(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn ends_with_id(cursor: &str) -> bool {
    let id = cursor
        .len()
        .checked_sub(ID_CHARS)
        .and_then(|at| cursor.get(at..));
    id.is_some_and(|id| id.bytes().filter(|byte| *byte == b'-').count() == 4)
}

/// Replacements of times: those of the database's clock, and the last change of each side.
#[derive(Default)]
struct Moments {
    last: Option<String>,
    count: i32,
    seen: BTreeMap<String, DateTime<Utc>>,
}

impl Moments {
    fn replace(&mut self, entry: &mut Json) {
        let replaced = self.replaced(entry["at"].as_str().expect("a time"));
        let text = replaced.to_rfc3339_opts(SecondsFormat::Secs, true);
        entry["at"] = json!(text);
        if entry["observed_at"].is_string() {
            entry["observed_at"] = json!(text);
        }
        if let ("observed", Some(side)) = (kind(entry), entry["side"].as_str()) {
            self.seen.insert(side.to_owned(), replaced);
        }
        // Measured, so that it differs between runs.
        if let Some(input) = entry.get_mut("input").and_then(Json::as_object_mut) {
            input.remove("clock_skew_ms");
        }
        for (side, at) in members(entry, "/input/changed_at_ms") {
            if at.is_number() {
                *at = json!(self.last_of(side));
            }
        }
        for side in ["postgres", "salesforce"] {
            let path = format!("/input/edited/{side}");
            for (_, edited) in members(entry, &path) {
                edited["at_ms"] = json!(self.last_of(side));
                if edited["since_ms"].is_number() {
                    let before = self.seen.get(side).map(|last| *last - STEP);
                    edited["since_ms"] = json!(before.as_ref().map(DateTime::timestamp_millis));
                }
            }
        }
    }

    /// Returns the last change of a side, in milliseconds.
    fn last_of(&self, side: &str) -> Option<i64> {
        self.seen.get(side).map(DateTime::timestamp_millis)
    }

    /// Returns the replacement of a time; equal times have the same one.
    fn replaced(&mut self, at: &str) -> DateTime<Utc> {
        if self.last.as_deref().is_some_and(|last| last != at) {
            self.count += 1;
        }
        self.last = Some(at.to_owned());
        let beginning: DateTime<Utc> = BEGINNING.parse().expect("a time");
        beginning + STEP * self.count
    }
}

/// Returns the members of the object at this path, if there is one.
fn members<'a>(
    entry: &'a mut Json,
    path: &str,
) -> impl Iterator<Item = (&'a String, &'a mut Json)> + use<'a> {
    let object = entry.pointer_mut(path).and_then(Json::as_object_mut);
    object.into_iter().flatten()
}

fn kind(entry: &Json) -> &str {
    entry["kind"].as_str().expect("a kind")
}
