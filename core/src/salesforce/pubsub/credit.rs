//! How many events the server still owes, and when to ask for more. Pure.

/// What was asked for and not yet delivered.
///
/// The server counts; but its count may have been taken before our last request arrived. So a
/// request is remembered until a count shows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Credit {
    /// What the server counted last.
    counted: i32,
    /// Asked for since, and not seen in a count.
    unseen: i32,
}

/// Most events that may be owed at a time (Pub/Sub API guide, "Pull Subscription and Flow Control").
const OWED_MAX: i32 = 100;

impl Credit {
    /// Returns how many more events to ask for now, or none while enough are owed.
    pub(super) fn ask(&mut self) -> Option<i32> {
        if self.unseen > 0 || self.counted > OWED_MAX / 2 {
            return None;
        }
        self.unseen = OWED_MAX - self.counted;
        Some(self.unseen)
    }

    /// Takes an answer with `events` events, after which the server counted `pending`.
    pub(super) fn answered(&mut self, events: usize, pending: i32) {
        let events = i32::try_from(events).unwrap_or(OWED_MAX);
        let without_the_unseen = self.counted - events;
        if pending > without_the_unseen {
            self.unseen = 0;
        }
        self.counted = pending.max(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_asks_for_all_it_may() {
        let mut credit = Credit::default();
        assert_eq!(credit.ask(), Some(100));
        assert_eq!(credit.ask(), None);
    }

    #[test]
    fn more_is_asked_for_once_half_has_come() {
        let mut credit = Credit::default();
        credit.ask();
        credit.answered(30, 70);
        assert_eq!(credit.ask(), None);
        credit.answered(30, 40);
        assert_eq!(credit.ask(), Some(60));
    }

    #[test]
    fn a_request_that_the_server_has_not_counted_yet_is_not_repeated() {
        let mut credit = Credit::default();
        credit.ask();
        credit.answered(60, 40);
        assert_eq!(credit.ask(), Some(60));
        // Counted before the request arrived.
        credit.answered(20, 20);
        assert_eq!(credit.ask(), None);
        // Counted after.
        credit.answered(10, 70);
        assert_eq!(credit.ask(), None);
        credit.answered(70, 0);
        assert_eq!(credit.ask(), Some(100));
    }

    #[test]
    fn never_more_than_100_are_owed() {
        let mut credit = Credit::default();
        let mut owed = 0;
        for round in 0..1_000 {
            owed += credit.ask().unwrap_or(0);
            assert!((1..=100).contains(&owed), "round {round}: {owed}");
            let delivered = 1 + round % owed;
            owed -= delivered;
            credit.answered(usize::try_from(delivered).unwrap(), owed);
        }
    }
}
