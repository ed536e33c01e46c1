//! One open subscription: messages in, batches of observations out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, Streaming};

use super::proto::{ConsumerEvent, FetchRequest, FetchResponse, ProducerEvent};
use super::{
    Credit, EventBus, EventFilter, Opening, SCHEMA_UNREADABLE, fault_of, position_is_lost,
};
use crate::model::cursor::SourceCursor;
use crate::model::ids::ObjectName;
use crate::model::observation::SalesforceObservation;
use crate::ports::salesforce::{
    Disposition, EventBatch, EventStream, ReplayFrom, SalesforceError, StreamEnd,
};
use crate::salesforce::auth::Session;
use crate::salesforce::avro::EventSchema;
use crate::salesforce::event::{EventPosition, EventReading, Ourselves};

/// An open subscription. Dropping it closes it.
pub(in crate::salesforce) struct Subscription {
    pub(super) bus: EventBus,
    pub(super) topic: String,
    /// Where a new stream would have to start: after the last returned event.
    pub(super) resume: ReplayFrom,
    pub(super) mapped: EventFilter,
    pub(super) ourselves: Ourselves,
    pub(super) session: Arc<Session>,
    /// The session was renewed, and no message has arrived since.
    pub(super) session_renewed: bool,
    pub(super) opened: OpenedStream,
    /// Received and not yet returned.
    pub(super) waiting: VecDeque<ConsumerEvent>,
    /// The position once all waiting events are returned.
    pub(super) after_waiting: Vec<u8>,
    /// How the stream ended; returned after all waiting events.
    pub(super) ended: Option<StreamEnd>,
    pub(super) last_message: Instant,
}

/// Both directions of a stream, and its flow control.
pub(super) struct OpenedStream {
    pub(super) requests: mpsc::Sender<FetchRequest>,
    pub(super) connection: Connection,
    pub(super) credit: Credit,
}

/// A stream that is open or still opening.
pub(super) enum Connection {
    Opening(Opening),
    Open(Box<Streaming<FetchResponse>>),
}

const STREAM: &str = "the event stream";

/// Longest silence of a live stream: keep-alives arrive at least every 270 s.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// From this many waiting events, more messages are collected into one batch: half of what may be pending.
const BACKLOG_EVENTS: usize = 50;

/// From this many records a batch ends with the current event: one event of a mass edit may have thousands of
/// records, so that a number of events limits neither memory nor transactions.
const RECORDS_MAX: usize = 2_000;

/// From this many bytes, roughly, a batch ends with the current event, and no more messages are collected for it: an
/// event may have a megabyte.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long to wait for the next message of a backlog: a long round trip.
const BACKLOG_WAIT: Duration = Duration::from_millis(150);

/// A stream that was not polled for a long time may have an unread message: it gets this long to return
/// it.
const GRACE: Duration = Duration::from_secs(1);

#[async_trait]
impl EventStream for Subscription {
    async fn next(
        &mut self,
        events_max: usize,
        wait: Duration,
    ) -> Result<Option<EventBatch>, StreamEnd> {
        let deadline = Instant::now() + wait;
        while self.ended.is_none()
            && self.waiting.len() < events_max.max(1)
            && !self.has_many_bytes()
        {
            let until = match self.waiting.len() {
                0 => deadline,
                // A few events are returned at once. Many are a sign of a backlog, whose next events are
                // already on their way.
                few if few < BACKLOG_EVENTS => break,
                _ => Instant::now() + BACKLOG_WAIT,
            };
            self.ask_for_more()?;
            match self.message_before(until).await {
                Ok(Some(response)) if !all_have_positions(&response) => {
                    self.ended = Some(StreamEnd::Closed(
                        "an event has no replay id, so that no position follows it".to_owned(),
                    ));
                }
                Ok(Some(response)) => {
                    let keep_alive = response.events.is_empty();
                    self.take(response);
                    if keep_alive && self.waiting.is_empty() {
                        return Ok(self.keep_alive());
                    }
                    if keep_alive {
                        break;
                    }
                }
                Ok(None) => break,
                Err(end) => self.ended = Some(end),
            }
        }
        if !self.waiting.is_empty() {
            return self.hand_out(events_max).await.map(Some);
        }
        match &self.ended {
            Some(end) => Err(end.clone()),
            None => Ok(None),
        }
    }
}

impl Subscription {
    fn ask_for_more(&mut self) -> Result<(), StreamEnd> {
        let Some(num_requested) = self.opened.credit.ask() else {
            return Ok(());
        };
        let request = FetchRequest {
            topic_name: self.topic.clone(),
            num_requested,
            ..FetchRequest::default()
        };
        self.opened
            .requests
            .try_send(request)
            .map_err(|_| StreamEnd::Closed("it accepts no more requests".to_owned()))
    }

