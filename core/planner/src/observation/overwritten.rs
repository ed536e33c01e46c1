//! Edits in Salesforce that meet a write of ours: which of the two came last, and what the write overwrote.
//!
//! Versions decide, never the order of arrival. The version of a write is known once its echo or a read shows it;
//! until then an edit beside it is kept as its contender.

use crate::model::ids::{FieldName, IntentId};
use crate::model::intent::{Intent, IntentState};
use crate::model::link::{Contender, OverwrittenEdit, RemoteField, Replaced};
use crate::model::observation::{ObservationKind, Version, VersionOrder};
use crate::model::value::Value;

use super::edit_time;
use super::effect::{Absorbing, Effect};
use super::fields::{Shown, stored};
use super::writes::{self, shows};

/// Absorbs a value that is older than the remote state: perhaps an edit that a write of ours overwrote.
pub(super) fn older(
    record: &mut Absorbing<'_>,
    field: &FieldName,
    value: &Value,
    prior: Option<RemoteField>,
) {
    record.apply(Effect::WasOlder);
    let Some(mut remote) = prior.filter(|_| record.seen.kind != ObservationKind::Refresh) else {
        return;
    };
    let version = record.seen.version;
    let Some(replaced) = remote.replaced.clone() else {
        return;
    };
    let order = order_after(version, replaced.after);
    let is_before_write = replaced
        .before
        .is_none_or(|before| version.order(before) == VersionOrder::Older);
    if matches!(order, VersionOrder::Older | VersionOrder::Same) || !is_before_write {
        return;
    }
    if remote.concurrent_write.is_some() {
        return precede(record, field, value, remote);
    }
    if record.seen.ours || remote.value == *value || was_seen(&replaced, value, version) {
        return;
    }
    let is_last_change = replaced.before.is_none() && order == VersionOrder::Newer;
    if is_last_change {
        let edit = Contender {
            value: value.clone(),
            version,
            edited: edit_time::since(record, replaced.after.modified_ms),
            was_not_shown: false,
        };
        overwrite(record, &mut remote, edit);
    } else {
        record.apply(Effect::Overwritten(field.clone(), value.clone()));
        remote.replaced = Some(Replaced {
            after: version,
            ..replaced
        });
    }
    record.apply(Effect::Field(field.clone(), Box::new(remote)));
}

/// Absorbs the echo of a write that is older than an edit which was seen first: the edit stands.
fn precede(record: &mut Absorbing<'_>, field: &FieldName, value: &Value, mut remote: RemoteField) {
    let is_echo = record.seen.ours || writes::echo(record, field, value).is_some();
    if !is_echo {
        return;
    }
    for intent in writes::pending(record, field) {
        if remote.concurrent_write == Some(intent.intent_id) {
            record.apply(Effect::Echoed(intent.intent_id, field.clone()));
        }
    }
    remote.concurrent_write = None;
    remote.replaced = remote.replaced.map(|replaced| Replaced {
        before: Some(record.seen.version),
        ..replaced
    });
    record.apply(Effect::Field(field.clone(), Box::new(remote)));
}

/// Keeps an edit that came before or after a confirmed write, until the echo of the write shows which.
pub(super) fn contend(record: &mut Absorbing<'_>, shown: &Shown<'_>) {
    record.apply(Effect::WasOlder);
    let Some(prior) = &shown.prior else {
        return record.apply(Effect::Overwritten(
            shown.field.clone(),
            shown.value.clone(),
        ));
    };
    let version = record.seen.version;
    let known = prior.contender.as_ref();
    let order = known.map_or(VersionOrder::Newer, |known| version.order(known.version));
    if matches!(order, VersionOrder::Older | VersionOrder::Same) {
        return;
    }
    let contender = Some(Contender {
        value: shown.value.clone(),
        version,
        edited: edit_time::of(record, shown),
        was_not_shown: false,
    });
    let contended = RemoteField {
        contender,
        ..prior.clone()
    };
    record.apply(Effect::Field(shown.field.clone(), Box::new(contended)));
}

/// Keeps an edit of the same second as a write of ours, which may be open, until a read shows which of them stands.
pub(super) fn contend_with_write(
    record: &mut Absorbing<'_>,
    shown: &Shown<'_>,
    concurrent: Option<IntentId>,
) {
    let replaced = shown
        .prior
        .as_ref()
        .and_then(|prior| prior.replaced.as_ref());
    // Of one second, too: what was seen before the write may have been read before the edit.
    let is_unseen = |replaced: &Replaced| {
        matches!(
            order_after(record.seen.version, replaced.after),
            VersionOrder::Newer | VersionOrder::Incomparable
        )
    };
    if !record.seen.ours && (concurrent.is_some() || replaced.is_some_and(is_unseen)) {
        contend(record, shown);
    }
}

