//! Every short sequence of changes to a table with a unique external id: each row keeps its record.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use syncline_planner::identity::KnownRecord;
use syncline_planner::identity::rows::{Entry, KeyedChange, RowIdentityMap, RowKey};
use syncline_planner::model::SyncLink;
use syncline_planner::model::change::OutboxOperation;
use syncline_planner::model::ids::{ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use syncline_planner::model::link::{Presence, RemoteState};
use syncline_planner::model::value::Payload;

/// External ids; the last two are equal for Salesforce, which ignores case.
const KEYS: [&str; 3] = ["k1", "k2", "K2"];

/// Changes in a row that are tried out.
const STEPS_MAX: usize = 5;

/// When the records are saved and loaded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batches {
    /// All changes come in one batch.
    One,
    /// Each change is a batch, and nothing has reached Salesforce yet.
    Each,
    /// Each change is a batch, and every record has reached Salesforce before the next.
    EachSent,
}

/// What a user does to the table.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert(Option<&'static str>),
    Touch(u32),
    Rename(u32, &'static str),
    /// Two rows exchange their external ids in one statement.
    Swap(u32, u32),
    Delete(u32),
}

/// A table, and what is known of its rows.
#[derive(Clone)]
struct World {
    /// External ids by primary key, none where the row has none yet.
    rows: BTreeMap<u32, Option<&'static str>>,
    inserted: u32,
    map: RowIdentityMap,
    steps: Vec<Step>,
}

fn row_key(raw: &str) -> RowKey {
    RowKey {
        raw: raw.to_owned(),
        canonical: raw.to_lowercase(),
    }
}

fn local_key(row: u32) -> Json {
    json!({"id": row})
}

fn change(
    operation: OutboxOperation,
    row: u32,
    old: Option<&str>,
    new: Option<&str>,
) -> KeyedChange {
    // A row shows its primary key while it has no external id, and when it gets its first.
    let nameless = new.is_none() || (operation == OutboxOperation::Update && old.is_none());
    KeyedChange {
        tenant: TenantId::parse("acme").unwrap(),
        object: ObjectName::parse("Account").unwrap(),
        operation,
        key: new.map(row_key),
        old_key: old.filter(|_| old != new).map(row_key),
        local_key: nameless.then(|| local_key(row)),
        generated: nameless.then(|| row_key(&format!("generated-{row}"))),
        changed_at_ms: None,
        fields: Vec::new(),
        nested: false,
    }
}

impl World {
    fn new() -> Self {
        Self {
            rows: BTreeMap::new(),
            inserted: 0,
            map: RowIdentityMap::default(),
            steps: Vec::new(),
        }
    }

    /// Steps that the table's unique column allows. Rows that differ only in case are equal for
    /// Salesforce but not for Postgres: another test covers that.
    fn next_steps(&self) -> Vec<Step> {
        let is_free = |key: &str, but: Option<u32>| {
            let taken = |(row, held): (&u32, &Option<&str>)| {
                Some(*row) != but && held.is_some_and(|held| held.eq_ignore_ascii_case(key))
            };
            !self.rows.iter().any(taken)
        };
        let mut steps = vec![Step::Insert(None)];
        let free = KEYS.into_iter().filter(|key| is_free(key, None));
        steps.extend(free.map(|key| Step::Insert(Some(key))));
        for (row, held) in &self.rows {
            steps.extend([Step::Touch(*row), Step::Delete(*row)]);
            let others = KEYS.into_iter().filter(|key| Some(*key) != *held);
            let free = others.filter(|key| is_free(key, Some(*row)));
            steps.extend(free.map(|key| Step::Rename(*row, key)));
            for (other, with) in self.rows.range(row + 1..) {
                if held.is_some() && with.is_some() {
                    steps.push(Step::Swap(*row, *other));
                }
            }
        }
        steps
    }

    /// Performs the step in the table, and captures what its trigger reports.
    fn make(&mut self, step: Step) {
        use OutboxOperation::{Delete, Insert};
        self.steps.push(step);
        match step {
            Step::Insert(key) => {
                self.inserted += 1;
                self.rows.insert(self.inserted, key);
                self.map.take(&change(Insert, self.inserted, None, key));
            }
            Step::Touch(row) => {
                let held = self.rows[&row];
                self.renamed(row, held, held);
            }
            Step::Rename(row, key) => {
                let held = self.rows.insert(row, Some(key)).unwrap();
                let (before, records) = (self.record_of(row, held), self.map.entries().len());
                self.renamed(row, held, Some(key));
                assert_eq!(self.record_of(row, Some(key)), before, "{:?}", self.steps);
                assert_eq!(self.map.entries().len(), records, "{:?}", self.steps);
            }
            Step::Swap(one, other) => {
                let (first, second) = (self.rows[&one], self.rows[&other]);
                self.rows.extend([(one, second), (other, first)]);
                self.renamed(one, first, second);
                self.renamed(other, second, first);
            }
            Step::Delete(row) => {
                let held = self.rows.remove(&row).unwrap();
                self.map.take(&change(Delete, row, None, held));
            }
        }
    }

