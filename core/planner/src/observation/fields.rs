//! Absorbs the fields of an observation, each by its own version.

use crate::model::ids::{FieldName, IntentId};
use crate::model::intent::IntentState;
use crate::model::link::RemoteField;
use crate::model::observation::{Version, VersionOrder};
use crate::model::value::Value;

use super::effect::{Absorbing, Effect};
use super::{edit_time, overwritten, writes};

/// One field of the observation.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) field: &'a FieldName,
    pub(super) value: &'a Value,
    /// The field in the remote state.
    pub(super) prior: Option<RemoteField>,
    /// The order of the observation's version and that of the remote state.
    pub(super) order: VersionOrder,
}

impl Shown<'_> {
    /// Returns whether the remote state has another value or lacks the field.
    pub(super) fn differs(&self) -> bool {
        self.prior
            .as_ref()
            .is_none_or(|prior| prior.value != *self.value)
    }
}

/// Calls `take_one` for every field that is not older than the remote state.
pub(super) fn take<'a>(record: &mut Absorbing<'a>, take_one: fn(&mut Absorbing<'a>, &Shown<'_>)) {
    take_unreadable(record);
    for (field, value) in &record.seen.fields {
        let prior = record.so_far().remote_state.fields.get(field).cloned();
        let order = prior.as_ref().map_or(VersionOrder::Newer, |prior| {
            record.seen.version.order(prior.version)
        });
        match order {
            // The same event again.
            VersionOrder::Same => {}
            VersionOrder::Older => {
                let prior = edit_time::narrow(record, field, value, prior);
                overwritten::older(record, field, value, prior);
            }
            VersionOrder::Newer | VersionOrder::Incomparable => {
                let shown = Shown {
                    field,
                    value,
                    prior,
                    order,
                };
                take_one(record, &shown);
            }
        }
    }
}

/// Notes the fields that cannot be read. A field that can be read now is planned again.
fn take_unreadable(record: &mut Absorbing<'_>) {
    let all_readable = record.so_far().remote_state.unreadable.is_empty();
    if all_readable && record.seen.unreadable.is_empty() {
        return;
    }
    let known = record.so_far().remote_state.clone();
    for (field, reason) in &record.seen.unreadable {
        let older = known
            .fields
            .get(field)
            .is_some_and(|prior| record.seen.version.order(prior.version) == VersionOrder::Older);
        if !older && known.unreadable.get(field) != Some(reason) {
            record.apply(Effect::Unreadable(field.clone(), reason.clone()));
            record.apply(Effect::Took);
        }
    }
    if known
        .unreadable
        .keys()
        .any(|field| record.seen.fields.contains_key(field))
    {
        record.apply(Effect::Dirty);
    }
}

/// Absorbs one field of an event.
pub(super) fn from_event(record: &mut Absorbing<'_>, shown: &Shown<'_>) {
    if !echoes(record, shown) {
        unexplained(record, shown);
    }
}

/// Absorbs a value that is the echo of our write. Returns false if it is not an echo.
pub(super) fn echoes(record: &mut Absorbing<'_>, shown: &Shown<'_>) -> bool {
    let Some(echo) = writes::echo(record, shown.field, shown.value) else {
        return false;
    };
    if !echo.replaced {
        overwritten::land(record, shown, &echo.writes);
    }
    true
}

/// Absorbs a value that is not the echo of our write.
pub(super) fn unexplained(record: &mut Absorbing<'_>, shown: &Shown<'_>) {
    let Shown { field, value, .. } = *shown;
    let pending = writes::pending(record, field);
    let applied = pending
        .iter()
        .any(|intent| intent.state == IntentState::Applied);
    // Of the same second as a read before our write: it may show the record as it was then.
    let may_be_older = shown.order == VersionOrder::Incomparable
        && shown
            .prior
            .as_ref()
            .is_some_and(|prior| prior.version != Version::default());
    match (pending.as_slice(), record.seen.ours, applied) {
        ([], _, _) => foreign(record, shown, None),
        ([_, ..], true, _) if may_be_older => record.apply(Effect::NeedsRefresh),
        ([intent, ..], true, _) => {
            writes::automation_override(record, intent, field, value);
            record.apply(Effect::Echoed(intent.intent_id, field.clone()));
            overwritten::land(record, shown, &[intent.intent_id]);
            record.apply(Effect::Took);
        }
        ([_, ..], false, true) => overwritten::contend(record, shown),
        ([.., newest], false, false) => foreign(record, shown, Some(newest.intent_id)),
    }
}

/// Absorbs a user's edit. `concurrent`: the write of ours to the field that is open.
fn foreign(record: &mut Absorbing<'_>, shown: &Shown<'_>, concurrent: Option<IntentId>) {
    let Shown {
        field,
        value,
        ref prior,
        order,
    } = *shown;
    let differs = shown.differs();
    if differs && order == VersionOrder::Incomparable {
        overwritten::contend_with_write(record, shown, concurrent);
        return record.apply(Effect::NeedsRefresh);
    }
    let late = writes::is_late_write(record, field, value);
    let mut remote = stored(record, shown);
    remote.late_write = late || (remote.late_write && !differs);
    remote.edited = match concurrent {
        Some(_) => edit_time::of(record, shown),
        None => edit_time::kept(record, shown),
    };
    overwritten::succeed(record, shown, concurrent, &mut remote);
    if differs && concurrent.is_none() {
        remote.concurrent_write = writes::pending_delete(record);
    }
    record.apply(Effect::Field(field.clone(), Box::new(remote)));
    // A field that is seen for the first time is a change unless it is null or equals the base.
    let is_new = match prior {
        Some(_) => differs,
        None => *value != Value::Null && !writes::is_base(record, field, value),
    };
    if is_new || late {
        record.apply(Effect::Took);
    }
}

/// Returns the field for the remote state. If the values are equal and from the same second, it keeps the
/// version with a commit number.
pub(super) fn stored(record: &Absorbing<'_>, shown: &Shown<'_>) -> RemoteField {
    let version = record.seen.version;
    let same = shown
        .prior
        .as_ref()
        .filter(|prior| prior.value == *shown.value);
    let known = same.filter(|prior| {
        shown.order == VersionOrder::Incomparable
            && prior.version != Version::default()
            && version.commit_number.is_none()
    });
    let version = known.map_or(version, |prior| prior.version);
    match same {
        Some(prior) => RemoteField {
            version,
            ..prior.clone()
        },
        None => RemoteField::new(shown.value.clone(), version),
    }
}
