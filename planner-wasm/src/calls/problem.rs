//! Why an input is invalid, and how to fix it.

use serde::Serialize;

/// Why an input is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Problem {
    /// The member that is wrong, as `object.fields.Name.owner`; empty for the input as a whole.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Problem {
    /// Returns a problem of the input as a whole.
    pub(super) fn of_input(message: String, fix: &str) -> Self {
        Self {
            path: String::new(),
            message,
            fix: fix.to_owned(),
        }
    }

    /// Returns the problem that a member of the input is missing.
    pub(super) fn missing(name: &str) -> Self {
        Self {
            path: name.to_owned(),
            message: "it is missing".to_owned(),
            fix: format!("add \"{name}\""),
        }
    }

    /// Returns why a text is not the JSON that was expected.
    pub(super) fn of_json(error: &serde_json::Error, path: &str) -> Self {
        if !error.is_data() {
            let message = format!("it is not JSON: {error}");
            return Self::of_input(message, "give the whole of one JSON text");
        }
        let text = error.to_string();
        // The path names the place; a line number is of no use in a text that a program wrote.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&place).unwrap_or(&text);
        Self::of_data(what, path)
    }

    /// Rewrites a message of serde in plain words.
    fn of_data(what: &str, path: &str) -> Self {
        if let Some(name) = what.strip_prefix("missing field `") {
            let name = name.trim_end_matches('`');
            let dot = if path.is_empty() { "" } else { "." };
            return Self {
                path: format!("{path}{dot}{name}"),
                ..Self::missing(name)
            };
        }
        let (message, fix) = if let Some((name, known)) = unknown(what, "unknown field `") {
            let fix = format!("remove it; there may be {known}");
            (format!("`{name}` is unknown"), fix)
        } else if let Some((word, known)) = unknown(what, "unknown variant `") {
            (format!("`{word}` is unknown"), format!("write {known}"))
        } else if let Some((given, wanted)) = mismatch(what) {
            let fix = "give what is expected there".to_owned();
            (format!("it is {given}, not {wanted}"), fix)
        } else {
            (what.to_owned(), "correct the value".to_owned())
        };
        let path = path.to_owned();
        Self { path, message, fix }
    }

    /// Returns the problem as JSON text.
    pub fn to_json(&self) -> String {
        super::text(self)
    }
}

/// Returns the name that is unknown, and which ones are known. The name may hold anything.
fn unknown<'t>(what: &'t str, start: &str) -> Option<(&'t str, &'t str)> {
    what.strip_prefix(start)?.rsplit_once("`, expected ")
}

/// Returns what was given, and what was expected. What was given may hold anything.
fn mismatch(what: &str) -> Option<(&str, &str)> {
    let given = what
        .strip_prefix("invalid type: ")
        .or_else(|| what.strip_prefix("invalid value: "))?;
    given.rsplit_once(", expected ")
}
