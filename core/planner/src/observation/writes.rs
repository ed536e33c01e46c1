//! Our own writes in an observation: their echoes and outcomes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::AutomationOverride;
use crate::model::value::Value;

use super::effect::{Absorbing, Effect};

/// Returns whether a value in Salesforce is the one that was sent.
pub(super) fn shows(
    stored: &Value,
    sent: &Value,
    parents: &BTreeMap<SalesforceId, String>,
) -> bool {
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

/// Returns the writes to the field whose echo has not been seen, oldest first.
pub(super) fn pending<'a>(record: &Absorbing<'a>, field: &FieldName) -> Vec<&'a Intent> {
    let echoed_now = &record.so_far().echoed;
    record
        .intents
        .iter()
        .filter(|intent| {
            intent.is_pending()
                && intent.fields.contains_key(field)
                && !intent.echoed.contains(field)
                && !echoed_now.contains(&(intent.intent_id, field.clone()))
        })
        .collect()
}

/// Returns the delete of ours whose outcome is not known yet.
pub(super) fn pending_delete(record: &Absorbing<'_>) -> Option<IntentId> {
    let mut intents = record.intents.iter();
    let delete =
        intents.find(|intent| intent.action == WriteAction::Delete && intent.is_pending())?;
    Some(delete.intent_id)
}

/// Returns whether Salesforce has confirmed a write to the field whose echo has not been seen.
pub(super) fn awaits_echo(record: &Absorbing<'_>, field: &FieldName) -> bool {
    pending(record, field)
        .iter()
        .any(|intent| intent.state == IntentState::Applied)
}

/// The echo of a write.
pub(super) struct Echo {
    /// The write, and older ones.
    pub(super) writes: Vec<IntentId>,
    /// A later confirmed write has already replaced it.
    pub(super) replaced: bool,
}

/// Marks the write that the value echoes, and older ones. Returns `None` if the value is not an echo.
pub(super) fn echo(record: &mut Absorbing<'_>, field: &FieldName, value: &Value) -> Option<Echo> {
    let pending = pending(record, field);
    let place = pending
        .iter()
        .position(|intent| shows(value, &intent.fields[field], record.parents))?;
    let replaced = pending[place + 1..]
        .iter()
        .any(|intent| intent.state == IntentState::Applied);
    let writes: Vec<IntentId> = pending[..=place]
        .iter()
        .map(|intent| intent.intent_id)
        .collect();
    for write in &writes {
        record.apply(Effect::Echoed(*write, field.clone()));
    }
    Some(Echo { writes, replaced })
}

/// Counts that Salesforce stored another value than the one we sent.
pub(super) fn automation_override(
    record: &mut Absorbing<'_>,
    intent: &Intent,
    field: &FieldName,
    stored: &Value,
) {
    let known = record.so_far().automation_overrides.get(field);
    let count = known.map_or(0, |known| known.count);
    let changed_back = AutomationOverride {
        count: count.saturating_add(1),
        sent: intent.fields[field].clone(),
        stored: stored.clone(),
    };
    record.apply(Effect::AutomationOverride(field.clone(), changed_back));
}

/// Returns whether an abandoned write took effect late.
pub(super) fn is_late_write(record: &Absorbing<'_>, field: &FieldName, value: &Value) -> bool {
    record.seen.ours && is_abandoned(record, field, value) && !is_base(record, field, value)
}

/// Returns whether an abandoned write sent the value.
pub(super) fn is_abandoned(record: &Absorbing<'_>, field: &FieldName, value: &Value) -> bool {
    record.intents.iter().any(|intent| {
        intent.state == IntentState::Abandoned
            && intent
                .fields
                .get(field)
                .is_some_and(|sent| shows(value, sent, record.parents))
    })
}

/// Returns whether the value is the base.
pub(super) fn is_base(record: &Absorbing<'_>, field: &FieldName, value: &Value) -> bool {
    record
        .link
        .base
        .get(field)
        .is_some_and(|base| shows(value, base, record.parents))
}

/// Abandons the writes with an unknown outcome: they had no effect.
pub(super) fn abandon_unknown(record: &mut Absorbing<'_>) {
    for intent in record.intents {
        if intent.state == IntentState::Unknown {
            record.apply(Effect::Intent(intent.intent_id, IntentState::Abandoned));
            record.apply(Effect::NotChangedBack(
                intent.fields.keys().cloned().collect(),
            ));
            record.apply(Effect::Dirty);
        }
    }
}

/// Confirms the applied writes whose fields have all been echoed.
pub(super) fn confirm_echoed(record: &mut Absorbing<'_>) {
    for intent in record.intents {
        match intent.state {
            IntentState::Applied if is_fully_echoed(record, intent) => {
                record.apply(Effect::Intent(intent.intent_id, IntentState::Confirmed));
            }
            IntentState::Applied
            | IntentState::Unknown
            | IntentState::Open
            | IntentState::Confirmed
            | IntentState::Refused
            | IntentState::Abandoned => {}
        }
    }
}

/// Returns whether the event of our oldest update that awaits one does not name all its fields.
pub(super) fn lacks_fields(record: &Absorbing<'_>) -> bool {
    let mut awaited = record.intents.iter().filter(|intent| {
        let was_echoed = intent
            .fields
            .keys()
            .all(|field| intent.echoed.contains(field));
        matches!(intent.state, IntentState::Open | IntentState::Applied) && !was_echoed
    });
    let oldest = awaited.find(|intent| intent.action == WriteAction::Update);
    oldest.is_some_and(|intent| !is_fully_echoed(record, intent))
}

/// Settles every write by a read under the lease, including those with an unknown outcome.
pub(super) fn settle_by_read(record: &mut Absorbing<'_>) {
    for intent in record.intents {
        match intent.state {
            IntentState::Applied => {
                record.apply(Effect::Intent(intent.intent_id, IntentState::Confirmed));
            }
            IntentState::Unknown => settle_unknown(record, intent),
            IntentState::Open
            | IntentState::Confirmed
            | IntentState::Refused
            | IntentState::Abandoned => {}
        }
    }
}

fn settle_unknown(record: &mut Absorbing<'_>, intent: &Intent) {
    let state = if took_effect(record, intent) {
        record.apply(Effect::BaseAdvance(intent.fields.clone()));
        IntentState::Confirmed
    } else {
        record.apply(Effect::NotChangedBack(
            intent.fields.keys().cloned().collect(),
        ));
        IntentState::Abandoned
    };
    record.apply(Effect::Intent(intent.intent_id, state));
    // The base or the remote state has changed: the record is planned again.
    record.apply(Effect::Dirty);
}

fn is_fully_echoed(record: &Absorbing<'_>, intent: &Intent) -> bool {
    let id: IntentId = intent.intent_id;
    let now: BTreeSet<&FieldName> = record
        .so_far()
        .echoed
        .iter()
        .filter(|(echoed, _)| *echoed == id)
        .map(|(_, field)| field)
        .collect();
    intent.action != WriteAction::Delete
        && intent
            .fields
            .keys()
            .all(|field| intent.echoed.contains(field) || now.contains(field))
}

/// Returns whether the record as read has all values of the write.
fn took_effect(record: &Absorbing<'_>, intent: &Intent) -> bool {
    intent.action != WriteAction::Delete
        && intent.fields.iter().all(|(field, sent)| {
            record
                .seen
                .fields
                .get(field)
                .is_some_and(|stored| shows(stored, sent, record.parents))
        })
}