/// Takes what a write of ours left in the field, unless an edit came after it.
pub(super) fn land(record: &mut Absorbing<'_>, shown: &Shown<'_>, writes: &[IntentId]) {
    let mut remote = stored(record, shown);
    let is_sent = is_sent_by(record, shown, writes);
    remote.edited = edit_time::kept(record, shown).filter(|_| !is_sent);
    if let Some(prior) = &shown.prior {
        remote.replaced = replaced_by(record, shown, prior);
        remote.overwritten.clone_from(&prior.overwritten);
        remote.contender = None;
        remote.concurrent_write = None;
        if let Some(edit) = beside(prior, writes) {
            settle(record, shown, &mut remote, edit);
        }
    }
    record.apply(Effect::Field(shown.field.clone(), Box::new(remote)));
}

/// Returns whether one of the writes sent the value: it is no edit of Salesforce.
fn is_sent_by(record: &Absorbing<'_>, shown: &Shown<'_>, writes: &[IntentId]) -> bool {
    let mut intents = record.intents.iter();
    intents.any(|intent| {
        let sent = intent.fields.get(shown.field);
        writes.contains(&intent.intent_id)
            && sent.is_some_and(|sent| shows(shown.value, sent, record.parents))
    })
}

/// Orders an edit against the write of ours that the observation shows.
fn settle(
    record: &mut Absorbing<'_>,
    shown: &Shown<'_>,
    remote: &mut RemoteField,
    edit: Contender,
) {
    let is_read = record.seen.kind == ObservationKind::Refresh;
    match record.seen.version.order(edit.version) {
        VersionOrder::Older => {
            *remote = standing(record, shown, remote, edit);
            record.apply(Effect::Took);
        }
        VersionOrder::Incomparable if !(is_read && edit.was_not_shown) => {
            remote.contender = Some(Contender {
                was_not_shown: is_read,
                ..edit
            });
            record.apply(Effect::NeedsRefresh);
        }
        VersionOrder::Incomparable | VersionOrder::Same | VersionOrder::Newer => {
            if edit.value != *shown.value {
                overwrite(record, remote, edit);
            }
        }
    }
}

/// Returns the field as an edit after our write left it. A later write of ours may be open already.
fn standing(
    record: &Absorbing<'_>,
    shown: &Shown<'_>,
    remote: &RemoteField,
    edit: Contender,
) -> RemoteField {
    let version = record.seen.version;
    let is_event = record.seen.kind != ObservationKind::Refresh;
    let pending = writes::pending(record, shown.field);
    let open = pending.last().filter(|_| is_event);
    let replaced = match open {
        Some(_) => Some(Replaced {
            after: version,
            before: None,
            base: record.link.base.get(shown.field).cloned(),
            seen: None,
            row_edited_ms: None,
        }),
        None => remote.replaced.clone().map(|replaced| Replaced {
            before: Some(version),
            ..replaced
        }),
    };
    RemoteField {
        concurrent_write: open.map(|intent| intent.intent_id),
        replaced,
        edited: edit.edited,
        ..RemoteField::new(edit.value, edit.version)
    }
}

/// Notes in the remote state, which is our write, the edit that it overwrote.
fn overwrite(record: &mut Absorbing<'_>, remote: &mut RemoteField, edit: Contender) {
    record.apply(Effect::WasOlder);
    let base = remote
        .replaced
        .as_ref()
        .and_then(|replaced| replaced.base.clone());
    let is_base = |value: &Value| {
        base.as_ref()
            .is_some_and(|base| shows(value, base, record.parents))
    };
    let was_seen = remote
        .replaced
        .as_ref()
        .is_some_and(|replaced| was_seen(replaced, &edit.value, edit.version));
    let is_edit = edit.value != remote.value && !is_base(&edit.value) && !was_seen;
    if let Some(replaced) = &mut remote.replaced {
        // The same event again is not newer any more.
        replaced.after = edit.version;
    }
    // An earlier edit was replaced by this one before our write.
    remote.overwritten = is_edit.then_some(OverwrittenEdit {
        value: edit.value,
        version: edit.version,
        edited: edit.edited,
        base,
    });
    if is_edit {
        record.apply(Effect::Dirty);
    }
}

