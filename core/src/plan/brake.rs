//! Whether so many deletes in so short a time are believed.
//!
//! A table that was emptied by mistake, or a filter that suddenly shows nothing, looks like many people
//! who each delete one record. So deletes are counted together, and beyond a measure they wait for a
//! person. Which record is deleted is decided elsewhere, and by its own state alone.

/// The time over which deletes are counted together.
pub const WINDOW_MS: i64 = 60 * 60 * 1_000;

/// The code of records whose delete is held.
pub const MASS_DELETE: &str = "mass_delete";

/// Beyond those that are believed without asking, the part of all records that may go: in a large table
/// many deletes are nothing unusual.
pub const PERCENT_MAX: i64 = 10;

/// Returns whether deletes wait for a person: `deletes` have been asked for within the window, of
/// `records` that both sides held when it began. As many as `believed` are never held; with 0 none is.
///
/// ```
/// use syncline::plan::brake::holds;
/// assert!(!holds(100, 100, 100), "few deletes are believed, however small the table");
/// assert!(holds(101, 1_000, 100));
/// assert!(!holds(101, 2_000, 100), "and a small part of a large one");
/// assert!(!holds(1_000, 1_000, 0), "the object has no brake");
/// ```
pub fn holds(deletes: i64, records: i64, believed: u32) -> bool {
    believed > 0
        && deletes > i64::from(believed)
        && deletes.saturating_mul(100) > records.saturating_mul(PERCENT_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_held_stays_held_when_more_are_deleted_and_no_more_are_there(
            deletes in 0_i64..1_000_000, records in 0_i64..1_000_000, believed in 1_u32..10_000, more in 0_i64..1_000,
        ) {
            if holds(deletes, records, believed) {
                prop_assert!(holds(deletes + more, records, believed));
                prop_assert!(holds(deletes, records - more, believed));
            }
        }

        #[test]
        fn to_empty_a_table_of_more_than_the_believed_number_is_always_held(
            records in 1_i64..1_000_000, believed in 1_u32..10_000,
        ) {
            prop_assert_eq!(holds(records, records, believed), records > i64::from(believed));
        }
    }
}
