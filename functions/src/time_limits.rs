//! The time limits of an invocation.
//!
//! Lambda kills an invocation at its timeout, and the results of everything that had succeeded are lost. So
//! there are two earlier limits: jobs stop at the first, and jobs that still run at the second are abandoned
//! and reported.

use std::time::Duration;

use lambda_runtime::Context;
use syncline::engine::system::SystemClock;
use syncline::job::deadline::Deadline;
use syncline::ports::Clock;

/// Before Lambda's deadline: time to end running work. Jobs themselves begin no work that would not end in
/// time.
const STOP_MARGIN: Duration = Duration::from_secs(4);

/// Before Lambda's deadline: time to serialize and send the response.
const ABANDON_MARGIN: Duration = Duration::from_millis(1_500);

/// Longest timeout of a function in milliseconds (AWS Lambda quotas, "Function timeout").
const TIMEOUT_MS_MAX: u64 = 900_000;

/// The limits of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct TimeLimits {
    stop: Deadline,
    abandon: Deadline,
}

impl TimeLimits {
    /// Returns the limits for Lambda's deadline.
    ///
    /// Lambda gives the deadline in milliseconds since 1970. `cargo lambda watch` gives the timeout instead; no
    /// deadline of a real invocation is that small.
    pub fn of(context: &Context) -> Self {
        if context.deadline <= TIMEOUT_MS_MAX {
            return Self::with_remaining(Duration::from_millis(context.deadline));
        }
        let end = Deadline::at_ms(i64::try_from(context.deadline).unwrap_or(i64::MAX));
        Self::with_remaining(end.remaining(SystemClock.now_ms()))
    }

    /// Returns the limits of an invocation that Lambda would kill after `remaining`.
    pub fn with_remaining(remaining: Duration) -> Self {
        let end = Deadline::after(SystemClock.now_ms(), remaining);
        // A margin never takes more than a quarter of a short timeout.
        let before = |margin: Duration| end.earlier_by(margin.min(remaining / 4));
        Self {
            stop: before(STOP_MARGIN),
            abandon: before(ABANDON_MARGIN),
        }
    }

    /// Returns when a job must stop taking new work.
    pub fn stop(&self) -> Deadline {
        self.stop
    }

    /// Returns whether no new work may be begun.
    pub fn is_over(&self) -> bool {
        self.stop.remaining(SystemClock.now_ms()).is_zero()
    }

    /// Returns the time after which a job that did not stop is abandoned.
    pub fn until_abandoned(&self) -> Duration {
        self.abandon.remaining(SystemClock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining_of(deadline_ms: u64) -> Duration {
        let mut context = Context::default();
        context.deadline = deadline_ms;
        TimeLimits::of(&context)
            .stop()
            .remaining(SystemClock.now_ms())
    }

    #[test]
    fn small_deadlines_are_timeouts_others_are_moments() {
        let in_a_minute = u64::try_from(SystemClock.now_ms()).unwrap() + 60_000;
        let left = remaining_of(in_a_minute);
        assert!(
            left > Duration::ZERO && left <= Duration::from_secs(56),
            "{left:?}"
        );
        assert!(remaining_of(600_000) > Duration::from_secs(500));
        assert_eq!(remaining_of(1_777_627_800_000), Duration::ZERO, "long past");
    }

    #[test]
    fn jobs_stop_before_they_are_abandoned() {
        for seconds in [1, 3, 60, 300, 900] {
            let remaining = Duration::from_secs(seconds);
            let end = Deadline::after(SystemClock.now_ms(), remaining);
            let limits = TimeLimits::with_remaining(remaining);
            assert!(limits.stop <= limits.abandon, "{seconds}");
            assert!(limits.abandon < end, "{seconds}");
            assert!(!limits.is_over(), "{seconds}");
        }
        assert!(TimeLimits::with_remaining(Duration::ZERO).is_over());
    }
}
