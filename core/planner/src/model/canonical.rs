//! Converts raw values to canonical ones: equal content has one form, whatever its source.
//!
//! Driven by the field's type as describe shows it; the rules are the rows of
//! [`type_table`](super::type_table). A canonical value is what Salesforce would hold, so a value of
//! Postgres is taken through the same changes that Salesforce makes when it stores it: trimmed, lower
//! case for e-mail, the nearest double, whole seconds. Beyond these, nothing is rounded or cut to fit: what
//! a field cannot hold is an error that names why. What Salesforce shows is taken whatever its length,
//! digits or year: it holds it.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use serde_json::Value as Json;

use super::ids::SalesforceId;
use super::schema::FieldType;
use super::type_table::FieldKind;
use super::value::{Decimal, Value};

/// Why a raw value has no canonical form in a field. Contains no record value, so it is safe to log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Postgres text and jsonb cannot hold it.
    #[error("the text holds a NUL character, which Postgres cannot store")]
    Nul,
    /// Longer than the field.
    #[error("the text has {held} characters (UTF-16 units), the field holds {length}")]
    TooLong {
        /// Characters given, in UTF-16 units.
        held: usize,
        /// Characters the field holds.
        length: u32,
    },
    /// A whole number is wanted.
    #[error("the number has {held} digits after the point, the field holds whole numbers")]
    NotWhole {
        /// Digits given.
        held: usize,
    },
    /// Beyond 32 bits.
    #[error("the number lies outside -2147483648 to 2147483647, which the field holds")]
    BeyondInteger,
    /// More digits before the point than the field.
    #[error("the number has {held} digits before the point, the field holds {most}")]
    TooManyWholeDigits {
        /// Digits given.
        held: usize,
        /// Digits the field holds.
        most: u32,
    },
    /// Salesforce keeps dates of the years 1700 to 4000 (SOQL reference, "Date formats").
    #[error("the date is outside the years 1700 to 4000 that Salesforce supports")]
    OutOfRange,
    /// A choice that contains the separator of choices.
    #[error("a choice contains a semicolon, which separates choices in Salesforce")]
    Separator,
    /// Encrypted text as Salesforce shows it to users who may not see it.
    #[error(
        "the org shows our user a masked value. Grant the integration user the permission \"View \
         Encrypted Data\", or remove the field from the mapping"
    )]
    Masked,
    /// Of another shape than the field's type.
    #[error("it is not {wanted}")]
    NotA {
        /// What the field wants.
        wanted: &'static str,
    },
    /// The field's type cannot be mapped.
    #[error("fields of type {type_name} cannot be mapped")]
    Unsupported {
        /// The type as describe names it.
        type_name: String,
    },
}

/// Returns the canonical value of a column, from the JSON that `to_jsonb` makes of it.
///
/// A reference column contains the parent's external id, so any text is valid. A timestamp without a zone is
/// UTC. Fails if the value is invalid for the field.
pub fn from_postgres(field: &FieldType, json: &Json) -> Result<Value, ValueError> {
    let value = match (field, json) {
        (FieldType::Reference { .. }, json) => text(scalar_text(json)?.as_deref()),
        (FieldType::MultiPicklist, Json::Array(choices)) => choices_of(choices),
        (field, json) => read(field, json),
    }?;
    check_room(field, json, &value)?;
    Ok(value)
}

/// Returns the canonical value of a field, from the JSON of a REST answer.
///
/// A reference is the parent's id in its 18-character form. Fails if the value does not have the
/// field's type, or is masked.
pub fn from_salesforce_json(field: &FieldType, json: &Json) -> Result<Value, ValueError> {
    let value = read(field, json)?;
    match (field, &value) {
        (FieldType::EncryptedText { .. }, Value::Text(text)) if is_masked(text) => {
            Err(ValueError::Masked)
        }
        (_, _) => Ok(value),
    }
}

/// Returns the canonical value of a cell of a Bulk API 2.0 result, where empty means null.
///
/// Fails if the text does not have the field's type.
pub fn from_csv(field: &FieldType, cell: &str) -> Result<Value, ValueError> {
    from_salesforce_json(field, &Json::from(cell))
}

