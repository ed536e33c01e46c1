//! The value of one field of one record, and its conversion from and to JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use smol_str::{SmolStr, StrExt as _};

use super::error::SfError;
use super::id::RecordId;
use super::number::Double;
use super::schema::{Field, FieldType};
use super::stamp;
use crate::unconfirmed::{MULTIPICKLIST_IN_DEFINED_ORDER, NULL_CHECKBOX_CODE};

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i32),
    Double(Double),
    Date(i32),
    Datetime(i64),
    Time(i32),
    Id(RecordId),
    Text(SmolStr),
}

/// Why a JSON value does not fit its field.
pub(crate) enum Misfit {
    /// The JSON has the wrong type. The text is the one that the parser's error shows.
    Type {
        expected: &'static str,
        text: String,
    },
    /// The value has the right type but is refused.
    Refused(SfError),
}

impl From<SfError> for Misfit {
    fn from(error: SfError) -> Self {
        Self::Refused(error)
    }
}

impl Value {
    /// Reads a JSON value for `field`.
    pub(crate) fn from_json(field: &Field, json: &Json) -> Result<Self, Misfit> {
        let text = match json {
            Json::Null => return Self::cleared(field),
            Json::Bool(true) => "true",
            Json::Bool(false) => "false",
            Json::Number(number) => number.as_str(),
            Json::String(text) => text.trim(),
            Json::Array(_) => return Err(misfit(field.kind, "START_ARRAY".to_owned())),
            Json::Object(_) => return Err(misfit(field.kind, "START_OBJECT".to_owned())),
        };
        if text.is_empty() {
            return Self::cleared(field);
        }
        Self::from_text(field, text)
    }

    fn cleared(field: &Field) -> Result<Self, Misfit> {
        // A checkbox is never null.
        if field.kind == FieldType::Boolean {
            let message = format!("{}: value not of required type: ", field.name);
            let error = SfError::of_field(NULL_CHECKBOX_CODE, message, &field.name);
            return Err(Misfit::Refused(error));
        }
        Ok(Self::Null)
    }

    /// Reads trimmed, non-empty text for `field`.
    pub(crate) fn from_text(field: &Field, text: &str) -> Result<Self, Misfit> {
        let wrong = || misfit(field.kind, format!("VALUE_STRING value {text}"));
        Ok(match field.kind {
            FieldType::Id | FieldType::Reference => Self::Id(read_reference(field, text)?),
            FieldType::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" => Self::Bool(true),
                "false" => Self::Bool(false),
                _ => return Err(wrong()),
            },
            FieldType::Int => Self::Int(read_int(field, text).ok_or_else(wrong)??),
            FieldType::Double | FieldType::Currency | FieldType::Percent => {
                Self::Double(read_double(field, text).ok_or_else(wrong)??)
            }
            FieldType::Date => Self::Date(stamp::parse_date(text).ok_or_else(wrong)?),
            FieldType::Datetime => {
                let ms = stamp::parse_datetime(text).ok_or_else(wrong)?;
                // The precision of a datetime is one second; the rest is cut.
                Self::Datetime(stamp::floor_to_second(ms))
            }
            FieldType::Time => Self::Time(stamp::parse_time(text).ok_or_else(wrong)?),
            FieldType::String
            | FieldType::Textarea
            | FieldType::Encryptedstring
            | FieldType::Picklist
            | FieldType::Multipicklist
            | FieldType::Email
            | FieldType::Phone
            | FieldType::Url
            | FieldType::Address
            | FieldType::PersonName => Self::Text(read_text(field, text)?),
        })
    }

    /// Returns the text, if the value is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// Returns the id, if the value is one.
    pub(crate) fn as_id(&self) -> Option<RecordId> {
        if let Self::Id(id) = self {
            Some(*id)
        } else {
            None
        }
    }

    /// Returns the milliseconds, if the value is a datetime.
    pub(crate) fn as_datetime(&self) -> Option<i64> {
        if let Self::Datetime(ms) = self {
            Some(*ms)
        } else {
            None
        }
    }

    /// Appends the value as JSON.
    pub(crate) fn push_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(int) => out.push_str(&int.to_string()),
            Self::Double(number) => number.push(out),
            Self::Date(_) | Self::Datetime(_) | Self::Time(_) | Self::Id(_) => {
                out.push('"');
                self.push_plain(out);
                out.push('"');
            }
            Self::Text(text) => push_json_text(out, text),
        }
    }

    /// Appends the value without quotes.
    pub(crate) fn push_plain(&self, out: &mut String) {
        match self {
            Self::Null => {}
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Int(int) => out.push_str(&int.to_string()),
            Self::Double(number) => number.push(out),
            Self::Date(days) => stamp::push_date(out, *days),
            Self::Datetime(ms) => stamp::push_datetime(out, *ms),
            Self::Time(ms) => stamp::push_time(out, *ms),
            Self::Id(id) => out.push_str(&id.to_string()),
            Self::Text(text) => out.push_str(text),
        }
    }

    /// Returns the key of this value in an index of `field`.
    pub(crate) fn index_key(&self, field: &Field) -> Option<SmolStr> {
        if let Self::Text(text) = self {
            return Some(if field.case_sensitive {
                text.clone()
            } else {
                text.to_lowercase_smolstr()
            });
        }
        if *self == Self::Null {
            return None;
        }
        let mut key = String::new();
        self.push_plain(&mut key);
        Some(key.into())
    }
}

