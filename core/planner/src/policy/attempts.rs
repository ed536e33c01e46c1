//! Counts attempts by what they failed on, and says how long to wait after each.
//!
//! Every cause has a count, waits and a maximum of its own: nine locked rows say nothing about a missing parent.
//! The number of all attempts is limited by the sum of the maxima.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What an attempt failed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Salesforce refused the write for a reason that may pass.
    Refused,
    /// It is not known whether the write took effect.
    Unknown,
    /// The Salesforce record is not as it was when it was planned.
    Changed,
    /// A parent does not exist yet.
    Parent,
    /// The parent that a lookup points to is not synchronised.
    Lookup,
    /// Another transaction has locked, writes or renames the row.
    RowBusy,
    /// A row with the record's key appears each time it is inserted.
    KeyTaken,
    /// Another row has one of its unique values.
    ValueTaken,
    /// A trigger has changed what was written to the row.
    RowAltered,
    /// The row is missing, and no delete of it was captured.
    RowMissing,
    /// Other rows still point to the row.
    Referenced,
    /// The statement for the row timed out.
    Timeout,
    /// A write of the record is in flight.
    InFlight,
    /// The record could not be read in Salesforce.
    Unreadable,
    /// The worker that had leased the record did not end its lease.
    Abandoned,
}

/// How often and how long a record waits for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The first attempt after a failure is made at once.
    pub at_once_first: bool,
    /// Shortest wait.
    pub wait_ms_min: i64,
    /// Longest wait.
    pub wait_ms_max: i64,
    /// Failures after which the record is parked; `None` if what it waits for ends by itself.
    pub attempts_max: Option<u32>,
}

/// Failures after which a record is parked: with the waits between them, after 47 minutes at most.
pub const ATTEMPTS_MAX: u32 = 12;

/// Attempts without a missing parent after which a record is parked.
pub const PARENT_ATTEMPTS_MAX: u32 = 10;

/// Attempts while another row has a unique value, or a trigger changes a value back, after which the value's field or
/// the record is parked.
pub const VALUE_ATTEMPTS_MAX: u32 = 4;

/// Attempts without a row of which no delete was captured, after which the record is parked: in these four minutes every
/// capture that runs has seen a delete.
pub const ROW_ATTEMPTS_MAX: u32 = 8;

/// Attempts without the parent of a new row, after which the row is written without that lookup.
pub const LOOKUP_ATTEMPTS_MAX: u32 = 4;

/// Shortest wait between two attempts, unless the cause has its own.
pub const BACKOFF_MS_MIN: i64 = 1_000;

/// Longest wait: the longest delay that one SQS message may have (SQS quotas, "DelaySeconds").
pub const BACKOFF_MS_MAX: i64 = 15 * 60 * 1_000;

/// First wait for a row that another transaction uses; it is free when that transaction ends.
const ROW_BUSY_MS_MIN: i64 = 300;

/// First wait for a write in flight; it ends with its lease at the latest.
const IN_FLIGHT_MS_MIN: i64 = 5_000;

/// First and longest wait for a record that cannot be read: it is not the cause, so it is tried again soon.
const UNREADABLE_MS_MIN: i64 = 2_500;
const UNREADABLE_MS_MAX: i64 = 5 * 60 * 1_000;

/// Longest wait for what ends by itself: a long transaction costs one attempt a minute.
const PASSING_MS_MAX: i64 = 60_000;

