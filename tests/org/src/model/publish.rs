//! Turns the changes of a committed transaction into change events.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use bytes::Bytes;

use serde::{Deserialize, Serialize};

use super::change::{Body, ChangeKind, Changed, Commit};
use super::log::{Logged, Source};
use super::row::Row;
use super::schema::{FieldNo, ObjectNo};
use super::stamp;
use super::transaction::{Touch, Transaction};
use super::value::Value;
use super::{Actor, Model};
use crate::unconfirmed::MERGED_RECORDS_MAX;
use crate::unconfirmed::switches::MergedEvents;

/// The record id of an overflow event.
const NO_RECORD: &str = "000000000000000AAA";

/// Limits above which Salesforce sends less detail.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EventLimits {
    /// Maximum number of changes per transaction with events of their own. A create, delete or
    /// undelete counts once, an update once for each field.
    pub(crate) changes_per_transaction_max: usize,
    /// Maximum size of an event in bytes; a larger one becomes a gap event.
    pub(crate) event_bytes_max: usize,
}

impl Default for EventLimits {
    /// The limits of the Change Data Capture guide.
    fn default() -> Self {
        Self {
            changes_per_transaction_max: 100_000,
            event_bytes_max: 1_000_000,
        }
    }
}

/// An event whose records are still being collected.
struct Pending {
    object: ObjectNo,
    body: Rc<Body>,
    sequence: usize,
    ids: Vec<String>,
    refused_by: u64,
}

/// Events that equal changes can still join.
type Open = HashMap<(ObjectNo, u64, Rc<Body>), usize>;

impl Model {
    /// Appends the events of a transaction to the log.
    ///
    /// Records of one object with an identical change can share one event.
    pub(crate) fn commit(&mut self, tx: Transaction, actor: &Actor) {
        if tx.touches.is_empty() {
            return;
        }
        self.recalculate(&tx.touched());
        self.note_deletions(&tx);
        let commit = self.new_commit(actor);
        let filtered = self
            .channels
            .iter()
            .any(|c| c.members.iter().any(|m| m.filter.is_some()));
        let mut waiting: Vec<Pending> = Vec::with_capacity(tx.touches.len());
        let mut open = Open::new();
        let mut overflown: Vec<ObjectNo> = Vec::new();
        let mut changes = 0;
        for (place, touch) in tx.touches.iter().enumerate() {
            let Some((body, count)) = self.body_of(touch) else {
                continue;
            };
            changes += count;
            if changes > self.limits.changes_per_transaction_max {
                if !overflown.contains(&touch.object) {
                    overflown.push(touch.object);
                }
                continue;
            }
            let pending = Pending {
                object: touch.object,
                body: self.unless_planned_gap(touch.object, body).into(),
                sequence: place + 1,
                ids: vec![self.id_of(touch.object, touch.row).to_string()],
                refused_by: if filtered {
                    self.refusing_channels(touch.object, touch.row)
                } else {
                    0
                },
            };
            if tx.touches.len() == 1 {
                waiting.push(pending);
            } else {
                let merges = self.merges(pending.body.kind);
                add(&mut waiting, &mut open, pending, merges);
            }
        }
        for (place, object) in overflown.into_iter().enumerate() {
            waiting.push(Pending {
                object,
                body: self.gap_body(object, ChangeKind::GapOverflow).into(),
                sequence: tx.touches.len() + place + 1,
                ids: vec![NO_RECORD.to_owned()],
                refused_by: 0,
            });
        }
        for pending in waiting {
            self.publish_change(&commit, &pending);
        }
    }

    /// Publishes an event without content in a transaction of its own.
    ///
    /// Without ids it covers every record of the object: `001*`, or the empty record id for an
    /// overflow.
    pub(crate) fn publish_without_content(
        &mut self,
        actor: &Actor,
        object: ObjectNo,
        kind: ChangeKind,
        ids: Vec<String>,
    ) {
        let commit = self.new_commit(actor);
        let ids = match (ids.is_empty(), kind) {
            (false, _) => ids,
            (true, ChangeKind::GapOverflow) => vec![NO_RECORD.to_owned()],
            (true, _) => vec![format!("{}*", self.object(object).prefix())],
        };
        let pending = Pending {
            object,
            body: self.gap_body(object, kind).into(),
            sequence: 1,
            ids,
            refused_by: 0,
        };
        self.publish_change(&commit, &pending);
    }

