//! The delete log: which records were deleted when, for as long as Salesforce keeps it.
//!
//! The log loses its oldest entries in two ways. Records leave the recycle bin after 15 days, and a
//! job every two hours cuts the log down to a maximum size. The log keeps the date of the cut, so a
//! caller who asks for an earlier time can be refused and has to compare everything.

use serde::{Deserialize, Serialize};

use super::id::RecordId;

/// How long a deletion is kept: 15 days.
const REMEMBERED_MS: i64 = 15 * 86_400_000;

/// How often the log is cut, and the minimum age of what is cut: two hours.
const CUT_EVERY_MS: i64 = 2 * 3_600_000;

/// A deleted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deletion {
    pub(crate) at_ms: i64,
    pub(crate) id: RecordId,
}

/// Deletions, oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deletions {
    /// Dumped as separate lines.
    #[serde(skip)]
    entries: Vec<Deletion>,
    entries_max: usize,
    complete_since_ms: i64,
    cut_at_ms: i64,
}

impl Deletions {
    /// Returns an empty log that starts now.
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            entries: Vec::new(),
            entries_max: usize::MAX,
            complete_since_ms: now_ms,
            cut_at_ms: now_ms,
        }
    }

    /// Returns this log with the entries of another one.
    pub(crate) fn with_entries_of(self, other: Self) -> Self {
        Self {
            entries: other.entries,
            ..self
        }
    }

    /// Sets the maximum number of entries after a cut.
    pub(crate) fn limit(&mut self, entries_max: usize) {
        self.entries_max = entries_max;
    }

    /// Records a deletion.
    pub(crate) fn note(&mut self, id: RecordId, at_ms: i64) {
        // A test may move the clock back.
        let place = self.entries.partition_point(|entry| entry.at_ms <= at_ms);
        self.entries.insert(place, Deletion { at_ms, id });
    }

    /// Removes the deletion of a restored record.
    pub(crate) fn forget(&mut self, id: RecordId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// Advances the clock and returns the records that leave the recycle bin.
    pub(crate) fn advance_clock(&mut self, now_ms: i64) -> Vec<RecordId> {
        let kept_from = now_ms - REMEMBERED_MS;
        let over = self
            .entries
            .partition_point(|entry| entry.at_ms < kept_from);
        if over > 0 {
            self.complete_since_ms = self.complete_since_ms.max(self.entries[over - 1].at_ms);
        }
        let expired = self.entries.drain(..over).map(|entry| entry.id).collect();
        if now_ms - self.cut_at_ms >= CUT_EVERY_MS {
            self.cut_at_ms = now_ms;
            self.cut(now_ms);
        }
        expired
    }

    fn cut(&mut self, now_ms: i64) {
        let old = self
            .entries
            .partition_point(|entry| entry.at_ms <= now_ms - CUT_EVERY_MS);
        let cut = self.entries.len().saturating_sub(self.entries_max).min(old);
        if cut > 0 {
            self.complete_since_ms = self.complete_since_ms.max(self.entries[cut - 1].at_ms);
            self.entries.drain(..cut);
        }
    }

    /// Returns the time from which the log is complete.
    pub(crate) fn complete_since_ms(&self) -> i64 {
        self.complete_since_ms
    }

    /// Returns the deletions from `from_ms` to `to_ms`, without the end.
    pub(crate) fn between(&self, from_ms: i64, to_ms: i64) -> &[Deletion] {
        let start = self.entries.partition_point(|entry| entry.at_ms < from_ms);
        let end = self.entries.partition_point(|entry| entry.at_ms < to_ms);
        self.entries.get(start..end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{CUT_EVERY_MS, Deletions, REMEMBERED_MS};
    use crate::model::id::RecordId;

    fn id(number: u32) -> RecordId {
        RecordId::numbered(*b"001", number)
    }

    #[test]
    fn log_loses_oldest_entries_and_keeps_its_complete_since_time() {
        let mut log = Deletions::new(0);
        log.limit(2);
        for n in 1..=4 {
            log.note(id(n), i64::from(n));
        }
        log.note(id(5), CUT_EVERY_MS);
        assert_eq!(log.advance_clock(CUT_EVERY_MS - 1), []);
        assert_eq!((log.between(0, 9).len(), log.complete_since_ms()), (4, 0));
        log.advance_clock(CUT_EVERY_MS + 4);
        assert_eq!((log.between(0, 9).len(), log.complete_since_ms()), (1, 3));
        log.forget(id(4));
        assert!(log.between(0, 9).is_empty());
    }

    #[test]
    fn entries_younger_than_two_hours_are_kept() {
        let mut log = Deletions::new(0);
        log.limit(0);
        log.note(id(1), 10);
        log.advance_clock(CUT_EVERY_MS);
        assert_eq!(log.between(0, 99).len(), 1);
    }

    #[test]
    fn records_leaving_the_recycle_bin_are_returned_once() {
        let mut log = Deletions::new(0);
        log.note(id(1), 5);
        assert_eq!(log.advance_clock(REMEMBERED_MS + 5), []);
        assert_eq!(log.advance_clock(REMEMBERED_MS + 6), [id(1)]);
        assert_eq!(log.advance_clock(REMEMBERED_MS + 7), []);
        assert_eq!(log.complete_since_ms(), 5);
    }
}
