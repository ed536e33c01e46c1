//! Event relays: the org sends the events of a channel to Amazon EventBridge, here directly to the
//! receiver behind the bus.
//!
//! Source: Event Relay guide, "Event Relay Configuration" and "Manage Relay Execution State".

mod envelope;
mod sender;

pub(crate) use sender::run;

use serde::{Deserialize, Serialize};

use crate::Org;
use crate::model::channel::{CHANNELS_MAX, STANDARD};
use crate::model::delivery::{Cursor, Reading, Topic};
use crate::model::event_file::{Preset, RelayEntry, RelayState};
use crate::model::id::RecordId;
use crate::model::log::{Position, replay_bytes};
use crate::model::permission::Permissions;
use crate::tooling::channel_id;

/// Maximum number of events sent before their position is stored.
const SHIPMENT_EVENTS_MAX: usize = 100;

/// Maximum size of an EventBridge entry, in bytes.
const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// The AWS account and region of envelopes, unless the org file sets them.
const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-central-1";

/// One relay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Relay {
    pub(crate) id: RecordId,
    pub(crate) name: String,
    /// Id of the channel, which names the partner event source.
    channel_id: RecordId,
    pub(crate) channel: String,
    topic: Topic,
    pub(crate) target: Target,
    pub(crate) state: RelayState,
    recovery: Preset,
    account: String,
    region: String,
    /// The position to continue from; `None` for the newest event.
    cursor: Option<Cursor>,
    /// How many times the relay was stopped. A shipment sent before a stop no longer moves the
    /// position.
    stops: u32,
    pub(crate) disorder: Disorder,
    pub(crate) feedback: Feedback,
}

/// The receiver of the envelopes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Target {
    /// One POST for each event.
    Url(String),
    /// An SQS queue by its URL.
    Queue(String),
}

/// Deviations from the event order that EventBridge may cause, on request.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disorder {
    /// Every n-th event is sent twice; 0 disables it.
    pub(crate) duplicate_every: u64,
    /// Events are shuffled within runs of this length; 0 and 1 disable it.
    pub(crate) shuffle_within: usize,
}

/// The status of a relay, as `EventRelayFeedback` reports it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Feedback {
    pub(crate) relayed: u64,
    /// Number of events too large for EventBridge, which are lost.
    pub(crate) too_large: u64,
    pub(crate) last_relayed_ms: Option<i64>,
    pub(crate) error: Option<String>,
    pub(crate) error_ms: Option<i64>,
}

/// Envelopes to send, and the relay's position after they have arrived.
#[derive(Clone, Debug)]
pub(crate) struct Shipment {
    relay: RecordId,
    stops: u32,
    target: Target,
    region: String,
    envelopes: Vec<String>,
    events: usize,
    too_large: u64,
    end: Cursor,
}

impl Org {
    /// Declares a relay and returns its id.
    pub(crate) fn add_relay(&mut self, entry: &RelayEntry) -> Result<RecordId, String> {
        let target = match (&entry.url, &entry.queue_url) {
            (Some(url), None) => Target::Url(url.clone()),
            (None, Some(queue)) => Target::Queue(queue.clone()),
            (Some(_), Some(_)) | (None, None) => {
                return Err("a relay has either a url or a queue_url".to_owned());
            }
        };
        let topic = self.relay_topic(&entry.channel)?;
        if self
            .bus
            .relays
            .iter()
            .any(|relay| relay.channel == entry.channel)
        {
            return Err("the channel has a relay".to_owned());
        }
        if self.bus.relays.iter().any(|relay| relay.name == entry.name) {
            return Err("the name is taken".to_owned());
        }
        let place = self
            .model
            .channels
            .iter()
            .position(|known| known.name == entry.channel);
        // The standard channel has an index only once something is declared for it.
        let channel_id = channel_id(place.unwrap_or(CHANNELS_MAX));
        let id = self.bus.next_id(*b"7k2");
        self.bus.relays.push(Relay {
            id,
            name: entry.name.clone(),
            channel_id,
            channel: entry.channel.clone(),
            topic,
            target,
            state: RelayState::Stop,
            recovery: entry.replay_recovery,
            account: entry.account.clone().unwrap_or_else(|| ACCOUNT.to_owned()),
            region: entry.region.clone().unwrap_or_else(|| REGION.to_owned()),
            cursor: None,
            stops: 0,
            disorder: Disorder::default(),
            feedback: Feedback::default(),
        });
        self.set_relay_state(&entry.name, entry.state)?;
        Ok(id)
    }

    fn relay_topic(&self, channel: &str) -> Result<Topic, String> {
        if channel == STANDARD {
            return Ok(Topic::Everything);
        }
        let found = ["/data/", "/event/"]
            .iter()
            .find_map(|root| self.model.topic(&format!("{root}{channel}")).ok());
        found.ok_or_else(|| format!("there is no channel {channel}"))
    }

