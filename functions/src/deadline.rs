//! How long an invocation may go on.
//!
//! Lambda kills what runs past its timeout, and with it the answers of everything that had already
//! succeeded. So there are two ends before that one: jobs are told to stop at the soft end, and what
//! still runs at the hard end is given up and reported.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;

/// Before Lambda's deadline: room to end what is under way. Jobs themselves begin nothing that would
/// not end in time.
const SOFT_MARGIN: Duration = Duration::from_secs(4);

/// Before Lambda's deadline: room to serialize and post the response.
const HARD_MARGIN: Duration = Duration::from_millis(1_500);

/// Longest timeout of a function (AWS Lambda quotas, "Function timeout").
const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// The ends of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    soft: Instant,
    hard: Instant,
}

impl Deadline {
    /// Returns the ends that Lambda's own deadline leaves.
    ///
    /// Lambda names the moment, in milliseconds since 1970. `cargo lambda watch` names the timeout
    /// itself in its place; no moment of a real invocation is that small.
    pub fn of(context: &Context) -> Self {
        let end = Duration::from_millis(context.deadline);
        if end <= TIMEOUT_MAX {
            return Self::with_remaining(end);
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("the clock stands after 1970");
        Self::with_remaining(end.saturating_sub(now))
    }

    /// Returns the ends of an invocation that Lambda would kill after `remaining`.
    pub fn with_remaining(remaining: Duration) -> Self {
        // Short timeouts keep most of their time: a margin never takes more than a quarter.
        let within = |margin: Duration| remaining - margin.min(remaining / 4);
        let now = Instant::now();
        Self {
            soft: now + within(SOFT_MARGIN),
            hard: now + within(HARD_MARGIN),
        }
    }

    /// Returns when a job must stop taking new work.
    pub fn soft(&self) -> Instant {
        self.soft
    }

    /// Returns when a job that did not stop is given up.
    pub fn hard(&self) -> Instant {
        self.hard
    }

    /// Returns whether no new work may be begun.
    pub fn is_over(&self) -> bool {
        Instant::now() >= self.soft
    }

    /// Returns the time in which new work may be begun.
    pub fn remaining(&self) -> Duration {
        self.soft.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remaining_of(deadline_ms: u64) -> Duration {
        let mut context = Context::default();
        context.deadline = deadline_ms;
        Deadline::of(&context).remaining()
    }

    #[test]
    fn a_deadline_is_a_moment_and_a_small_one_is_the_time_that_is_left() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let in_a_minute = u64::try_from(now.as_millis()).unwrap() + 60_000;
        let left = remaining_of(in_a_minute);
        assert!(
            left > Duration::ZERO && left <= Duration::from_secs(56),
            "{left:?}"
        );
        assert!(remaining_of(600_000) > Duration::from_secs(500));
        assert_eq!(remaining_of(1_777_627_800_000), Duration::ZERO, "long past");
    }

    #[test]
    fn the_soft_end_comes_before_the_hard_one_and_both_before_lambdas() {
        for seconds in [1, 3, 60, 300, 900] {
            let remaining = Duration::from_secs(seconds);
            let end = Instant::now() + remaining;
            let deadline = Deadline::with_remaining(remaining);
            assert!(deadline.soft() <= deadline.hard(), "{seconds}");
            assert!(deadline.hard() < end, "{seconds}");
            assert!(!deadline.is_over(), "{seconds}");
        }
        assert!(Deadline::with_remaining(Duration::ZERO).is_over());
    }
}