impl Cause {
    /// Returns how often and how long a record waits for it.
    pub fn limits(self) -> Limits {
        let limits = |attempts_max| Limits {
            at_once_first: false,
            wait_ms_min: BACKOFF_MS_MIN,
            wait_ms_max: BACKOFF_MS_MAX,
            attempts_max: Some(attempts_max),
        };
        let at_once_first = Limits {
            at_once_first: true,
            ..limits(ATTEMPTS_MAX)
        };
        let passing = |wait_ms_min| Limits {
            at_once_first: false,
            wait_ms_min,
            wait_ms_max: PASSING_MS_MAX,
            attempts_max: None,
        };
        match self {
            Self::Refused | Self::Timeout => limits(ATTEMPTS_MAX),
            // A read shows what is there; only a record that fails again has to wait for it.
            Self::Unknown | Self::Changed | Self::Abandoned => at_once_first,
            Self::Parent | Self::Referenced => limits(PARENT_ATTEMPTS_MAX),
            Self::Lookup => limits(LOOKUP_ATTEMPTS_MAX),
            Self::ValueTaken => limits(VALUE_ATTEMPTS_MAX),
            Self::RowMissing => limits(ROW_ATTEMPTS_MAX),
            // Usually the changed value goes to Salesforce at once, and both sides are equal.
            Self::RowAltered => Limits {
                at_once_first: true,
                ..limits(VALUE_ATTEMPTS_MAX)
            },
            Self::KeyTaken => Limits {
                wait_ms_min: ROW_BUSY_MS_MIN,
                ..limits(ATTEMPTS_MAX)
            },
            Self::RowBusy => passing(ROW_BUSY_MS_MIN),
            Self::InFlight => passing(IN_FLIGHT_MS_MIN),
            Self::Unreadable => Limits {
                wait_ms_max: UNREADABLE_MS_MAX,
                ..passing(UNREADABLE_MS_MIN)
            },
        }
    }

    /// Returns the longest wait after each failure, from the first failure on; later waits are as long as the
    /// last one. For leases that end without a plan, whose waits the database chooses.
    pub fn longest_waits_ms(self) -> Vec<i64> {
        (0..ATTEMPTS_MAX)
            .map(|before| self.limits().wait_ms(before, u64::MAX))
            .collect()
    }
}

impl Limits {
    /// Returns whether the next failure, after `before` earlier ones, is one too many.
    pub fn is_last(self, before: u32) -> bool {
        self.attempts_max
            .is_some_and(|attempts_max| before.saturating_add(1) >= attempts_max)
    }

    /// Returns how long to wait after the next failure: between half of the current maximum and all of it, which
    /// doubles with each failure. `jitter` is any number; the largest one gives the maximum.
    pub fn wait_ms(self, before: u32, jitter: u64) -> i64 {
        if self.at_once_first && before == 0 {
            return 0;
        }
        let doublings = before.saturating_add(1).min(20);
        let ceiling_ms = self
            .wait_ms_min
            .saturating_mul(1 << doublings)
            .min(self.wait_ms_max);
        let floor_ms = (ceiling_ms / 2).max(self.wait_ms_min);
        let spread_ms = (ceiling_ms - floor_ms).unsigned_abs();
        let extra_ms = match spread_ms.checked_add(1) {
            Some(choices) if jitter < u64::MAX => jitter % choices,
            Some(_) | None => spread_ms,
        };
        floor_ms.saturating_add_unsigned(extra_ms)
    }
}

/// The failed attempts of a record's work, by cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempts(BTreeMap<Cause, u32>);

impl Attempts {
    /// Returns how many attempts failed on this cause.
    pub fn of(&self, cause: Cause) -> u32 {
        self.0.get(&cause).copied().unwrap_or(0)
    }

    /// Returns whether any attempt failed.
    pub fn any(&self) -> bool {
        self.0.values().any(|count| *count > 0)
    }

