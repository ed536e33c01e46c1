//! Whether so many deletes in so short a time are max_per_hour.
//!
//! A table that was emptied by mistake, or a filter that suddenly shows nothing, looks like many people
//! who each delete one record. So deletes are counted together, and beyond a measure they wait for a
//! person. Which record is deleted is decided elsewhere, and by its own state alone.

/// The time over which deletes are counted together.
pub const WINDOW_MS: i64 = 60 * 60 * 1_000;

/// The code of records whose delete is held.
pub const MASS_DELETE: &str = "mass_delete";

/// Beyond those that are max_per_hour without asking, the part of all records that may go: in a large table
/// many deletes are nothing unusual.
pub const PERCENT_MAX: i64 = 10;

/// Returns whether deletes wait for a person: `deletes` have been asked for within the window, of
/// `records` that both sides held when it began. As many as `max_per_hour` are never held; with 0 none is.
///
/// ```
/// use syncline::plan::delete guard::holds;
/// assert!(!holds(100, 100, 100), "few deletes are max_per_hour, however small the table");
/// assert!(holds(101, 1_000, 100));
/// assert!(!holds(101, 2_000, 100), "and a small part of a large one");
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
        fn what_is_held_stays_held_when_more_are_deleted_and_no_more_are_there(
            deletes in 0_i64..1_000_000, records in 0_i64..1_000_000, max_per_hour in 1_u32..10_000, more in 0_i64..1_000,
        ) {
            if holds(deletes, records, max_per_hour) {
                prop_assert!(holds(deletes + more, records, max_per_hour));
                prop_assert!(holds(deletes, records - more, max_per_hour));
            }
        }

        #[test]
        fn to_empty_a_table_of_more_than_the_believed_number_is_always_held(
            records in 1_i64..1_000_000, max_per_hour in 1_u32..10_000,
        ) {
            prop_assert_eq!(holds(records, records, max_per_hour), records > i64::from(max_per_hour));
        }
    }
}
