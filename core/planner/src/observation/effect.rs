//! The effects of observations: a closed list, applied in one place.

use std::collections::BTreeMap;

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::intent::{Intent, IntentState};
use crate::model::link::{AutomationOverride, Presence, RemoteField, RemoteState, SyncLink};
use crate::model::observation::{SalesforceObservation, Version};
use crate::model::value::{Payload, Value};

use super::after_delete::before_delete;
use super::{AbsorbStatus, Absorbed};

/// One change that an observation makes.
#[derive(Debug)]
pub(super) enum Effect {
    /// The observation has a change that is not our own write: the record has work.
    Took,
    /// A part of the observation was older than the remote state.
    WasOlder,
    /// The record must be read again before it is planned.
    NeedsRefresh,
    /// The record is planned again, even if the remote state did not change.
    Dirty,
    /// The observed Salesforce id is the record's.
    TakeId,
    /// The old remote state is no longer valid.
    ForgetRemoteState,
    /// Nothing is left to decide about the edits that our writes overwrote: they are logged.
    LogOverwritten,
    /// A delete of ours is confirmed or was seen: the record is kept as it was last seen.
    KeepBeforeDelete,
    /// A field of the record that we deleted.
    DeletedField(FieldName, Box<RemoteField>),
    /// The record is alive: whatever was edited in it is replaced by what it shows.
    Revived,
    /// Whether the record exists.
    Presence(Presence),
    /// The version of the observation that showed the presence.
    PresenceVersion(Version),
    /// A field of the remote state.
    Field(FieldName, Box<RemoteField>),
    /// A field whose value cannot be read, and why.
    Unreadable(FieldName, String),
    /// A field of our write was echoed.
    Echoed(IntentId, FieldName),
    /// A write of ours has its final state.
    Intent(IntentId, IntentState),
    /// A write with an unknown outcome had an effect: both sides agreed on its values.
    BaseAdvance(Payload),
    /// Salesforce stored another value than the one we sent.
    AutomationOverride(FieldName, AutomationOverride),
    /// A write of these fields had no effect, so automation has not changed them back.
    NotChangedBack(Vec<FieldName>),
    /// A write of ours replaced this value unseen.
    Overwritten(FieldName, Value),
}

/// One observation while it is absorbed into its record.
#[derive(Debug)]
pub(super) struct Absorbing<'a> {
    /// The record before the observation.
    pub(super) link: &'a SyncLink,
    /// Its writes that are neither confirmed nor refused, oldest first.
    pub(super) intents: &'a [Intent],
    /// The observation.
    pub(super) seen: &'a SalesforceObservation,
    /// External ids of linked parents.
    pub(super) parents: &'a BTreeMap<SalesforceId, String>,
    absorbed: Absorbed,
    took: bool,
    older: bool,
}

impl<'a> Absorbing<'a> {
    pub(super) fn new(
        link: &'a SyncLink,
        intents: &'a [Intent],
        seen: &'a SalesforceObservation,
        parents: &'a BTreeMap<SalesforceId, String>,
    ) -> Self {
        Self {
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
        }
    }

    /// Applies one effect: the only place where an observation changes anything.
    pub(super) fn apply(&mut self, effect: Effect) {
        let absorbed = &mut self.absorbed;
        match effect {
            Effect::Took => self.took = true,
            Effect::WasOlder => self.older = true,
            Effect::NeedsRefresh => absorbed.needs_refresh = true,
            Effect::Dirty => absorbed.dirty = true,
            Effect::TakeId => absorbed.salesforce_id = Some(self.seen.salesforce_id.clone()),
            Effect::ForgetRemoteState => {
                absorbed.log_overwritten();
                absorbed.remote_state = RemoteState {
                    before_delete: absorbed.remote_state.before_delete.take(),
                    ..RemoteState::default()
                };
            }
            Effect::LogOverwritten => absorbed.log_overwritten(),
            Effect::KeepBeforeDelete => {
                let known = &mut absorbed.remote_state;
                known.before_delete = Some(before_delete(known, &self.seen.salesforce_id));
            }
            Effect::DeletedField(field, known) => {
                if let Some(deleted) = &mut absorbed.remote_state.before_delete {
                    deleted.fields.insert(field, *known);
                }
            }
            Effect::Revived => {
                let deleted = &mut absorbed.remote_state.before_delete;
                deleted.take_if(|deleted| deleted.salesforce_id == self.seen.salesforce_id);
            }
            Effect::Presence(presence) => absorbed.remote_state.presence = presence,
            Effect::PresenceVersion(version) => absorbed.remote_state.presence_version = version,
            Effect::Field(field, remote) => {
                absorbed.remote_state.unreadable.remove(&field);
                absorbed.remote_state.fields.insert(field, *remote);
            }
            Effect::Unreadable(field, reason) => {
                absorbed.remote_state.unreadable.insert(field, reason);
            }
            Effect::Echoed(intent, field) => absorbed.echoed.push((intent, field)),
            Effect::Intent(intent, state) => absorbed.intents.push((intent, state)),
            Effect::BaseAdvance(values) => absorbed.advance_base(values),
            Effect::AutomationOverride(field, changed_back) => {
                absorbed.automation_overrides.insert(field, changed_back);
            }
            Effect::NotChangedBack(fields) => {
                AutomationOverride::uncount(&mut absorbed.automation_overrides, fields.iter());
            }
            Effect::Overwritten(field, value) => absorbed.overwritten.push((field, value)),
        }
    }

    /// Returns the result of the effects so far.
    pub(super) fn so_far(&self) -> &Absorbed {
        &self.absorbed
    }

    /// Returns whether the observation is of the Salesforce record that ours is linked to.
    pub(super) fn is_current(&self) -> bool {
        self.link.salesforce_id.as_ref() == Some(&self.seen.salesforce_id)
    }

    /// Returns the result, with the observation's status.
    pub(super) fn finish(self) -> Absorbed {
        let mut absorbed = self.absorbed;
        absorbed.dirty |= self.took || absorbed.needs_refresh;
        absorbed.status = if self.took {
            AbsorbStatus::Taken
        } else if absorbed.needs_refresh {
            AbsorbStatus::NeedsRefresh
        } else if self.older || !absorbed.overwritten.is_empty() {
            AbsorbStatus::Superseded
        } else if !absorbed.echoed.is_empty() || !absorbed.intents.is_empty() {
            AbsorbStatus::Echo
        } else {
            AbsorbStatus::Unchanged
        };
        absorbed
    }
}

impl Absorbed {
    /// Both sides agree on the values: it does not matter any more when they were edited.
    fn advance_base(&mut self, values: Payload) {
        for field in values.keys() {
            if let Some(remote) = self.remote_state.fields.get_mut(field) {
                remote.edited = None;
            }
        }
        self.base_advance.extend(values);
    }

    fn log_overwritten(&mut self) {
        let known = &mut self.remote_state;
        let deleted = known.before_delete.iter_mut();
        let deleted = deleted.flat_map(|deleted| &mut deleted.fields);
        for (field, remote) in known.fields.iter_mut().chain(deleted) {
            let overwritten = remote.overwritten.take().map(|edit| edit.value);
            let contender = remote.contender.take().map(|edit| edit.value);
            let lost = overwritten.into_iter().chain(contender);
            self.overwritten
                .extend(lost.map(|value| (field.clone(), value)));
        }
    }
}
