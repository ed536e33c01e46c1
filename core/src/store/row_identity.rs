//! Which record a change of a row belongs to, when keys are given, changed, swapped and given up.
//!
//! A fold over the changes of one batch, in the order they were made: no SQL, no clock. A record is
//! found by its external id as compared, by the one it had before, or by its primary key while it has
//! none. A rename moves the record's name; it never makes a second record.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::link::KnownRecord;
use crate::model::change::OutboxOperation;
use crate::model::hash::canonical_json;
use crate::model::ids::{ObjectName, TenantId};
use crate::model::link::Presence;

/// An external id as written and as compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawKey {
    /// As written.
    pub(super) raw: String,
    /// As compared.
    pub(super) canonical: String,
}

/// One change of one row, its keys parsed.
#[derive(Debug, Clone)]
pub(super) struct KeyedChange {
    /// The tenant.
    pub(super) tenant: TenantId,
    /// The object.
    pub(super) object: ObjectName,
    /// What happened.
    pub(super) operation: OutboxOperation,
    /// The external id the row has now, or had when it was deleted.
    pub(super) key: Option<RawKey>,
    /// The external id the row had before, where the change moved it.
    pub(super) old_key: Option<RawKey>,
    /// Primary key of a row that has, or had, no external id.
    pub(super) local_key: Option<serde_json::Value>,
    /// The external id to use for a row that has none; derived from its primary key.
    pub(super) generated: Option<RawKey>,
    /// When, by the trigger's clock.
    pub(super) changed_at_ms: Option<i64>,
    /// The transaction.
    pub(super) xid: Option<i64>,
}

/// What is to be written of one record.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The record as the control plane had it; none for a new one.
    pub(super) known: Option<KnownRecord>,
    /// The tenant.
    pub(super) tenant: TenantId,
    /// The object.
    pub(super) object: ObjectName,
    /// Its external id as written.
    pub(super) external_id: String,
    /// Its external id as compared.
    pub(super) canonical_id: String,
    /// The external id is ours.
    pub(super) generated: bool,
    /// Primary key of the row.
    pub(super) local_key: Option<serde_json::Value>,
    /// What the last change says of the row.
    pub(super) presence: Presence,
    /// When it last changed.
    pub(super) changed_at_ms: Option<i64>,
    /// The transaction of the last change.
    pub(super) xid: Option<i64>,
    /// External ids as written in this batch.
    pub(super) raw_ids: BTreeSet<String>,
    /// External ids as written that its row gave up in this batch.
    pub(super) left_behind: BTreeSet<String>,
    /// There is work.
    pub(super) dirty: bool,
    /// Its external id moved.
    pub(super) moved: bool,
    /// Its row took the external id of another record that still has its own.
    pub(super) key_conflict: bool,
}

type Place = (TenantId, ObjectName);

/// The records of one batch by every name they go by.
#[derive(Debug, Default)]
pub(super) struct RowIdentityMap {
    entries: Vec<Entry>,
    by_key: BTreeMap<(Place, String), usize>,
    by_local: BTreeMap<(Place, String), usize>,
}

impl RowIdentityMap {
    /// Opens the book with what the control plane knows.
    pub(super) fn new(known: Vec<KnownRecord>) -> Self {
        let mut book = Self::default();
        for record in known {
            let link = &record.link;
            book.add(Entry {
                tenant: link.tenant.clone(),
                object: link.object.clone(),
                external_id: link.external_id.clone(),
                canonical_id: link.canonical_id.clone(),
                generated: record.generated,
                local_key: link.local_key.clone(),
                presence: record.postgres_presence,
                changed_at_ms: record.postgres_changed_at_ms,
                xid: None,
                raw_ids: BTreeSet::new(),
                left_behind: BTreeSet::new(),
                dirty: false,
                moved: false,
                key_conflict: record.key_conflict,
                known: Some(record),
            });
        }
        book
    }

    /// Returns the records.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Notes that every row of the object is gone.
    pub(super) fn truncate(&mut self, tenant: &TenantId, object: &ObjectName) {
        for entry in &mut self.entries {
            if &entry.tenant == tenant && &entry.object == object {
                entry.presence = Presence::Deleted;
                entry.dirty = true;
            }
        }
    }

    /// Takes one change in and returns the place of its record among the entries.
    pub(super) fn take(&mut self, change: &KeyedChange) -> usize {
        let place = (change.tenant.clone(), change.object.clone());
        let index = match &change.key {
            Some(key) => self.keyed(&place, change, key),
            None => self.keyless(&place, change),
        };
        let entry = &mut self.entries[index];
        entry.dirty = true;
        entry.presence = match change.operation {
            OutboxOperation::Insert | OutboxOperation::Update | OutboxOperation::Backfill => {
                Presence::Present
            }
            OutboxOperation::Delete | OutboxOperation::Truncate => Presence::Deleted,
        };
        entry.changed_at_ms = entry.changed_at_ms.max(change.changed_at_ms);
        entry.xid = change.xid.or(entry.xid);
        index
    }

