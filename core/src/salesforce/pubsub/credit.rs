//! Flow control: how many requested events are pending, and when to request more. Pure.

/// Events that were requested and not yet delivered.
///
/// The server sends its count of them, but it may have counted before our last request arrived. So a
/// request is remembered until a count includes it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Credit {
    /// The server's last count.
    counted: i32,
    /// Requested since, and not yet included in a count.
    unseen: i32,
}

/// Most events that may be pending at a time (Pub/Sub API guide, "Pull Subscription and Flow Control").
const OWED_MAX: i32 = 100;

impl Credit {
    /// Returns how many more events to request now, or `None` while enough are pending.
    pub(super) fn ask(&mut self) -> Option<i32> {
        if self.unseen > 0 || self.counted > OWED_MAX / 2 {
            return None;
        }
        self.unseen = OWED_MAX - self.counted;
        Some(self.unseen)
    }

    /// Records a response with `events` events, after which the server counted `pending`.
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
    fn new_stream_requests_the_maximum() {
        let mut credit = Credit::default();
        assert_eq!(credit.ask(), Some(100));
        assert_eq!(credit.ask(), None);
    }

    #[test]
    fn more_is_requested_once_half_has_arrived() {
        let mut credit = Credit::default();
        credit.ask();
        credit.answered(30, 70);
        assert_eq!(credit.ask(), None);
        credit.answered(30, 40);
        assert_eq!(credit.ask(), Some(60));
    }

    #[test]
    fn request_not_yet_counted_is_not_repeated() {
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
    fn at_most_100_events_are_pending() {
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
