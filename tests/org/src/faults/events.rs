//! Weather on change events: what a subscriber gets of what was published.

use super::Faults;
use super::rule::{Action, Scope};
use crate::Org;
use crate::model::log::{ChangeEvent, Source};

/// What is left of a delivery.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// These events, in this order.
    Events(Vec<ChangeEvent>),
    /// Nothing: the stream is reset.
    Reset,
}

impl Org {
    /// Returns what a subscriber gets of events that are due, and counts what strikes.
    ///
    /// Positions are not touched: a missing event is missed for good, unless it is read again.
    pub(crate) fn weathered(&mut self, events: Vec<ChangeEvent>) -> Delivered {
        let rules: Vec<usize> = self.faults.waiting(Scope::Delivery).collect();
        if events.is_empty() || rules.is_empty() {
            return Delivered::Events(events);
        }
        let mut events = events;
        for rule in rules {
            let meant = |event: &ChangeEvent| match &self.faults.rules[rule].rule.matching.object {
                None => true,
                Some(wanted) => self.is_about(event, wanted),
            };
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

    fn is_about(&self, event: &ChangeEvent, object: &str) -> bool {
        match self.model.log.schema(&event.schema_id) {
            Some((Source::Object(no), ..)) => {
                self.model.object(no).name.eq_ignore_ascii_case(object)
            }
            Some((Source::Platform(_), ..)) | None => false,
        }
    }
}

impl Faults {
    /// Tells whether a stored position is refused although it is good, and counts it.
    pub(crate) fn fire_subscription(&mut self, topic: &str, now_ms: i64) -> bool {
        for rule in self.waiting(Scope::Subscription).collect::<Vec<_>>() {
            if self.rules[rule].take_chance() {
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
        if !self.rules[rule].take_chance() {
            return Delivered::Events(events);
        }
        self.note(rule, now_ms, format!("{} events", events.len()));
        match action {
            Action::StreamReset => Delivered::Reset,
            Action::DuplicateEvents => {
                let copies =
                    |(event, meant): (ChangeEvent, &bool)| vec![event; if *meant { 2 } else { 1 }];
                Delivered::Events(events.into_iter().zip(meant).flat_map(copies).collect())
            }
            Action::ReorderEvents => {
                let mut events = events;
                for last in (1..events.len()).rev() {
                    let other = self.rules[rule].dice.next() % (last as u64 + 1);
                    events.swap(last, usize::try_from(other).unwrap_or(last));
                }
                Delivered::Events(events)
            }
            _ => Delivered::Events(events),
        }
    }

    fn loses(&mut self, rule: usize, event: &ChangeEvent, now_ms: i64) -> bool {
        let lost = self.rules[rule].take_chance();
        if lost {
            self.note(rule, now_ms, format!("event {}", event.id));
        }
        lost
    }
}