/// Completes a field that a person's edit has set, or has set again.
pub(super) fn succeed(
    record: &mut Absorbing<'_>,
    shown: &Shown<'_>,
    concurrent: Option<IntentId>,
    remote: &mut RemoteField,
) {
    let Some(prior) = &shown.prior else {
        remote.concurrent_write = concurrent;
        return;
    };
    if !shown.differs() {
        if let Some(edit) = remote.contender.take() {
            settle(record, shown, remote, edit);
        }
        return;
    }
    log_undecided(record, shown, prior);
    remote.concurrent_write = concurrent;
    remote.replaced = match concurrent {
        Some(_) if prior.concurrent_write == concurrent => prior.replaced.clone(),
        Some(_) => Some(replaces(record, shown.field, prior, prior.version)),
        None => prior.replaced.clone().map(|replaced| Replaced {
            before: replaced.before.or(Some(prior.version)),
            ..replaced
        }),
    };
}

/// Completes a field that a read under the lease shows.
pub(super) fn complete_read(
    record: &mut Absorbing<'_>,
    shown: &Shown<'_>,
    remote: &mut RemoteField,
) {
    let Some(prior) = &shown.prior else {
        return;
    };
    let pending: Vec<&Intent> = writes::pending(record, shown.field);
    let is_ours = pending.iter().any(|intent| {
        let is_overridden = record.seen.ours && intent.state == IntentState::Applied;
        is_overridden || shows(shown.value, &intent.fields[shown.field], record.parents)
    });
    let writes: Vec<IntentId> = pending.iter().map(|intent| intent.intent_id).collect();
    let edit = beside(prior, &writes);
    if edit.as_ref().is_some_and(|edit| edit.value == *shown.value) {
        return;
    }
    if !is_ours && shown.differs() {
        return log_undecided(record, shown, prior);
    }
    remote.replaced = if is_ours {
        replaced_by(record, shown, prior)
    } else {
        prior.replaced.clone()
    };
    remote.overwritten.clone_from(&prior.overwritten);
    if let Some(edit) = edit {
        settle(record, shown, remote, edit);
    }
}

/// Logs edits that our writes overwrote, or may have, and that a person has replaced since.
fn log_undecided(record: &mut Absorbing<'_>, shown: &Shown<'_>, prior: &RemoteField) {
    let overwritten = prior.overwritten.as_ref().map(|edit| &edit.value);
    let contender = prior.contender.as_ref().map(|edit| &edit.value);
    let lost = overwritten.into_iter().chain(contender);
    for value in lost.filter(|lost| *lost != shown.value) {
        record.apply(Effect::Overwritten(shown.field.clone(), value.clone()));
    }
}

/// Returns the edit beside these writes: seen while one of them was open, or not ordered yet.
fn beside(prior: &RemoteField, writes: &[IntentId]) -> Option<Contender> {
    let is_concurrent = prior
        .concurrent_write
        .is_some_and(|write| writes.contains(&write));
    let concurrent = is_concurrent.then(|| Contender {
        value: prior.value.clone(),
        version: prior.version,
        edited: prior.edited,
        was_not_shown: false,
    });
    prior.contender.clone().or(concurrent)
}

/// Returns what the write that is shown replaced.
fn replaced_by(record: &Absorbing<'_>, shown: &Shown<'_>, prior: &RemoteField) -> Option<Replaced> {
    let is_settled = prior.value == *shown.value && prior.replaced.is_some();
    if is_settled || prior.concurrent_write.is_some() {
        return prior.replaced.clone();
    }
    Some(replaces(record, shown.field, prior, last_seen(prior)))
}

/// Returns the version up to which every edit of the field was seen. What our earlier writes replaced was not.
pub(super) fn last_seen(prior: &RemoteField) -> Version {
    let ours = prior.replaced.as_ref();
    ours.filter(|replaced| replaced.before.is_none())
        .map_or(prior.version, |replaced| replaced.after)
}

/// Returns the value that was seen last, unless a write of ours has replaced it since.
pub(super) fn last_seen_value(prior: &RemoteField) -> Option<Value> {
    let ours = prior.replaced.as_ref();
    let is_ours = ours.is_some_and(|replaced| replaced.before.is_none());
    (!is_ours).then(|| prior.value.clone())
}

fn replaces(
    record: &Absorbing<'_>,
    field: &FieldName,
    prior: &RemoteField,
    after: Version,
) -> Replaced {
    Replaced {
        after,
        before: None,
        base: record.link.base.get(field).cloned(),
        seen: last_seen_value(prior),
        row_edited_ms: None,
    }
}

/// Returns whether the write was decided with this edit: a read of its second has shown the value.
fn was_seen(replaced: &Replaced, value: &Value, version: Version) -> bool {
    replaced.seen.as_ref() == Some(value)
        && version.order(replaced.after) == VersionOrder::Incomparable
}

/// Compares a version with the last one before a write. If that is not known, nothing is older.
fn order_after(version: Version, after: Version) -> VersionOrder {
    if after == Version::default() {
        return VersionOrder::Newer;
    }
    version.order(after)
}
