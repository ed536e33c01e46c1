//! What one sighting in Salesforce means for a record: its image, its open writes, its task.
//!
//! A sighting is ordered by its version, never by when it arrived; our own writes are recognised by
//! value, never by origin alone. What cannot be ordered is read again, never guessed.

mod settle;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{Bounce, Image, ImageField, Presence, SyncLink};
use crate::model::observation::{ObservationKind, SalesforceObservation, Version, VersionOrder};
use crate::model::value::{Payload, Value};

pub use settle::{Settled, settle_applied};

/// What a sighting did.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The image afterwards.
    pub image: Image,
    /// The record's Salesforce id afterwards.
    pub salesforce_id: Option<SalesforceId>,
    /// Base values that the sighting confirms: a write of unknown outcome did take effect.
    pub base_advance: Payload,
    /// Bounces afterwards.
    pub bounces: BTreeMap<FieldName, Bounce>,
    /// Fields of intents that the sighting echoed.
    pub echoed: Vec<(IntentId, FieldName)>,
    /// Intents whose state the sighting settles.
    pub intents: Vec<(IntentId, IntentState)>,
    /// Values that a write of ours replaced before anybody saw them: logged, never applied.
    pub overwritten: Vec<(FieldName, Value)>,
    /// What became of the sighting.
    pub fate: Fate,
    /// The record has new work: its task gets a new generation.
    pub dirty: bool,
    /// The record must be read again under its lease before it is planned.
    pub look: bool,
}

/// What became of a sighting. The first four are terminal states of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// The image took something from it.
    Folded,
    /// It showed nothing but our own write.
    Echo,
    /// It was older than the image.
    Superseded,
    /// It showed what the image already held.
    Unchanged,
    /// It cannot be ordered: the record is to be read again.
    Reread,
}

/// Folds one sighting into what is known of the record.
///
/// `intents` are those of the record that are neither retired nor refused, oldest first. `parents`
/// gives the external ids of the records that references point to, as far as they are linked.
pub fn fold_observation(
    link: &SyncLink,
    intents: &[Intent],
    seen: &SalesforceObservation,
    parents: &BTreeMap<SalesforceId, String>,
) -> Folded {
    let mut fold = Fold {
        link,
        intents,
        seen,
        parents,
        folded: Folded {
            image: link.image.clone(),
            salesforce_id: link.salesforce_id.clone(),
            base_advance: Payload::new(),
            bounces: link.bounces.clone(),
            echoed: Vec::new(),
            intents: Vec::new(),
            overwritten: Vec::new(),
            fate: Fate::Unchanged,
            dirty: false,
            look: false,
        },
        took: false,
        older: false,
    };
    match seen.kind {
        ObservationKind::Gap => fold.reread(),
        ObservationKind::Unmatched => fold.unmatched(),
        ObservationKind::Outside => fold.outside(),
        ObservationKind::Deleted => fold.deleted(),
        ObservationKind::Missing => fold.missing(),
        ObservationKind::Changed
        | ObservationKind::Created
        | ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Look => {
            if fold.present() {
                fold.fields();
                fold.settle_intents();
            }
        }
    }
    fold.finish()
}

/// Returns whether a value as Salesforce shows it is the one that was sent.
fn shows(stored: &Value, sent: &Value, parents: &BTreeMap<SalesforceId, String>) -> bool {
    stored == sent
        || match (stored, sent) {
            (Value::Text(id), Value::Text(external_id)) => SalesforceId::parse(id)
                .ok()
                .and_then(|id| parents.get(&id))
                .is_some_and(|parent| parent == external_id),
            (_, Value::Null | Value::Boolean(_) | Value::Number(_))
            | (Value::Null | Value::Boolean(_) | Value::Number(_), Value::Text(_)) => false,
        }
}

struct Fold<'a> {
    link: &'a SyncLink,
    intents: &'a [Intent],
    seen: &'a SalesforceObservation,
    parents: &'a BTreeMap<SalesforceId, String>,
    folded: Folded,
    /// The image took something that was not our own write.
    took: bool,
    /// Something was older than the image.
    older: bool,
}

