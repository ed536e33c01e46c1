//! What one sighting in Salesforce means for a record: its remote state, its open writes, its task.
//!
//! A sighting is ordered by its version, never by when it arrived; our own writes are recognised by
//! value, never by origin alone. What cannot be ordered is read again, never guessed.

mod settle;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{AutomationOverride, Presence, RemoteField, RemoteState, SyncLink};
use crate::model::observation::{ObservationKind, SalesforceObservation, Version, VersionOrder};
use crate::model::value::{Payload, Value};

pub use settle::{Settled, settle_applied};

/// What a sighting did.
#[derive(Debug, Clone, PartialEq)]
pub struct Absorbed {
    /// The remote state afterwards.
    pub remote_state: RemoteState,
    /// The record's Salesforce id afterwards.
    pub salesforce_id: Option<SalesforceId>,
    /// Base values that the sighting confirms: a write of unknown outcome did take effect.
    pub base_advance: Payload,
    /// Bounces afterwards.
    pub automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    /// Fields of intents that the sighting echoed.
    pub echoed: Vec<(IntentId, FieldName)>,
    /// Intents whose state the sighting settles.
    pub intents: Vec<(IntentId, IntentState)>,
    /// Values that a write of ours replaced before anybody saw them: logged, never applied.
    pub overwritten: Vec<(FieldName, Value)>,
    /// What became of the sighting.
    pub status: AbsorbStatus,
    /// The record has new work: its task gets a new generation.
    pub dirty: bool,
    /// The record must be read again under its lease before it is planned.
    pub needs_refresh: bool,
}

/// What became of a sighting. The first four are terminal states of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbsorbStatus {
    /// The remote state took something from it.
    Absorbed,
    /// It showed nothing but our own write.
    Echo,
    /// It was older than the remote state.
    Superseded,
    /// It showed what the remote state already held.
    Unchanged,
    /// It cannot be ordered: the record is to be read again.
    Reread,
}

