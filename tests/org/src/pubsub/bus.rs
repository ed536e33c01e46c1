//! State of the event bus besides the events: permissions, subscriptions, delivery counts, and
//! planned refusals.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::managed::ManagedSubscription;
use super::refusal::Refusal;
use crate::Org;
use crate::model::delivery::Topic;
use crate::model::event_file::ManagedEntry;
use crate::model::id::RecordId;
use crate::model::log::{Source, StreamError};
use crate::model::org_file::OrgFileError;
use crate::model::permission::Action;
use crate::relay::Relay;

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: i64 = 24 * 60;

/// The event bus.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bus {
    pub(crate) managed: Vec<ManagedSubscription>,
    pub(crate) relays: Vec<Relay>,
    pub(crate) deliveries: Deliveries,
    /// Maximum number of open subscriptions; `None` means no limit.
    pub(crate) subscriptions_max: Option<usize>,
    /// One clone for each open subscription.
    #[serde(skip)]
    open: Arc<()>,
    planned: Vec<PlannedRefusal>,
    /// How many planned refusals were sent.
    pub(crate) refusals_made: u64,
    /// Signals that a relay may have work without a new event.
    #[serde(skip)]
    pub(crate) relay_bell: Arc<Notify>,
    /// How many ids the bus has generated.
    pub(crate) numbered: u32,
}

/// A refusal planned for a later call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PlannedRefusal {
    /// Name of the rpc, such as `Subscribe`; `None` for any.
    pub(crate) rpc: Option<String>,
    pub(crate) refusal: Refusal,
    pub(crate) count: u32,
    /// Whether it ends a running stream at its next delivery instead of refusing a new call.
    pub(crate) mid_stream: bool,
}

/// Number of events delivered to subscribers and relays in the last 24 hours.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Deliveries {
    /// The daily limit; `None` means no limit.
    pub(crate) max: Option<u64>,
    minutes: VecDeque<(i64, u64)>,
}

impl Deliveries {
    /// Returns how many more events may be delivered now.
    pub(crate) fn left(&mut self, now_ms: i64) -> u64 {
        let used = self.used(now_ms);
        self.max.map_or(u64::MAX, |max| max.saturating_sub(used))
    }

    /// Counts deliveries.
    pub(crate) fn count(&mut self, now_ms: i64, events: usize) {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        match self.minutes.back_mut() {
            Some((known, count)) if *known == minute => *count += events,
            _ => self.minutes.push_back((minute, events)),
        }
    }

    /// Returns the deliveries of the last 24 hours.
    pub(crate) fn used(&mut self, now_ms: i64) -> u64 {
        let gone = now_ms.div_euclid(MINUTE_MS) - DAY_MINUTES;
        while self
            .minutes
            .front()
            .is_some_and(|(minute, _)| *minute <= gone)
        {
            self.minutes.pop_front();
        }
        self.minutes.iter().map(|(_, count)| count).sum()
    }
}

impl Bus {
    /// Returns this bus in place of another, keeping the other's open subscriptions and relay
    /// sender.
    pub(crate) fn following(self, other: &Self) -> Self {
        Self {
            open: Arc::clone(&other.open),
            relay_bell: Arc::clone(&other.relay_bell),
            ..self
        }
    }

    /// Registers an open subscription, or returns `None` if the limit is reached.
    pub(crate) fn admit(&self) -> Option<Arc<()>> {
        let open = Arc::strong_count(&self.open) - 1;
        let full = self.subscriptions_max.is_some_and(|max| open >= max);
        (!full).then(|| Arc::clone(&self.open))
    }

    /// Plans a refusal.
    pub(crate) fn plan(&mut self, planned: PlannedRefusal) {
        self.planned.push(planned);
    }

    /// Drops the refusals that are planned.
    pub(crate) fn stop_refusing(&mut self) {
        self.planned.clear();
    }

