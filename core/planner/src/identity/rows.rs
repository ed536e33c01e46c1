//! Finds the record that each change of a row belongs to, when keys are set, changed, swapped and cleared.
//!
//! Processes the changes of one batch in order. A record is found by its canonical external id, by its former
//! one, or by its primary key while it has no external id. A rename changes the record's key; it never
//! creates a second record.

use std::collections::{BTreeMap, BTreeSet};

use super::KnownRecord;
use super::nested::{RowName, order};
use crate::model::change::OutboxOperation;
use crate::model::hash::canonical_json;
use crate::model::ids::{FieldName, ObjectName, TenantId};
use crate::model::link::Presence;

/// An external id, as written and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    /// As written.
    pub raw: String,
    /// In canonical form.
    pub canonical: String,
}

/// One change of one row, its keys parsed.
#[derive(Debug, Clone)]
pub struct KeyedChange {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// What happened.
    pub operation: OutboxOperation,
    /// The external id the row has now, or had when it was deleted.
    pub key: Option<RowKey>,
    /// The external id the row had before, if the change renamed it.
    pub old_key: Option<RowKey>,
    /// Primary key of a row that has, or had, no external id.
    pub local_key: Option<serde_json::Value>,
    /// The generated id of a row that has no external id, derived from its primary key.
    pub generated: Option<RowKey>,
    /// When, by the trigger's clock.
    pub changed_at_ms: Option<i64>,
    /// The fields that it edited, if their times may matter.
    pub fields: Vec<FieldName>,
    /// A trigger made it, before the statement that fired the trigger was captured.
    pub nested: bool,
}

impl KeyedChange {
    /// Returns whether its row may have a name that another row had before.
    fn may_take_a_name(&self) -> bool {
        self.old_key.is_some() || self.key.is_some() && self.local_key.is_some()
    }
}

/// A record as it is after the batch.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The record as loaded; `None` for a new one.
    pub known: Option<KnownRecord>,
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// Its external id as written.
    pub external_id: String,
    /// Its canonical external id.
    pub canonical_id: String,
    /// The external id is a generated id.
    pub generated: bool,
    /// Primary key of the row.
    pub local_key: Option<serde_json::Value>,
    /// Whether the row exists after the last change.
    pub presence: Presence,
    /// When it last changed.
    pub changed_at_ms: Option<i64>,
    /// When its fields were last edited, see [`KnownRecord::postgres_edited`].
    pub edited: BTreeMap<FieldName, i64>,
    /// External ids as written in this batch.
    pub raw_ids: BTreeSet<String>,
    /// External ids as written that its row no longer has after this batch.
    pub left_behind: BTreeSet<String>,
    /// It has new work.
    pub dirty: bool,
    /// Its external id changed.
    pub moved: bool,
    /// Its row took the external id of another record that still has its own.
    pub key_conflict: bool,
}

impl Entry {
    /// Notes when fields were edited that both sides agreed on before: only those can be decided by their times. A
    /// transaction that commits late may bring an earlier time than one that is known.
    fn note_edits(&mut self, change: &KeyedChange) {
        let (Some(known), Some(at_ms)) = (&self.known, change.changed_at_ms) else {
            return;
        };
        let base = &known.link.base;
        for field in change
            .fields
            .iter()
            .filter(|field| base.contains_key(*field))
        {
            let last_ms = self.edited.entry(field.clone()).or_insert(at_ms);
            *last_ms = at_ms.max(*last_ms);
        }
    }
}

type Place = (TenantId, ObjectName);

/// The records of one batch by each of their keys.
#[derive(Debug, Clone, Default)]
pub struct RowIdentityMap {
    entries: Vec<Entry>,
    by_key: BTreeMap<(Place, String), usize>,
    by_local: BTreeMap<(Place, String), usize>,
}

impl RowIdentityMap {
    /// Returns the map of the records that the batch may touch.
    pub fn new(known: Vec<KnownRecord>) -> Self {
        let mut map = Self::default();
        for record in known {
            let link = &record.link;
            map.add(Entry {
                tenant: link.tenant.clone(),
                object: link.object.clone(),
                external_id: link.external_id.clone(),
                canonical_id: link.canonical_id.clone(),
                generated: record.generated,
                local_key: link.local_key.clone(),
                presence: record.postgres_presence,
                changed_at_ms: record.postgres_changed_at_ms,
                edited: record.postgres_edited.clone(),
                raw_ids: BTreeSet::new(),
                left_behind: BTreeSet::new(),
                dirty: false,
                moved: false,
                key_conflict: record.key_conflict,
                known: Some(record),
            });
        }
        map
    }