    /// Finds the record of a row that has an external id.
    fn keyed(&mut self, place: &Place, change: &KeyedChange, key: &RawKey) -> usize {
        let before = match (&change.old_key, &change.local_key) {
            (Some(old), _) => self.by_key.get(&(place.clone(), old.canonical.clone())),
            (None, Some(local)) => self.by_local.get(&(place.clone(), canonical_json(local))),
            (None, None) => None,
        };
        let before = before.copied();
        let now = self
            .by_key
            .get(&(place.clone(), key.canonical.clone()))
            .copied();
        let index = match (before, now) {
            (None, None) => self.create(place, key, false),
            (None, Some(now)) => now,
            (Some(before), None) => self.rename(before, key),
            (Some(before), Some(now)) if before == now => now,
            (Some(before), Some(now)) => self.key_conflict(before, now, key),
        };
        let entry = &mut self.entries[index];
        if let Some(old) = &change.old_key {
            entry.left_behind.insert(old.raw.clone());
        }
        if entry.canonical_id == key.canonical {
            entry.raw_ids.insert(key.raw.clone());
            if change.operation != OutboxOperation::Delete {
                entry.external_id.clone_from(&key.raw);
                entry.generated = false;
                entry.local_key = None;
            }
        }
        index
    }

    /// Finds the record of a row that has no external id (any more).
    fn keyless(&mut self, place: &Place, change: &KeyedChange) -> usize {
        let generated = change
            .generated
            .as_ref()
            .expect("a change without an external id was refused unless it has a primary key");
        let local = change.local_key.as_ref().map(canonical_json);
        let by_old = change
            .old_key
            .as_ref()
            .and_then(|old| self.by_key.get(&(place.clone(), old.canonical.clone())));
        let by_local = local
            .as_ref()
            .and_then(|local| self.by_local.get(&(place.clone(), local.clone())));
        let by_generated = self
            .by_key
            .get(&(place.clone(), generated.canonical.clone()));
        let index = by_old
            .or(by_local)
            .or(by_generated)
            .copied()
            .unwrap_or_else(|| self.create(place, generated, true));
        self.entries[index].local_key.clone_from(&change.local_key);
        if let Some(local) = local {
            self.by_local.insert((place.clone(), local), index);
        }
        index
    }

    fn create(&mut self, place: &Place, key: &RawKey, generated: bool) -> usize {
        self.add(Entry {
            known: None,
            tenant: place.0.clone(),
            object: place.1.clone(),
            external_id: key.raw.clone(),
            canonical_id: key.canonical.clone(),
            generated,
            local_key: None,
            presence: Presence::Unseen,
            changed_at_ms: None,
            xid: None,
            raw_ids: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            dirty: false,
            moved: false,
            key_conflict: false,
        })
    }

    fn add(&mut self, entry: Entry) -> usize {
        let index = self.entries.len();
        let place = (entry.tenant.clone(), entry.object.clone());
        if let Some(local) = &entry.local_key {
            self.by_local
                .insert((place.clone(), canonical_json(local)), index);
        }
        self.by_key
            .insert((place, entry.canonical_id.clone()), index);
        self.entries.push(entry);
        index
    }

    fn rename(&mut self, index: usize, key: &RawKey) -> usize {
        let entry = &mut self.entries[index];
        let place = (entry.tenant.clone(), entry.object.clone());
        let old = std::mem::replace(&mut entry.canonical_id, key.canonical.clone());
        entry.external_id.clone_from(&key.raw);
        entry.moved = true;
        entry.raw_ids.clear();
        self.by_key.remove(&(place.clone(), old));
        self.by_key.insert((place, key.canonical.clone()), index);
        index
    }

    /// A row took an external id that another record goes by.
    ///
    /// If that record's row is gone, the name is free: it is displaced to a name of its own, under
    /// which its delete can still travel. If the row's own record never reached Salesforce, the row
    /// joins the record that has the name. Else two live records want one name, and the one that came
    /// second stops: a person must say.
    fn key_conflict(&mut self, before: usize, now: usize, key: &RawKey) -> usize {
        let unsent = |entry: &Entry| {
            entry
                .known
                .as_ref()
                .is_none_or(|known| known.link.salesforce_id.is_none())
        };
        if self.entries[now].key_conflict {
            // The row comes back to the record that it had left.
            self.entries[now].key_conflict = false;
            return now;
        }
        match self.entries[now].presence {
            Presence::Deleted => {
                self.move_aside(now);
                self.rename(before, key)
            }
            Presence::Unseen if unsent(&self.entries[before]) => {
                let entry = &mut self.entries[before];
                entry.presence = Presence::Deleted;
                entry.dirty = true;
                now
            }
            Presence::Unseen | Presence::Present | Presence::FilteredOut => {
                self.entries[before].key_conflict = true;
                self.entries[before].dirty = true;
                now
            }
        }
    }

