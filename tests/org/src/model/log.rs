//! The change events of the last 72 hours in commit order, and positions in them.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::layout::Layout;
use super::schema::{ObjectNo, Schema};

/// How long an event can be fetched after its commit.
pub const RETENTION_MS: i64 = 72 * 3_600_000;

/// How often a quiet log advances its head, so that stored positions age without events.
const TICK_MS: i64 = 30_000;

/// The first replay number of an org. Real ones are large too.
const FIRST_REPLAY: u64 = 1_000;

/// How far the numbering jumps when all positions are lost.
const LOST_NUMBERS: u64 = 1_000_000;

/// Why a subscription is refused. The codes are those of the `error-code` trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The topic does not exist.
    #[error("the topic does not exist")]
    TopicNotFound,
    /// The user may not see all records of the topic's only object.
    #[error("the user may not subscribe to the topic")]
    NotAllowed,
    /// The position is malformed, older than the retention, or of another org.
    #[error("the Replay ID is corrupted or outside of the retention window")]
    ReplayIdCorrupted,
    /// A custom position was requested but not given.
    #[error("the Replay ID validation failed")]
    ReplayIdInvalid,
}

/// Where a subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// After the newest event.
    Latest,
    /// Before the oldest event that is still kept.
    Earliest,
    /// Strictly after the event or keep-alive with this replay id.
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

/// Some events of a topic and the position up to which the log was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The events, oldest first.
    pub events: Vec<ChangeEvent>,
    /// The position to continue after.
    pub latest_replay_id: Vec<u8>,
}

/// The source of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// Records of an object.
    Object(ObjectNo),
    /// The publishers of a platform event.
    Platform(PlatformNo),
}

/// Index of a platform event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct PlatformNo(pub(crate) usize);

/// One entry of the log. An entry without an event only advances the time.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) replay: u64,
    pub(crate) at_ms: i64,
    pub(crate) event: Option<Logged>,
}

/// A stored event.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) source: Source,
    /// Index of its schema.
    pub(crate) schema: usize,
    pub(crate) id: Uuid,
    pub(crate) payload: Bytes,
    /// The channels, as bits, whose filters refuse it.
    pub(crate) refused_by: u64,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Entry>,
    head: u64,
    /// All schemas so far. Events refer to theirs by index.
    schemas: Vec<(Source, Layout)>,
    current: HashMap<Source, usize>,
    published: u64,
}

impl ChangeLog {
    /// Returns an empty log that starts at `now_ms`.
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

    /// Sets the layout of future events. A known layout keeps its number.
    pub(crate) fn set_layout(&mut self, source: Source, layout: Layout) {
        let known =
            |(other, l): &(Source, Layout)| *other == source && l.schema.id == layout.schema.id;
        let number = self.schemas.iter().position(known).unwrap_or_else(|| {
            self.schemas.push((source, layout.clone()));
            self.schemas.len() - 1
        });
        // Field numbers always refer to the current schema, also for an old schema text.
        self.schemas[number].1 = layout;
        self.current.insert(source, number);
    }

    /// Returns the number and layout of a source's current schema.
    pub(crate) fn layout(&self, source: Source) -> (usize, &Layout) {
        let number = self.current.get(&source).copied();
        let number = number.expect("every source has a layout from the start");
        (number, &self.schemas[number].1)
    }

    /// Returns the layout with this number.
    pub(crate) fn numbered(&self, schema: usize) -> &Layout {
        &self.schemas[schema].1
    }

    /// Returns the layout and source of a schema id.
    pub(crate) fn schema(&self, schema_id: &str) -> Option<(Source, usize, &Layout)> {
        let number = self
            .schemas
            .iter()
            .position(|(_, l)| l.schema.id == schema_id)?;
        let (source, layout) = &self.schemas[number];
        Some((*source, number, layout))
    }

    /// Returns all stored entries, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Clears the log, before a restore adds the entries of a dump.
    pub(crate) fn clear_history(&mut self) {
        self.entries.clear();
        self.head = 0;
    }

    /// Restores the number of events ever appended.
    pub(crate) fn restore_count(&mut self, published: u64) {
        self.published = published;
    }

