//! Date literals: ranges of days relative to today.
//!
//! Days are UTC days, weeks start on Sunday, and the fiscal year is the calendar year.

use chrono::{Datelike, Days, Months, NaiveDate};

use crate::model::stamp;

/// Maximum number in a literal such as `LAST_N_DAYS:n`.
const COUNT_MAX: i32 = 100_000;

/// A range of whole days, weeks, months, quarters or years; 0 is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relative {
    unit: Unit,
    first: i32,
    /// The end of the range, not included.
    end: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Relative {
    /// Parses `TODAY`, `LAST_N_DAYS:7` and similar, ignoring case.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let upper = word.to_ascii_uppercase();
        let (name, count) = match upper.split_once(':') {
            Some((name, count)) => (name, Some(count.parse::<i32>().ok()?)),
            None => (upper.as_str(), None),
        };
        let of = |unit, first, end| Some(Self { unit, first, end });
        let Some(count) = count else {
            return match name {
                "YESTERDAY" => of(Unit::Day, -1, 0),
                "TODAY" => of(Unit::Day, 0, 1),
                "TOMORROW" => of(Unit::Day, 1, 2),
                "LAST_90_DAYS" => of(Unit::Day, -90, 1),
                "NEXT_90_DAYS" => of(Unit::Day, 1, 91),
                _ => {
                    let (which, unit) = name.split_once('_')?;
                    let unit = Unit::named(unit).filter(|unit| *unit != Unit::Day)?;
                    match which {
                        "LAST" => of(unit, -1, 0),
                        "THIS" => of(unit, 0, 1),
                        "NEXT" => of(unit, 1, 2),
                        _ => None,
                    }
                }
            };
        };
        if !(0..=COUNT_MAX).contains(&count) {
            return None;
        }
        let unit = |name: &str| Unit::named(name.strip_suffix('S')?);
        if let Some(unit) = name.strip_prefix("LAST_N_").and_then(unit) {
            // The last days include today; the last weeks end before the current one.
            return of(unit, -count, i32::from(unit == Unit::Day));
        }
        if let Some(unit) = name.strip_prefix("NEXT_N_").and_then(unit) {
            return of(unit, 1, count + 1);
        }
        let ago = name.strip_prefix("N_")?.strip_suffix("_AGO")?;
        unit(ago).and_then(|unit| of(unit, -count, 1 - count))
    }

    /// Returns the first day of the range and the first day after it.
    pub(super) fn days(self, now_ms: i64) -> (i32, i32) {
        let today = stamp::day_of(now_ms);
        (
            self.unit.start(today, self.first),
            self.unit.start(today, self.end),
        )
    }
}

impl Unit {
    fn named(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("FISCAL_").unwrap_or(name) {
            "DAY" => Self::Day,
            "WEEK" => Self::Week,
            "MONTH" => Self::Month,
            "QUARTER" => Self::Quarter,
            "YEAR" => Self::Year,
            _ => return None,
        })
    }

    /// Returns the first day of the unit at `offset` units from the current one.
    fn start(self, today: i32, offset: i32) -> i32 {
        let date = stamp::date_of(today);
        let month = |date: NaiveDate| date.with_day(1);
        let start = match self {
            Self::Day => return today.saturating_add(offset),
            Self::Week => {
                let after = u64::from(date.weekday().num_days_from_sunday());
                let sunday = date.checked_sub_days(Days::new(after));
                let sunday = sunday.map_or(today, stamp::days_of);
                return sunday.saturating_add(offset.saturating_mul(7));
            }
            Self::Month => month(date).and_then(|start| moved(start, offset)),
            Self::Quarter => month(date)
                .and_then(|start| start.with_month0(start.month0() / 3 * 3))
                .and_then(|start| moved(start, offset.saturating_mul(3))),
            Self::Year => NaiveDate::from_ymd_opt(date.year().saturating_add(offset), 1, 1),
        };
        let far = if offset < 0 { i32::MIN } else { i32::MAX };
        start.map_or(far, stamp::days_of)
    }
}

fn moved(start: NaiveDate, months: i32) -> Option<NaiveDate> {
    let by = Months::new(months.unsigned_abs());
    if months < 0 {
        start.checked_sub_months(by)
    } else {
        start.checked_add_months(by)
    }
}

#[cfg(test)]
mod tests {
    use super::Relative;
    use crate::model::stamp;

    /// The days of a literal on Friday, 2026-05-15, as dates.
    fn days(word: &str) -> Option<String> {
        let now_ms = stamp::parse_datetime("2026-05-15T23:59:59Z").unwrap();
        let (first, end) = Relative::parse(word)?.days(now_ms);
        let mut out = String::new();
        stamp::push_date(&mut out, first);
        out.push_str(" .. ");
        stamp::push_date(&mut out, end);
        Some(out)
    }

    #[test]
    fn date_literals_give_their_days() {
        for (word, expected) in [
            ("TODAY", "2026-05-15 .. 2026-05-16"),
            ("yesterday", "2026-05-14 .. 2026-05-15"),
            ("TOMORROW", "2026-05-16 .. 2026-05-17"),
            ("THIS_WEEK", "2026-05-10 .. 2026-05-17"),
            ("LAST_WEEK", "2026-05-03 .. 2026-05-10"),
            ("NEXT_WEEK", "2026-05-17 .. 2026-05-24"),
            ("THIS_MONTH", "2026-05-01 .. 2026-06-01"),
            ("LAST_QUARTER", "2026-01-01 .. 2026-04-01"),
            ("NEXT_FISCAL_QUARTER", "2026-07-01 .. 2026-10-01"),
            ("THIS_YEAR", "2026-01-01 .. 2027-01-01"),
            ("LAST_90_DAYS", "2026-02-14 .. 2026-05-16"),
            ("NEXT_90_DAYS", "2026-05-16 .. 2026-08-14"),
            ("LAST_N_DAYS:3", "2026-05-12 .. 2026-05-16"),
            ("NEXT_N_DAYS:3", "2026-05-16 .. 2026-05-19"),
            ("N_DAYS_AGO:3", "2026-05-12 .. 2026-05-13"),
            ("LAST_N_WEEKS:2", "2026-04-26 .. 2026-05-10"),
            ("LAST_N_MONTHS:5", "2025-12-01 .. 2026-05-01"),
            ("NEXT_N_QUARTERS:1", "2026-07-01 .. 2026-10-01"),
            ("N_YEARS_AGO:2", "2024-01-01 .. 2025-01-01"),
            ("LAST_N_FISCAL_YEARS:1", "2025-01-01 .. 2026-01-01"),
        ] {
            assert_eq!(days(word).as_deref(), Some(expected), "{word}");
        }
    }

    #[test]
    fn invalid_literals_are_refused_and_huge_counts_clamped() {
        for word in [
            "SOON",
            "LAST_DAY",
            "LAST_N_DAYS",
            "LAST_N_DAYS:-1",
            "LAST_N_DAYS:x",
            "TODAY:1",
            "THIS_N_DAYS:1",
            "LAST_N_DAY:1",
            "N_DAYS:1",
            "LAST_N_DAYS:99999999",
        ] {
            assert_eq!(days(word), None, "{word}");
        }
        for word in [
            "LAST_N_YEARS:100000",
            "NEXT_N_MONTHS:100000",
            "N_WEEKS_AGO:100000",
        ] {
            assert!(days(word).is_some(), "{word}");
        }
    }
}
