//! Faults of change events: which published events a subscriber receives.

use super::Faults;
use super::matching::EventSummary;
use super::rule::{Action, Target};
use crate::Org;
use crate::model::log::{ChangeEvent, Source};

/// The result of applying faults to a delivery.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// These events, in this order.
    Events(Vec<ChangeEvent>),
    /// The stream is reset and no event is delivered.
    Reset,
}

impl Org {
    /// Applies the declared faults to the events due on a topic, and counts those that fire.
    ///
    /// Positions do not change: a dropped event is lost to this subscription unless it is read
    /// again.
    pub(crate) fn with_event_faults(&mut self, topic: &str, events: Vec<ChangeEvent>) -> Delivered {
        let rules: Vec<usize> = self.faults.waiting(Target::Delivery).collect();
        if events.is_empty() || rules.is_empty() {
            return Delivered::Events(events);
        }
        let mut events = events;
        for rule in rules {
            let meant = |event: &ChangeEvent| self.is_meant(rule, topic, event);
            let meant: Vec<bool> = events.iter().map(meant).collect();
            if !meant.contains(&true) {
                continue;
            }
            let now_ms = self.now_ms();
            match self.faults.deliver(rule, events, &meant, now_ms) {
                Delivered::Events(rest) => events = rest,
                Delivered::Reset => return Delivered::Reset,
            }
        }
        Delivered::Events(events)
    }

    fn is_meant(&self, rule: usize, topic: &str, event: &ChangeEvent) -> bool {
        let matching = &self.faults.rules[rule].rule.matching;
        match self.model.log.schema(&event.schema_id) {
            Some((Source::Object(no), ..)) => {
                let decoded = self.decode(event);
                matching.fits_event(&EventSummary {
                    topic,
                    object: &self.model.object(no).name,
                    operation: &decoded.change_type,
                    ids: &decoded.record_ids,
                })
            }
            Some((Source::Platform(no), ..)) => matching.fits_event(&EventSummary {
                topic,
                object: &self.model.platform_events[no.0].name,
                operation: "publish",
                ids: &[],
            }),
            None => false,
        }
    }
}

impl Faults {
    /// Returns whether a valid stored position is refused, and counts the fault.
    pub(crate) fn fire_subscription(&mut self, topic: &str, now_ms: i64) -> bool {
        for rule in self.waiting(Target::Subscription).collect::<Vec<_>>() {
            let active = &mut self.rules[rule];
            if active.rule.matching.fits_topic(topic) && active.fires() {
                self.note(rule, now_ms, topic.to_owned());
                return true;
            }
        }
        false
    }

    fn deliver(
        &mut self,
        rule: usize,
        events: Vec<ChangeEvent>,
        meant: &[bool],
        now_ms: i64,
    ) -> Delivered {
        let action = self.rules[rule].rule.action;
        if action == Action::MissingEvents {
            let kept = events.into_iter().zip(meant);
            let kept = kept.filter(|(event, meant)| !(**meant && self.loses(rule, event, now_ms)));
            return Delivered::Events(kept.map(|(event, _)| event).collect());
        }
        let places = meant.iter().enumerate().filter(|(_, meant)| **meant);
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        // A single event cannot be reordered.
        let too_few = action == Action::ReorderEvents && places.len() < 2;
        if too_few || !self.rules[rule].fires() {
            return Delivered::Events(events);
        }
        self.note(rule, now_ms, format!("{} events", places.len()));
        match action {
            Action::StreamReset => Delivered::Reset,
            Action::DuplicateEvents => {
                let copies =
                    |(event, meant): (ChangeEvent, &bool)| vec![event; if *meant { 2 } else { 1 }];
                Delivered::Events(events.into_iter().zip(meant).flat_map(copies).collect())
            }
            Action::ReorderEvents => {
                let mut events = events;
                for last in (1..places.len()).rev() {
                    let other = self.rules[rule].random.next() % (last as u64 + 1);
                    let other = usize::try_from(other).unwrap_or(last);
                    events.swap(places[last], places[other]);
                }
                Delivered::Events(events)
            }
            _ => Delivered::Events(events),
        }
    }

    fn loses(&mut self, rule: usize, event: &ChangeEvent, now_ms: i64) -> bool {
        let lost = self.rules[rule].fires();
        if lost {
            self.note(rule, now_ms, format!("event {}", event.id));
        }
        lost
    }
}
