//! Date functions: `CALENDAR_YEAR(CreatedDate)` and similar.
//!
//! Days are days of UTC, which is the time zone of the org, and fiscal years are calendar years.
//! Source: SOQL and SOSL Reference, "Date Functions".

use chrono::{Datelike as _, NaiveDate};

use crate::model::schema::FieldType;
use crate::model::stamp;
use crate::model::value::Value;

/// A date function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DateFunction {
    CalendarMonth,
    CalendarQuarter,
    CalendarYear,
    DayInMonth,
    DayInWeek,
    DayInYear,
    DayOnly,
    FiscalMonth,
    FiscalQuarter,
    FiscalYear,
    HourInDay,
    WeekInMonth,
    WeekInYear,
}

impl DateFunction {
    const ALL: [Self; 13] = [
        Self::CalendarMonth,
        Self::CalendarQuarter,
        Self::CalendarYear,
        Self::DayInMonth,
        Self::DayInWeek,
        Self::DayInYear,
        Self::DayOnly,
        Self::FiscalMonth,
        Self::FiscalQuarter,
        Self::FiscalYear,
        Self::HourInDay,
        Self::WeekInMonth,
        Self::WeekInYear,
    ];

    /// Returns the function with that name, ignoring case.
    pub(super) fn named(name: &str) -> Option<Self> {
        let named = |known: &Self| known.name().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named)
    }

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::CalendarMonth => "CALENDAR_MONTH",
            Self::CalendarQuarter => "CALENDAR_QUARTER",
            Self::CalendarYear => "CALENDAR_YEAR",
            Self::DayInMonth => "DAY_IN_MONTH",
            Self::DayInWeek => "DAY_IN_WEEK",
            Self::DayInYear => "DAY_IN_YEAR",
            Self::DayOnly => "DAY_ONLY",
            Self::FiscalMonth => "FISCAL_MONTH",
            Self::FiscalQuarter => "FISCAL_QUARTER",
            Self::FiscalYear => "FISCAL_YEAR",
            Self::HourInDay => "HOUR_IN_DAY",
            Self::WeekInMonth => "WEEK_IN_MONTH",
            Self::WeekInYear => "WEEK_IN_YEAR",
        }
    }

    /// Returns whether the function accepts fields of this type.
    pub(super) fn fits(self, kind: FieldType) -> bool {
        match self {
            Self::DayOnly | Self::HourInDay => kind == FieldType::Datetime,
            Self::CalendarMonth
            | Self::CalendarQuarter
            | Self::CalendarYear
            | Self::DayInMonth
            | Self::DayInWeek
            | Self::DayInYear
            | Self::FiscalMonth
            | Self::FiscalQuarter
            | Self::FiscalYear
            | Self::WeekInMonth
            | Self::WeekInYear => matches!(kind, FieldType::Date | FieldType::Datetime),
        }
    }

    /// Returns the result for a value: a number, or a date for `DAY_ONLY`.
    pub(super) fn of(self, value: &Value) -> Value {
        let (day, ms) = match value {
            Value::Date(day) => (*day, stamp::day_start_ms(*day)),
            Value::Datetime(ms) => (stamp::day_of(*ms), *ms),
            _ => return Value::Null,
        };
        let date: NaiveDate = stamp::date_of(day);
        let number = match self {
            Self::DayOnly => return Value::Date(day),
            Self::CalendarMonth | Self::FiscalMonth => date.month(),
            Self::CalendarQuarter | Self::FiscalQuarter => date.month0() / 3 + 1,
            Self::CalendarYear | Self::FiscalYear => return Value::Int(date.year()),
            Self::DayInMonth => date.day(),
            Self::DayInWeek => date.weekday().number_from_sunday(),
            Self::DayInYear => date.ordinal(),
            Self::HourInDay => {
                let hour = ms.rem_euclid(86_400_000) / 3_600_000;
                return i32::try_from(hour).map_or(Value::Null, Value::Int);
            }
            // Weeks are counted from the first day of the month, whatever weekday it is.
            Self::WeekInMonth => date.day0() / 7 + 1,
            Self::WeekInYear => date.ordinal0() / 7 + 1,
        };
        i32::try_from(number).map_or(Value::Null, Value::Int)
    }
}

#[cfg(test)]
mod tests {
    use super::DateFunction;
    use crate::model::stamp;
    use crate::model::value::Value;

    #[test]
    fn date_functions_return_their_part_of_a_date() {
        let ms = stamp::parse_datetime("2026-05-15T23:59:59Z").unwrap();
        let part = |name: &str| DateFunction::named(name).unwrap().of(&Value::Datetime(ms));
        for (name, expected) in [
            ("calendar_month", 5),
            ("CALENDAR_QUARTER", 2),
            ("CALENDAR_YEAR", 2026),
            ("DAY_IN_MONTH", 15),
            ("DAY_IN_WEEK", 6),
            ("DAY_IN_YEAR", 135),
            ("FISCAL_MONTH", 5),
            ("FISCAL_QUARTER", 2),
            ("FISCAL_YEAR", 2026),
            ("HOUR_IN_DAY", 23),
            ("WEEK_IN_MONTH", 3),
            ("WEEK_IN_YEAR", 20),
        ] {
            assert_eq!(part(name), Value::Int(expected), "{name}");
        }
        assert_eq!(part("DAY_ONLY"), Value::Date(stamp::day_of(ms)));
        let nothing = DateFunction::CalendarYear.of(&Value::Null);
        assert_eq!(
            (nothing, DateFunction::named("MINUTE")),
            (Value::Null, None)
        );
    }
}
