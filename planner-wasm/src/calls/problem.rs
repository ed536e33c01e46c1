//! Why an input cannot be used, and what to do about it.

use serde::Serialize;

/// Why an input cannot be used.
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
    pub(super) fn at(path: &str, message: impl ToString, fix: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            message: message.to_string(),
            fix: fix.into(),
        }
    }

    /// Returns the problem as JSON text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a problem is three texts")
    }
}
