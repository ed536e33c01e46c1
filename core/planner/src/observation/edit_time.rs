//! When the fields of an observation were edited.
//!
//! A change event names the fields that were changed, so each was edited at the event's time. A read shows only
//! when the record was last changed: a field with another value than before was edited between the two versions.

use crate::model::edit_time::EditTime;
use crate::model::ids::FieldName;
use crate::model::link::RemoteField;
use crate::model::observation::ObservationKind;
use crate::model::value::Value;

use super::effect::{Absorbing, Effect};
use super::fields::Shown;
use super::writes;

/// Returns when the field was given the value that is shown.
pub(super) fn of(record: &Absorbing<'_>, shown: &Shown<'_>) -> Option<EditTime> {
    let prior = shown.prior.as_ref();
    if shown.differs() {
        return since(record, prior.and_then(|prior| prior.version.modified_ms));
    }
    let known = prior.and_then(|prior| prior.edited);
    let at_ms = record.seen.version.modified_ms;
    match (names_changes(record), at_ms) {
        (true, Some(at_ms)) => {
            Some(known.map_or_else(|| EditTime::at(at_ms), |known| known.confirmed(at_ms)))
        }
        (_, _) => known,
    }
}

/// Like [`of`], while that matters: a field without a base is not decided by times, and one that equals it was
/// not edited.
pub(super) fn kept(record: &Absorbing<'_>, shown: &Shown<'_>) -> Option<EditTime> {
    let has_base = record.link.base.contains_key(shown.field);
    if !has_base || writes::is_base(record, shown.field, shown.value) {
        return None;
    }
    of(record, shown)
}

/// Returns when an edit was made that was not there at `since_ms`.
pub(super) fn since(record: &Absorbing<'_>, since_ms: Option<i64>) -> Option<EditTime> {
    let at_ms = record.seen.version.modified_ms?;
    Some(match names_changes(record) {
        true => EditTime::at(at_ms),
        false => EditTime::between(since_ms, at_ms),
    })
}

/// Takes from an event that is older than the remote state when a value was set that a read has shown before.
/// Returns the field afterwards.
pub(super) fn narrow(
    record: &mut Absorbing<'_>,
    field: &FieldName,
    value: &Value,
    prior: Option<RemoteField>,
) -> Option<RemoteField> {
    let mut remote = prior?;
    if let (Some(edited), Some(at_ms)) = (remote.edited, record.seen.version.modified_ms)
        && remote.value == *value
        && names_changes(record)
        && edited.confirmed(at_ms) != edited
    {
        remote.edited = Some(edited.confirmed(at_ms));
        record.apply(Effect::Field(field.clone(), Box::new(remote.clone())));
    }
    Some(remote)
}

/// Returns whether every field of the observation was set by it.
fn names_changes(record: &Absorbing<'_>) -> bool {
    match record.seen.kind {
        ObservationKind::Changed | ObservationKind::Created => true,
        ObservationKind::Undeleted
        | ObservationKind::Snapshot
        | ObservationKind::Refresh
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Unreadable
        | ObservationKind::Gap
        | ObservationKind::Unmatched
        | ObservationKind::FilteredOut => false,
    }
}
