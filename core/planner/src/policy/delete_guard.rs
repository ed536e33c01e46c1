//! Decides when there are so many deletes in a short time that they need approval.
//!
//! A table that was emptied by mistake, or a filter that suddenly matches no record, looks like many separate
//! deletes. So the deletes of an object are counted together: those of the last hour, those of the last day, and
//! those that wait. Beyond a limit all that wait are withheld, because a part of a mistake is a mistake too.
//! Whether a record is deleted is decided elsewhere, by the state of that record alone.

use crate::config::Deletes;

/// The time of the hourly limit.
pub const HOUR_MS: i64 = 60 * 60 * 1_000;

/// The time of the daily limit, and of the share of the records.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// The code of records whose delete waits.
pub const MASS_DELETE: &str = "mass_delete";

/// So many deletes of a day need no approval, even if they are most of a small table.
pub const FEW: i64 = 5;

/// The code of records that wait because one of their fields would be cleared.
pub const MASS_CLEAR: &str = "mass_clear";

/// So many values of a field may be cleared within an hour, even if they are all there are.
pub const FEW_CLEARS: i64 = 100;

/// Returns whether clearing so many values of a field within an hour, of `values` that there were, needs approval.
///
/// ```
/// use syncline_planner::policy::delete_guard::too_many_clears;
/// assert!(too_many_clears(100, 199));
/// assert!(!too_many_clears(100, 200), "half of them may go");
/// assert!(!too_many_clears(99, 99));
/// ```
pub fn too_many_clears(in_hour: i64, values: i64) -> bool {
    in_hour >= FEW_CLEARS && in_hour.saturating_mul(2) > values
}

/// Deletes of an object, each record once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeleteCounts {
    /// Made within the last hour, or waiting.
    pub in_hour: i64,
    /// Made within the last day, or waiting.
    pub in_day: i64,
    /// The records that the object had before the deletes of the day.
    pub records: i64,
}

/// The limit that deletes exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// `max_per_hour`.
    Hour,
    /// `max_per_day`.
    Day,
    /// Half of the object's records, in a day.
    Half,
}

/// Returns the limit that the deletes exceed: then all that wait need approval, else none does.
///
/// ```
/// use syncline_planner::config::Deletes;
/// use syncline_planner::policy::delete_guard::{DeleteCounts, Exceeded, exceeded};
/// let of = |in_hour, in_day, records| {
///     exceeded(&Deletes::default(), DeleteCounts { in_hour, in_day, records })
/// };
/// assert_eq!(of(100, 300, 1_000_000), None);
/// assert_eq!(of(101, 101, 1_000_000), Some(Exceeded::Hour));
/// assert_eq!(of(1, 301, 1_000_000), Some(Exceeded::Day));
/// assert_eq!(of(6, 6, 11), Some(Exceeded::Half));
/// assert_eq!(of(5, 5, 5), None, "a few deletes never wait");
/// ```
pub fn exceeded(deletes: &Deletes, counts: DeleteCounts) -> Option<Exceeded> {
    let per_hour = i64::from(deletes.max_per_hour());
    if per_hour == 0 {
        return None;
    }
    if counts.in_hour > per_hour {
        Some(Exceeded::Hour)
    } else if counts.in_day > i64::from(deletes.max_per_day()) {
        Some(Exceeded::Day)
    } else if counts.in_day > FEW && counts.in_day.saturating_mul(2) > counts.records {
        Some(Exceeded::Half)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(max_per_hour: u32) -> Deletes {
        Deletes {
            max_per_hour: Some(max_per_hour),
            ..Deletes::default()
        }
    }

    #[test]
    fn exactly_half_of_the_records_may_go() {
        let of = |in_day, records| {
            let counts = DeleteCounts {
                in_hour: 0,
                in_day,
                records,
            };
            exceeded(&Deletes::default(), counts)
        };
        assert_eq!(of(6, 12), None);
        assert_eq!(of(7, 13), Some(Exceeded::Half));
    }

    proptest! {
        #[test]
        fn more_deletes_of_fewer_records_still_wait(
            in_hour in 0_i64..10_000, earlier in 0_i64..10_000, records in 0_i64..10_000,
            max_per_hour in 1_u32..1_000, more in 0_i64..1_000,
        ) {
            let counts = DeleteCounts { in_hour, in_day: in_hour + earlier, records };
            let limits = limits(max_per_hour);
            if exceeded(&limits, counts).is_some() {
                let more_deletes = DeleteCounts { in_hour: in_hour + more, in_day: counts.in_day + more, records };
                let fewer_records = DeleteCounts { records: records - more, ..counts };
                let both = (exceeded(&limits, more_deletes), exceeded(&limits, fewer_records));
                prop_assert!(both.0.is_some() && both.1.is_some());
            }
        }

        #[test]
        fn no_table_is_emptied_without_approval(
            records in FEW + 1..1_000_000, max_per_hour in 1_u32..1_000_000,
        ) {
            let all = DeleteCounts { in_hour: records, in_day: records, records };
            prop_assert!(exceeded(&limits(max_per_hour), all).is_some());
        }

        #[test]
        fn no_day_takes_more_than_its_limit(
            in_day in 0_i64..1_000_000, max_per_hour in 1_u32..100_000,
        ) {
            let large = DeleteCounts { in_hour: 0, in_day, records: i64::MAX };
            let over = in_day > i64::from(max_per_hour) * 3;
            prop_assert_eq!(exceeded(&limits(max_per_hour), large).is_some(), over);
        }
    }
}