    /// Returns and removes the refusal planned for this rpc.
    pub(crate) fn take_refusal(&mut self, rpc: &str, mid_stream: bool) -> Option<Refusal> {
        let fits = |planned: &&mut PlannedRefusal| {
            let named = planned.rpc.as_ref().is_none_or(|name| name == rpc);
            planned.count > 0 && planned.mid_stream == mid_stream && named
        };
        let planned = self.planned.iter_mut().find(fits)?;
        planned.count -= 1;
        self.refusals_made += 1;
        Some(planned.refusal)
    }

    /// Returns a new id with that key prefix.
    pub(crate) fn next_id(&mut self, prefix: [u8; 3]) -> RecordId {
        self.numbered += 1;
        RecordId::numbered(prefix, self.numbered)
    }
}

impl Org {
    /// Sets up the event declarations of the org file.
    pub(crate) fn declare_bus(&mut self) -> Result<(), OrgFileError> {
        let file = self.file.clone();
        self.model.declare_events(&file)?;
        self.bus.deliveries.max = file.org.daily_event_deliveries;
        self.bus.subscriptions_max = file.org.subscriptions_max;
        let wrong = |name: &str, text: String| OrgFileError::Content(format!("{name}: {text}"));
        for entry in &file.managed_subscriptions {
            self.add_managed(entry)
                .map_err(|text| wrong(&entry.developer_name, text))?;
        }
        for entry in &file.event_relays {
            self.add_relay(entry)
                .map_err(|text| wrong(&entry.name, text))?;
        }
        Ok(())
    }

    /// Declares a managed subscription and returns its id.
    pub(crate) fn add_managed(&mut self, entry: &ManagedEntry) -> Result<RecordId, String> {
        self.model
            .topic(&entry.topic)
            .map_err(|error| error.to_string())?;
        if self
            .bus
            .managed
            .iter()
            .any(|known| known.developer_name == entry.developer_name)
        {
            return Err("the developer name is taken".to_owned());
        }
        let id = self.bus.next_id(*b"18x");
        self.bus.managed.push(ManagedSubscription::new(id, entry));
        Ok(id)
    }

    /// Returns the topic with that name, if this user may subscribe to it.
    pub(crate) fn topic_for(&self, user: RecordId, name: &str) -> Result<Topic, StreamError> {
        let topic = self.model.topic(name)?;
        match topic {
            Topic::One(object)
                if !self
                    .model
                    .permissions_of(user)
                    .allows(object, Action::ViewAll) =>
            {
                Err(StreamError::NotAllowed)
            }
            Topic::One(_) | Topic::Everything | Topic::Platform(_) | Topic::Channel(_) => Ok(topic),
        }
    }

    /// Returns the API name of an event source.
    pub(crate) fn event_name(&self, source: Source) -> String {
        match source {
            Source::Object(no) => self.model.object(no).event_name(),
            Source::Platform(no) => self.model.platform_events[no.0].name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bus, Deliveries, MINUTE_MS};

    #[test]
    fn deliveries_count_for_one_day() {
        let mut deliveries = Deliveries {
            max: Some(10),
            ..Deliveries::default()
        };
        deliveries.count(0, 7);
        deliveries.count(60 * MINUTE_MS, 2);
        assert_eq!(deliveries.left(61 * MINUTE_MS), 1);
        deliveries.count(61 * MINUTE_MS, 5);
        assert_eq!(deliveries.left(61 * MINUTE_MS), 0);
        assert_eq!(
            deliveries.left(24 * 60 * MINUTE_MS),
            3,
            "the first seven are a day old"
        );
    }

    #[test]
    fn closed_subscriptions_free_their_place() {
        let bus = Bus {
            subscriptions_max: Some(1),
            ..Bus::default()
        };
        let place = bus.admit();
        assert!(place.is_some() && bus.admit().is_none());
        drop(place);
        assert!(bus.admit().is_some());
    }
}