    /// Returns the attempts with `count` failures on this cause.
    #[must_use]
    pub fn with(mut self, cause: Cause, count: u32) -> Self {
        self.0.insert(cause, count);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY_CAUSE: [Cause; 15] = [
        Cause::Refused,
        Cause::Unknown,
        Cause::Changed,
        Cause::Parent,
        Cause::Lookup,
        Cause::RowBusy,
        Cause::KeyTaken,
        Cause::ValueTaken,
        Cause::RowAltered,
        Cause::RowMissing,
        Cause::Referenced,
        Cause::Timeout,
        Cause::InFlight,
        Cause::Unreadable,
        Cause::Abandoned,
    ];

    #[test]
    fn waits_of_every_cause_grow_to_their_maximum() {
        for cause in EVERY_CAUSE {
            let limits = cause.limits();
            let longest: Vec<i64> = (0..30).map(|n| limits.wait_ms(n, u64::MAX)).collect();
            assert!(longest.is_sorted(), "{cause:?}: {longest:?}");
            assert_eq!(longest.last(), Some(&limits.wait_ms_max), "{cause:?}");
            for before in 1..30 {
                for jitter in [0, 1, 7_777, u64::MAX - 1] {
                    let wait_ms = limits.wait_ms(before, jitter);
                    assert!((limits.wait_ms_min..=limits.wait_ms_max).contains(&wait_ms));
                }
            }
        }
    }

    #[test]
    fn only_what_ends_by_itself_has_no_maximum() {
        for cause in EVERY_CAUSE {
            let passing = matches!(cause, Cause::RowBusy | Cause::InFlight | Cause::Unreadable);
            assert_eq!(cause.limits().is_last(u32::MAX), !passing, "{cause:?}");
        }
    }

    #[test]
    fn parks_after_three_quarters_of_an_hour_at_most() {
        for cause in EVERY_CAUSE {
            let Some(attempts_max) = cause.limits().attempts_max else {
                continue;
            };
            let waits_ms = (0..attempts_max - 1).map(|n| cause.limits().wait_ms(n, u64::MAX));
            assert!(waits_ms.sum::<i64>() <= 48 * 60 * 1_000, "{cause:?}");
        }
    }

    #[test]
    fn each_cause_has_its_own_count() {
        let attempts = Attempts::default().with(Cause::RowBusy, 9);
        assert_eq!(attempts.of(Cause::Parent), 0);
        let json = serde_json::to_string(&attempts).unwrap();
        assert_eq!(json, r#"{"row_busy":9}"#);
        assert_eq!(serde_json::from_str::<Attempts>(&json).unwrap(), attempts);
    }

    #[test]
    fn first_failure_that_a_read_explains_waits_for_nothing() {
        for cause in EVERY_CAUSE {
            let at_once = matches!(
                cause,
                Cause::Unknown | Cause::Changed | Cause::Abandoned | Cause::RowAltered
            );
            let waits_ms = cause.longest_waits_ms();
            assert_eq!(waits_ms[0] == 0, at_once, "{cause:?}");
            assert!(waits_ms[1] > 0, "{cause:?}");
        }
    }

    #[test]
    fn longest_waits_are_those_of_the_largest_jitter() {
        let seconds = |cause: Cause| {
            let waits_ms = cause.longest_waits_ms();
            waits_ms.iter().map(|ms| ms / 1_000).collect::<Vec<_>>()
        };
        assert_eq!(
            seconds(Cause::Refused),
            [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
        );
        assert_eq!(
            seconds(Cause::RowBusy),
            [0, 1, 2, 4, 9, 19, 38, 60, 60, 60, 60, 60]
        );
        assert_eq!(
            seconds(Cause::KeyTaken),
            [0, 1, 2, 4, 9, 19, 38, 76, 153, 307, 614, 900]
        );
        assert_eq!(
            seconds(Cause::Unreadable),
            [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300, 300]
        );
    }

    #[test]
    fn wait_is_spread_over_the_upper_half() {
        let limits = Cause::Refused.limits();
        let waits_ms: Vec<i64> = [0, 1, 4_000, 4_001].map(|n| limits.wait_ms(2, n)).into();
        assert_eq!(waits_ms, [4_000, 4_001, 8_000, 4_000]);
    }

    #[test]
    fn attempts_without_a_failure_are_none() {
        assert!(!Attempts::default().any());
        assert!(!Attempts::default().with(Cause::Parent, 0).any());
        assert!(Attempts::default().with(Cause::Parent, 2).any());
    }
}
