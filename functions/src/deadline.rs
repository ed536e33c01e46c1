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

/// The ends of one invocation.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    soft: Instant,
    hard: Instant,
}

impl Deadline {
    /// Returns the ends that Lambda's own deadline leaves.
    pub fn of(context: &Context) -> Self {
        let end = Duration::from_millis(context.deadline);
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
