//! The change events of the last 72 hours, in commit order, and positions in them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::layout::Layout;
use super::schema::{ObjectNo, Schema};

/// How long an event can be fetched after its commit.
pub const RETENTION_MS: i64 = 72 * 3_600_000;

/// A quiet log moves its head at most this often, so that positions age although nothing happens.
const TICK_MS: i64 = 30_000;

/// The first replay number of an org; real ones are large too.
const FIRST_REPLAY: u64 = 1_000;

/// How far numbering jumps when all positions are lost.
const LOST_NUMBERS: u64 = 1_000_000;

/// Why a subscription is refused. The codes are those of the `error-code` trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no such topic.
    #[error("the topic does not exist")]
    TopicNotFound,
    /// The user may not see all records of the topic's only object.
    #[error("the user may not subscribe to the topic")]
    NotAllowed,
    /// The position is malformed, older than the retention, or of another org.
    #[error("the Replay ID is corrupted or outside of the retention window")]
    ReplayIdCorrupted,
    /// A custom position was asked for and none was given.
    #[error("the Replay ID validation failed")]
    ReplayIdInvalid,
}

/// Where a subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Behind the newest event.
    Latest,
    /// Before the oldest event that is still kept.
    Earliest,
    /// Strictly behind the event or keep-alive with this replay id.
    After(Vec<u8>),
}

/// One change event as a subscriber receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent {
    /// Id of the event.
    pub id: Uuid,
    /// Schema of the payload.
    pub schema_id: String,
    /// Avro datum.
    pub payload: Bytes,
    /// Opaque position of the event.
    pub replay_id: Vec<u8>,
}

/// Some events of a topic and how far the log was read for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The events, oldest first.
    pub events: Vec<ChangeEvent>,
    /// Position behind which to go on.
    pub latest_replay_id: Vec<u8>,
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// Records of an object.
    Object(ObjectNo),
    /// The publishers of a platform event.
    Platform(PlatformNo),
}

/// Place of a platform event among those of the org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PlatformNo(pub(crate) usize);

/// One place in the log; a place without an event only carries the time on.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) replay: u64,
    pub(crate) at_ms: i64,
    pub(crate) event: Option<Logged>,
}

/// An event as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) source: Source,
    /// Number of its schema.
    pub(crate) schema: usize,
    pub(crate) id: Uuid,
    pub(crate) payload: Bytes,
    /// The channels, by bit, whose filters do not let it pass.
    pub(crate) refused_by: u64,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Entry>,
    head: u64,
    /// All schemas that ever were; events name theirs by place.
    schemas: Vec<(Source, Layout)>,
    current: HashMap<Source, usize>,
    published: u64,
}

impl ChangeLog {
    /// Returns an empty log whose history starts at `now_ms`.
    pub(crate) fn new(schema: &Schema, now_ms: i64) -> Self {
        let start = Entry {
            replay: FIRST_REPLAY,
            at_ms: now_ms,
            event: None,
        };
        let mut log = Self {
            entries: VecDeque::from([start]),
            head: FIRST_REPLAY,
            schemas: Vec::new(),
            current: HashMap::new(),
            published: 0,
        };
        for (no, object) in schema.numbered() {
            log.set_layout(Source::Object(no), Layout::new(object));
        }
        log
    }

    /// Makes this the layout of the events to come; a known one keeps its number.
    pub(crate) fn set_layout(&mut self, source: Source, layout: Layout) {
        let known =
            |(other, l): &(Source, Layout)| *other == source && l.schema.id == layout.schema.id;
        let number = self.schemas.iter().position(known).unwrap_or_else(|| {
            self.schemas.push((source, layout.clone()));
            self.schemas.len() - 1
        });
        // Field numbers mean the fields of today, whichever schema text is old.
        self.schemas[number].1 = layout;
        self.current.insert(source, number);
    }

    /// Returns the number of the current schema of a source and the layout.
    pub(crate) fn layout(&self, source: Source) -> (usize, &Layout) {
        let number = self.current.get(&source).copied();
        let number = number.expect("every source has a layout from the start");
        (number, &self.schemas[number].1)
    }

