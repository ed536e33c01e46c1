//! Our enums as text columns hold them: `present`, `applied`, `update` …

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::corrupt;
use crate::ports::StoreError;

/// Returns the text of an enum value.
pub(crate) fn enum_text<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(_) | Err(_) => unreachable!("only enums without content are stored as text"),
    }
}

/// Parses the text of an enum value.
pub(crate) fn parse_enum<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(corrupt)
}
