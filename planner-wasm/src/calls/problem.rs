//! Why an input cannot be used, and what to do about it.

use serde::Serialize;
use syncline_planner::model::text::JsonText;
use syncline_planner::write_object;

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

    /// Returns the problem as seen from outside of the member `name`.
    pub(super) fn below(mut self, name: &str) -> Self {
        self.path = match self.path.chars().next() {
            None => name.to_owned(),
            Some('[') => format!("{name}{}", self.path),
            Some(_) => format!("{name}.{}", self.path),
        };
        self
    }

    /// Returns the problem as JSON text.
    pub fn to_json(&self) -> String {
        JsonText::of(self)
    }
}

write_object!(Problem { path, message, fix });
