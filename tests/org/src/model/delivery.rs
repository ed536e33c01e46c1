//! Which events a subscriber of a topic receives, and in which form: members, filters, enrichment
//! and permissions.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Model;
use super::channel::{Channel, Member};
use super::log::{ChangeEvent, Entry, Logged, PlatformNo, Source, StreamError, replay_bytes};
use super::permission::{Action, Permissions};
use super::rewrite::{Alteration, rewritten};
use super::schema::{FieldNo, ObjectNo};
use crate::unconfirmed::switches::MaskedText;

/// Maximum payload bytes of one answer. gRPC clients accept 4 MB by default.
const ANSWER_BYTES_MAX: usize = 3_000_000;

/// What a subscription reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Topic {
    /// `/data/ChangeEvents`.
    Everything,
    /// The change events of one object.
    One(ObjectNo),
    /// One platform event.
    Platform(PlatformNo),
    /// A custom channel, by its index.
    Channel(usize),
}

/// How far a subscriber has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// The last replay number that was delivered completely.
    pub(crate) after: u64,
    /// How many parts of the next entry were delivered. Enriched events are delivered one by one.
    part: usize,
}

impl Cursor {
    /// Returns the cursor after a replay number.
    pub(crate) fn after(after: u64) -> Self {
        Self { after, part: 0 }
    }
}

/// The parameters of a read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) topic: Topic,
    pub(crate) permissions: &'a Permissions,
    pub(crate) events_max: usize,
}

impl Model {
    /// Returns the topic with that name. Names are case-sensitive.
    pub(crate) fn topic(&self, name: &str) -> Result<Topic, StreamError> {
        let (kind, event) = name
            .strip_prefix('/')
            .and_then(|rest| rest.split_once('/'))
            .ok_or(StreamError::TopicNotFound)?;
        let channels = || {
            self.channels
                .iter()
                .position(|channel| channel.name == event)
        };
        let found = match kind {
            "data" if event == "ChangeEvents" => Some(Topic::Everything),
            "data" => self
                .schema
                .numbered()
                .find(|(_, object)| {
                    let has_events = object.change_events && object.is_selected;
                    has_events && object.event_name() == event
                })
                .map(|(no, _)| Topic::One(no))
                .or_else(|| {
                    channels()
                        .filter(|no| !self.is_platform(*no))
                        .map(Topic::Channel)
                }),
            "event" => self.platform_named(event).map(Topic::Platform).or_else(|| {
                channels()
                    .filter(|no| self.is_platform(*no))
                    .map(Topic::Channel)
            }),
            _ => None,
        };
        found.ok_or(StreamError::TopicNotFound)
    }

    fn is_platform(&self, channel: usize) -> bool {
        self.channels[channel].of_platform_events
    }

    /// Returns the events after `cursor`, and the cursor after them.
    pub(crate) fn read(&self, reading: &Reading<'_>, cursor: Cursor) -> (Vec<ChangeEvent>, Cursor) {
        let mut events = Vec::new();
        let mut at = cursor;
        let mut bytes = 0;
        for entry in self.log.entries_after(cursor.after) {
            if events.len() == reading.events_max || bytes > ANSWER_BYTES_MAX {
                break;
            }
            let Some((logged, member)) = self.due(reading, entry) else {
                at = Cursor::after(entry.replay);
                continue;
            };
            let Some(altered) = self.altered(reading, logged, member) else {
                bytes += logged.payload.len();
                events.push(self.delivered(entry, logged, logged.payload.clone()));
                at = Cursor::after(entry.replay);
                continue;
            };
            let room = reading.events_max - events.len();
            let parts = altered.len();
            for payload in altered.into_iter().skip(at.part).take(room) {
                bytes += payload.len();
                events.push(self.delivered(entry, logged, payload));
                at.part += 1;
            }
            if at.part < parts {
                break;
            }
            at = Cursor::after(entry.replay);
        }
        (events, at)
    }

    /// Returns the event of an entry, if the topic includes it and the subscriber may see it.
    fn due<'a>(
        &'a self,
        reading: &Reading<'_>,
        entry: &'a Entry,
    ) -> Option<(&'a Logged, Option<&'a Member>)> {
        let event = entry.event.as_ref()?;
        if let Source::Object(object) = event.source
            && !reading.permissions.allows(object, Action::ViewAll)
        {
            return None;
        }
        let of = |channel: &'a Channel| channel.member(event.source);
        match (reading.topic, event.source) {
            (Topic::One(wanted), Source::Object(object)) if wanted == object => Some((event, None)),
            (Topic::Platform(wanted), Source::Platform(no)) if wanted == no => Some((event, None)),
            (Topic::Everything, Source::Object(_)) => {
                let standard = self.standard_channel();
                let passes = standard.is_none_or(|(no, _)| event.refused_by >> no & 1 == 0);
                passes.then(|| (event, standard.and_then(|(_, channel)| of(channel))))
            }
            (Topic::Channel(no), _) => {
                let member = of(self.channels.get(no)?)?;
                (event.refused_by >> no & 1 == 0).then_some((event, Some(member)))
            }
            (Topic::One(_) | Topic::Platform(_) | Topic::Everything, _) => None,
        }
    }

    /// Returns the payloads that replace the logged one for this subscriber, if any.
    fn altered(
        &self,
        reading: &Reading<'_>,
        event: &Logged,
        member: Option<&Member>,
    ) -> Option<Vec<Bytes>> {
        let Source::Object(object) = event.source else {
            return None;
        };
        let alteration = Alteration {
            object,
            layout: self.log.numbered(event.schema),
            enriched: member.map_or(&[], |member| &member.enriched),
            hidden: reading.permissions.hidden(object),
            masked: self.masked_fields(object, reading.permissions),
        };
        let unaltered = alteration.enriched.is_empty() && alteration.hidden.is_empty();
        if unaltered && alteration.masked.is_empty() {
            return None;
        }
        Some(rewritten(self, &alteration, &event.payload))
    }

    /// Returns the fields whose values the subscriber sees masked.
    fn masked_fields(&self, object: ObjectNo, permissions: &Permissions) -> Vec<FieldNo> {
        if !permissions.masks || self.switches.masked_text == MaskedText::Plain {
            return Vec::new();
        }
        let fields = self.object(object).numbered();
        let masked = fields.filter(|(_, field)| field.mask.is_some());
        masked.map(|(no, _)| no).collect()
    }

    fn delivered(&self, entry: &Entry, event: &Logged, payload: Bytes) -> ChangeEvent {
        ChangeEvent {
            id: event.id,
            schema_id: self.log.numbered(event.schema).schema.id.clone(),
            payload,
            replay_id: replay_bytes(entry.replay),
        }
    }
}
