//! Display values: `toLabel(Industry)` and `FORMAT(AnnualRevenue)`.
//!
//! The locale of every user is United States English. Source: SOQL and SOSL Reference, "FORMAT()"
//! and "toLabel()".

use chrono::{Datelike as _, Timelike as _};

use crate::model::number::{Double, Number};
use crate::model::schema::{Field, FieldType};
use crate::model::stamp;
use crate::model::value::Value;

/// A display function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    Label,
    Format,
}

impl Show {
    /// Returns the function with that name, ignoring case.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "tolabel" => Some(Self::Label),
            "format" => Some(Self::Format),
            _ => None,
        }
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Label => "toLabel",
            Self::Format => "FORMAT",
        }
    }

    /// Returns whether the function accepts this field.
    pub(super) fn fits(self, field: &Field) -> bool {
        match self {
            Self::Label => {
                matches!(field.kind, FieldType::Picklist | FieldType::Multipicklist)
                    || field.name_field
            }
            Self::Format => matches!(
                field.kind,
                FieldType::Int
                    | FieldType::Double
                    | FieldType::Currency
                    | FieldType::Percent
                    | FieldType::Date
                    | FieldType::Datetime
                    | FieldType::Time
            ),
        }
    }

    /// Returns the display text, or `None` for null.
    pub(super) fn text(self, field: &Field, value: &Value) -> Option<String> {
        match (self, value) {
            (_, Value::Null) => None,
            (Self::Label, Value::Text(text)) => {
                let label = |value: &str| field.label_of(value).to_owned();
                Some(match field.kind {
                    FieldType::Multipicklist => {
                        text.split(';').map(label).collect::<Vec<_>>().join(";")
                    }
                    _ => label(text),
                })
            }
            (Self::Format, Value::Int(int)) => Some(grouped(&int.to_string())),
            (Self::Format, Value::Double(double)) => Some(number(field, *double)),
            (Self::Format, Value::Date(day)) => Some(date(*day)),
            (Self::Format, Value::Datetime(ms)) => {
                let day = date(stamp::day_of(*ms));
                Some(format!("{day}, {}", clock(ms.rem_euclid(86_400_000))))
            }
            (Self::Format, Value::Time(ms)) => Some(clock(i64::from(*ms))),
            (_, other) => {
                let mut text = String::new();
                other.push_plain(&mut text);
                Some(text)
            }
        }
    }
}

/// Formats a number with as many decimal places as its field shows.
fn number(field: &Field, double: Double) -> String {
    let rounded = Number::of(double).and_then(|number| number.rounded(field.scale));
    let plain = rounded.map_or_else(String::new, Number::text);
    let shown = match plain.split_once('.') {
        None => grouped(&plain),
        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole)),
    };
    match (field.kind, shown.strip_prefix('-')) {
        (FieldType::Currency, Some(shown)) => format!("-${shown}"),
        (FieldType::Currency, None) => format!("${shown}"),
        (FieldType::Percent, _) => format!("{shown}%"),
        _ => shown,
    }
}

/// Inserts thousands separators.
fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mut out = String::from(sign);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn date(day: i32) -> String {
    let date = stamp::date_of(day);
    format!("{}/{}/{}", date.month(), date.day(), date.year())
}

fn clock(ms: i64) -> String {
    let seconds = u32::try_from(ms / 1_000).unwrap_or(0);
    let time = chrono::NaiveTime::from_num_seconds_from_midnight_opt(seconds, 0);
    let time = time.unwrap_or_default();
    let (afternoon, hour) = time.hour12();
    let half = if afternoon { "PM" } else { "AM" };
    format!("{hour}:{:02} {half}", time.minute())
}

#[cfg(test)]
mod tests {
    use super::{clock, date, grouped};

    #[test]
    fn numbers_dates_and_times_use_the_us_format() {
        for (digits, shown) in [("0", "0"), ("999", "999"), ("-1234567", "-1,234,567")] {
            assert_eq!(grouped(digits), shown);
        }
        assert_eq!(date(0), "1/1/1970");
        let times = [0, 43_200_000, 86_399_000].map(clock);
        assert_eq!(times, ["12:00 AM", "12:00 PM", "11:59 PM"]);
    }
}