    fn move_aside(&mut self, index: usize) {
        let entry = &self.entries[index];
        let name = match &entry.known {
            Some(known) => known.link.record_id.to_string(),
            None => format!("displaced-{}", entry.canonical_id),
        };
        let key = RawKey {
            canonical: name.to_lowercase(),
            raw: name,
        };
        self.rename(index, &key);
        let entry = &mut self.entries[index];
        entry.generated = true;
        entry.dirty = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation: OutboxOperation, old: Option<&str>, new: Option<&str>) -> KeyedChange {
        let key = |text: &str| RawKey {
            raw: text.to_owned(),
            canonical: text.to_lowercase(),
        };
        KeyedChange {
            tenant: TenantId::parse("acme").unwrap(),
            object: ObjectName::parse("Account").unwrap(),
            operation,
            key: new.map(key),
            old_key: old.map(key),
            local_key: None,
            generated: None,
            changed_at_ms: None,
            xid: None,
        }
    }

    fn insert(book: &mut RowIdentityMap, key: &str) -> usize {
        book.take(&change(OutboxOperation::Insert, None, Some(key)))
    }

    fn rename(book: &mut RowIdentityMap, from: &str, to: &str) -> usize {
        book.take(&change(OutboxOperation::Update, Some(from), Some(to)))
    }

    #[test]
    fn a_rename_keeps_the_record() {
        let mut book = RowIdentityMap::default();
        let first = insert(&mut book, "K1");
        assert_eq!(rename(&mut book, "K1", "K2"), first);
        assert_eq!(book.entries()[first].canonical_id, "k2");
        assert_ne!(
            insert(&mut book, "K1"),
            first,
            "the old name is free for another record"
        );
    }

    #[test]
    fn two_records_swap_their_names() {
        let mut book = RowIdentityMap::default();
        let (one, two) = (insert(&mut book, "K1"), insert(&mut book, "K2"));
        rename(&mut book, "K1", "swap");
        rename(&mut book, "K2", "K1");
        rename(&mut book, "swap", "K2");
        assert_eq!(book.entries()[one].canonical_id, "k2");
        assert_eq!(book.entries()[two].canonical_id, "k1");
        assert_eq!(book.entries().len(), 2);
    }

    #[test]
    fn a_change_of_case_is_the_same_name() {
        let mut book = RowIdentityMap::default();
        let record = insert(&mut book, "ab-1");
        assert_eq!(rename(&mut book, "ab-1", "AB-1"), record);
        assert_eq!(book.entries()[record].external_id, "AB-1");
        assert!(!book.entries()[record].moved);
    }

    #[test]
    fn a_name_is_free_once_its_row_is_deleted() {
        let mut book = RowIdentityMap::default();
        let (one, two) = (insert(&mut book, "K1"), insert(&mut book, "K2"));
        book.take(&change(OutboxOperation::Delete, None, Some("K2")));
        assert_eq!(rename(&mut book, "K1", "K2"), one);
        assert!(book.entries()[two].moved, "the deleted one made room");
    }

    #[test]
    fn a_name_that_is_taken_stops_the_second_record() {
        let mut book = RowIdentityMap::default();
        let (one, two) = (insert(&mut book, "K1"), insert(&mut book, "K2"));
        assert_eq!(rename(&mut book, "K1", "k2"), two);
        assert!(book.entries()[one].key_conflict);
        assert_eq!(book.entries()[one].canonical_id, "k1");
        assert_eq!(
            rename(&mut book, "k2", "K1"),
            one,
            "it goes on when its row comes back"
        );
        assert!(!book.entries()[one].key_conflict);
    }

    #[test]
    fn a_row_without_an_external_id_keeps_its_record_when_it_gets_one() {
        let mut book = RowIdentityMap::default();
        let local = serde_json::json!({"id": 7});
        let generated = RawKey {
            raw: "u-7".to_owned(),
            canonical: "u-7".to_owned(),
        };
        let born = KeyedChange {
            local_key: Some(local.clone()),
            generated: Some(generated),
            ..change(OutboxOperation::Insert, None, None)
        };
        let record = book.take(&born);
        assert!(book.entries()[record].generated);
        let named = KeyedChange {
            local_key: Some(local),
            ..change(OutboxOperation::Update, None, Some("K7"))
        };
        assert_eq!(book.take(&named), record);
        assert!(!book.entries()[record].generated);
        assert_eq!(book.entries()[record].external_id, "K7");
    }
}
