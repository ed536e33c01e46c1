//! When to try again, and when to stop.

/// Tries after which a record is parked. With the waits below, after three quarters of an hour at most.
pub const ATTEMPTS_MAX: u32 = 12;

/// Waits for a missing parent after which a record is parked.
pub const PARENT_WAITS_MAX: u32 = 10;

/// Shortest wait.
pub const BACKOFF_MS_MIN: u64 = 1_000;

/// Longest wait: the longest delay that one SQS message may have (SQS quotas, "DelaySeconds").
pub const BACKOFF_MS_MAX: u64 = 15 * 60 * 1_000;

/// Why a write had no effect, as far as trying again depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RetryClass {
    /// It may pass by itself: a locked row, a server error, a lost connection.
    Transient,
    /// The parent is not there yet.
    MissingParent,
    /// The org has no calls to give: waiting says nothing about the record.
    Quota,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// Try again.
    Retry {
        /// From now.
        after_ms: u64,
        /// The try that failed counts.
        counts: bool,
    },
    /// Stop the record with the reason.
    Park,
}

/// Decides what follows the try number `attempt`, counted from 1, that had no effect.
///
/// Exponential with full jitter (any wait from the shortest to the current ceiling, which doubles);
/// `jitter` is any random number.
///
/// ```
/// use syncline::plan::retry::{NextAttempt, RetryClass, next_attempt};
/// let first = next_attempt(1, RetryClass::Transient, 7);
/// assert_eq!(first, NextAttempt::Retry { after_ms: 1_007, counts: true });
/// assert_eq!(next_attempt(12, RetryClass::Transient, 7), NextAttempt::Park);
/// ```
pub fn next_attempt(attempt: u32, class: RetryClass, jitter: u64) -> NextAttempt {
    let attempts_max = match class {
        RetryClass::Transient => Some(ATTEMPTS_MAX),
        RetryClass::MissingParent => Some(PARENT_WAITS_MAX),
        RetryClass::Quota => None,
    };
    if attempts_max.is_some_and(|most| attempt >= most) {
        return NextAttempt::Park;
    }
    let ceiling_ms = BACKOFF_MS_MIN
        .saturating_mul(1 << attempt.min(20))
        .min(BACKOFF_MS_MAX);
    NextAttempt::Retry {
        after_ms: BACKOFF_MS_MIN + jitter % (ceiling_ms - BACKOFF_MS_MIN + 1),
        counts: attempts_max.is_some(),
    }
}