impl<'a> Fold<'a> {
    fn finish(mut self) -> Folded {
        self.folded.dirty |= self.took || self.folded.look;
        self.folded.fate = if self.took {
            Fate::Folded
        } else if self.folded.look {
            Fate::Reread
        } else if self.older || !self.folded.overwritten.is_empty() {
            Fate::Superseded
        } else if !self.folded.echoed.is_empty() || !self.folded.intents.is_empty() {
            Fate::Echo
        } else {
            Fate::Unchanged
        };
        self.folded
    }

    fn reread(&mut self) {
        self.folded.look = true;
    }

    fn is_current(&self) -> bool {
        self.link.salesforce_id.as_ref() == Some(&self.seen.salesforce_id)
    }

    // The record as a whole.

    /// Capture saw it outside the filter: whether it has left is for a look to say, once.
    fn unmatched(&mut self) {
        let known = self.link.image.presence == Presence::Outside && self.is_current();
        if !known {
            self.reread();
        }
    }

    /// It lies outside the filter: of what it holds nothing is kept, and nothing is awaited of it.
    /// Like every look, it is made once more where an event may have overtaken it.
    fn outside(&mut self) {
        let image = &self.link.image;
        let known = image.presence == Presence::Outside && self.is_current();
        let held = image.presence == Presence::Present && self.is_current();
        match self.seen.version.order(image.presence_version) {
            VersionOrder::Older if held => return self.reread(),
            VersionOrder::Incomparable if held => self.reread(),
            VersionOrder::Older
            | VersionOrder::Same
            | VersionOrder::Newer
            | VersionOrder::Incomparable => {}
        }
        self.took = !known;
        self.folded.salesforce_id = Some(self.seen.salesforce_id.clone());
        self.folded.image = Image {
            presence: Presence::Outside,
            presence_version: self.seen.version,
            fields: BTreeMap::new(),
        };
        self.settle_intents();
    }

    fn deleted(&mut self) {
        let image = &self.link.image;
        if image.presence == Presence::Outside && self.is_current() {
            // What becomes of a record outside is nothing to us.
            return;
        }
        let stale = self.seen.version.order(image.presence_version) == VersionOrder::Older;
        match (self.is_current(), stale, image.presence) {
            (true, false, _) => self.set_deleted(),
            (true, true, _) => self.older = true,
            // Our own delete, settled before its event came.
            (false, false, Presence::Deleted) if self.link.salesforce_id.is_none() => {
                self.take_presence_version();
            }
            // A look found only a deleted record: our create of unknown outcome made no live one.
            (false, _, Presence::Unseen) if self.link.salesforce_id.is_none() => {
                self.give_up_unknown();
            }
            (
                false,
                _,
                Presence::Unseen | Presence::Present | Presence::Deleted | Presence::Outside,
            ) => {
                self.older = image.presence != Presence::Deleted;
            }
        }
    }

    /// Neither the id nor the external id is there: the writes of unknown outcome had no effect.
    fn missing(&mut self) {
        if self.link.image.presence == Presence::Outside {
            self.give_up_unknown();
        } else if self.is_current() {
            self.set_deleted();
        } else if self.link.salesforce_id.is_none() {
            self.give_up_unknown();
        }
    }

    fn set_deleted(&mut self) {
        let ours = self
            .intents
            .iter()
            .any(|intent| intent.action == WriteAction::Delete && is_pending(intent));
        self.took = self.link.image.presence != Presence::Deleted && !ours;
        self.folded.image.presence = Presence::Deleted;
        self.take_presence_version();
        for intent in self.intents {
            let state = match (intent.state, intent.action) {
                (IntentState::Applied, _) | (IntentState::Unknown, WriteAction::Delete) => {
                    IntentState::Retired
                }
                (IntentState::Unknown, WriteAction::Create | WriteAction::Update) => {
                    IntentState::Superseded
                }
                (
                    IntentState::Open
                    | IntentState::Retired
                    | IntentState::Refused
                    | IntentState::Superseded,
                    _,
                ) => continue,
            };
            self.folded.intents.push((intent.intent_id, state));
        }
    }

    fn give_up_unknown(&mut self) {
        for intent in self.intents {
            if intent.state == IntentState::Unknown {
                let given_up = (intent.intent_id, IntentState::Superseded);
                self.folded.intents.push(given_up);
                self.folded.dirty = true;
            }
        }
    }