    /// Returns whether the waiting events alone fill a batch.
    fn has_many_bytes(&self) -> bool {
        let payloads = self.waiting.iter().filter_map(|event| event.event.as_ref());
        payloads.map(|event| event.payload.len()).sum::<usize>() >= BYTES_MAX
    }

    /// Waits for the next message. If the session has expired, renews it once and reopens the stream
    /// where it was.
    async fn message_before(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<FetchResponse>, StreamEnd> {
        let silent_at = (self.last_message + SILENCE_MAX).max(Instant::now() + GRACE);
        loop {
            let status =
                match timeout_at(deadline.min(silent_at), self.opened.connection.message()).await {
                    Ok(Ok(Some(response))) => return Ok(Some(response)),
                    Ok(Ok(None)) => {
                        return Err(StreamEnd::Closed("the server ended it".to_owned()));
                    }
                    Ok(Err(status)) => status,
                    Err(_) if deadline <= silent_at => return Ok(None),
                    Err(_) => {
                        return Err(StreamEnd::Closed(format!(
                            "nothing arrived for {} s",
                            SILENCE_MAX.as_secs()
                        )));
                    }
                };
            if status.code() != Code::Unauthenticated || self.session_renewed {
                return Err(end_of(&status));
            }
            self.reopen().await.map_err(StreamEnd::Refused)?;
        }
    }

    async fn reopen(&mut self) -> Result<(), SalesforceError> {
        self.session_renewed = true;
        // The new stream delivers the waiting events again.
        self.waiting.clear();
        self.session = self.bus.sessions.renew(Some(&self.session)).await?;
        self.opened = self
            .bus
            .open(&self.session, &self.topic, &self.resume)
            .await
            .map_err(|status| fault_of(&status).into_error(STREAM))?;
        Ok(())
    }

    fn take(&mut self, response: FetchResponse) {
        self.last_message = Instant::now();
        self.session_renewed = false;
        self.opened
            .credit
            .answered(response.events.len(), response.pending_num_requested);
        self.after_waiting = match response.events.last() {
            Some(last) if response.latest_replay_id.is_empty() => last.replay_id.clone(),
            Some(_) | None => response.latest_replay_id,
        };
        self.waiting.extend(response.events);
    }

    /// Returns the batch of a message without events: only its position, if it has one.
    fn keep_alive(&mut self) -> Option<EventBatch> {
        let position = self.after_waiting.clone();
        if position.is_empty() {
            return None;
        }
        self.resume = ReplayFrom::After(position.clone());
        Some(empty_batch(position))
    }

    /// Returns the next `events_max` waiting events, and those after them with the same replay id:
    /// there is no position between two of them.
    async fn hand_out(&mut self, events_max: usize) -> Result<EventBatch, StreamEnd> {
        let count = batch_length(&self.waiting, events_max);
        let ids = schema_ids(self.waiting.iter().take(count));
        let schemas = schemas_of(&self.bus, ids).await?;
        let mut batch = empty_batch(self.after_waiting.clone());
        let (mut of_one_id, mut bytes) = (OfOneId::default(), 0);
        let waiting = || self.waiting.iter();
        for (event, next) in waiting()
            .take(count)
            .zip(waiting().skip(1).map(Some).chain([None]))
        {
            // One that came twice in a row is no second event of its replay id.
            if of_one_id.add(event) {
                let before = batch.observations.len();
                self.read_into(&mut batch, event, &schemas, &mut of_one_id);
                let read = batch.observations[before..].iter();
                bytes += read.map(SalesforceObservation::rough_bytes).sum::<usize>();
            }
            batch.events += 1;
            // Events of one replay id stay together: a position between them does not exist.
            let ends_here = next.is_none_or(|next| next.replay_id != event.replay_id);
            if ends_here && (batch.observations.len() >= RECORDS_MAX || bytes >= BYTES_MAX) {
                break;
            }
        }
        let last = self.waiting.drain(..batch.events).next_back();
        let position = match (self.waiting.is_empty(), last) {
            (false, Some(last)) => last.replay_id,
            (_, _) => self.after_waiting.clone(),
        };
        batch.position = SourceCursor::SalesforceReplayId(position.clone());
        self.resume = ReplayFrom::After(position);
        Ok(batch)
    }

    fn read_into(
        &self,
        batch: &mut EventBatch,
        event: &ConsumerEvent,
        schemas: &BTreeMap<String, Option<Arc<EventSchema>>>,
        of_one_id: &mut OfOneId<'_>,
    ) {
        let ProducerEvent {
            schema_id, payload, ..
        } = event.event.clone().unwrap_or_default();
        let schema = schemas.get(&schema_id).and_then(Option::as_ref);
        let decoded = schema.and_then(|schema| Some((schema, schema.decode(&payload).ok()?)));
        let Some((schema, decoded)) = decoded else {
            let about = schema.and_then(|schema| schema.object.as_ref());
            tracing::warn!(
                schema_id,
                "an event cannot be decoded; the objects it may belong to need a resync"
            );
            return mark_needs_resync(batch, self.mapped.possible_objects(about));
        };
        let position = EventPosition {
            replay_id: &event.replay_id,
            ordinal: of_one_id.next,
        };
        match self
            .mapped
            .read(schema, &decoded, &position, &self.ourselves)
        {
            EventReading::Observed(observations) => {
                of_one_id.used(observations.len());
                batch.observations.extend(observations);
            }
            EventReading::NeedsResync(object) => mark_needs_resync(batch, vec![object]),
            EventReading::OutOfScope => batch.out_of_scope += 1,
        }
    }
}

impl Connection {
    /// Waits for the next message. Cancel-safe.
    async fn message(&mut self) -> Result<Option<FetchResponse>, Status> {
        loop {
            match self {
                Self::Opening(opening) => *self = Self::Open(Box::new(opening.await?)),
                Self::Open(stream) => return stream.message().await,
            }
        }
    }
}

/// The events of one replay id, which merged and enriched events may share, and how many observations they hold.
#[derive(Default)]
struct OfOneId<'a> {
    events: Vec<&'a ConsumerEvent>,
    next: i32,
}