    /// Returns the layout of a number.
    pub(crate) fn numbered(&self, schema: usize) -> &Layout {
        &self.schemas[schema].1
    }

    /// Returns the layout behind a schema id, with its source.
    pub(crate) fn schema(&self, schema_id: &str) -> Option<(Source, usize, &Layout)> {
        let number = self
            .schemas
            .iter()
            .position(|(_, l)| l.schema.id == schema_id)?;
        let (source, layout) = &self.schemas[number];
        Some((*source, number, layout))
    }

    /// Returns everything that is kept, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets its own history and waits for what was kept of another one.
    pub(crate) fn await_history(&mut self) {
        self.entries.clear();
        self.head = 0;
    }

    /// Takes back how many events were ever appended.
    pub(crate) fn restore_count(&mut self, published: u64) {
        self.published = published;
    }

    /// Takes back what was kept, in its order.
    pub(crate) fn take_back(&mut self, entry: Entry) -> Result<(), String> {
        if entry.replay <= self.head {
            return Err(format!(
                "replay {} comes behind {}",
                entry.replay, self.head
            ));
        }
        self.head = entry.replay;
        self.entries.push_back(entry);
        Ok(())
    }

    /// Returns how many events were ever appended.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// Returns the replay number of the newest entry.
    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Lets a history in which nothing has happened yet start at this time.
    pub(crate) fn start_at(&mut self, now_ms: i64) {
        self.head = FIRST_REPLAY;
        self.entries = VecDeque::from([Entry {
            replay: FIRST_REPLAY,
            at_ms: now_ms,
            event: None,
        }]);
    }

    /// Appends an event and returns its replay number.
    pub(crate) fn append(&mut self, now_ms: i64, event: Logged) -> u64 {
        self.push(now_ms, Some(event));
        self.published += 1;
        self.head
    }

    /// Makes all positions that were ever handed out mean nothing, as the move of an org to another
    /// instance does.
    pub(crate) fn lose_positions(&mut self, now_ms: i64) {
        self.entries.clear();
        self.head += LOST_NUMBERS;
        self.push(now_ms, None);
    }

    fn push(&mut self, at_ms: i64, event: Option<Logged>) {
        // Numbers are not contiguous: a client that counts is wrong.
        self.head += 1 + self.head % 3;
        self.entries.push_back(Entry {
            replay: self.head,
            at_ms,
            event,
        });
    }

    /// Forgets what is older than the retention and lets the head move on in a quiet time.
    pub(crate) fn keep_time(&mut self, now_ms: i64) {
        if self
            .entries
            .back()
            .is_none_or(|entry| entry.at_ms + TICK_MS <= now_ms)
        {
            self.push(now_ms, None);
        }
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.at_ms + RETENTION_MS < now_ms)
        {
            self.entries.pop_front();
        }
    }

    /// Returns the replay number behind which a subscription goes on.
    pub(crate) fn resolve(&self, position: &Position) -> Result<u64, StreamError> {
        let oldest = self.entries.front().map_or(self.head, |entry| entry.replay);
        match position {
            Position::Latest => Ok(self.head),
            Position::Earliest => Ok(oldest - 1),
            Position::After(bytes) if bytes.is_empty() => Err(StreamError::ReplayIdInvalid),
            Position::After(bytes) => {
                // Whoever counts on from a replay id instead of storing one is refused too.
                let number = replay_number(bytes).filter(|number| self.place_of(*number).is_ok());
                number.ok_or(StreamError::ReplayIdCorrupted)
            }
        }
    }

    /// Returns the entries behind a position, oldest first.
    pub(crate) fn behind(&self, after: u64) -> impl Iterator<Item = &Entry> {
        let start = match self.place_of(after) {
            Ok(place) => place + 1,
            Err(place) => place,
        };
        self.entries.range(start..)
    }

    fn place_of(&self, replay: u64) -> Result<usize, usize> {
        self.entries
            .binary_search_by_key(&replay, |entry| entry.replay)
    }
}

/// Returns the bytes of a replay number: eight of them big-endian, and two zeros.
pub(crate) fn replay_bytes(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes
}

