//! What becomes known of a record after a delete of ours: an edit that the delete overwrote unseen is logged.

use std::collections::BTreeMap;

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::link::{BeforeDelete, Contender, RemoteField, RemoteState};
use crate::model::observation::{ObservationKind, VersionOrder};
use crate::model::value::Value;

use super::effect::{Absorbing, Effect};
use super::overwritten::last_seen;
use super::writes;

/// Returns the record as it is last known, for what becomes known after its delete.
pub(super) fn before_delete(known: &RemoteState, id: &SalesforceId) -> BeforeDelete {
    let fields = known.fields.iter();
    let fields: BTreeMap<FieldName, RemoteField> = fields
        .map(|(field, remote)| {
            let seen = RemoteField::new(remote.value.clone(), last_seen(remote));
            (field.clone(), seen)
        })
        .collect();
    BeforeDelete {
        salesforce_id: id.clone(),
        fields,
    }
}

/// Returns the edits that were seen while the delete was open: it was decided without them.
pub(super) fn seen_during_delete(known: &RemoteState, delete: IntentId) -> Vec<(FieldName, Value)> {
    let fields = known.fields.iter();
    let edits = fields.flat_map(|(field, remote)| {
        let is_edit = remote.concurrent_write == Some(delete);
        let edit = is_edit.then_some(&remote.value);
        let contender = remote.contender.as_ref().map(|edit| &edit.value);
        // What an earlier write of ours overwrote is not logged before its next plan, which the delete prevents.
        let overwritten = remote.overwritten.as_ref().map(|edit| &edit.value);
        let edits = edit.into_iter().chain(contender).chain(overwritten);
        edits.map(|value| (field.clone(), value.clone()))
    });
    edits.collect()
}

/// Absorbs that our delete, whose answer is still to come, has taken effect.
pub(super) fn begin(record: &mut Absorbing<'_>, delete: IntentId) {
    for (field, remote) in &record.link.remote_state.fields {
        if remote.concurrent_write == Some(delete) {
            record.apply(Effect::Overwritten(field.clone(), remote.value.clone()));
        }
    }
    record.apply(Effect::KeepBeforeDelete);
}

/// Returns whether the observation is of a record that we deleted and that was not seen alive since.
pub(super) fn is_known(record: &Absorbing<'_>) -> bool {
    let deleted = record.link.remote_state.before_delete.as_ref();
    deleted.is_some_and(|deleted| deleted.salesforce_id == record.seen.salesforce_id)
}

/// Absorbs content of a record that we deleted. It is older than the delete, or the record was undeleted: if
/// versions do not show which, a read decides.
pub(super) fn absorb(record: &mut Absorbing<'_>) {
    let is_all_ours = contend(record);
    writes::confirm_echoed(record);
    record.apply(Effect::WasOlder);
    let known = record.link.remote_state.presence_version;
    let is_before_delete = record.seen.version.order(known) == VersionOrder::Older;
    let successor = record.link.salesforce_id.as_ref();
    let has_successor = successor.is_some_and(|id| *id != record.seen.salesforce_id);
    if is_before_delete || has_successor {
        record.apply(Effect::LogOverwritten);
    } else if !is_all_ours || record.seen.kind != ObservationKind::Changed {
        // A read shows the record as it is now, be all of it ours: it is older than the delete or follows an undelete.
        record.apply(Effect::NeedsRefresh);
    }
}

/// Keeps the edits that the observation shows as contenders of the delete. Returns whether it shows nothing but
/// echoes of our writes.
pub(super) fn contend(record: &mut Absorbing<'_>) -> bool {
    let mut is_all_ours = true;
    if !is_known(record) {
        return is_all_ours;
    }
    for (field, value) in &record.seen.fields {
        if writes::echo(record, field, value).is_some() {
            continue;
        }
        is_all_ours = false;
        let deleted = record.so_far().remote_state.before_delete.as_ref();
        let known = deleted
            .and_then(|deleted| deleted.fields.get(field))
            .cloned();
        if let Some(known) = unseen_edit(record, value, known) {
            record.apply(Effect::DeletedField(field.clone(), Box::new(known)));
        }
    }
    is_all_ours
}

/// Returns the field with the shown value as its contender, if that is an edit which was not seen before.
fn unseen_edit(
    record: &Absorbing<'_>,
    value: &Value,
    known: Option<RemoteField>,
) -> Option<RemoteField> {
    // Of a deleted record, the hint means that the delete was ours.
    if record.seen.ours && record.seen.kind != ObservationKind::Deleted {
        return None;
    }
    let version = record.seen.version;
    let is_event = record.seen.kind == ObservationKind::Changed;
    // A read shows every field, edited or not.
    let is_seen = known.is_some();
    let contender = Contender {
        value: value.clone(),
        version,
        edited: None,
        was_not_shown: false,
    };
    let is_new = known.is_none_or(|known| {
        let is_later = match version.order(known.version) {
            VersionOrder::Newer => true,
            // A read of the same second may be older than a write of ours.
            VersionOrder::Incomparable => is_event,
            VersionOrder::Older | VersionOrder::Same => false,
        };
        is_later && known.value != *value
    });
    (is_new && (is_event || is_seen)).then(|| RemoteField {
        contender: Some(contender),
        ..RemoteField::new(value.clone(), version)
    })
}
