//! When a field was edited, as far as that is known.

use serde::{Deserialize, Serialize};

/// When a field was edited, milliseconds since the epoch, by the clock of its side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct EditTime {
    /// When; with `since_ms`, at the latest.
    pub at_ms: i64,
    /// The edit may have been made as early as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
}

impl EditTime {
    /// Returns the time of an edit that was seen as it was made.
    pub fn at(at_ms: i64) -> Self {
        Self {
            at_ms,
            since_ms: None,
        }
    }

    /// Returns the time of an edit that was made between two reads, both ends included. If it is not known when
    /// the field was read before, the edit may have been made at any time since the epoch.
    pub fn between(since_ms: Option<i64>, at_ms: i64) -> Self {
        let since_ms = since_ms.unwrap_or_default().min(at_ms);
        Self {
            at_ms,
            since_ms: (since_ms < at_ms).then_some(since_ms),
        }
    }

    /// Returns the earliest time at which the edit may have been made.
    pub fn earliest_ms(self) -> i64 {
        self.since_ms.unwrap_or(self.at_ms).min(self.at_ms)
    }

    /// Returns what is known after an event that set the field to the same value at `at_ms`. Later events that set
    /// it again may still come, so an earlier event only excludes what was before it.
    pub(crate) fn confirmed(self, at_ms: i64) -> Self {
        if at_ms >= self.at_ms {
            return Self::at(at_ms);
        }
        Self::between(Some(self.earliest_ms().max(at_ms)), self.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_event_narrows_what_a_read_showed() {
        let read = EditTime::between(Some(10), 20);
        assert_eq!(read.confirmed(5), read);
        assert_eq!(read.confirmed(15), EditTime::between(Some(15), 20));
        assert_eq!(read.confirmed(20), EditTime::at(20));
        assert_eq!(read.confirmed(25), EditTime::at(25));
        assert_eq!(EditTime::at(20).confirmed(15), EditTime::at(20));
    }

    #[test]
    fn unknown_beginning_is_the_epoch() {
        assert_eq!(EditTime::between(None, 20).earliest_ms(), 0);
        assert_eq!(EditTime::between(Some(20), 20), EditTime::at(20));
        assert_eq!(EditTime::between(Some(30), 20).earliest_ms(), 20);
    }
}