    /// Returns the records in the order in which they were first seen.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the positions of the changes in the order in which to [`Self::take`] them.
    pub fn order(&self, changes: &[&KeyedChange]) -> Vec<usize> {
        order(changes, |(tenant, object, name)| {
            let place = (tenant.clone(), object.clone());
            let known = match name {
                RowName::External(name) => self.by_key.get(&(place, name.clone())),
                RowName::Local(key) => self.by_local.get(&(place, key.clone())),
            };
            known.map(|index| self.entries[*index].presence)
        })
    }

    /// Records that every row of the object was deleted.
    pub fn truncate(&mut self, tenant: &TenantId, object: &ObjectName) {
        for entry in &mut self.entries {
            if &entry.tenant == tenant && &entry.object == object {
                entry.presence = Presence::Deleted;
                entry.edited.clear();
                entry.dirty = true;
            }
        }
    }

    /// Adds one change and returns the index of its record among the entries.
    pub fn take(&mut self, change: &KeyedChange) -> usize {
        let place = (change.tenant.clone(), change.object.clone());
        let index = match &change.key {
            Some(key) => self.keyed(&place, change, key),
            None => self.keyless(&place, change),
        };
        let entry = &mut self.entries[index];
        entry.dirty = true;
        entry.presence = match change.operation {
            // A statement is captured when it ends, after what the triggers of its rows changed: an update whose row one
            // of them deleted revives nothing.
            OutboxOperation::Update
                if entry.presence == Presence::Deleted && !change.may_take_a_name() =>
            {
                Presence::Deleted
            }
            OutboxOperation::Insert | OutboxOperation::Update => Presence::Present,
            // The row was read when this was enqueued; a delete that is known may have been committed since.
            OutboxOperation::Backfill if entry.presence == Presence::Deleted => Presence::Deleted,
            OutboxOperation::Backfill => Presence::Present,
            OutboxOperation::Delete | OutboxOperation::Truncate => Presence::Deleted,
            OutboxOperation::Uncaptured => entry.presence,
        };
        entry.changed_at_ms = entry.changed_at_ms.max(change.changed_at_ms);
        if entry.presence == Presence::Deleted {
            entry.edited.clear();
        } else {
            entry.note_edits(change);
        }
        index
    }

