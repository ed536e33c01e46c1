//! The time until which a job may work.

use std::time::Duration;

/// A moment at which a job must have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    at_ms: i64,
}

impl Deadline {
    /// Returns the deadline at this many milliseconds since the epoch.
    pub fn at_ms(at_ms: i64) -> Self {
        Self { at_ms }
    }

    /// Returns the deadline `remaining` after `now_ms`.
    pub fn after(now_ms: i64, remaining: Duration) -> Self {
        let remaining_ms = i64::try_from(remaining.as_millis()).unwrap_or(i64::MAX);
        Self {
            at_ms: now_ms.saturating_add(remaining_ms),
        }
    }

    /// Returns how long is left at `now_ms`; zero once it has passed.
    pub fn remaining(self, now_ms: i64) -> Duration {
        let left = self.at_ms.saturating_sub(now_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }

    /// Returns the deadline moved earlier by `margin`.
    #[must_use]
    pub fn earlier_by(self, margin: Duration) -> Self {
        let margin_ms = i64::try_from(margin.as_millis()).unwrap_or(i64::MAX);
        Self {
            at_ms: self.at_ms.saturating_sub(margin_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_remains_after_the_deadline() {
        let deadline = Deadline::after(1_000, Duration::from_secs(5));
        assert_eq!(deadline.remaining(2_000), Duration::from_secs(4));
        assert_eq!(deadline.remaining(7_000), Duration::ZERO);
        assert_eq!(
            deadline.earlier_by(Duration::from_secs(2)).remaining(1_000),
            Duration::from_secs(3)
        );
    }
}
