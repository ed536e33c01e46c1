//! The form in which Salesforce stores a value, whatever road it comes by: REST, collections, bulk,
//! platform events, automation.

use serde_json::Value as Json;
use smol_str::{SmolStr, StrExt as _};

use super::Model;
use super::error::SfError;
use super::rich_text;
use super::schema::{Field, FieldType};
use super::value::{Misfit, Value};
use crate::unconfirmed::switches::{Email, TextLength};

impl Model {
    /// Reads a JSON value for `field` in its stored form.
    pub(crate) fn read_value(&self, field: &Field, json: &Json) -> Result<Value, Misfit> {
        Ok(self.stored(field, Value::from_json(field, json)?)?)
    }

    /// Reads trimmed, non-empty text for `field` in its stored form.
    pub(crate) fn read_text(&self, field: &Field, text: &str) -> Result<Value, Misfit> {
        Ok(self.stored(field, Value::from_text(field, text)?)?)
    }

    /// Returns a value in its stored form.
    fn stored(&self, field: &Field, value: Value) -> Result<Value, SfError> {
        let Value::Text(text) = value else {
            return Ok(value);
        };
        let text = match field.kind {
            FieldType::Email if self.switches.email == Email::LowerCase => {
                text.to_lowercase_smolstr()
            }
            FieldType::Textarea if field.html => SmolStr::from(rich_text::sanitised(&text)),
            _ => text,
        };
        // A text never has fewer bytes than units, and counting bytes is faster.
        let max = field.length as usize;
        if text.len() > max && self.length_of(&text) > max {
            let (label, length) = (&field.label, field.length);
            let message = format!("{label}: data value too large: {text} (max length={length})");
            return Err(SfError::of_field("STRING_TOO_LONG", message, &field.name));
        }
        Ok(if text.is_empty() {
            Value::Null
        } else {
            Value::Text(text)
        })
    }

    fn length_of(&self, text: &str) -> usize {
        match self.switches.text_length {
            TextLength::Utf16Units => text.encode_utf16().count(),
            TextLength::Characters => text.chars().count(),
        }
    }
}