    /// Finds the record of a row that has an external id.
    fn keyed(&mut self, place: &Place, change: &KeyedChange, key: &RowKey) -> usize {
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
            (Some(before), Some(now)) => self.take_name(before, now, key),
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

    fn create(&mut self, place: &Place, key: &RowKey, generated: bool) -> usize {
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
            edited: BTreeMap::new(),
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

    fn rename(&mut self, index: usize, key: &RowKey) -> usize {
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

    /// Handles a row that was renamed to the external id of another record.
    ///
    /// If that record's row was deleted, the external id is free: the record is moved aside, so that its delete
    /// can still be written. If the row's own record was never created in Salesforce, the row joins the record
    /// that has the external id. Otherwise two live records have the same external id: this is a key conflict,
    /// and the second one is parked until a person decides.
    fn take_name(&mut self, before: usize, now: usize, key: &RowKey) -> usize {
        let unsent = |entry: &Entry| {
            entry
                .known
                .as_ref()
                .is_none_or(|known| known.link.salesforce_id.is_none())
        };
        if self.entries[now].key_conflict {
            // The row returns to its former record.
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
            Presence::Unseen | Presence::Present | Presence::FilteredOut | Presence::Unreadable => {
                self.entries[before].key_conflict = true;
                self.entries[before].dirty = true;
                now
            }
        }
    }

    /// Gives a record without a row an external id that no other record can have.
    fn move_aside(&mut self, index: usize) {
        let entry = &self.entries[index];
        let name = match &entry.known {
            Some(known) => known.link.record_id.to_string(),
            None => format!("moved-aside-{}", entry.canonical_id),
        };
        let key = RowKey {
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
    use crate::model::SyncLink;
    use crate::model::ids::{OrgEpoch, RecordId, SalesforceId};
    use crate::model::link::RemoteState;
    use crate::model::value::Value;

    fn change(operation: OutboxOperation, old: Option<&str>, new: Option<&str>) -> KeyedChange {
        let key = |text: &str| RowKey {
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
            fields: Vec::new(),
            nested: false,
        }
    }

    fn insert(map: &mut RowIdentityMap, key: &str) -> usize {
        map.take(&change(OutboxOperation::Insert, None, Some(key)))
    }

    fn rename(map: &mut RowIdentityMap, from: &str, to: &str) -> usize {
        map.take(&change(OutboxOperation::Update, Some(from), Some(to)))
    }

    #[test]
    fn a_rename_keeps_the_record() {
        let mut map = RowIdentityMap::default();
        let first = insert(&mut map, "K1");
        assert_eq!(rename(&mut map, "K1", "K2"), first);
        assert_eq!(map.entries()[first].canonical_id, "k2");
        assert_ne!(
            insert(&mut map, "K1"),
            first,
            "the old external id is free for another record"
        );
    }

    #[test]
    fn two_records_swap_their_external_ids() {
        let mut map = RowIdentityMap::default();
        let (one, two) = (insert(&mut map, "K1"), insert(&mut map, "K2"));
        rename(&mut map, "K1", "swap");
        rename(&mut map, "K2", "K1");
        rename(&mut map, "swap", "K2");
        assert_eq!(map.entries()[one].canonical_id, "k2");
        assert_eq!(map.entries()[two].canonical_id, "k1");
        assert_eq!(map.entries().len(), 2);
    }

    #[test]
    fn change_of_case_is_the_same_external_id() {
        let mut map = RowIdentityMap::default();
        let record = insert(&mut map, "ab-1");
        assert_eq!(rename(&mut map, "ab-1", "AB-1"), record);
        let entry = &map.entries()[record];
        assert_eq!(entry.external_id, "AB-1");
        assert!(!entry.moved && !entry.key_conflict);
    }

    #[test]
    fn deleted_row_frees_its_external_id() {
        let mut map = RowIdentityMap::default();
        let (one, two) = (insert(&mut map, "K1"), insert(&mut map, "K2"));
        map.take(&change(OutboxOperation::Delete, None, Some("K2")));
        assert_eq!(rename(&mut map, "K1", "K2"), one);
        assert!(map.entries()[two].moved, "the deleted one is moved aside");
    }

    #[test]
    fn taken_external_id_parks_the_second_record() {
        let mut map = RowIdentityMap::default();
        let (one, two) = (insert(&mut map, "K1"), insert(&mut map, "K2"));
        assert_eq!(rename(&mut map, "K1", "k2"), two);
        assert!(map.entries()[one].key_conflict);
        assert_eq!(map.entries()[one].canonical_id, "k1");
        assert_eq!(
            rename(&mut map, "k2", "K1"),
            one,
            "it continues when its row returns"
        );
        assert!(!map.entries()[one].key_conflict);
    }

    #[test]
    fn row_keeps_its_record_when_it_gets_an_external_id() {
        let mut map = RowIdentityMap::default();
        let local = serde_json::json!({"id": 7});
        let generated = RowKey {
            raw: "u-7".to_owned(),
            canonical: "u-7".to_owned(),
        };
        let born = KeyedChange {
            local_key: Some(local.clone()),
            generated: Some(generated),
            ..change(OutboxOperation::Insert, None, None)
        };
        let record = map.take(&born);
        assert!(map.entries()[record].generated);
        let named = KeyedChange {
            local_key: Some(local),
            ..change(OutboxOperation::Update, None, Some("K7"))
        };
        assert_eq!(map.take(&named), record);
        assert!(!map.entries()[record].generated);
        assert_eq!(map.entries()[record].external_id, "K7");
    }

    fn known(key: &str, salesforce_id: Option<&str>) -> KnownRecord {
        KnownRecord {
            link: SyncLink {
                record_id: RecordId(uuid::Uuid::nil()),
                tenant: TenantId::parse("acme").unwrap(),
                object: ObjectName::parse("Account").unwrap(),
                org_epoch: OrgEpoch(1),
                external_id: key.to_owned(),
                canonical_id: key.to_lowercase(),
                salesforce_id: salesforce_id.map(|id| SalesforceId::parse(id).unwrap()),
                local_key: None,
                base: [(phone(), Value::Null)].into(),
                agreed: true,
                remote_state: RemoteState::default(),
                automation_overrides: BTreeMap::new(),
                version: 1,
            },
            generated: false,
            key_conflict: false,
            postgres_presence: Presence::Unseen,
            postgres_changed_at_ms: None,
            postgres_edited: BTreeMap::new(),
        }
    }

    fn phone() -> FieldName {
        FieldName::parse("Phone").unwrap()
    }

    fn edit(operation: OutboxOperation, at_ms: i64) -> KeyedChange {
        KeyedChange {
            changed_at_ms: Some(at_ms),
            fields: vec![phone(), FieldName::parse("Name").unwrap()],
            ..change(operation, None, Some("K1"))
        }
    }

    #[test]
    fn row_that_was_never_sent_joins_its_new_name() {
        let mut map = RowIdentityMap::new(vec![known("K2", Some("001000000000002"))]);
        let row = insert(&mut map, "K1");
        assert_eq!(rename(&mut map, "K1", "K2"), 0);
        assert_eq!(map.entries()[row].presence, Presence::Deleted);
        assert_eq!(map.entries()[0].presence, Presence::Present);
        assert!(!map.entries()[row].key_conflict);
    }

    #[test]
    fn row_that_was_sent_does_not_join_another_record() {
        let one = known("K1", Some("001000000000001"));
        let other = known("K2", Some("001000000000002"));
        let mut map = RowIdentityMap::new(vec![one, other]);
        assert_eq!(rename(&mut map, "K1", "K2"), 1);
        assert!(map.entries()[0].key_conflict);
        assert_ne!(map.entries()[0].presence, Presence::Deleted);
    }

    #[test]
    fn truncated_table_has_no_rows_of_its_object_alone() {
        let mut map = RowIdentityMap::new(vec![known("K1", None)]);
        map.take(&edit(OutboxOperation::Update, 5));
        let (tenant, object) = (
            TenantId::parse("acme").unwrap(),
            ObjectName::parse("Contact").unwrap(),
        );
        let elsewhere = |tenant: &TenantId, object: &ObjectName| KeyedChange {
            tenant: tenant.clone(),
            object: object.clone(),
            ..change(OutboxOperation::Insert, None, Some("K1"))
        };
        let account = map.entries()[0].object.clone();
        map.take(&elsewhere(&tenant, &object));
        map.take(&elsewhere(&TenantId::parse("other").unwrap(), &account));
        map.truncate(&tenant, &account);
        let rows: Vec<Presence> = map.entries().iter().map(|entry| entry.presence).collect();
        assert_eq!(
            rows,
            [Presence::Deleted, Presence::Present, Presence::Present]
        );
        assert!(map.entries()[0].edited.is_empty());
    }

    #[test]
    fn older_read_of_a_row_revives_no_deleted_one() {
        let backfill = change(OutboxOperation::Backfill, None, Some("K1"));
        let mut map = RowIdentityMap::default();
        map.take(&backfill);
        assert_eq!(map.entries()[0].presence, Presence::Present);
        map.take(&change(OutboxOperation::Delete, None, Some("K1")));
        map.take(&backfill);
        assert_eq!(map.entries()[0].presence, Presence::Deleted);
    }

    #[test]
    fn only_an_insert_or_a_rename_revives_a_deleted_row() {
        let presence = |later: &KeyedChange| {
            let mut map = RowIdentityMap::new(vec![known("K1", None), known("K2", None)]);
            map.take(&change(OutboxOperation::Delete, None, Some("K1")));
            let index = map.take(later);
            map.entries()[index].presence
        };
        let update = change(OutboxOperation::Update, None, Some("K1"));
        assert_eq!(presence(&update), Presence::Deleted);
        let insert = change(OutboxOperation::Insert, None, Some("K1"));
        assert_eq!(presence(&insert), Presence::Present);
        let rename = change(OutboxOperation::Update, Some("K2"), Some("K1"));
        assert_eq!(presence(&rename), Presence::Present);
        let named = KeyedChange {
            local_key: Some(serde_json::json!({"id": 7})),
            ..update
        };
        assert_eq!(presence(&named), Presence::Present);
    }

    #[test]
    fn latest_edit_of_an_agreed_field_is_noted_until_a_delete() {
        let mut map = RowIdentityMap::new(vec![known("K1", None)]);
        map.take(&edit(OutboxOperation::Update, 5));
        map.take(&edit(OutboxOperation::Update, 3));
        assert_eq!(map.entries()[0].edited, BTreeMap::from([(phone(), 5)]));
        assert_eq!(map.entries()[0].changed_at_ms, Some(5));
        map.take(&edit(OutboxOperation::Delete, 7));
        assert!(map.entries()[0].edited.is_empty());
    }
}