    fn take_presence_version(&mut self) {
        let known = self.link.image.presence_version;
        let stale = self.seen.version.order(known) == VersionOrder::Older;
        if !stale && self.seen.version != Version::default() {
            self.folded.image.presence_version = self.seen.version;
        }
    }

    /// Takes what the sighting says of the record as a whole; returns whether its fields count.
    fn present(&mut self) -> bool {
        let named = self.link.salesforce_id.is_some();
        match self.link.image.presence {
            // Another live record claims the same external id.
            Presence::Present | Presence::Unseen | Presence::Outside
                if named && !self.is_current() =>
            {
                if self.seen.kind != ObservationKind::Look {
                    self.reread();
                    return false;
                }
            }
            Presence::Deleted | Presence::Outside if self.is_current() || !named => {
                if !self.comes_back() {
                    return false;
                }
            }
            Presence::Present | Presence::Unseen | Presence::Deleted | Presence::Outside => {}
        }
        let deleted = self.link.image.presence == Presence::Deleted;
        if !self.is_current() && (named || deleted) {
            // A new record under the old external id: nothing of the old image holds for it.
            self.folded.image = Image::default();
        }
        self.folded.salesforce_id = Some(self.seen.salesforce_id.clone());
        if self.folded.image.presence != Presence::Present {
            let created_by_us = self
                .intents
                .iter()
                .any(|intent| intent.action == WriteAction::Create && is_pending(intent));
            self.took = !created_by_us;
            // An event that carries only changed fields leaves the rest of the image unknown.
            self.folded.look = self.seen.kind == ObservationKind::Changed;
        }
        self.folded.image.presence = Presence::Present;
        self.take_presence_version();
        true
    }

    /// Decides whether a record that was deleted, or outside the filter, is back. A sighting from
    /// before must not bring it back: where only a read can tell, it is read again.
    fn comes_back(&mut self) -> bool {
        let order = self.seen.version.order(self.link.image.presence_version);
        match (self.seen.kind, order) {
            (_, VersionOrder::Older) => {
                self.older = true;
                false
            }
            (ObservationKind::Look, _)
            | (
                ObservationKind::Created | ObservationKind::Undeleted,
                VersionOrder::Newer | VersionOrder::Same,
            ) => true,
            (
                ObservationKind::Changed | ObservationKind::Snapshot,
                VersionOrder::Newer | VersionOrder::Same,
            ) if self.is_current() => true,
            (
                ObservationKind::Changed
                | ObservationKind::Created
                | ObservationKind::Undeleted
                | ObservationKind::Snapshot
                | ObservationKind::Deleted
                | ObservationKind::Missing
                | ObservationKind::Gap
                | ObservationKind::Unmatched
                | ObservationKind::Outside,
                VersionOrder::Newer | VersionOrder::Same | VersionOrder::Incomparable,
            ) => {
                self.reread();
                false
            }
        }
    }

    // Its fields.

    fn fields(&mut self) {
        for (field, value) in &self.seen.fields {
            let held = self.folded.image.fields.get(field).cloned();
            let order = held.as_ref().map_or(VersionOrder::Newer, |held| {
                self.seen.version.order(held.version)
            });
            match order {
                // The same event again.
                VersionOrder::Same => {}
                VersionOrder::Older => self.older = true,
                VersionOrder::Newer | VersionOrder::Incomparable => {
                    self.field(field, value, held.as_ref(), order);
                }
            }
        }
    }

    fn field(
        &mut self,
        field: &FieldName,
        value: &Value,
        held: Option<&ImageField>,
        order: VersionOrder,
    ) {
        if self.seen.kind == ObservationKind::Look {
            return self.looked(field, value, held, order);
        }
        if let Some(replaced) = self.echo(field, value) {
            if !replaced {
                self.log_raced(field, value, held);
                self.put(field, value, held, order);
            }
            return;
        }
        let pending = self.pending(field);
        let applied = pending
            .iter()
            .any(|intent| intent.state == IntentState::Applied);
        match (pending.first(), self.seen.ours, applied) {
            (None, _, _) => self.foreign(field, value, held, order),
            (Some(_), _, true) if self.seen.kind == ObservationKind::Snapshot => self.reread(),
            (Some(intent), true, _) => {
                self.bounce(intent, field, value);
                self.folded.echoed.push((intent.intent_id, field.clone()));
                self.put(field, value, held, order);
                self.took = true;
            }
            (Some(_), false, true) => self.folded.overwritten.push((field.clone(), value.clone())),
            (Some(_), false, false) => {
                self.foreign(field, value, held, order);
                if let Some(taken) = self.folded.image.fields.get_mut(field) {
                    taken.raced |= taken.value == *value;
                }
            }
        }
    }

