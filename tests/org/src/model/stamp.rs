//! How Salesforce formats and parses dates, times and datetimes. Everything is UTC milliseconds or
//! days.

use chrono::{Datelike, NaiveDate};

/// One second, one day, in milliseconds.
const SECOND_MS: i64 = 1_000;
const DAY_MS: i64 = 86_400_000;

/// `chrono` counts days from 0001-01-01, which is day 1, so 1970-01-01 is this many days later.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

/// The days that Salesforce accepts, from 1700-01-01 to 4000-12-31.
const DAYS_MIN: i32 = -98_615;
const DAYS_MAX: i32 = 741_807;

/// Returns the whole second of `ms`, because system stamps have no milliseconds.
pub(crate) fn floor_to_second(ms: i64) -> i64 {
    ms.div_euclid(SECOND_MS) * SECOND_MS
}

/// Returns the milliseconds at midnight of that day.
pub(crate) fn day_start_ms(days: i32) -> i64 {
    i64::from(days) * DAY_MS
}

/// Returns the day of `ms`.
pub(crate) fn day_of(ms: i64) -> i32 {
    i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(DAYS_MAX)
}

/// Returns the date of a day.
pub(crate) fn date_of(days: i32) -> NaiveDate {
    NaiveDate::from_num_days_from_ce_opt(days.saturating_add(EPOCH_DAYS_FROM_CE))
        .unwrap_or_default()
}

/// Returns the day of a date.
pub(crate) fn days_of(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - EPOCH_DAYS_FROM_CE
}

/// Appends `2026-05-01`.
pub(crate) fn push_date(out: &mut String, days: i32) {
    let date = date_of(days);
    push_digits(out, date.year().unsigned_abs(), 4);
    out.push('-');
    push_digits(out, date.month(), 2);
    out.push('-');
    push_digits(out, date.day(), 2);
}

/// Appends `2026-05-01T09:30:00.000+0000`.
pub(crate) fn push_datetime(out: &mut String, ms: i64) {
    push_date(out, day_of(ms));
    push_clock(out, ms);
    push_millis(out, ms);
    out.push_str("+0000");
}

/// Appends `2026-05-01T09:30:00Z`.
pub(crate) fn push_utc_second(out: &mut String, ms: i64) {
    push_date(out, day_of(ms));
    push_clock(out, ms);
    out.push('Z');
}

/// Appends `2026-05-01T09:30:00.000Z`.
pub(crate) fn push_utc(out: &mut String, ms: i64) {
    push_date(out, day_of(ms));
    push_clock(out, ms);
    push_millis(out, ms);
    out.push('Z');
}

fn push_clock(out: &mut String, ms: i64) {
    out.push('T');
    push_time_of_day(out, ms.rem_euclid(DAY_MS));
}

/// Appends `09:30:00.000Z`.
pub(crate) fn push_time(out: &mut String, ms: i32) {
    push_time_of_day(out, i64::from(ms));
    push_millis(out, i64::from(ms));
    out.push('Z');
}

fn push_time_of_day(out: &mut String, ms: i64) {
    let seconds = u32::try_from(ms / SECOND_MS).unwrap_or_default();
    push_digits(out, seconds / 3600, 2);
    out.push(':');
    push_digits(out, seconds / 60 % 60, 2);
    out.push(':');
    push_digits(out, seconds % 60, 2);
}

fn push_millis(out: &mut String, ms: i64) {
    out.push('.');
    let millis = u32::try_from(ms.rem_euclid(SECOND_MS)).unwrap_or_default();
    push_digits(out, millis, 3);
}

/// Appends the last `width` digits of a number with leading zeros.
///
/// Formatted by hand for speed: every record that is read contains several stamps.
fn push_digits(out: &mut String, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// Parses `2026-05-01` into days since 1970.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..])?)?;
    let days = days_of(date);
    (DAYS_MIN..=DAYS_MAX).contains(&days).then_some(days)
}

/// Parses `2026-05-01T09:30:00[.123](Z|±hh:mm|±hhmm)` into milliseconds.
pub(crate) fn parse_datetime(text: &str) -> Option<i64> {
    let days = parse_date(text.get(..10)?)?;
    if text.as_bytes().get(10) != Some(&b'T') {
        return None;
    }
    let (of_day, rest) = clock_time(text.get(11..)?)?;
    Some(day_start_ms(days) + of_day - offset_ms(rest)?)
}

