//! Converts raw values to canonical ones: equal content has one form, whatever its source.
//!
//! The field's type in describe decides the form. No value is rounded or truncated: a value that is invalid
//! for the field is an error with the reason. The only exception are times finer than a millisecond, which
//! are truncated, because no Salesforce field can hold them.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use serde_json::Value as Json;

use super::ids::SalesforceId;
use super::schema::FieldType;
use super::value::{Decimal, Value};

/// Why a raw value has no canonical form in a field. Contains no record value, so it is safe to log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Postgres text and jsonb cannot hold it.
    #[error("the text holds a NUL character, which Postgres cannot store")]
    Nul,
    /// Longer than the field.
    #[error("the text has {held} characters, the field holds {length}")]
    TooLong {
        /// Characters given.
        held: usize,
        /// Characters the field holds.
        length: u32,
    },
    /// More digits after the point than the field.
    #[error("the number has {held} digits after the point, the field holds {scale}")]
    TooManyFractionDigits {
        /// Digits given.
        held: usize,
        /// Digits the field holds.
        scale: u32,
    },
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
    let value = match field {
        FieldType::Reference { .. } => text(scalar_text(json)?.as_deref()),
        FieldType::Text { .. }
        | FieldType::MultiPicklist
        | FieldType::Id
        | FieldType::Boolean
        | FieldType::Integer
        | FieldType::Decimal { .. }
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Time
        | FieldType::Unsupported { .. } => from_salesforce_json(field, json),
    }?;
    within_length(field, &value)?;
    Ok(value)
}

/// Returns the canonical value of a field, from the JSON of a REST answer.
///
/// A reference is the parent's id in its 18-character form. Fails if the value does not have the
/// field's type.
pub fn from_salesforce_json(field: &FieldType, json: &Json) -> Result<Value, ValueError> {
    match (field, json) {
        (FieldType::Boolean, Json::Bool(boolean)) => Ok(Value::Boolean(*boolean)),
        (_, Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => {
            from_text(field, scalar_text(json)?.as_deref())
        }
        (_, Json::Array(_) | Json::Object(_)) => Err(ValueError::NotA {
            wanted: "a single value",
        }),
    }
}

/// Returns the canonical value of a cell of a Bulk API 2.0 result, where empty means null.
///
/// Fails if the text does not have the field's type.
pub fn from_csv(field: &FieldType, cell: &str) -> Result<Value, ValueError> {
    from_text(field, Some(cell))
}

/// Returns the canonical value of a date, datetime or time from a change event, in milliseconds since the
/// epoch, or since midnight for a time.
///
/// Fails for another type, or a date outside the calendar.
pub fn from_epoch_ms(field: &FieldType, ms: i64) -> Result<Value, ValueError> {
    let moment = DateTime::UNIX_EPOCH
        .naive_utc()
        .checked_add_signed(TimeDelta::try_milliseconds(ms).ok_or(ValueError::OutOfRange)?)
        .ok_or(ValueError::OutOfRange)?;
    match field {
        FieldType::Date => in_range(moment.date()).map(|date| Value::Text(date_text(date))),
        FieldType::DateTime => {
            in_range(moment.date())?;
            Ok(Value::Text(datetime_text(moment)))
        }
        FieldType::Time => Ok(Value::Text(format!("{}Z", time_text(moment.time())))),
        FieldType::Text { .. }
        | FieldType::MultiPicklist
        | FieldType::Reference { .. }
        | FieldType::Id
        | FieldType::Boolean
        | FieldType::Integer
        | FieldType::Decimal { .. }
        | FieldType::Unsupported { .. } => Err(ValueError::NotA {
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

/// Returns the JSON that a REST request carries.
pub fn to_salesforce_json(field: &FieldType, value: &Value) -> Json {
    match (field, value) {
        (FieldType::Boolean, Value::Null) => Json::Bool(false),
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

fn from_text(field: &FieldType, raw: Option<&str>) -> Result<Value, ValueError> {
    let raw = raw.map(trimmed).filter(|text| !text.is_empty());
    let wanted = |wanted| ValueError::NotA { wanted };
    match (field, raw) {
        (FieldType::Unsupported { name }, _) => Err(ValueError::Unsupported {
            type_name: name.clone(),
        }),
        (FieldType::Boolean, None) => Ok(Value::Boolean(false)),
        (_, None) => Ok(Value::Null),
        (FieldType::Text { .. }, raw) => text(raw),
        (FieldType::MultiPicklist, Some(raw)) => multi_picklist(raw),
        (FieldType::Reference { .. } | FieldType::Id, Some(raw)) => SalesforceId::parse(raw)
            .map(|id| Value::text(id.as_str()))
            .map_err(|_| wanted("a Salesforce id")),
        (FieldType::Boolean, Some(raw)) => boolean(raw).ok_or_else(|| wanted("true or false")),
        (FieldType::Integer, Some(raw)) => number(raw, None),
        (FieldType::Decimal { precision, scale }, Some(raw)) => {
            number(raw, Some((*precision, *scale)))
        }
        (FieldType::Date, Some(raw)) => parse_date(raw)
            .ok_or_else(|| wanted("a date"))
            .and_then(in_range)
            .map(|date| Value::Text(date_text(date))),
        (FieldType::DateTime, Some(raw)) => {
            let moment = parse_datetime(raw).ok_or_else(|| wanted("a date and time"))?;
            in_range(moment.date())?;
            Ok(Value::Text(datetime_text(moment)))
        }
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

/// Sorts the values of a multi-select picklist. Salesforce returns them in the picklist's order, which may
/// change.
fn multi_picklist(raw: &str) -> Result<Value, ValueError> {
    let mut chosen: Vec<&str> = raw
        .split(';')
        .map(trimmed)
        .filter(|choice| !choice.is_empty())
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    text(Some(&chosen.join(";")))
}

fn boolean(raw: &str) -> Option<Value> {
    match raw.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(Value::Boolean(true)),
        "false" | "f" | "0" => Some(Value::Boolean(false)),
        _ => None,
    }
}

/// `digits` is precision and scale; without them it is a whole number.
fn number(raw: &str, digits: Option<(u32, u32)>) -> Result<Value, ValueError> {
    let number = Decimal::parse(raw).ok_or(ValueError::NotA { wanted: "a number" })?;
    let scale = digits.map_or(0, |(_, scale)| scale);
    if number.scale() > scale as usize {
        return Err(ValueError::TooManyFractionDigits {
            held: number.scale(),
            scale,
        });
    }
    if let Some((precision, scale)) = digits.filter(|(precision, _)| *precision > 0) {
        let most = precision.saturating_sub(scale);
        if number.whole_digits() > most as usize {
            return Err(ValueError::TooManyWholeDigits {
                held: number.whole_digits(),
                most,
            });
        }
    }
    Ok(Value::Number(number))
}

/// Refuses text that is longer than its field.
fn within_length(field: &FieldType, value: &Value) -> Result<(), ValueError> {
    match (field, value) {
        (FieldType::Text { length }, Value::Text(text)) if *length > 0 => {
            let held = text.chars().count();
            if held > *length as usize {
                return Err(ValueError::TooLong {
                    held,
                    length: *length,
                });
            }
            Ok(())
        }
        (_, _) => Ok(()),
    }
}

fn in_range(date: NaiveDate) -> Result<NaiveDate, ValueError> {
    if (1700..=4000).contains(&date.year()) {
        Ok(date)
    } else {
        Err(ValueError::OutOfRange)
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

fn datetime_text(moment: NaiveDateTime) -> String {
    format!("{}T{}Z", date_text(moment.date()), time_text(moment.time()))
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