    /// Restores the next entry.
    pub(crate) fn restore_entry(&mut self, entry: Entry) -> Result<(), String> {
        if entry.replay <= self.head {
            return Err(format!("replay {} comes after {}", entry.replay, self.head));
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

    /// Sets the start time of a log that has no events yet.
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

    /// Invalidates all positions handed out so far, as moving an org to another instance does.
    pub(crate) fn lose_positions(&mut self, now_ms: i64) {
        self.entries.clear();
        self.head += LOST_NUMBERS;
        self.push(now_ms, None);
    }

    fn push(&mut self, at_ms: i64, event: Option<Logged>) {
        // Numbers have gaps, so that a client that counts them fails.
        self.head += 1 + self.head % 3;
        self.entries.push_back(Entry {
            replay: self.head,
            at_ms,
            event,
        });
    }

    /// Removes entries older than the retention, and advances the head when the log is quiet.
    pub(crate) fn advance_clock(&mut self, now_ms: i64) {
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

    /// Returns the replay number after which a subscription continues.
    pub(crate) fn resolve(&self, position: &Position) -> Result<u64, StreamError> {
        let oldest = self.entries.front().map_or(self.head, |entry| entry.replay);
        match position {
            Position::Latest => Ok(self.head),
            Position::Earliest => Ok(oldest - 1),
            Position::After(bytes) if bytes.is_empty() => Err(StreamError::ReplayIdInvalid),
            Position::After(bytes) => {
                // A replay id that was computed instead of received is refused too.
                let number = replay_number(bytes).filter(|number| self.place_of(*number).is_ok());
                number.ok_or(StreamError::ReplayIdCorrupted)
            }
        }
    }

    /// Returns the entries after a position, oldest first.
    pub(crate) fn entries_after(&self, after: u64) -> impl Iterator<Item = &Entry> {
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

/// Returns the bytes of a replay number: eight bytes big-endian, then two zeros.
pub(crate) fn replay_bytes(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes
}

/// Returns the number of a replay id with ten or eight bytes.
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
    fn reading_continues_strictly_after_a_position() {
        let mut log = log();
        for object in [1, 2, 1] {
            add(&mut log, 0, object);
        }
        let all: Vec<u64> = log
            .entries_after(FIRST_REPLAY)
            .map(|entry| entry.replay)
            .collect();
        assert_eq!((all.len(), all[2]), (3, log.head()));
        let ids_after = |replay| {
            log.entries_after(replay)
                .map(|entry| entry.replay)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids_after(all[0]), all[1..]);
        assert!(ids_after(all[2]).is_empty());
        assert_eq!(
            ids_after(FIRST_REPLAY - 1).len(),
            4,
            "the start is an entry too"
        );
    }

    #[test]
    fn replay_ids_between_two_events_are_refused() {
        let mut log = log();
        for _ in 0..4 {
            add(&mut log, 0, 1);
        }
        let handed_out: Vec<u64> = log.entries_after(0).map(|entry| entry.replay).collect();
        for number in FIRST_REPLAY..=log.head() {
            let resolved = log.resolve(&Position::After(replay_bytes(number)));
            assert_eq!(resolved.is_ok(), handed_out.contains(&number), "{number}");
        }
    }

    #[test]
    fn moving_the_org_invalidates_old_positions() {
        let mut log = log();
        add(&mut log, 0, 1);
        let stored = Position::After(replay_bytes(log.head()));
        log.lose_positions(0);
        assert_eq!(log.resolve(&stored), Err(StreamError::ReplayIdCorrupted));
        assert_eq!(
            log.entries_after(log.resolve(&Position::Earliest).unwrap())
                .count(),
            1
        );
    }

    #[test]
    fn eight_and_ten_byte_replay_ids_are_equal() {
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
    fn positions_expire_after_the_retention_without_events() {
        let mut log = log();
        add(&mut log, 0, 1);
        let stored = Position::After(replay_bytes(log.head()));
        log.advance_clock(71 * HOUR_MS);
        assert!(log.resolve(&stored).is_ok());
        log.advance_clock(73 * HOUR_MS);
        assert_eq!(log.resolve(&stored), Err(StreamError::ReplayIdCorrupted));
        assert!(log.resolve(&Position::Earliest).is_ok());
    }

    #[test]
    fn unknown_positions_are_refused() {
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