    /// Starts, pauses or stops a relay. A stopped one loses its position and restarts at the newest
    /// event.
    pub(crate) fn set_relay_state(&mut self, name: &str, state: RelayState) -> Result<(), String> {
        let known = self.bus.relays.iter().find(|relay| relay.name == name);
        let known = known.ok_or_else(|| format!("there is no relay {name}"))?;
        let cursor = match state {
            RelayState::Stop => None,
            // A position that is lost is replaced now, not when the relay reaches it.
            RelayState::Pause | RelayState::Run => Some(self.relay_cursor(known)),
        };
        let relay = self
            .relay_mut(name)
            .ok_or_else(|| format!("there is no relay {name}"))?;
        relay.stops += u32::from(state == RelayState::Stop);
        relay.cursor = cursor;
        relay.state = state;
        relay.feedback.error = None;
        self.bus.relay_bell.notify_one();
        Ok(())
    }

    /// Returns a relay by name.
    pub(crate) fn relay_mut(&mut self, name: &str) -> Option<&mut Relay> {
        self.bus.relays.iter_mut().find(|relay| relay.name == name)
    }

    /// Returns the envelopes that the running relays have to send.
    pub(crate) fn due_shipments(&mut self) -> Vec<Shipment> {
        let running = |relay: &&Relay| relay.state == RelayState::Run;
        let due: Vec<Relay> = self.bus.relays.iter().filter(running).cloned().collect();
        due.iter()
            .filter_map(|relay| self.shipment(relay))
            .collect()
    }

    fn shipment(&mut self, relay: &Relay) -> Option<Shipment> {
        let from = self.relay_cursor(relay);
        let now_ms = self.now_ms();
        let left = usize::try_from(self.bus.deliveries.left(now_ms)).unwrap_or(usize::MAX);
        let reading = Reading {
            topic: relay.topic,
            permissions: &Permissions::default(),
            events_max: SHIPMENT_EVENTS_MAX.min(left),
        };
        let (events, end) = self.model.read(&reading, from);
        if let Some(known) = self.relay_mut(&relay.name) {
            // If nothing is sent, the position still moves past events that are not for the relay.
            known.cursor = Some(if events.is_empty() { end } else { from });
        }
        if events.is_empty() {
            return None;
        }
        let mut shipment = Shipment {
            relay: relay.id,
            stops: relay.stops,
            target: relay.target.clone(),
            region: relay.region.clone(),
            envelopes: Vec::with_capacity(events.len()),
            events: events.len(),
            too_large: 0,
            end,
        };
        let mut number = relay.feedback.relayed;
        for event in &events {
            let envelope = self.envelope(relay, event);
            if envelope.len() > ENTRY_BYTES_MAX {
                shipment.too_large += 1;
                continue;
            }
            number += 1;
            let twice = relay.disorder.duplicate_every > 0
                && number.is_multiple_of(relay.disorder.duplicate_every);
            if twice {
                shipment.envelopes.push(envelope.clone());
            }
            shipment.envelopes.push(envelope);
        }
        self.shuffle(&mut shipment.envelopes, relay.disorder.shuffle_within);
        Some(shipment)
    }

    /// Returns the position of a relay. If it is no longer stored, its recovery setting decides.
    fn relay_cursor(&self, relay: &Relay) -> Cursor {
        let log = &self.model.log;
        let newest = Cursor::after(log.head());
        let Some(cursor) = relay.cursor else {
            return newest;
        };
        if log
            .resolve(&Position::After(replay_bytes(cursor.after)))
            .is_ok()
        {
            return cursor;
        }
        let recovered = log.resolve(&relay.recovery.position());
        recovered.map_or(newest, Cursor::after)
    }

    fn shuffle(&mut self, envelopes: &mut [String], within: usize) {
        for run in envelopes.chunks_mut(within.max(1)) {
            for last in (1..run.len()).rev() {
                let bound = u64::try_from(last + 1).unwrap_or(u64::MAX);
                let other = usize::try_from(self.model.random.next() % bound).unwrap_or(0);
                run.swap(last, other);
            }
        }
    }

    /// Records the result of a shipment. Only a shipment that arrived moves the relay's position.
    pub(crate) fn finish_shipment(&mut self, shipment: &Shipment, outcome: Result<(), String>) {
        let now_ms = self.now_ms();
        let known = self
            .bus
            .relays
            .iter_mut()
            .find(|relay| relay.id == shipment.relay);
        let Some(relay) = known else { return };
        match outcome {
            Ok(()) => {
                if relay.stops == shipment.stops {
                    relay.cursor = Some(shipment.end);
                }
                let sent = u64::try_from(shipment.events).unwrap_or(u64::MAX) - shipment.too_large;
                relay.feedback.relayed += sent;
                relay.feedback.too_large += shipment.too_large;
                relay.feedback.last_relayed_ms = Some(now_ms);
                relay.feedback.error = None;
                self.bus.deliveries.count(now_ms, shipment.events);
            }
            Err(text) => {
                relay.feedback.error = Some(text);
                relay.feedback.error_ms = Some(now_ms);
            }
        }
    }
}

impl Relay {
    /// Returns the name of the partner event source.
    pub(crate) fn remote_resource(&self, org_id: &str) -> String {
        format!("aws.partner/salesforce.com/{org_id}/{}", self.channel_id)
    }

    /// Returns the name of the relay's status.
    pub(crate) fn status(&self) -> &'static str {
        match (self.state, &self.feedback.error) {
            (RelayState::Run, Some(_)) => "ERROR",
            (RelayState::Run, None) => "RUNNING",
            (RelayState::Pause, _) => "PAUSED",
            (RelayState::Stop, _) => "STOPPED",
        }
    }
}