    /// A value that no write of ours under way explains.
    fn foreign(
        &mut self,
        field: &FieldName,
        value: &Value,
        held: Option<&ImageField>,
        order: VersionOrder,
    ) {
        let differs = held.is_none_or(|held| held.value != *value);
        if differs && order == VersionOrder::Incomparable {
            return self.reread();
        }
        self.put(field, value, held, order);
        let late = self.is_late_effect(field, value);
        if let Some(taken) = self.folded.image.fields.get_mut(field) {
            taken.late_effect = late || (taken.late_effect && !differs);
        }
        // What is seen for the first time is news unless it is nothing, or what both agreed on.
        let news = match held {
            Some(_) => differs,
            None => *value != Value::Null && !self.is_base(field, value),
        };
        self.took |= news || late;
    }

    /// A read under the lease is authoritative. Where it cannot be told whether an event overtook
    /// it, the record is read once more: a second read shows the same.
    fn looked(
        &mut self,
        field: &FieldName,
        value: &Value,
        held: Option<&ImageField>,
        order: VersionOrder,
    ) {
        let differs = held.is_none_or(|held| held.value != *value);
        let bounced = self
            .pending(field)
            .into_iter()
            .find(|intent| intent.state == IntentState::Applied)
            .filter(|intent| self.seen.ours && !shows(value, &intent.fields[field], self.parents));
        if let Some(intent) = bounced {
            self.bounce(intent, field, value);
        }
        let late = self.is_given_up(field, value) && !self.is_base(field, value);
        let known_late = held.is_some_and(|held| held.late_effect);
        if differs && held.is_some() && order == VersionOrder::Incomparable {
            self.folded.look = true;
        }
        self.put(field, value, None, order);
        if let Some(taken) = self.folded.image.fields.get_mut(field) {
            taken.late_effect = late && (known_late || self.seen.ours);
        }
        self.took |= differs;
    }

    /// Puts a value into the image. Equal values of one second keep the version that tells more.
    fn put(
        &mut self,
        field: &FieldName,
        value: &Value,
        held: Option<&ImageField>,
        order: VersionOrder,
    ) {
        let known = held.filter(|held| {
            order == VersionOrder::Incomparable
                && held.value == *value
                && held.version != Version::default()
                && self.seen.version.commit_number.is_none()
        });
        let taken = ImageField {
            value: value.clone(),
            version: known.map_or(self.seen.version, |held| held.version),
            late_effect: held.is_some_and(|held| held.late_effect && held.value == *value),
            raced: held.is_some_and(|held| held.raced && held.value == *value),
        };
        self.folded.image.fields.insert(field.clone(), taken);
    }

    // Our own writes.