impl<'a> OfOneId<'a> {
    /// Adds an event. Returns false if the same one was added under its replay id before.
    fn add(&mut self, event: &'a ConsumerEvent) -> bool {
        let is_other = |known: &&ConsumerEvent| known.replay_id != event.replay_id;
        if self.events.last().is_some_and(is_other) {
            *self = Self::default();
        }
        if self.events.iter().any(|known| known.event == event.event) {
            return false;
        }
        self.events.push(event);
        true
    }

    fn used(&mut self, count: usize) {
        self.next += i32::try_from(count).unwrap_or(i32::MAX);
    }
}

fn all_have_positions(response: &FetchResponse) -> bool {
    let mut events = response.events.iter();
    events.all(|event| !event.replay_id.is_empty())
}

fn empty_batch(position: Vec<u8>) -> EventBatch {
    EventBatch {
        observations: Vec::new(),
        needs_resync: Vec::new(),
        out_of_scope: 0,
        events: 0,
        position: SourceCursor::SalesforceReplayId(position),
    }
}

fn batch_length(waiting: &VecDeque<ConsumerEvent>, events_max: usize) -> usize {
    let mut count = events_max.clamp(1, waiting.len());
    while count < waiting.len() && waiting[count].replay_id == waiting[count - 1].replay_id {
        count += 1;
    }
    count
}

fn schema_ids<'a>(events: impl Iterator<Item = &'a ConsumerEvent>) -> BTreeSet<String> {
    events
        .filter_map(|event| event.event.as_ref())
        .map(|event| event.schema_id.clone())
        .collect()
}

/// Returns the schemas with these ids; `None` for one that will never be readable.
async fn schemas_of(
    bus: &EventBus,
    ids: BTreeSet<String>,
) -> Result<BTreeMap<String, Option<Arc<EventSchema>>>, StreamEnd> {
    let mut schemas = BTreeMap::new();
    for id in ids {
        let schema = match bus.schema(&id).await {
            Ok(schema) => Some(schema),
            Err(error) if never_readable(&error) => None,
            Err(error) => return Err(ended_by(error)),
        };
        schemas.insert(id, schema);
    }
    Ok(schemas)
}

fn mark_needs_resync(batch: &mut EventBatch, objects: Vec<ObjectName>) {
    if objects.is_empty() {
        batch.out_of_scope += 1;
    }
    for object in objects {
        if !batch.needs_resync.contains(&object) {
            batch.needs_resync.push(object);
        }
    }
}

/// Returns whether a schema will never be readable, so that trying again would only delay all other
/// events.
fn never_readable(error: &SalesforceError) -> bool {
    error.disposition == Disposition::Park
        && (error.code == SCHEMA_UNREADABLE || error.code.starts_with("schema."))
}

fn end_of(status: &Status) -> StreamEnd {
    ended_by(fault_of(status).into_error(STREAM))
}

fn ended_by(error: SalesforceError) -> StreamEnd {
    if position_is_lost(&error.code) {
        return StreamEnd::PositionLost(error.code);
    }
    match error.disposition {
        Disposition::RetryLater => StreamEnd::Closed(error.to_string()),
        Disposition::WaitForQuota
        | Disposition::RefreshSession
        | Disposition::RefreshRecord
        | Disposition::WaitForParent
        | Disposition::WaitForValue
        | Disposition::WaitForChildren
        | Disposition::WaitForOrg
        | Disposition::Park => StreamEnd::Refused(error),
    }
}

#[cfg(test)]
mod tests;
