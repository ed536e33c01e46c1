//! A DELETE event, or a deleted row in a query of all rows.

use crate::model::intent::{IntentState, WriteAction};
use crate::model::link::Presence;
use crate::model::observation::VersionOrder;

use super::after_delete;
use super::effect::{Absorbing, Effect};
use super::presence::take_version;
use super::writes::{self, abandon_unknown};

pub(super) fn absorb(record: &mut Absorbing<'_>) {
    let known = &record.link.remote_state;
    let unlinked = record.link.salesforce_id.is_none();
    if known.presence == Presence::FilteredOut && record.is_current() {
        // A filtered-out record is left alone, deleted or not.
        return;
    }
    let older = record.seen.version.order(known.presence_version) == VersionOrder::Older;
    match (record.is_current(), older, known.presence) {
        (true, false, _) => set_deleted(record),
        (true, true, _) => record.apply(Effect::WasOlder),
        // Our own delete, settled before its event arrived.
        (false, false, Presence::Deleted) if unlinked => take_version(record),
        // A read found only a deleted record: our create with an unknown outcome had no effect.
        (false, _, Presence::Unseen) if unlinked => abandon_unknown(record),
        (false, _, Presence::Deleted) => {}
        (
            false,
            _,
            Presence::Unseen | Presence::Present | Presence::FilteredOut | Presence::Unreadable,
        ) => {
            record.apply(Effect::WasOlder);
        }
    }
}

/// Marks the record as deleted, and abandons every write of ours that is not settled.
pub(super) fn set_deleted(record: &mut Absorbing<'_>) {
    let ours = writes::pending_delete(record);
    let was_deleted = record.link.remote_state.presence == Presence::Deleted;
    match ours {
        Some(delete) if !was_deleted => after_delete::begin(record, delete),
        Some(_) => {}
        None if !was_deleted => record.apply(Effect::Took),
        None => {}
    }
    after_delete::contend(record);
    record.apply(Effect::LogOverwritten);
    record.apply(Effect::Presence(Presence::Deleted));
    take_version(record);
    for intent in record.intents {
        let state = match (intent.state, intent.action) {
            (IntentState::Applied, _) | (IntentState::Unknown, WriteAction::Delete) => {
                IntentState::Confirmed
            }
            // Its response is still to come, and must not hide an undelete that comes first.
            (IntentState::Open, WriteAction::Delete) => IntentState::Applied,
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
        record.apply(Effect::Intent(intent.intent_id, state));
    }
}
