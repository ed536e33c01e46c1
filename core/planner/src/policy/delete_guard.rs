//! Decides when there are so many deletes in a short time that they need approval.
//!
//! A table that was emptied by mistake, or a filter that suddenly matches no record, looks like many separate
//! deletes. So deletes are counted together, and beyond a limit they wait for a person. Whether a record is
//! deleted is decided elsewhere, by the state of that record alone.

/// The time over which deletes are counted together.
pub const WINDOW_MS: i64 = 60 * 60 * 1_000;

/// The code of records whose delete waits.
pub const MASS_DELETE: &str = "mass_delete";

/// The share of all records that may also be deleted without approval: in a large table many deletes are
/// normal.
pub const PERCENT_MAX: i64 = 10;

/// Returns whether deletes wait for approval.
///
/// `deletes` is the number within the window, of `records` that both sides had when it began. Up to
/// `max_per_hour` deletes never wait; 0 switches the guard off.
///
/// ```
/// use syncline_planner::policy::delete_guard::holds;
/// assert!(!holds(100, 100, 100), "few deletes never wait, however small the table");
/// assert!(holds(101, 1_000, 100));
/// assert!(!holds(101, 2_000, 100), "nor does a small part of a large table");
/// assert!(!holds(1_000, 1_000, 0), "the object has no delete guard");
/// ```
pub fn holds(deletes: i64, records: i64, max_per_hour: u32) -> bool {
    max_per_hour > 0
        && deletes > i64::from(max_per_hour)
        && deletes.saturating_mul(100) > records.saturating_mul(PERCENT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn more_deletes_of_fewer_records_still_wait(
            deletes in 0_i64..1_000_000, records in 0_i64..1_000_000, max_per_hour in 1_u32..10_000, more in 0_i64..1_000,
        ) {
            if holds(deletes, records, max_per_hour) {
                prop_assert!(holds(deletes + more, records, max_per_hour));
                prop_assert!(holds(deletes, records - more, max_per_hour));
            }
        }

        #[test]
        fn emptying_a_table_waits_beyond_the_limit(
            records in 1_i64..1_000_000, max_per_hour in 1_u32..10_000,
        ) {
            prop_assert_eq!(holds(records, records, max_per_hour), records > i64::from(max_per_hour));
        }
    }
}
