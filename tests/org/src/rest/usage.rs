//! The number of API calls in the last 24 hours.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::Org;
use crate::unconfirmed::switches::LimitInfo;

const HOUR_MS: i64 = 3_600_000;

/// Maximum age of the figure that callers see. Source: REST API Developer Guide, "Limits".
const REPORTED_MS_MAX: i64 = 300_000;

/// Calls by hour over the last day.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Usage {
    pub(crate) max: u64,
    hours: VecDeque<(i64, u64)>,
    total: u64,
    /// The figure that callers see, and when it was taken.
    #[serde(default)]
    reported: Option<(i64, u64)>,
}

impl Usage {
    /// Returns an unused limit.
    pub(crate) fn new(max: u64) -> Self {
        Self {
            max,
            hours: VecDeque::new(),
            total: 0,
            reported: None,
        }
    }

    /// Counts a call, or returns `false` if the limit was reached before it.
    pub(crate) fn spend(&mut self, now_ms: i64) -> bool {
        self.spend_many(now_ms, 1)
    }

    /// Counts several calls, or returns `false` if the limit was reached before them.
    pub(crate) fn spend_many(&mut self, now_ms: i64, wanted: u64) -> bool {
        let spent = self.used(now_ms) >= self.max;
        let hour = now_ms.div_euclid(HOUR_MS);
        match self.hours.back_mut() {
            Some((known, count)) if *known == hour => *count += wanted,
            _ => self.hours.push_back((hour, wanted)),
        }
        self.total += wanted;
        !spent
    }

    /// Returns the calls of the last 24 hours.
    pub(crate) fn used(&mut self, now_ms: i64) -> u64 {
        let first = now_ms.div_euclid(HOUR_MS) - 24;
        while self.hours.front().is_some_and(|(hour, _)| *hour <= first) {
            self.hours.pop_front();
        }
        self.hours.iter().map(|(_, count)| count).sum()
    }

    /// Returns the calls of the last 24 hours as of some minutes ago.
    fn used_lately(&mut self, now_ms: i64) -> u64 {
        match self.reported {
            Some((taken_ms, used)) if (0..REPORTED_MS_MAX).contains(&(now_ms - taken_ms)) => used,
            Some(_) | None => {
                let used = self.used(now_ms);
                self.reported = Some((now_ms, used));
                used
            }
        }
    }

    /// Returns the number of calls since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

impl Org {
    /// Returns the number of calls of the last 24 hours that callers see.
    pub(crate) fn reported_usage(&mut self) -> u64 {
        let now_ms = self.now_ms();
        match self.model.switches.limit_info {
            LimitInfo::Delayed => self.usage.used_lately(now_ms),
            LimitInfo::Exact => self.usage.used(now_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HOUR_MS, Usage};

    #[test]
    fn calls_above_the_daily_limit_are_refused() {
        let mut usage = Usage::new(2);
        assert!(usage.spend(0) && usage.spend(HOUR_MS) && !usage.spend(2 * HOUR_MS));
        assert_eq!(usage.used(23 * HOUR_MS), 3);
        assert_eq!(usage.used(25 * HOUR_MS), 1);
        assert!(usage.spend(25 * HOUR_MS));
        assert_eq!(usage.total(), 4);
    }
}
