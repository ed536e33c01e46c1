//! Suggests names that may have been meant.

use crate::config::similar;

/// Returns what to do about a name that does not exist, with the most similar one that does.
pub(super) fn fix<'n>(general: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match similar(name, known) {
        Some(meant) => format!("did you mean {meant}? Else {general}"),
        None => general.to_owned(),
    }
}
