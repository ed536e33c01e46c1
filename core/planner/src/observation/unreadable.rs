//! A read that found neither the id nor the external id, without evidence of a delete.

use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::Presence;

use super::deleted::set_deleted;
use super::effect::{Absorbing, Effect};
use super::writes::abandon_unknown;

/// Absorbs the absence. The record keeps its fields and its id: it may be seen again as it was.
pub(super) fn absorb(record: &mut Absorbing<'_>) {
    let presence = record.link.remote_state.presence;
    if !record.is_current() || presence == Presence::FilteredOut {
        if record.link.salesforce_id.is_none() || presence == Presence::FilteredOut {
            abandon_unknown(record);
        }
        return;
    }
    if presence == Presence::Deleted {
        // It was not undeleted as far as we can see.
        return record.apply(Effect::LogOverwritten);
    }
    let deletes = |intent: &Intent| intent.action == WriteAction::Delete && intent.is_pending();
    if record.intents.iter().any(deletes) {
        // Our own delete explains it.
        return set_deleted(record);
    }
    if presence != Presence::Unreadable {
        record.apply(Effect::Took);
    }
    record.apply(Effect::Presence(Presence::Unreadable));
    for intent in record.intents {
        let state = match intent.state {
            IntentState::Applied => IntentState::Confirmed,
            IntentState::Unknown => IntentState::Abandoned,
            IntentState::Open
            | IntentState::Confirmed
            | IntentState::Refused
            | IntentState::Abandoned => continue,
        };
        record.apply(Effect::Intent(intent.intent_id, state));
    }
}