/// Returns the number in a replay id of ten or of eight bytes.
pub(crate) fn replay_number(bytes: &[u8]) -> Option<u64> {
    if !matches!(bytes.len(), 8 | 10) || bytes[8..].iter().any(|byte| *byte != 0) {
        return None;
    }
    bytes[..8].try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::org_file::OrgFile;

    const HOUR_MS: i64 = 3_600_000;

    fn log() -> ChangeLog {
        ChangeLog::new(&OrgFile::built_in().schema().unwrap(), 0)
    }

    fn add(log: &mut ChangeLog, now_ms: i64, object: usize) {
        let source = Source::Object(ObjectNo(object));
        let event = Logged {
            source,
            schema: log.layout(source).0,
            id: Uuid::nil(),
            payload: Bytes::from_static(&[1]),
            refused_by: 0,
        };
        log.append(now_ms, event);
    }

    #[test]
    fn reading_goes_on_strictly_behind_a_position() {
        let mut log = log();
        for object in [1, 2, 1] {
            add(&mut log, 0, object);
        }
        let all: Vec<u64> = log.behind(FIRST_REPLAY).map(|entry| entry.replay).collect();
        assert_eq!((all.len(), all[2]), (3, log.head()));
        let behind = |replay| {
            log.behind(replay)
                .map(|entry| entry.replay)
                .collect::<Vec<_>>()
        };
        assert_eq!(behind(all[0]), all[1..]);
        assert!(behind(all[2]).is_empty());
        assert_eq!(
            behind(FIRST_REPLAY - 1).len(),
            4,
            "the start is an entry too"
        );
    }

    #[test]
    fn a_replay_id_between_two_events_was_never_handed_out() {
        let mut log = log();
        for _ in 0..4 {
            add(&mut log, 0, 1);
        }
        let handed_out: Vec<u64> = log.behind(0).map(|entry| entry.replay).collect();
        for number in FIRST_REPLAY..=log.head() {
            let resolved = log.resolve(&Position::After(replay_bytes(number)));
            assert_eq!(resolved.is_ok(), handed_out.contains(&number), "{number}");
        }
    }

    #[test]
    fn an_org_that_moved_knows_none_of_its_old_positions() {
        let mut log = log();
        add(&mut log, 0, 1);
        let stored = Position::After(replay_bytes(log.head()));
        log.lose_positions(0);
        assert_eq!(log.resolve(&stored), Err(StreamError::ReplayIdCorrupted));
        assert_eq!(
            log.behind(log.resolve(&Position::Earliest).unwrap())
                .count(),
            1
        );
    }

    #[test]
    fn eight_and_ten_bytes_name_the_same_position() {
        let mut log = log();
        add(&mut log, 0, 1);
        let bytes = replay_bytes(log.head());
        assert_eq!(
            log.resolve(&Position::After(bytes[..8].to_vec())),
            Ok(log.head())
        );
        assert_eq!(log.resolve(&Position::After(bytes)), Ok(log.head()));
    }

    #[test]
    fn a_position_is_lost_after_the_retention_even_if_nothing_happened() {
        let mut log = log();
        add(&mut log, 0, 1);
        let stored = Position::After(replay_bytes(log.head()));
        log.keep_time(71 * HOUR_MS);
        assert!(log.resolve(&stored).is_ok());
        log.keep_time(73 * HOUR_MS);
        assert_eq!(log.resolve(&stored), Err(StreamError::ReplayIdCorrupted));
        assert!(log.resolve(&Position::Earliest).is_ok());
    }

    #[test]
    fn positions_that_never_were_are_refused() {
        let log = log();
        for bytes in [
            vec![1],
            vec![0xff; 10],
            replay_bytes(FIRST_REPLAY + 50),
            vec![0; 8],
        ] {
            let refused = log.resolve(&Position::After(bytes));
            assert_eq!(refused, Err(StreamError::ReplayIdCorrupted));
        }
        assert_eq!(
            log.resolve(&Position::After(vec![])),
            Err(StreamError::ReplayIdInvalid)
        );
    }
}