/// Returns the canonical value of a date, datetime or time from a change event, in milliseconds since the
/// epoch, or since midnight for a time.
///
/// Fails for another type, or a date outside the calendar.
pub fn from_epoch_ms(field: &FieldType, ms: i64) -> Result<Value, ValueError> {
    let moment = DateTime::UNIX_EPOCH
        .naive_utc()
        .checked_add_signed(TimeDelta::try_milliseconds(ms).ok_or(ValueError::OutOfRange)?)
        .filter(|moment| (0..=9999).contains(&moment.year()))
        .ok_or(ValueError::OutOfRange)?;
    match field.kind() {
        FieldKind::Date => Ok(Value::Text(date_text(moment.date()))),
        FieldKind::DateTime => Ok(Value::Text(datetime_text(moment))),
        FieldKind::Time => Ok(Value::Text(format!("{}Z", time_text(moment.time())))),
        FieldKind::Text
        | FieldKind::Email
        | FieldKind::RichText
        | FieldKind::EncryptedText
        | FieldKind::MultiPicklist
        | FieldKind::Reference
        | FieldKind::Id
        | FieldKind::Boolean
        | FieldKind::Integer
        | FieldKind::Decimal
        | FieldKind::Unsupported => Err(ValueError::NotA {
            wanted: "a field of time",
        }),
    }
}

/// Returns the JSON that `jsonb_populate_record` casts to the column.
pub fn to_postgres_json(field: &FieldType, value: &Value) -> Json {
    match (field, value) {
        // A time column has no zone.
        (FieldType::Time, Value::Text(time)) => Json::from(time.trim_end_matches('Z')),
        (_, value) => value.to_json(),
    }
}

/// Parses a date-time in any form of Salesforce or Postgres to milliseconds since the epoch:
/// `2026-05-01T09:30:00.000+0000`, `2026-05-01 09:30:00+02` …
pub fn datetime_ms(text: &str) -> Option<i64> {
    parse_datetime(text).map(|moment| moment.and_utc().timestamp_millis())
}

/// Returns the text without the white space and control characters around it, which Salesforce removes. A
/// NUL stays, to be refused.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c != '\0' && (c.is_whitespace() || c.is_control()))
}

/// Returns the canonical value of a scalar, whatever room the field has.
fn read(field: &FieldType, json: &Json) -> Result<Value, ValueError> {
    match (field, json) {
        (FieldType::Boolean, Json::Bool(boolean)) => Ok(Value::Boolean(*boolean)),
        (field, json) => from_text(field, scalar_text(json)?.as_deref()),
    }
}

fn from_text(field: &FieldType, raw: Option<&str>) -> Result<Value, ValueError> {
    let raw = raw.map(trimmed).filter(|text| !text.is_empty());
    let wanted = |wanted| ValueError::NotA { wanted };
    match (field, raw) {
        (FieldType::Unsupported { name }, _) => Err(ValueError::Unsupported {
            type_name: name.clone(),
        }),
        (FieldType::Boolean, None) => Ok(Value::Boolean(false)),
        (_, None) => Ok(Value::Null),
        (FieldType::Email { .. }, Some(raw)) => text(Some(&raw.to_lowercase())),
        (
            FieldType::Text { .. } | FieldType::RichText { .. } | FieldType::EncryptedText { .. },
            raw,
        ) => text(raw),
        (FieldType::MultiPicklist, Some(raw)) => multi_picklist(raw.split(';')),
        (FieldType::Reference { .. } | FieldType::Id, Some(raw)) => SalesforceId::parse(raw)
            .map(|id| Value::text(id.as_str()))
            .map_err(|_| wanted("a Salesforce id")),
        (FieldType::Boolean, Some(raw)) => boolean(raw).ok_or_else(|| wanted("true or false")),
        (FieldType::Integer, Some(raw)) => Decimal::parse(raw)
            .map(Value::Number)
            .ok_or_else(|| wanted("a number")),
        (FieldType::Decimal { .. }, Some(raw)) => Decimal::parse(raw)
            .and_then(|number| number.nearest_double())
            .map(Value::Number)
            .ok_or_else(|| wanted("a number")),
        (FieldType::Date, Some(raw)) => parse_date(raw)
            .map(|date| Value::Text(date_text(date)))
            .ok_or_else(|| wanted("a date")),
        (FieldType::DateTime, Some(raw)) => parse_datetime(raw)
            .map(|moment| Value::Text(datetime_text(moment)))
            .ok_or_else(|| wanted("a date and time")),
        (FieldType::Time, Some(raw)) => parse_time(raw.trim_end_matches('Z'))
            .map(|time| Value::Text(format!("{}Z", time_text(time))))
            .ok_or_else(|| wanted("a time of day")),
    }
}

