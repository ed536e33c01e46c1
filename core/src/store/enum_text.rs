//! Converts our enums to and from text columns: `present`, `applied`, `update` …

use std::fmt::Display;
use std::str::FromStr;

use super::error::corrupt;
use crate::ports::StoreError;

/// Returns the text of an enum value.
pub(crate) fn enum_text(value: impl Into<&'static str>) -> String {
    value.into().to_owned()
}

/// Parses the text of an enum value.
pub(crate) fn parse_enum<T>(text: &str) -> Result<T, StoreError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(corrupt)
}
