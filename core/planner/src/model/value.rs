//! Canonical values: equal content has one form, whatever its source.
//!
//! Canonical is what Salesforce holds: doubles, whole seconds, trimmed text. The same record read by REST,
//! Bulk CSV, change event or Postgres row gives equal values, and two values are equal if their canonical
//! forms are the same: planner, comparison and recognition of echoes use no other equality.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ids::FieldName;

/// Canonical values by field. An absent field is unknown or unchanged.
pub type Payload = BTreeMap<FieldName, Value>;

/// The canonical value of one field. As JSON it is null, a boolean, a number or a string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(
    feature = "typescript",
    ts(type = "null | boolean | number | ExactNumber | string")
)]
pub enum Value {
    /// Cleared. A null is a value: it differs from an absent field.
    Null,
    /// A checkbox.
    Boolean(bool),
    /// A number with all its digits.
    Number(Decimal),
    /// Text, picklists, ids, and dates and times in their canonical ISO form.
    Text(String),
}

impl Value {
    /// Returns a text value.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Returns the value as JSON, numbers with all their digits.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Boolean(boolean) => serde_json::Value::Bool(*boolean),
            Self::Number(number) => serde_json::Value::Number(number.to_json()),
            Self::Text(text) => serde_json::Value::String(text.clone()),
        }
    }

    /// Returns the value that `json` is, if it is a scalar.
    pub fn from_json(json: &serde_json::Value) -> Option<Self> {
        match json {
            serde_json::Value::Null => Some(Self::Null),
            serde_json::Value::Bool(boolean) => Some(Self::Boolean(*boolean)),
            serde_json::Value::Number(number) => Decimal::parse(number.as_str()).map(Self::Number),
            serde_json::Value::String(text) => Some(Self::Text(text.clone())),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(boolean) => serializer.serialize_bool(*boolean),
            Self::Number(number) => number.to_json().serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// The only key of the map in which serde_json passes a number with all its digits.
const NUMBER: &str = "$serde_json::private::Number";

/// Reads a value without an intermediate [`serde_json::Value`], which took a third of a batch's time.
struct ValueVisitor;

impl ValueVisitor {
    fn number<E: de::Error>(text: String) -> Result<Value, E> {
        let number = Decimal::from_text(text);
        number.map(Value::Number).ok_or_else(Self::refused)
    }

    fn refused<E: de::Error>() -> E {
        E::custom("a field value must be null, a boolean, a number or a string")
    }
}

/// Reads numbers that serde_json passes as Rust numbers: formatted, they have the digits of the text.
macro_rules! visit_numbers {
    ($($visit:ident: $number:ty),+) => {
        $(fn $visit<E: de::Error>(self, number: $number) -> Result<Value, E> {
            Self::number(number.to_string())
        })+
    };
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number or a string")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, boolean: bool) -> Result<Value, E> {
        Ok(Value::Boolean(boolean))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(Self::refused())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        match map.next_key::<String>()? {
            Some(name) if name == NUMBER => {}
            Some(_) | None => return Err(Self::refused()),
        }
        Self::number(map.next_value()?)
    }

    visit_numbers!(visit_u64: u64, visit_i64: i64, visit_u128: u128, visit_i128: i128, visit_f64: f64);
}

/// A decimal number in canonical form: no exponent, no leading or trailing zeros, no `-0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(String);

/// Most characters that a number may need when written out.
///
/// Salesforce supports 18. Longer numbers of Postgres are parsed too, and then refused by the field's
/// precision.
const DIGITS_MAX: usize = 1_000;

impl Decimal {
    /// Parses a finite number of limited length: `12`, `-0.50`, `1.2E3`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_text(text.to_owned())
    }

    fn from_text(text: String) -> Option<Self> {
        if is_canonical(&text) {
            return Some(Self(text));
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<i32>().ok()?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: String = [whole, fraction].concat();
        let well_formed = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !well_formed
            || digits.len() > DIGITS_MAX
            || exponent.unsigned_abs() as usize > DIGITS_MAX
        {
            return None;
        }
        let point = whole.len() as i64 + i64::from(exponent);
        let text = written_out(negative, &digits, point);
        // An exponent may have made it longer than a number that can be read again.
        (text.len() <= DIGITS_MAX).then_some(Self(text))
    }

    /// Returns the number written out, without an exponent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the number of digits after the point.
    pub fn scale(&self) -> usize {
        self.0
            .split_once('.')
            .map_or(0, |(_, fraction)| fraction.len())
    }

    /// Returns the number of digits before the point, 0 for a fraction.
    pub fn whole_digits(&self) -> usize {
        let unsigned = self.0.strip_prefix('-').unwrap_or(&self.0);
        let whole = unsigned
            .split_once('.')
            .map_or(unsigned, |(whole, _)| whole);
        if whole == "0" { 0 } else { whole.len() }
    }

    /// Returns the number as Salesforce keeps it: the shortest decimal of the nearest double (IEEE 754
    /// binary64). Returns none if it lies beyond all doubles.
    pub fn nearest_double(&self) -> Option<Self> {
        // Every decimal of so many digits is the shortest one of its double (DBL_DIG).
        const DIGITS_KEPT: usize = 15;
        if self.0.len() <= DIGITS_KEPT {
            return Some(self.clone());
        }
        let double: f64 = self.0.parse().ok()?;
        Self::parse(&double.to_string())
    }

    /// Returns the number as JSON, with all its digits.
    pub(super) fn to_json(&self) -> serde_json::Number {
        // A canonical decimal is a valid JSON number, so it need not be parsed again.
        serde_json::Number::from_string_unchecked(self.0.clone())
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns whether a number is already canonical, as most are.
fn is_canonical(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(|fraction| digits(fraction) && !fraction.ends_with('0'))
        && text != "-0"
        && text.len() <= DIGITS_MAX
}

/// Formats `digits` in canonical form with the point after `point` digits, which may be outside them.
fn written_out(negative: bool, digits: &str, point: i64) -> String {
    let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let padded = format!(
        "{}{digits}{}",
        zeros(-point),
        zeros(point - digits.len() as i64)
    );
    let (whole, fraction) = padded.split_at(usize::try_from(point).unwrap_or(0));
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) {
        "-"
    } else {
        ""
    };
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_has_one_form() {
        let form = |text: &str| Decimal::parse(text).map(|number| number.to_string());
        for (text, canonical) in [
            ("0", "0"),
            ("-0.00", "0"),
            ("007", "7"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("1.2E3", "1200"),
            ("9.12260031E8", "912260031"),
            ("12e-4", "0.0012"),
            ("-1E-2", "-0.01"),
            ("123456789012345678.123", "123456789012345678.123"),
        ] {
            assert_eq!(form(text).as_deref(), Some(canonical), "{text}");
            assert_eq!(form(canonical).as_deref(), Some(canonical), "{text}");
            let long_way = format!("{canonical}e0");
            assert_eq!(form(&long_way).as_deref(), Some(canonical), "{text}");
        }
        for nonsense in [
            "", "-", ".", "1e", "NaN", "Infinity", "1_000", "1e99999", "0x1", "12.5e999",
        ] {
            assert_eq!(form(nonsense), None, "{nonsense}");
        }
        let longest = form("1e999").unwrap();
        assert_eq!(form(&longest), Some(longest));
    }
}