/// Returns a scalar as text: a text column may be mapped to a number field, and vice versa.
fn scalar_text(json: &Json) -> Result<Option<String>, ValueError> {
    match json {
        Json::Null => Ok(None),
        Json::Bool(boolean) => Ok(Some(boolean.to_string())),
        Json::Number(number) => Decimal::parse(&number.to_string())
            .map(|number| Some(number.to_string()))
            .ok_or(ValueError::NotA { wanted: "a number" }),
        Json::String(text) => Ok(Some(text.clone())),
        Json::Array(_) | Json::Object(_) => Err(ValueError::NotA {
            wanted: "a single value",
        }),
    }
}

fn text(raw: Option<&str>) -> Result<Value, ValueError> {
    let raw = raw.map(trimmed).filter(|text| !text.is_empty());
    match raw {
        None => Ok(Value::Null),
        Some(raw) if raw.contains('\0') => Err(ValueError::Nul),
        Some(raw) => Ok(Value::text(raw)),
    }
}

/// Salesforce returns the chosen values in the picklist's order, which describe may change: sorted,
/// the same choice is the same text.
fn multi_picklist<'a>(choices: impl Iterator<Item = &'a str>) -> Result<Value, ValueError> {
    let mut chosen: Vec<&str> = choices
        .map(trimmed)
        .filter(|choice| !choice.is_empty())
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    text(Some(&chosen.join(";")))
}

/// Returns the choices that an array column holds.
fn choices_of(choices: &[Json]) -> Result<Value, ValueError> {
    let choices: Option<Vec<&str>> = choices.iter().map(Json::as_str).collect();
    let choices = choices.ok_or(ValueError::NotA {
        wanted: "a list of texts",
    })?;
    if choices.iter().any(|choice| choice.contains(';')) {
        return Err(ValueError::Separator);
    }
    multi_picklist(choices.into_iter())
}

/// Returns whether a text is what Salesforce shows instead of one that the user may not see: a mask,
/// and at most the last four letters or digits of the text, with separators (Salesforce help, "Classic
/// Encryption for Custom Fields": mask types). A text that only looks like that is taken for masked, too:
/// a mask that is taken for a value would replace it.
fn is_masked(text: &str) -> bool {
    const SHOWN_MAX: usize = 4;
    let plain: Vec<char> = text
        .chars()
        .filter(|c| c.is_alphanumeric() || *c == '*')
        .collect();
    ['*', 'X'].into_iter().any(|mask| {
        let hidden = plain.iter().take_while(|c| **c == mask).count();
        hidden > 0 && plain.len() - hidden <= SHOWN_MAX
    })
}

fn boolean(raw: &str) -> Option<Value> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(Value::Boolean(true)),
        "false" | "f" | "0" => Some(Value::Boolean(false)),
        _ => None,
    }
}

/// Fails if the field has no room for the value: it is refused before it is sent, never cut.
fn check_room(field: &FieldType, json: &Json, value: &Value) -> Result<(), ValueError> {
    match (field, value) {
        (_, Value::Text(text)) if field.is_time() => check_year(field, text),
        (_, Value::Text(text)) => check_length(field.length(), text),
        (FieldType::Integer, Value::Number(number)) if number.scale() > 0 => {
            Err(ValueError::NotWhole {
                held: number.scale(),
            })
        }
        (FieldType::Integer, Value::Number(number)) => number
            .as_str()
            .parse::<i32>()
            .map(drop)
            .map_err(|_| ValueError::BeyondInteger),
        (FieldType::Decimal { precision, scale }, Value::Number(_)) if *precision > 0 => {
            // As written: the nearest double may have a digit more.
            let written = scalar_text(json)?.and_then(|text| Decimal::parse(trimmed(&text)));
            let held = written.map_or(0, |number| number.whole_digits());
            let most = precision.saturating_sub(*scale);
            if held > most as usize {
                return Err(ValueError::TooManyWholeDigits { held, most });
            }
            Ok(())
        }
        (_, _) => Ok(()),
    }
}

