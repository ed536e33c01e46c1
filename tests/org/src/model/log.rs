//! The change events of the last 72 hours, in commit order, and positions in them.

use std::collections::VecDeque;

use bytes::Bytes;
use uuid::Uuid;

use super::layout::Layout;
use super::schema::{ObjectNo, Schema};

/// How long an event can be fetched after its commit.
pub const RETENTION_MS: i64 = 72 * 3_600_000;

/// A quiet log moves its head at most this often, so that positions age although nothing happens.
const TICK_MS: i64 = 30_000;

/// The first replay number of an org; real ones are large too.
const FIRST_REPLAY: u64 = 1_000;

/// Why a subscription is refused. The codes are those of the `error-code` trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is no such topic.
    #[error("the topic does not exist")]
    TopicNotFound,
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

/// What a subscriber listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Everything,
    One(ObjectNo),
}

#[derive(Debug)]
struct Entry {
    replay: u64,
    at_ms: i64,
    event: Option<Logged>,
}

#[derive(Debug)]
struct Logged {
    object: ObjectNo,
    schema: usize,
    id: Uuid,
    payload: Bytes,
}

/// The log itself.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Entry>,
    head: u64,
    /// All schemas that ever were; events name theirs by place.
    schemas: Vec<(ObjectNo, Layout)>,
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
        Self {
            entries: VecDeque::from([start]),
            head: FIRST_REPLAY,
            schemas: schema
                .numbered()
                .map(|(no, object)| (no, Layout::new(object)))
                .collect(),
            published: 0,
        }
    }

    /// Returns the number of the current schema of an object and the layout.
    pub(crate) fn layout(&self, object: ObjectNo) -> (usize, &Layout) {
        let current = self
            .schemas
            .iter()
            .enumerate()
            .rev()
            .find(|(_, (no, _))| *no == object);
        let (number, (_, layout)) = current.expect("every object has a layout from the start");
        (number, layout)
    }

    /// Returns the layout behind a schema id, with its object.
    pub(crate) fn schema(&self, schema_id: &str) -> Option<(ObjectNo, &Layout)> {
        let (object, layout) = self
            .schemas
            .iter()
            .find(|(_, l)| l.schema_id == schema_id)?;
        Some((*object, layout))
    }

    /// Returns everything that is kept: replay number, time, and the event, if there is one.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u64, i64, Option<ChangeEvent>)> {
        self.entries.iter().map(|entry| {
            let event = entry.event.as_ref().map(|event| ChangeEvent {
                id: event.id,
                schema_id: self.schemas[event.schema].1.schema_id.clone(),
                payload: event.payload.clone(),
                replay_id: replay_bytes(entry.replay),
            });
            (entry.replay, entry.at_ms, event)
        })
    }

    /// Returns a log that waits for what was kept of another one.
    pub(crate) fn restored(schema: &Schema, published: u64) -> Self {
        let mut log = Self::new(schema, 0);
        log.entries.clear();
        log.published = published;
        log
    }

    /// Takes back what was kept, in its order: an event as schema id, id and payload.
    pub(crate) fn take_back(
        &mut self,
        replay: u64,
        at_ms: i64,
        event: Option<(String, Uuid, Vec<u8>)>,
    ) -> Result<(), String> {
        if replay < self.head || (replay == self.head && !self.entries.is_empty()) {
            return Err(format!("replay {replay} comes behind {}", self.head));
        }
        let event = event.map(|(schema_id, id, payload)| {
            let known = self
                .schemas
                .iter()
                .position(|(_, l)| l.schema_id == schema_id);
            let schema = known.ok_or(format!("the org has no schema {schema_id}"))?;
            Ok::<_, String>(Logged {
                object: self.schemas[schema].0,
                schema,
                id,
                payload: payload.into(),
            })
        });
        self.head = replay;
        self.entries.push_back(Entry {
            replay,
            at_ms,
            event: event.transpose()?,
        });
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

    /// Appends an event.
    pub(crate) fn append(
        &mut self,
        now_ms: i64,
        object: ObjectNo,
        schema: usize,
        id: Uuid,
        payload: Vec<u8>,
    ) {
        let event = Logged {
            object,
            schema,
            id,
            payload: payload.into(),
        };
        self.push(now_ms, Some(event));
        self.published += 1;
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
                let number = replay_number(bytes).ok_or(StreamError::ReplayIdCorrupted)?;
                let kept = (oldest..=self.head).contains(&number);
                kept.then_some(number).ok_or(StreamError::ReplayIdCorrupted)
            }
        }
    }

    /// Returns at most `max` events of `topic` behind `after`, and how far the log was read.
    pub(crate) fn read(&self, topic: Topic, after: u64, max: usize) -> (Vec<ChangeEvent>, u64) {
        let mut events = Vec::new();
        let mut read_to = after;
        let start = self.entries.partition_point(|entry| entry.replay <= after);
        for entry in self.entries.range(start..) {
            if events.len() == max {
                break;
            }
            read_to = entry.replay;
            let Some(event) = &entry.event else { continue };
            if topic == Topic::Everything || topic == Topic::One(event.object) {
                events.push(ChangeEvent {
                    id: event.id,
                    schema_id: self.schemas[event.schema].1.schema_id.clone(),
                    payload: event.payload.clone(),
                    replay_id: replay_bytes(entry.replay),
                });
            }
        }
        (events, read_to)
    }
}

/// Returns the bytes of a replay number: eight of them big-endian, and two zeros.
pub(crate) fn replay_bytes(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes
}

/// Returns the number in a replay id of ten or of eight bytes.
fn replay_number(bytes: &[u8]) -> Option<u64> {
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
        let (schema, _) = log.layout(ObjectNo(object));
        log.append(now_ms, ObjectNo(object), schema, Uuid::nil(), vec![1]);
    }

    #[test]
    fn reading_goes_on_strictly_behind_an_event_and_sees_only_its_topic() {
        let mut log = log();
        for object in [1, 2, 1] {
            add(&mut log, 0, object);
        }
        let (all, end) = log.read(Topic::Everything, FIRST_REPLAY, 10);
        assert_eq!((all.len(), end), (3, log.head()));
        let (one, _) = log.read(Topic::One(ObjectNo(1)), FIRST_REPLAY, 10);
        assert_eq!(one.len(), 2);
        let after = log
            .resolve(&Position::After(one[0].replay_id.clone()))
            .unwrap();
        assert_eq!(log.read(Topic::Everything, after, 10).0.len(), 2);
        assert_eq!(log.read(Topic::Everything, FIRST_REPLAY, 1).0.len(), 1);
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