fn misfit(kind: FieldType, text: String) -> Misfit {
    let expected = match kind {
        FieldType::Boolean => "boolean",
        FieldType::Int => "int",
        FieldType::Double | FieldType::Currency | FieldType::Percent => "double",
        FieldType::Date => "date",
        FieldType::Datetime => "datetime",
        FieldType::Time => "time",
        FieldType::Id | FieldType::Reference => "reference",
        FieldType::String
        | FieldType::Textarea
        | FieldType::Encryptedstring
        | FieldType::Picklist
        | FieldType::Multipicklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::Address
        | FieldType::PersonName => "string",
    };
    Misfit::Type { expected, text }
}

fn read_reference(field: &Field, text: &str) -> Result<RecordId, SfError> {
    RecordId::parse(text).ok_or_else(|| {
        let message = format!("{} ID: id value of incorrect type: {text}", field.name);
        SfError::of_field("MALFORMED_ID", message, &field.name)
    })
}

fn out_of_range(field: &Field, text: &str) -> SfError {
    let message = format!(
        "{}: value outside of valid range on numeric field: {text}",
        field.label
    );
    SfError::of_field("NUMBER_OUTSIDE_VALID_RANGE", message, &field.name)
}

/// The outer `None` means that the text is not a number, the inner error that it is too large.
fn read_int(field: &Field, text: &str) -> Option<Result<i32, SfError>> {
    let limit = 10_i32.pow(field.digits.clamp(1, 9));
    let int = Double::parse(text)?.whole();
    let within = int.filter(|int| int.unsigned_abs() < limit.unsigned_abs());
    Some(within.ok_or_else(|| out_of_range(field, text)))
}

/// The outer `None` means that the text is not a number, the inner error that it is too large.
fn read_double(field: &Field, text: &str) -> Option<Result<Double, SfError>> {
    let places = field.precision.clamp(1, 18).saturating_sub(field.scale);
    let limit = 10_u64.pow(places) as f64;
    let number = Double::parse(text)?;
    let within = number.get().abs() < limit;
    Some(
        within
            .then_some(number)
            .ok_or_else(|| out_of_range(field, text)),
    )
}

fn read_text(field: &Field, text: &str) -> Result<SmolStr, SfError> {
    if field.kind == FieldType::Multipicklist {
        return read_multipicklist(field, text);
    }
    if field.kind == FieldType::Picklist && field.restricted {
        let value = field
            .values
            .iter()
            .find(|value| value.eq_ignore_ascii_case(text));
        return value
            .map(|value| value.as_str().into())
            .ok_or_else(|| bad_picklist(field, text));
    }
    if field.kind == FieldType::Email && !looks_like_email(text) {
        let message = format!("{}: invalid email address: {text}", field.label);
        return Err(SfError::of_field(
            "INVALID_EMAIL_ADDRESS",
            message,
            &field.name,
        ));
    }
    Ok(text.into())
}

fn bad_picklist(field: &Field, text: &str) -> SfError {
    let message = format!(
        "{}: bad value for restricted picklist field: {text}",
        field.label
    );
    SfError::of_field(
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        message,
        &field.name,
    )
}

fn read_multipicklist(field: &Field, text: &str) -> Result<SmolStr, SfError> {
    let mut chosen: Vec<&str> = Vec::new();
    for part in text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let known = field
            .values
            .iter()
            .find(|value| value.eq_ignore_ascii_case(part));
        if known.is_none() && field.restricted {
            return Err(bad_picklist(field, part));
        }
        let value = known.map_or(part, String::as_str);
        if !chosen.contains(&value) {
            chosen.push(value);
        }
    }
    if MULTIPICKLIST_IN_DEFINED_ORDER {
        let place = |value: &&str| field.values.iter().position(|known| known == value);
        chosen.sort_by_key(|value| place(value).unwrap_or(usize::MAX));
    }
    Ok(chosen.join(";").into())
}

fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    plain(local) && plain(domain) && domain.contains('.') && !domain.starts_with('.')
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[start..at]);
        start = at + 1;
        if escape.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[start..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_text_is_escaped() {
        let mut out = String::new();
        push_json_text(&mut out, "a\"b\\c\nd\u{1}é");
        assert_eq!(out, r#""a\"b\\c\nd\u0001é""#);
        assert_eq!(
            serde_json::from_str::<String>(&out).unwrap(),
            "a\"b\\c\nd\u{1}é"
        );
    }
}