/// Folds one sighting into what is known of the record.
///
/// `intents` are those of the record that are neither retired nor refused, oldest first. `parents`
/// gives the external ids of the records that references point to, as far as they are linked.
pub fn absorb(
    link: &SyncLink,
    intents: &[Intent],
    seen: &SalesforceObservation,
    parents: &BTreeMap<SalesforceId, String>,
) -> Absorbed {
    let mut fold = Fold {
        link,
        intents,
        seen,
        parents,
        absorbed: Absorbed {
            remote_state: link.remote_state.clone(),
            salesforce_id: link.salesforce_id.clone(),
            base_advance: Payload::new(),
            automation_overrides: link.automation_overrides.clone(),
            echoed: Vec::new(),
            intents: Vec::new(),
            overwritten: Vec::new(),
            status: AbsorbStatus::Unchanged,
            dirty: false,
            needs_refresh: false,
        },
        took: false,
        older: false,
    };
    match seen.kind {
        ObservationKind::Gap => fold.reread(),
        ObservationKind::Unmatched => fold.unmatched(),
        ObservationKind::FilteredOut => fold.filtered_out(),
        ObservationKind::Deleted => fold.deleted(),
        ObservationKind::Missing => fold.missing(),
        ObservationKind::Changed
        | ObservationKind::Created
        | ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Refresh => {
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
    absorbed: Absorbed,
    /// The remote state took something that was not our own write.
    took: bool,
    /// Something was older than the remote state.
    older: bool,
}

impl<'a> Fold<'a> {
    fn finish(mut self) -> Absorbed {
        self.absorbed.dirty |= self.took || self.absorbed.needs_refresh;
        self.absorbed.status = if self.took {
            AbsorbStatus::Absorbed
        } else if self.absorbed.needs_refresh {
            AbsorbStatus::Reread
        } else if self.older || !self.absorbed.overwritten.is_empty() {
            AbsorbStatus::Superseded
        } else if !self.absorbed.echoed.is_empty() || !self.absorbed.intents.is_empty() {
            AbsorbStatus::Echo
        } else {
            AbsorbStatus::Unchanged
        };
        self.absorbed
    }

    fn reread(&mut self) {
        self.absorbed.needs_refresh = true;
    }

    fn is_current(&self) -> bool {
        self.link.salesforce_id.as_ref() == Some(&self.seen.salesforce_id)
    }

    // The record as a whole.

    /// Capture saw it outside the filter: whether it has left is for a look to say, once.
    fn unmatched(&mut self) {
        let known = self.link.remote_state.presence == Presence::FilteredOut && self.is_current();
        if !known {
            self.reread();
        }
    }

    /// It lies outside the filter: of what it holds nothing is kept, and nothing is awaited of it.
    /// Like every look, it is made once more where an event may have overtaken it.
    fn filtered_out(&mut self) {
        let remote_state = &self.link.remote_state;
        let known = remote_state.presence == Presence::FilteredOut && self.is_current();
        let prior = remote_state.presence == Presence::Present && self.is_current();
        match self.seen.version.order(remote_state.presence_version) {
            VersionOrder::Older if prior => return self.reread(),
            VersionOrder::Incomparable if prior => self.reread(),
            VersionOrder::Older
            | VersionOrder::Same
            | VersionOrder::Newer
            | VersionOrder::Incomparable => {}
        }
        self.took = !known;
        self.absorbed.salesforce_id = Some(self.seen.salesforce_id.clone());
        self.absorbed.remote_state = RemoteState {
            presence: Presence::FilteredOut,
            presence_version: self.seen.version,
            fields: BTreeMap::new(),
        };
        self.settle_intents();
    }

    fn deleted(&mut self) {
        let remote_state = &self.link.remote_state;
        if remote_state.presence == Presence::FilteredOut && self.is_current() {
            // What becomes of a record outside is nothing to us.
            return;
        }
        let older = self.seen.version.order(remote_state.presence_version) == VersionOrder::Older;
        match (self.is_current(), older, remote_state.presence) {
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
                Presence::Unseen | Presence::Present | Presence::Deleted | Presence::FilteredOut,
            ) => {
                self.older = remote_state.presence != Presence::Deleted;
            }
        }
    }

    /// Neither the id nor the external id is there: the writes of unknown outcome had no effect.
    fn missing(&mut self) {
        if self.link.remote_state.presence == Presence::FilteredOut {
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
        self.took = self.link.remote_state.presence != Presence::Deleted && !ours;
        self.absorbed.remote_state.presence = Presence::Deleted;
        self.take_presence_version();
        for intent in self.intents {
            let state = match (intent.state, intent.action) {
                (IntentState::Applied, _) | (IntentState::Unknown, WriteAction::Delete) => {
                    IntentState::Confirmed
                }
                (IntentState::Unknown, WriteAction::Create | WriteAction::Update) => {
                    IntentState::Abandoned
                }
                (
                    IntentState::Open
                    | IntentState::Confirmed
                    | IntentState::Refused
                    | IntentState::Abandoned,
                    _,
                ) => continue,
            };
            self.absorbed.intents.push((intent.intent_id, state));
        }
    }

    fn give_up_unknown(&mut self) {
        for intent in self.intents {
            if intent.state == IntentState::Unknown {
                let given_up = (intent.intent_id, IntentState::Abandoned);
                self.absorbed.intents.push(given_up);
                self.absorbed.dirty = true;
            }
        }
    }

    fn take_presence_version(&mut self) {
        let known = self.link.remote_state.presence_version;
        let older = self.seen.version.order(known) == VersionOrder::Older;
        if !older && self.seen.version != Version::default() {
            self.absorbed.remote_state.presence_version = self.seen.version;
        }
    }

    /// Takes what the sighting says of the record as a whole; returns whether its fields count.
    fn present(&mut self) -> bool {
        let named = self.link.salesforce_id.is_some();
        match self.link.remote_state.presence {
            // Another live record claims the same external id.
            Presence::Present | Presence::Unseen | Presence::FilteredOut
                if named && !self.is_current() =>
            {
                if self.seen.kind != ObservationKind::Refresh {
                    self.reread();
                    return false;
                }
            }
            Presence::Deleted | Presence::FilteredOut if self.is_current() || !named => {
                if !self.comes_back() {
                    return false;
                }
            }
            Presence::Present | Presence::Unseen | Presence::Deleted | Presence::FilteredOut => {}
        }
        let deleted = self.link.remote_state.presence == Presence::Deleted;
        if !self.is_current() && (named || deleted) {
            // A new record under the old external id: nothing of the old remote state holds for it.
            self.absorbed.remote_state = RemoteState::default();
        }
        self.absorbed.salesforce_id = Some(self.seen.salesforce_id.clone());
        if self.absorbed.remote_state.presence != Presence::Present {
            let created_by_us = self
                .intents
                .iter()
                .any(|intent| intent.action == WriteAction::Create && is_pending(intent));
            self.took = !created_by_us;
            // An event that carries only changed fields leaves the rest of the remote state unknown.
            self.absorbed.needs_refresh = self.seen.kind == ObservationKind::Changed;
        }
        self.absorbed.remote_state.presence = Presence::Present;
        self.take_presence_version();
        true
    }

    /// Decides whether a record that was deleted, or outside the filter, is back. A sighting from
    /// before must not bring it back: where only a read can tell, it is read again.
    fn comes_back(&mut self) -> bool {
        let order = self
            .seen
            .version
            .order(self.link.remote_state.presence_version);
        match (self.seen.kind, order) {
            (_, VersionOrder::Older) => {
                self.older = true;
                false
            }
            (ObservationKind::Refresh, _)
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
                | ObservationKind::FilteredOut,
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
            let prior = self.absorbed.remote_state.fields.get(field).cloned();
            let order = prior.as_ref().map_or(VersionOrder::Newer, |prior| {
                self.seen.version.order(prior.version)
            });
            match order {
                // The same event again.
                VersionOrder::Same => {}
                VersionOrder::Older => self.older = true,
                VersionOrder::Newer | VersionOrder::Incomparable => {
                    self.field(field, value, prior.as_ref(), order);
                }
            }
        }
    }

    fn field(
        &mut self,
        field: &FieldName,
        value: &Value,
        prior: Option<&RemoteField>,
        order: VersionOrder,
    ) {
        if self.seen.kind == ObservationKind::Refresh {
            return self.refreshed(field, value, prior, order);
        }
        if let Some(replaced) = self.echo(field, value) {
            if !replaced {
                self.log_overwritten_edit(field, value, prior);
                self.put(field, value, prior, order);
            }
            return;
        }
        let pending = self.pending(field);
        let applied = pending
            .iter()
            .any(|intent| intent.state == IntentState::Applied);
        match (pending.first(), self.seen.ours, applied) {
            (None, _, _) => self.foreign(field, value, prior, order),
            (Some(_), _, true) if self.seen.kind == ObservationKind::Snapshot => self.reread(),
            (Some(intent), true, _) => {
                self.automation_override(intent, field, value);
                self.absorbed.echoed.push((intent.intent_id, field.clone()));
                self.put(field, value, prior, order);
                self.took = true;
            }
            (Some(_), false, true) => self
                .absorbed
                .overwritten
                .push((field.clone(), value.clone())),
            (Some(_), false, false) => {
                self.foreign(field, value, prior, order);
                if let Some(taken) = self.absorbed.remote_state.fields.get_mut(field) {
                    taken.written_concurrently |= taken.value == *value;
                }
            }
        }
    }

    /// A value that no write of ours under way explains.
    fn foreign(
        &mut self,
        field: &FieldName,
        value: &Value,
        prior: Option<&RemoteField>,
        order: VersionOrder,
    ) {
        let differs = prior.is_none_or(|prior| prior.value != *value);
        if differs && order == VersionOrder::Incomparable {
            return self.reread();
        }
        self.put(field, value, prior, order);
        let late = self.is_late_write(field, value);
        if let Some(taken) = self.absorbed.remote_state.fields.get_mut(field) {
            taken.late_write = late || (taken.late_write && !differs);
        }
        // What is seen for the first time is news unless it is nothing, or what both agreed on.
        let news = match prior {
            Some(_) => differs,
            None => *value != Value::Null && !self.is_base(field, value),
        };
        self.took |= news || late;
    }

    /// A read under the lease is authoritative. Where it cannot be told whether an event overtook
    /// it, the record is read once more: a second read shows the same.
    fn refreshed(
        &mut self,
        field: &FieldName,
        value: &Value,
        prior: Option<&RemoteField>,
        order: VersionOrder,
    ) {
        let differs = prior.is_none_or(|prior| prior.value != *value);
        let overridden = self
            .pending(field)
            .into_iter()
            .find(|intent| intent.state == IntentState::Applied)
            .filter(|intent| self.seen.ours && !shows(value, &intent.fields[field], self.parents));
        if let Some(intent) = overridden {
            self.automation_override(intent, field, value);
        }
        let late = self.is_given_up(field, value) && !self.is_base(field, value);
        let known_late = prior.is_some_and(|prior| prior.late_write);
        if differs && prior.is_some() && order == VersionOrder::Incomparable {
            self.absorbed.needs_refresh = true;
        }
        self.put(field, value, None, order);
        if let Some(taken) = self.absorbed.remote_state.fields.get_mut(field) {
            taken.late_write = late && (known_late || self.seen.ours);
        }
        self.took |= differs;
    }

    /// Puts a value into the remote state. Equal values of one second keep the version that tells more.
    fn put(
        &mut self,
        field: &FieldName,
        value: &Value,
        prior: Option<&RemoteField>,
        order: VersionOrder,
    ) {
        let known = prior.filter(|prior| {
            order == VersionOrder::Incomparable
                && prior.value == *value
                && prior.version != Version::default()
                && self.seen.version.commit_number.is_none()
        });
        let taken = RemoteField {
            value: value.clone(),
            version: known.map_or(self.seen.version, |prior| prior.version),
            late_write: prior.is_some_and(|prior| prior.late_write && prior.value == *value),
            written_concurrently: prior
                .is_some_and(|prior| prior.written_concurrently && prior.value == *value),
        };
        self.absorbed
            .remote_state
            .fields
            .insert(field.clone(), taken);
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
                        .absorbed
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
        self.absorbed.echoed.extend(echoed);
        Some(replaced)
    }

    /// An edit that came while our write was open turns out to have been replaced by it.
    fn log_overwritten_edit(
        &mut self,
        field: &FieldName,
        value: &Value,
        prior: Option<&RemoteField>,
    ) {
        if let Some(prior) =
            prior.filter(|prior| prior.written_concurrently && prior.value != *value)
        {
            self.absorbed
                .overwritten
                .push((field.clone(), prior.value.clone()));
        }
    }

    /// Salesforce stored another value than the one we sent.
    fn automation_override(&mut self, intent: &Intent, field: &FieldName, stored: &Value) {
        let count = self
            .absorbed
            .automation_overrides
            .get(field)
            .map_or(0, |automation_override| automation_override.count);
        let automation_override = AutomationOverride {
            count: count.saturating_add(1),
            sent: intent.fields[field].clone(),
            stored: stored.clone(),
        };
        self.absorbed
            .automation_overrides
            .insert(field.clone(), automation_override);
    }

    /// A write that was given up has landed after all.
    fn is_late_write(&self, field: &FieldName, value: &Value) -> bool {
        self.seen.ours && self.is_given_up(field, value) && !self.is_base(field, value)
    }

    fn is_given_up(&self, field: &FieldName, value: &Value) -> bool {
        self.intents.iter().any(|intent| {
            intent.state == IntentState::Abandoned
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
        let needs_refresh = match self.seen.kind {
            ObservationKind::Refresh | ObservationKind::FilteredOut => true,
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
            match (intent.state, needs_refresh) {
                (IntentState::Applied, true) => self.settle(intent, IntentState::Confirmed),
                (IntentState::Applied, false) if self.is_fully_echoed(intent) => {
                    self.settle(intent, IntentState::Confirmed);
                }
                (IntentState::Unknown, true) if self.took_effect(intent) => {
                    self.absorbed.base_advance.extend(intent.fields.clone());
                    self.settle(intent, IntentState::Confirmed);
                }
                (IntentState::Unknown, true) => self.settle(intent, IntentState::Abandoned),
                (
                    IntentState::Applied
                    | IntentState::Unknown
                    | IntentState::Open
                    | IntentState::Confirmed
                    | IntentState::Refused
                    | IntentState::Abandoned,
                    _,
                ) => {}
            }
        }
    }

    fn settle(&mut self, intent: &Intent, state: IntentState) {
        self.absorbed.intents.push((intent.intent_id, state));
        // The base or what is known of the record has moved: it is planned again.
        self.absorbed.dirty |= intent.state == IntentState::Unknown;
    }

    fn is_fully_echoed(&self, intent: &Intent) -> bool {
        let now: BTreeSet<&FieldName> = self
            .absorbed
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
        IntentState::Confirmed | IntentState::Refused | IntentState::Abandoned => false,
    }
}