    fn renamed(&mut self, row: u32, old: Option<&str>, new: Option<&str>) {
        self.map
            .take(&change(OutboxOperation::Update, row, old, new));
    }

    /// Returns the index of the one record of a row.
    fn record_of(&self, row: u32, key: Option<&str>) -> usize {
        let is_named = |entry: &Entry| match key {
            Some(key) => entry.canonical_id == key.to_lowercase(),
            None => entry.local_key == Some(local_key(row)),
        };
        let places: Vec<usize> = (0..self.map.entries().len())
            .filter(|place| is_named(&self.map.entries()[*place]))
            .collect();
        assert_eq!(places.len(), 1, "row {row} {key:?} after {:?}", self.steps);
        places[0]
    }

    /// Saves what is known and loads it again.
    fn next_batch(&mut self, sent: bool) {
        let known = self.map.entries().iter().enumerate();
        let known = known.map(|(place, entry)| known_record(place, entry, sent));
        self.map = RowIdentityMap::new(known.collect());
    }

    fn check(&self) {
        let entries = self.map.entries();
        let names: BTreeSet<&str> = entries
            .iter()
            .map(|entry| entry.canonical_id.as_str())
            .collect();
        assert_eq!(names.len(), entries.len(), "a name twice: {:?}", self.steps);
        let live: BTreeSet<usize> = self
            .rows
            .iter()
            .map(|(row, key)| self.record_of(*row, *key))
            .collect();
        let present: BTreeSet<usize> = (0..entries.len())
            .filter(|place| entries[*place].presence == Presence::Present)
            .collect();
        assert_eq!(
            live.len(),
            self.rows.len(),
            "a shared record: {:?}",
            self.steps
        );
        assert_eq!(present, live, "after {:?}", self.steps);
        let conflict = entries.iter().any(|entry| entry.key_conflict);
        assert!(!conflict, "a conflict of unique keys: {:?}", self.steps);
    }
}

fn known_record(place: usize, entry: &Entry, sent: bool) -> KnownRecord {
    let salesforce_id = SalesforceId::parse(&format!("001{place:012}")).unwrap();
    KnownRecord {
        link: SyncLink {
            record_id: RecordId(uuid::Uuid::from_u128(place as u128 + 1)),
            tenant: entry.tenant.clone(),
            object: entry.object.clone(),
            org_epoch: OrgEpoch(1),
            external_id: entry.external_id.clone(),
            canonical_id: entry.canonical_id.clone(),
            salesforce_id: sent.then_some(salesforce_id),
            local_key: entry.local_key.clone(),
            base: Payload::new(),
            agreed: sent,
            remote_state: RemoteState::default(),
            automation_overrides: BTreeMap::new(),
            version: 1,
        },
        generated: entry.generated,
        key_conflict: entry.key_conflict,
        postgres_presence: entry.presence,
        postgres_changed_at_ms: entry.changed_at_ms,
        postgres_edited: entry.edited.clone(),
    }
}

/// Tries every sequence of steps from here, and returns their number.
fn explore(world: &World, batches: Batches) -> usize {
    if world.steps.len() == STEPS_MAX {
        return 1;
    }
    let mut explored = 1;
    for step in world.next_steps() {
        let mut next = world.clone();
        next.make(step);
        next.check();
        match batches {
            Batches::One => {}
            Batches::Each => next.next_batch(false),
            Batches::EachSent => next.next_batch(true),
        }
        explored += explore(&next, batches);
    }
    explored
}

#[test]
fn every_row_keeps_its_record_within_one_batch() {
    assert!(explore(&World::new(), Batches::One) > 10_000);
}

#[test]
fn every_row_keeps_its_record_from_batch_to_batch() {
    assert!(explore(&World::new(), Batches::Each) > 10_000);
    assert!(explore(&World::new(), Batches::EachSent) > 10_000);
}