fn check_length(length: Option<u32>, text: &str) -> Result<(), ValueError> {
    let Some(length) = length.filter(|length| *length > 0) else {
        return Ok(());
    };
    let held = text.encode_utf16().count();
    if held > length as usize {
        return Err(ValueError::TooLong { held, length });
    }
    Ok(())
}

fn check_year(field: &FieldType, canonical: &str) -> Result<(), ValueError> {
    let year = canonical.get(..4).and_then(|year| year.parse::<i32>().ok());
    match (field.kind(), year) {
        (FieldKind::Time, _) => Ok(()),
        (_, Some(1700..=4000)) => Ok(()),
        (_, Some(_) | None) => Err(ValueError::OutOfRange),
    }
}

fn date_text(date: NaiveDate) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

fn time_text(time: NaiveTime) -> String {
    let ms = time.nanosecond() / 1_000_000;
    format!(
        "{:02}:{:02}:{:02}.{ms:03}",
        time.hour(),
        time.minute(),
        time.second()
    )
}

/// Whole seconds: Salesforce cuts the rest.
fn datetime_text(moment: NaiveDateTime) -> String {
    let whole = moment.with_nanosecond(0).unwrap_or(moment);
    format!("{}T{}Z", date_text(whole.date()), time_text(whole.time()))
}

/// A date, or a timestamp that is exactly midnight.
fn parse_date(raw: &str) -> Option<NaiveDate> {
    match raw.len() {
        10 => calendar_date(raw),
        _ => parse_datetime(raw)
            .filter(|moment| moment.time() == NaiveTime::MIN)
            .map(|moment| moment.date()),
    }
}

fn calendar_date(raw: &str) -> Option<NaiveDate> {
    let mut parts = raw.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    NaiveDate::from_ymd_opt(
        i32::try_from(fixed_digits(year, 4)?).ok()?,
        fixed_digits(month, 2)?,
        fixed_digits(day, 2)?,
    )
}

/// Returns the moment in UTC; a text without a zone is UTC.
fn parse_datetime(raw: &str) -> Option<NaiveDateTime> {
    let date = calendar_date(raw.get(..10)?)?;
    let rest = raw.get(10..)?.strip_prefix(['T', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let offset = zone_seconds(zone)?;
    date.and_time(parse_time(time)?)
        .checked_sub_signed(TimeDelta::seconds(offset))
        // A zone may lead beyond the years that have four digits.
        .filter(|moment| (0..=9999).contains(&moment.year()))
}

/// `hh:mm`, `hh:mm:ss` or `hh:mm:ss.f…`, cut to milliseconds.
fn parse_time(raw: &str) -> Option<NaiveTime> {
    let (clock, fraction) = raw.split_once('.').unwrap_or((raw, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let ms = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let mut parts = clock.splitn(3, ':');
    let hour = fixed_digits(parts.next()?, 2)?;
    let minute = fixed_digits(parts.next()?, 2)?;
    let second = parts
        .next()
        .map_or(Some(0), |second| fixed_digits(second, 2))?;
    NaiveTime::from_hms_milli_opt(hour, minute, second, ms)
}

/// Returns the seconds east of Greenwich: nothing, `Z`, `+hh`, `+hhmm`, `+hh:mm` or `+hh:mm:ss`
/// (Postgres shows seconds for dates before zones were standardised).
fn zone_seconds(zone: &str) -> Option<i64> {
    let sign = match zone.bytes().next() {
        None => return Some(0),
        Some(b'Z' | b'z') => return (zone.len() == 1).then_some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let digits: String = zone[1..].split(':').collect();
    let well_formed =
        matches!(digits.len(), 2 | 4 | 6) && digits.bytes().all(|b| b.is_ascii_digit());
    if !well_formed {
        return None;
    }
    let part = |at: usize| {
        digits
            .get(at..at + 2)
            .map_or(Some(0), |two| two.parse().ok())
    };
    let (hours, minutes, seconds): (i64, i64, i64) = (part(0)?, part(2)?, part(4)?);
    (hours < 24 && minutes < 60 && seconds < 60)
        .then_some(sign * (hours * 3_600 + minutes * 60 + seconds))
}

fn fixed_digits(raw: &str, count: usize) -> Option<u32> {
    let well_formed = raw.len() == count && raw.bytes().all(|b| b.is_ascii_digit());
    well_formed.then(|| raw.parse().ok()).flatten()
}
