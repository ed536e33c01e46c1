//! Record locks: held by declaration for a time, or by calls that are still in flight.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::id::RecordId;

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Holder {
    /// Nobody in particular, until the org's clock says so.
    Until(i64),
    /// A call whose answer has not left.
    Call(u64),
}

/// All locks of the org.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Locks {
    held: BTreeMap<RecordId, Holder>,
    calls: u64,
}

impl Locks {
    /// Locks a record until the org's clock reaches `until_ms`.
    pub(crate) fn hold(&mut self, id: RecordId, until_ms: i64) {
        self.held.insert(id, Holder::Until(until_ms));
    }

    /// Frees all locks.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    /// Returns a number for a call that will hold locks.
    pub(crate) fn enter(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Frees the locks of a call.
    pub(crate) fn leave(&mut self, call: u64) {
        self.held.retain(|_, holder| *holder != Holder::Call(call));
    }

    /// Tells whether nobody holds any lock.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns those of `ids` that somebody else holds.
    pub(crate) fn held_by_others(
        &self,
        ids: &[RecordId],
        call: Option<u64>,
        now_ms: i64,
    ) -> Vec<RecordId> {
        let blocked = |id: &&RecordId| match self.held.get(*id) {
            None => false,
            Some(Holder::Until(until_ms)) => now_ms < *until_ms,
            Some(Holder::Call(holder)) => Some(*holder) != call,
        };
        ids.iter().filter(blocked).copied().collect()
    }

    /// Locks records for a call.
    pub(crate) fn take(&mut self, ids: &[RecordId], call: u64) {
        for id in ids {
            self.held.insert(*id, Holder::Call(call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_keeps_others_out_until_its_holder_leaves_or_its_time_is_over() {
        let mut locks = Locks::default();
        let id = RecordId::parse("0015g00002J9YYEAA3").unwrap();
        locks.hold(id, 100);
        assert_eq!(locks.held_by_others(&[id], None, 99), [id]);
        assert!(locks.held_by_others(&[id], None, 100).is_empty());
        let (first, second) = (locks.enter(), locks.enter());
        locks.take(&[id], first);
        assert!(locks.held_by_others(&[id], Some(first), 0).is_empty());
        assert_eq!(locks.held_by_others(&[id], Some(second), 0), [id]);
        locks.leave(first);
        assert!(locks.held_by_others(&[id], Some(second), 0).is_empty());
    }
}
