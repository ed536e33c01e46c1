//! Decides whether an observation of the record means that it exists.

use crate::model::intent::WriteAction;
use crate::model::link::Presence;
use crate::model::observation::{Version, VersionOrder};

use super::effect::{Absorbing, Effect};

/// What an observation of a live record proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evidence {
    /// A read under the record's lease: it exists.
    Authoritative,
    /// It was created or undeleted at that version.
    Arrival,
    /// It had these values at that version.
    Content,
}

/// A record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Appeared {
    /// It was not known to exist before.
    pub(super) newly: bool,
}

/// Absorbs that the record exists. Returns `None` if the fields of the observation must be ignored.
pub(super) fn appears(record: &mut Absorbing<'_>, evidence: Evidence) -> Option<Appeared> {
    let linked = record.link.salesforce_id.is_some();
    let known = record.link.remote_state.presence;
    match known {
        // Another live record has the same external id.
        Presence::Present | Presence::Unseen | Presence::FilteredOut | Presence::Unreadable
            if linked && !record.is_current() =>
        {
            if evidence != Evidence::Authoritative {
                record.apply(Effect::NeedsRefresh);
                return None;
            }
        }
        Presence::Deleted | Presence::FilteredOut | Presence::Unreadable
            if record.is_current() || !linked =>
        {
            if !comes_back(record, evidence) {
                return None;
            }
        }
        Presence::Present
        | Presence::Unseen
        | Presence::Deleted
        | Presence::FilteredOut
        | Presence::Unreadable => {}
    }
    if !record.is_current() && (linked || known == Presence::Deleted) {
        // A new record with the old external id: the old remote state does not apply to it.
        record.apply(Effect::ForgetRemoteState);
    }
    record.apply(Effect::TakeId);
    let newly = record.so_far().remote_state.presence != Presence::Present;
    if newly {
        let created_by_us = record
            .intents
            .iter()
            .any(|intent| intent.action == WriteAction::Create && intent.is_pending());
        if !created_by_us {
            record.apply(Effect::Took);
        }
    }
    record.apply(Effect::Revived);
    record.apply(Effect::Presence(Presence::Present));
    take_version(record);
    Some(Appeared { newly })
}

/// Decides whether a record that was deleted or filtered out exists again. An earlier observation must not
/// restore it: if only a read can decide, the record is read again.
fn comes_back(record: &mut Absorbing<'_>, evidence: Evidence) -> bool {
    let known = record.link.remote_state.presence_version;
    match (evidence, record.seen.version.order(known)) {
        (Evidence::Authoritative | Evidence::Arrival | Evidence::Content, VersionOrder::Older) => {
            record.apply(Effect::WasOlder);
            false
        }
        (
            Evidence::Authoritative,
            VersionOrder::Newer | VersionOrder::Same | VersionOrder::Incomparable,
        )
        | (Evidence::Arrival, VersionOrder::Newer | VersionOrder::Same) => true,
        (Evidence::Content, VersionOrder::Newer | VersionOrder::Same) if record.is_current() => {
            true
        }
        (
            Evidence::Arrival | Evidence::Content,
            VersionOrder::Newer | VersionOrder::Same | VersionOrder::Incomparable,
        ) => {
            record.apply(Effect::NeedsRefresh);
            false
        }
    }
}

/// Takes the observation's version as that of the presence, unless it is older.
pub(super) fn take_version(record: &mut Absorbing<'_>) {
    let version = record.seen.version;
    let known = record.link.remote_state.presence_version;
    if version.order(known) != VersionOrder::Older && version != Version::default() {
        record.apply(Effect::PresenceVersion(version));
    }
}
