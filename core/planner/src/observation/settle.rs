//! Settles a write that Salesforce has confirmed.

use std::collections::BTreeMap;

use crate::config::{DeleteMode, ObjectSync};
use crate::model::ids::{FieldName, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{Contender, Presence, RemoteField, RemoteState, Replaced, SyncLink};
use crate::model::observation::Version;
use crate::model::value::{Payload, Value};

use super::after_delete::{before_delete, seen_during_delete};
use super::overwritten::{last_seen, last_seen_value};

/// The result of settling a confirmed write.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// The base afterwards.
    pub base: Payload,
    /// Whether both sides have the record and agree afterwards.
    pub agreed: bool,
    /// The remote state afterwards.
    pub remote_state: RemoteState,
    /// The intent's state afterwards: applied, or confirmed if no echo is awaited.
    pub state: IntentState,
    /// Edits that were seen while a delete was open: logged.
    pub overwritten: Vec<(FieldName, Value)>,
}

/// Settles a write that Salesforce has confirmed: base and remote state take the values that it sent.
///
/// `answered` is the id of the written record. A field whose echo arrived before the response is in the remote
/// state already, perhaps with a later edit, and is left alone; so is a record that was seen as deleted before
/// the response, or as undeleted after our delete. `found`: the create found a record that was not known. `parents`
/// must contain the parents that the intent's references name.
pub fn settle_applied(
    link: &SyncLink,
    sync: &ObjectSync,
    intent: &Intent,
    (answered, found): (&SalesforceId, bool),
    parents: &BTreeMap<SalesforceId, String>,
) -> Settled {
    match intent.action {
        // Its event was absorbed before the response: whatever followed is in the remote state.
        WriteAction::Delete if intent.state == IntentState::Applied => Settled {
            base: base_after_delete(link, sync),
            agreed: false,
            remote_state: link.remote_state.clone(),
            state: IntentState::Confirmed,
            overwritten: Vec::new(),
        },
        WriteAction::Delete => Settled {
            base: base_after_delete(link, sync),
            agreed: false,
            remote_state: RemoteState {
                presence: Presence::Deleted,
                presence_version: link.remote_state.presence_version,
                before_delete: Some(before_delete(&link.remote_state, answered)),
                ..RemoteState::default()
            },
            state: IntentState::Confirmed,
            overwritten: seen_during_delete(&link.remote_state, intent.intent_id),
        },
        WriteAction::Create | WriteAction::Update => {
            let mut settled = settle_write(link, sync, intent, answered, parents);
            if intent.action == WriteAction::Create && !found {
                // A create sends no nulls: what the new record holds there was put in by Salesforce.
                for field in sync.fields.keys() {
                    settled.base.entry(field.clone()).or_insert(Value::Null);
                }
            }
            settled
        }
    }
}

/// Returns the base after a delete. A row that is only marked as deleted may be edited before the record comes back.
pub fn base_after_delete(link: &SyncLink, sync: &ObjectSync) -> Payload {
    match sync.deletes.mode {
        DeleteMode::Soft => link.base.clone(),
        DeleteMode::Propagate | DeleteMode::Ignore => Payload::new(),
    }
}

fn settle_write(
    link: &SyncLink,
    sync: &ObjectSync,
    intent: &Intent,
    answered: &SalesforceId,
    parents: &BTreeMap<SalesforceId, String>,
) -> Settled {
    let mut base = link.base.clone();
    let mut remote_state = link.remote_state.clone();
    // It was seen as filtered out or deleted before the response arrived: that observation is later.
    let left = match remote_state.presence {
        Presence::FilteredOut => true,
        Presence::Deleted => link.salesforce_id.as_ref() == Some(answered),
        Presence::Unseen | Presence::Present | Presence::Unreadable => false,
    };
    if intent.action == WriteAction::Create && !left {
        if remote_state.presence == Presence::Deleted {
            // Nothing of the deleted record is in the new one.
            remote_state = RemoteState {
                before_delete: remote_state.before_delete.take(),
                ..RemoteState::default()
            };
        }
        remote_state.presence = Presence::Present;
    }
    for (field, sent) in &intent.fields {
        base.insert(field.clone(), sent.clone());
        if left || intent.echoed.contains(field) {
            continue;
        }
        let prior = remote_state.fields.remove(field);
        // If the parent is not linked yet, the field counts as not seen until its echo.
        if let Some(value) = stored_form(sync, field, sent, parents) {
            let base = link.base.get(field);
            let taken = written(intent, prior, value, base);
            remote_state.fields.insert(field.clone(), taken);
        }
    }
    let awaited = intent
        .fields
        .keys()
        .any(|field| !intent.echoed.contains(field));
    Settled {
        base,
        agreed: true,
        remote_state,
        state: if awaited && !left {
            IntentState::Applied
        } else {
            IntentState::Confirmed
        },
        overwritten: Vec::new(),
    }
}

/// Returns a field as the write left it. An edit that was seen while the write was open came before or after it:
/// the echo will show.
fn written(
    intent: &Intent,
    prior: Option<RemoteField>,
    value: Value,
    base: Option<&Value>,
) -> RemoteField {
    let Some(prior) = prior else {
        return RemoteField::new(value, Version::default());
    };
    let is_concurrent = prior.concurrent_write == Some(intent.intent_id);
    let replaced = prior.replaced.clone().filter(|_| is_concurrent);
    let version = replaced
        .as_ref()
        .map_or(prior.version, |replaced| replaced.after);
    let replaced = replaced.unwrap_or_else(|| Replaced {
        after: last_seen(&prior),
        before: None,
        base: base.cloned(),
        seen: last_seen_value(&prior),
        row_edited_ms: None,
    });
    let concurrent = is_concurrent.then_some(Contender {
        value: prior.value,
        version: prior.version,
        edited: prior.edited,
        was_not_shown: false,
    });
    RemoteField {
        contender: concurrent
            .or(prior.contender)
            .filter(|edit| edit.value != value),
        overwritten: prior.overwritten.filter(|edit| edit.value != value),
        replaced: Some(replaced),
        ..RemoteField::new(value, version)
    }
}

/// Returns a sent value as Salesforce returns it: a reference becomes the parent's id.
fn stored_form(
    sync: &ObjectSync,
    field: &FieldName,
    sent: &Value,
    parents: &BTreeMap<SalesforceId, String>,
) -> Option<Value> {
    let reference = sync
        .fields
        .get(field)
        .is_some_and(|field| field.references.is_some());
    match sent {
        Value::Text(external_id) if reference => parents
            .iter()
            .find(|(_, parent)| *parent == external_id)
            .map(|(id, _)| Value::text(id.as_str())),
        Value::Text(_) | Value::Null | Value::Boolean(_) | Value::Number(_) => Some(sent.clone()),
    }
}