/// Parses `09:30:00[.123][Z]` into milliseconds of the day.
pub(crate) fn parse_time(text: &str) -> Option<i32> {
    let (of_day, rest) = clock_time(text)?;
    matches!(rest, "" | "Z").then(|| i32::try_from(of_day).ok())?
}

/// Parses an HTTP date such as `Sun, 31 May 2026 18:00:00 GMT` into milliseconds.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once(", ")?;
    let mut parts = rest.split_ascii_whitespace();
    let day: u32 = parts.next()?.parse().ok()?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))?;
    let year: i32 = parts.next()?.parse().ok()?;
    let (of_day, rest) = clock_time(parts.next()?)?;
    let zone = parts.next()?;
    if !rest.is_empty() || !matches!(zone, "GMT" | "UTC" | "Z") || parts.next().is_some() {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month).ok()? + 1, day)?;
    Some(day_start_ms(days_of(date)) + of_day)
}

/// Returns `ms` as an HTTP date.
pub(crate) fn http_date(ms: i64) -> String {
    let date = date_of(day_of(ms));
    let seconds = ms.rem_euclid(DAY_MS) / SECOND_MS;
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        date.weekday(),
        date.day(),
        MONTHS[date.month0() as usize],
        date.year(),
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Parses `hh:mm:ss[.fraction]` and returns its milliseconds and the text after it.
fn clock_time(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (
        digits(&bytes[..2])?,
        digits(&bytes[3..5])?,
        digits(&bytes[6..8])?,
    );
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let whole = i64::from(hour * 3600 + minute * 60 + second) * SECOND_MS;
    let rest = text.get(8..)?;
    let Some(fraction) = rest.strip_prefix('.') else {
        return Some((whole, rest));
    };
    let count = fraction.bytes().take_while(u8::is_ascii_digit).count();
    if count == 0 {
        return None;
    }
    let (shown, after) = fraction.split_at(count);
    let millis = shown.bytes().chain(*b"000").take(3);
    let millis = millis.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    Some((whole + millis, after))
}

/// Parses `Z`, `±hh:mm` or `±hhmm` and returns the milliseconds ahead of UTC.
fn offset_ms(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let bytes = text.as_bytes();
    let sign = match bytes.first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = match bytes.len() {
        5 => (digits(&bytes[1..3])?, digits(&bytes[3..])?),
        6 if bytes[3] == b':' => (digits(&bytes[1..3])?, digits(&bytes[4..])?),
        _ => return None,
    };
    if hours > 14 || minutes > 59 {
        return None;
    }
    Some(sign * i64::from(hours * 60 + minutes) * 60_000)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ms: i64) -> String {
        let mut out = String::new();
        push_datetime(&mut out, ms);
        out
    }

    #[test]
    fn datetimes_are_utc_with_milliseconds_and_no_colon() {
        assert_eq!(shown(1_777_627_801_000), "2026-05-01T09:30:01.000+0000");
        assert_eq!(shown(-1), "1969-12-31T23:59:59.999+0000");
    }

    #[test]
    fn all_offset_forms_are_equal() {
        for text in [
            "2026-05-01T09:30:01Z",
            "2026-05-01T09:30:01.0Z",
            "2026-05-01T11:30:01.000+0200",
            "2026-05-01T11:30:01+02:00",
            "2026-05-01T00:30:01.0000-09:00",
        ] {
            assert_eq!(parse_datetime(text), Some(1_777_627_801_000), "{text}");
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for text in [
            "2026-02-30",
            "2026-2-03",
            "26-02-03",
            "1699-12-31",
            "4001-01-01",
            "x",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
        for text in [
            "2026-05-01",
            "2026-05-01T09:30:01",
            "2026-05-01T24:00:00Z",
            "2026-05-01T1Z",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
        assert!(parse_date("1700-01-01").is_some() && parse_date("4000-12-31").is_some());
    }

    #[test]
    fn http_dates_round_trip() {
        let ms = parse_http_date("Sun, 31 May 2026 18:00:00 GMT").unwrap();
        assert_eq!(http_date(ms), "Sun, 31 May 2026 18:00:00 GMT");
        assert_eq!(parse_http_date("31 May 2026"), None);
    }
}