    /// Writes to the field whose echo has not been seen, oldest first.
    fn pending(&self, field: &FieldName) -> Vec<&'a Intent> {
        self.intents
            .iter()
            .filter(|intent| {
                is_pending(intent)
                    && intent.fields.contains_key(field)
                    && !intent.echoed.contains(field)
                    && !self
                        .folded
                        .echoed
                        .contains(&(intent.intent_id, field.clone()))
            })
            .collect()
    }

    /// Marks the write that the value echoes, and older ones. Returns none if there is none, else
    /// whether a later confirmed write has replaced the value already.
    fn echo(&mut self, field: &FieldName, value: &Value) -> Option<bool> {
        let pending = self.pending(field);
        let place = pending
            .iter()
            .position(|intent| shows(value, &intent.fields[field], self.parents))?;
        let echoed: Vec<(IntentId, FieldName)> = pending[..=place]
            .iter()
            .map(|intent| (intent.intent_id, field.clone()))
            .collect();
        let replaced = pending[place + 1..]
            .iter()
            .any(|intent| intent.state == IntentState::Applied);
        self.folded.echoed.extend(echoed);
        Some(replaced)
    }

    /// An edit that came while our write was open turns out to have been replaced by it.
    fn log_raced(&mut self, field: &FieldName, value: &Value, held: Option<&ImageField>) {
        if let Some(held) = held.filter(|held| held.raced && held.value != *value) {
            self.folded
                .overwritten
                .push((field.clone(), held.value.clone()));
        }
    }

    /// Salesforce stored another value than the one we sent.
    fn bounce(&mut self, intent: &Intent, field: &FieldName, stored: &Value) {
        let count = self
            .folded
            .bounces
            .get(field)
            .map_or(0, |bounce| bounce.count);
        let bounce = Bounce {
            count: count.saturating_add(1),
            sent: intent.fields[field].clone(),
            stored: stored.clone(),
        };
        self.folded.bounces.insert(field.clone(), bounce);
    }

    /// A write that was given up has landed after all.
    fn is_late_effect(&self, field: &FieldName, value: &Value) -> bool {
        self.seen.ours && self.is_given_up(field, value) && !self.is_base(field, value)
    }

    fn is_given_up(&self, field: &FieldName, value: &Value) -> bool {
        self.intents.iter().any(|intent| {
            intent.state == IntentState::Superseded
                && intent
                    .fields
                    .get(field)
                    .is_some_and(|sent| shows(value, sent, self.parents))
        })
    }

    fn is_base(&self, field: &FieldName, value: &Value) -> bool {
        self.link
            .base
            .get(field)
            .is_some_and(|base| shows(value, base, self.parents))
    }

    /// Retires writes that nothing more is awaited of; a look also tells what became of unknown
    /// ones.
    fn settle_intents(&mut self) {
        let look = match self.seen.kind {
            ObservationKind::Look | ObservationKind::Outside => true,
            ObservationKind::Changed
            | ObservationKind::Created
            | ObservationKind::Undeleted
            | ObservationKind::Snapshot
            | ObservationKind::Deleted
            | ObservationKind::Missing
            | ObservationKind::Gap
            | ObservationKind::Unmatched => false,
        };
        for intent in self.intents {
            match (intent.state, look) {
                (IntentState::Applied, true) => self.settle(intent, IntentState::Retired),
                (IntentState::Applied, false) if self.is_fully_echoed(intent) => {
                    self.settle(intent, IntentState::Retired);
                }
                (IntentState::Unknown, true) if self.took_effect(intent) => {
                    self.folded.base_advance.extend(intent.fields.clone());
                    self.settle(intent, IntentState::Retired);
                }
                (IntentState::Unknown, true) => self.settle(intent, IntentState::Superseded),
                (
                    IntentState::Applied
                    | IntentState::Unknown
                    | IntentState::Open
                    | IntentState::Retired
                    | IntentState::Refused
                    | IntentState::Superseded,
                    _,
                ) => {}
            }
        }
    }

    fn settle(&mut self, intent: &Intent, state: IntentState) {
        self.folded.intents.push((intent.intent_id, state));
        // The base or what is known of the record has moved: it is planned again.
        self.folded.dirty |= intent.state == IntentState::Unknown;
    }

    fn is_fully_echoed(&self, intent: &Intent) -> bool {
        let now: BTreeSet<&FieldName> = self
            .folded
            .echoed
            .iter()
            .filter(|(id, _)| *id == intent.intent_id)
            .map(|(_, field)| field)
            .collect();
        intent.action != WriteAction::Delete
            && intent
                .fields
                .keys()
                .all(|field| intent.echoed.contains(field) || now.contains(field))
    }

    /// The record as read shows everything that the write sent.
    fn took_effect(&self, intent: &Intent) -> bool {
        intent.action != WriteAction::Delete
            && intent.fields.iter().all(|(field, sent)| {
                self.seen
                    .fields
                    .get(field)
                    .is_some_and(|stored| shows(stored, sent, self.parents))
            })
    }
}

/// The write may still show: its echo is awaited.
fn is_pending(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Open | IntentState::Unknown | IntentState::Applied => true,
        IntentState::Retired | IntentState::Refused | IntentState::Superseded => false,
    }
}
