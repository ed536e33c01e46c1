//! Texts of bounded length.

use super::read::{self, Members, Read};
use super::{INPUT_BYTES_MAX, Problem, json};

/// Returns the members of the JSON object that a text holds.
pub(super) fn members(text: &str) -> Result<Members<'_>, Problem> {
    within_bounds(text)?;
    Members::of(json::parse(text)?)
}

/// Returns what the JSON of a text is.
pub(super) fn whole<T: Read>(text: &str) -> Result<T, Problem> {
    within_bounds(text)?;
    read::read(text)
}

pub(super) fn within_bounds(input: &str) -> Result<(), Problem> {
    if input.len() > INPUT_BYTES_MAX {
        let message = format!("it is longer than {INPUT_BYTES_MAX} bytes");
        let fix = "give less at once: a batch can be given in chunks";
        return Err(Problem::at("", message, fix));
    }
    Ok(())
}
