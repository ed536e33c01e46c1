//! The value of one field of one record, and its conversion from and to JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use smol_str::{SmolStr, StrExt as _};

use super::error::SfError;
use super::id::RecordId;
use super::schema::{Field, FieldType};
use super::stamp;
use crate::unconfirmed::{
    DATETIME_FIELDS_KEEP_MILLISECONDS, MULTIPICKLIST_IN_DEFINED_ORDER, NULL_CHECKBOX_CODE,
};

/// A stored value. Numbers are exact: a decimal is an integer in units of its field's scale.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i32),
    Decimal(i64),
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
                Self::Decimal(read_decimal(field, text).ok_or_else(wrong)??)
            }
            FieldType::Date => Self::Date(stamp::parse_date(text).ok_or_else(wrong)?),
            FieldType::Datetime => {
                let ms = stamp::parse_datetime(text).ok_or_else(wrong)?;
                let keep = DATETIME_FIELDS_KEEP_MILLISECONDS;
                Self::Datetime(if keep { ms } else { stamp::floor_to_second(ms) })
            }
            FieldType::Time => Self::Time(stamp::parse_time(text).ok_or_else(wrong)?),
            FieldType::String
            | FieldType::Textarea
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
    pub(crate) fn push_json(&self, field: &Field, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Int(int) => out.push_str(&int.to_string()),
            Self::Decimal(units) => push_decimal(out, *units, field.scale),
            Self::Date(_) | Self::Datetime(_) | Self::Time(_) | Self::Id(_) => {
                out.push('"');
                self.push_plain(field, out);
                out.push('"');
            }
            Self::Text(text) => push_json_text(out, text),
        }
    }

    /// Appends the value without quotes.
    pub(crate) fn push_plain(&self, field: &Field, out: &mut String) {
        match self {
            Self::Null => {}
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Int(int) => out.push_str(&int.to_string()),
            Self::Decimal(units) => push_decimal(out, *units, field.scale),
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
        self.push_plain(field, &mut key);
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

/// The outer `None` means that the text is not a whole number, the inner error that it is too
/// large.
fn read_int(field: &Field, text: &str) -> Option<Result<i32, SfError>> {
    let units = decimal_units(text, 0)?;
    let limit = 10_i64.pow(field.digits.clamp(1, 9));
    let int = units
        .ok()
        .filter(|units| units.abs() < limit)
        .and_then(|u| i32::try_from(u).ok());
    Some(int.ok_or_else(|| out_of_range(field, text)))
}

fn read_decimal(field: &Field, text: &str) -> Option<Result<i64, SfError>> {
    let units = decimal_units(text, field.scale)?;
    let limit = 10_i64.pow(field.precision.clamp(1, 18));
    let within = units.ok().filter(|units| units.abs() < limit);
    Some(within.ok_or_else(|| out_of_range(field, text)))
}

/// Parses a number into units of `10^-scale`, rounded half away from zero.
///
/// `None`: not a number. `Some(Err)`: more than 18 digits.
pub(crate) fn decimal_units(text: &str, scale: u32) -> Option<Result<i64, Oversize>> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.len() + fraction.len() == 0 || !digits().all(|b| b.is_ascii_digit()) {
        return None;
    }
    // Number of digits before the last kept decimal place. Later digits only affect rounding.
    let kept = i64::try_from(whole.len()).ok()? + i64::from(exponent) + i64::from(scale);
    let significant = digits().skip_while(|b| *b == b'0').count();
    if significant > 0 && kept > 40 {
        return Some(Err(Oversize));
    }
    let mut units = 0_i128;
    let mut source = digits();
    for _ in 0..kept.max(0) {
        units = units.saturating_mul(10) + i128::from(source.next().unwrap_or(b'0') - b'0');
    }
    if kept >= 0 && source.next().is_some_and(|next| next >= b'5') {
        units += 1;
    }
    let signed = if negative { -units } else { units };
    Some(i64::try_from(signed).map_err(|_| Oversize))
}

/// The number has more digits than any field holds.
pub(crate) struct Oversize;

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
    if text.len() > field.length as usize && text.chars().count() > field.length as usize {
        let (label, length) = (&field.label, field.length);
        let message = format!("{label}: data value too large: {text} (max length={length})");
        return Err(SfError::of_field("STRING_TOO_LONG", message, &field.name));
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

/// Appends a decimal without trailing zeros but with at least one digit after the point.
pub(crate) fn push_decimal(out: &mut String, units: i64, scale: u32) {
    let digits = format!(
        "{:0width$}",
        units.unsigned_abs(),
        width = scale as usize + 1
    );
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    if units < 0 {
        out.push('-');
    }
    out.push_str(whole);
    out.push('.');
    let fraction = fraction.trim_end_matches('0');
    out.push_str(if fraction.is_empty() { "0" } else { fraction });
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

    fn units(text: &str, scale: u32) -> Option<i64> {
        decimal_units(text, scale).and_then(Result::ok)
    }

    #[test]
    fn decimals_round_half_away_from_zero() {
        assert_eq!(units("12345678901234.56", 2), Some(1_234_567_890_123_456));
        assert_eq!(units("0.005", 2), Some(1));
        assert_eq!(units("-0.005", 2), Some(-1));
        assert_eq!(units("1e3", 2), Some(100_000));
        assert_eq!(units("1.5E-1", 2), Some(15));
        assert_eq!(units("0.0004", 2), Some(0));
        assert_eq!(units("5", 0), Some(5));
        assert_eq!(units("0.00000000000000000000000000001", 2), Some(0));
    }

    #[test]
    fn invalid_and_oversized_numbers_differ() {
        for text in ["", "x", "1.2.3", "--1", "1e", "NaN", "0x1", "."] {
            assert!(decimal_units(text, 2).is_none(), "{text}");
        }
        for text in ["1e400", "99999999999999999999"] {
            assert!(
                matches!(decimal_units(text, 2), Some(Err(Oversize))),
                "{text}"
            );
        }
    }

    #[test]
    fn decimals_are_written_without_trailing_zeros() {
        for (units, scale, expected) in [
            (150, 2, "1.5"),
            (100, 2, "1.0"),
            (-5, 3, "-0.005"),
            (0, 0, "0.0"),
            (7, 0, "7.0"),
        ] {
            let mut out = String::new();
            push_decimal(&mut out, units, scale);
            assert_eq!(out, expected);
        }
    }

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
