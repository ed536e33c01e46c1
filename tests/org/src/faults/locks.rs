//! Record locks, declared for some time or taken by calls in flight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::RecordId;

/// The holder of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Holder {
    /// No call. The lock ends when the org's clock reaches this time.
    Until(i64),
    /// A call whose answer has not been sent.
    Call(u64),
}

/// All locks of the org.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Locks {
    by_record: BTreeMap<RecordId, Holder>,
    calls: u64,
}

impl Locks {
    /// Locks a record until the org's clock reaches `until_ms`.
    pub(crate) fn hold(&mut self, id: RecordId, until_ms: i64) {
        self.by_record.insert(id, Holder::Until(until_ms));
    }

    /// Releases all locks.
    pub(crate) fn clear(&mut self) {
        self.by_record.clear();
    }

    /// Returns a number for a call that takes locks.
    pub(crate) fn enter(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Releases the locks of a call.
    pub(crate) fn leave(&mut self, call: u64) {
        self.by_record
            .retain(|_, holder| *holder != Holder::Call(call));
    }

    /// Returns whether there are no locks.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_record.is_empty()
    }

    /// Returns those of `ids` that are locked by another holder.
    pub(crate) fn locked_by_others(
        &self,
        ids: &[RecordId],
        call: Option<u64>,
        now_ms: i64,
    ) -> Vec<RecordId> {
        let blocked = |id: &&RecordId| match self.by_record.get(*id) {
            None => false,
            Some(Holder::Until(until_ms)) => now_ms < *until_ms,
            Some(Holder::Call(holder)) => Some(*holder) != call,
        };
        ids.iter().filter(blocked).copied().collect()
    }

    /// Locks records for a call.
    pub(crate) fn take(&mut self, ids: &[RecordId], call: u64) {
        for id in ids {
            self.by_record.insert(*id, Holder::Call(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_block_others_until_released_or_expired() {
        let mut locks = Locks::default();
        let id = RecordId::parse("0015g00002J9YYEAA3").unwrap();
        locks.hold(id, 100);
        assert_eq!(locks.locked_by_others(&[id], None, 99), [id]);
        assert!(locks.locked_by_others(&[id], None, 100).is_empty());
        let (first, second) = (locks.enter(), locks.enter());
        locks.take(&[id], first);
        assert!(locks.locked_by_others(&[id], Some(first), 0).is_empty());
        assert_eq!(locks.locked_by_others(&[id], Some(second), 0), [id]);
        locks.leave(first);
        assert!(locks.locked_by_others(&[id], Some(second), 0).is_empty());
    }
}