    /// Returns whether an event may share another one of the same transaction.
    ///
    /// Equal creates are separate records, so they never do. A create carries all values, including
    /// a stamp and an owner, but not its id.
    fn merges(&mut self, kind: ChangeKind) -> bool {
        matches!(kind, ChangeKind::Update | ChangeKind::Delete)
            && match self.switches.merged_events {
                MergedEvents::Never => false,
                MergedEvents::ByChance => self.random.share() < 0.5,
                MergedEvents::Always => true,
            }
    }

    fn new_commit(&mut self, actor: &Actor) -> Commit {
        self.commit_number += 1 + (self.commit_number & 3);
        Commit {
            origin: actor.origin.clone(),
            transaction_key: self.random.uuid().to_string(),
            timestamp_ms: stamp::floor_to_second(self.now_ms),
            number: self.commit_number,
            user: actor.user.to_string(),
        }
    }

    fn publish_change(&mut self, commit: &Commit, pending: &Pending) {
        let object = self.schema.object(pending.object);
        let sequence = i32::try_from(pending.sequence).unwrap_or(i32::MAX);
        let mut datum = pending.body.datum(object, commit, sequence, &pending.ids);
        if datum.len() > self.limits.event_bytes_max {
            let gap = self.gap_body(pending.object, pending.body.kind.gap());
            datum = gap.datum(object, commit, sequence, &pending.ids);
        }
        let source = Source::Object(pending.object);
        let event = Logged {
            source,
            schema: self.log.layout(source).0,
            id: self.random.uuid(),
            // Copied to the exact length, because millions of events stay in memory.
            payload: Bytes::copy_from_slice(&datum),
            refused_by: pending.refused_by,
        };
        self.log.append(self.now_ms, event);
    }

    fn gap_body(&self, object: ObjectNo, kind: ChangeKind) -> Body {
        Body::header_only(kind, self.log.layout(Source::Object(object)).1)
    }

    /// Returns the body, or a planned gap in its place.
    fn unless_planned_gap(&mut self, object: ObjectNo, body: Body) -> Body {
        match self.planned_gaps.get_mut(&object) {
            Some(left) if *left > 0 => {
                *left -= 1;
                self.planned_gaps_sent += 1;
                self.gap_body(object, body.kind.gap())
            }
            Some(_) | None => body,
        }
    }

    /// Returns the event body of a changed record and the number of its changes, or `None` if no
    /// event is sent.
    fn body_of(&self, touch: &Touch) -> Option<(Body, usize)> {
        let object = self.object(touch.object);
        if !object.change_events || !object.is_selected {
            return None;
        }
        let row = self.table(touch.object).row(touch.row)?;
        let kind = net_kind(touch, row, object.system.is_deleted)?;
        let stamp = object.system.modified_date;
        let changed: Vec<Changed<'_>> = touch
            .old
            .iter()
            .filter(|(no, old)| row[no.0] != *old || *no == stamp)
            .filter(|(no, _)| !(touch.hides_stamp && *no == stamp))
            .map(|(no, old)| Changed { field: *no, old })
            .collect();
        let count = if kind == ChangeKind::Update {
            changed.len()
        } else {
            1
        };
        let (_, layout) = self.log.layout(Source::Object(touch.object));
        Some((Body::new(kind, object, layout, row, &changed), count))
    }
}

/// Returns the net change of a record in a transaction: its first change, unless the record was
/// created or deleted.
fn net_kind(touch: &Touch, row: &Row, is_deleted: FieldNo) -> Option<ChangeKind> {
    let deleted = row[is_deleted.0] == Value::Bool(true);
    if touch.kind == ChangeKind::Create {
        return (!deleted).then_some(ChangeKind::Create);
    }
    let before = touch.old.iter().find(|(no, _)| *no == is_deleted);
    let was_deleted = before.map_or(deleted, |(_, old)| *old == Value::Bool(true));
    match (was_deleted, deleted) {
        (false, true) => Some(ChangeKind::Delete),
        (true, false) => Some(ChangeKind::Undelete),
        (false, false) => Some(ChangeKind::Update),
        (true, true) => None,
    }
}

/// Adds an event, or adds its record to an identical event if it `merges`.
fn add(waiting: &mut Vec<Pending>, open: &mut Open, pending: Pending, merges: bool) {
    if !merges {
        waiting.push(pending);
        return;
    }
    let key = (pending.object, pending.refused_by, Rc::clone(&pending.body));
    match open.entry(key) {
        Entry::Vacant(first) => {
            first.insert(waiting.len());
            waiting.push(pending);
        }
        Entry::Occupied(mut place) => {
            let known = &mut waiting[*place.get()];
            if known.ids.len() < MERGED_RECORDS_MAX {
                known.ids.extend(pending.ids);
            } else {
                place.insert(waiting.len());
                waiting.push(pending);
            }
        }
    }
}
