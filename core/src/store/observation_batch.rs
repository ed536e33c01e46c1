//! Which record a Salesforce sighting belongs to, and what the sightings of one batch make of it.
//!
//! Pure: a fold over one batch, in order. What a sighting means is [`absorb`]'s to say; here
//! it only finds its record and its effects are collected.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::enum_text::enum_text;
use super::tables::discarded_value::DiscardedValue;
use super::tables::link::KnownRecord;
use crate::model::SourceSystem;
use crate::model::SyncLink;
use crate::model::generate;
use crate::model::ids::{IntentId, ObjectName, RecordId, SalesforceId};
use crate::model::intent::{Intent, IntentState};
use crate::model::key::KeyForm;
use crate::model::link::{Presence, RemoteState};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::Payload;
use crate::planner::observation::{AbsorbStatus, absorb};
use crate::ports::MappedObject;

/// A record of the batch.
#[derive(Debug)]
pub(super) struct SeenRecord {
    /// What is known of it. A new one has the nil record id until its link is made.
    pub(super) known: KnownRecord,
    /// What the control plane held, to tell whether anything changed; none for a new record.
    before: Option<KnownRecord>,
    /// Writes that may still echo.
    pub(super) live: Vec<Intent>,
    /// Writes that the batch settled for good.
    pub(super) ended: Vec<Intent>,
    /// Writes whose state or echoes changed.
    touched: BTreeSet<IntentId>,
    /// There is work.
    pub(super) dirty: bool,
    /// It must be read before it is planned.
    pub(super) needs_refresh: bool,
    /// Its external id was adopted from Salesforce.
    pub(super) moved: bool,
    /// It turned out to be another record's Salesforce side, and gives way to that one.
    pub(super) merged: bool,
    /// Values that our writes replaced unseen.
    lost: Vec<(crate::model::ids::FieldName, crate::model::value::Value)>,
}

impl SeenRecord {
    /// Returns whether the link is new and must be made.
    pub(super) fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// Returns whether the link differs from what the control plane holds.
    pub(super) fn is_changed(&self) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| *before != self.known)
    }

    /// Returns whether the batch gave the record a Salesforce id that it did not go by before.
    pub(super) fn has_arrived(&self) -> bool {
        let before = self
            .before
            .as_ref()
            .and_then(|before| before.link.salesforce_id.as_ref());
        before != self.known.link.salesforce_id.as_ref()
    }

    /// Returns the writes to save.
    pub(super) fn touched_intents(&self) -> impl Iterator<Item = &Intent> {
        self.live
            .iter()
            .chain(&self.ended)
            .filter(|intent| self.touched.contains(&intent.intent_id))
    }

    /// Returns the values to log as overwritten.
    pub(super) fn lost_values(&self) -> impl Iterator<Item = DiscardedValue> {
        self.lost.iter().map(|(field, value)| DiscardedValue {
            record_id: self.known.link.record_id,
            field: field.clone(),
            side: enum_text(SourceSystem::Salesforce),
            value: [value.to_json()],
            rule: "overwritten".to_owned(),
        })
    }
}

/// What was loaded for a batch.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Links that some sighting may belong to.
    pub(super) records: Vec<KnownRecord>,
    /// Their live intents.
    pub(super) intents: BTreeMap<RecordId, Vec<Intent>>,
    /// Former Salesforce ids.
    pub(super) former: BTreeMap<(ObjectName, SalesforceId), RecordId>,
    /// External ids of records that references point to.
    pub(super) parents: BTreeMap<SalesforceId, String>,
}

/// The records of one batch by every name a sighting may use.
#[derive(Debug)]
pub(super) struct ObservationBatch {
    records: Vec<SeenRecord>,
    by_id: BTreeMap<(ObjectName, SalesforceId), usize>,
    by_key: BTreeMap<(ObjectName, String), usize>,
    former: BTreeMap<(ObjectName, SalesforceId), usize>,
    parents: BTreeMap<SalesforceId, String>,
}

/// What one sighting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its record; none for a deletion of a record that nobody knows.
    pub(super) place: Option<usize>,
    /// What became of it.
    pub(super) status: AbsorbStatus,
}

impl ObservationBatch {
    /// Opens the book.
    pub(super) fn new(loaded: Loaded) -> Self {
        let mut book = Self {
            records: Vec::new(),
            by_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            former: BTreeMap::new(),
            parents: loaded.parents,
        };
        let mut intents = loaded.intents;
        let mut places = BTreeMap::new();
        for record in loaded.records {
            let live = intents.remove(&record.link.record_id).unwrap_or_default();
            let record_id = record.link.record_id;
            let place = book.add(record.clone(), Some(record), live);
            places.insert(record_id, place);
        }
        book.former = loaded
            .former
            .into_iter()
            .filter_map(|(name, record)| Some((name, *places.get(&record)?)))
            .collect();
        book
    }

    /// Returns the records.
    pub(super) fn records(&self) -> &[SeenRecord] {
        &self.records
    }

    /// Returns the records, to give new ones their ids.
    pub(super) fn records_mut(&mut self) -> &mut [SeenRecord] {
        &mut self.records
    }

    /// Folds one sighting into its record.
    pub(super) fn take(
        &mut self,
        mapped: &MappedObject,
        form: KeyForm,
        seen: &SalesforceObservation,
    ) -> Seen {
        let Some(place) = self.find_or_make(mapped, form, seen) else {
            return Seen {
                place: None,
                status: AbsorbStatus::Unchanged,
            };
        };
        let record = &mut self.records[place];
        enter_org_epoch(&mut record.known.link, mapped);
        let former = self
            .former
            .get(&(seen.object.clone(), seen.salesforce_id.clone()));
        if record.known.link.salesforce_id.is_none()
            && record.known.link.remote_state.presence == Presence::Deleted
            && former == Some(&place)
        {
            // A sighting of the id it had before it was deleted: it is ordered against that delete.
            record.known.link.salesforce_id = Some(seen.salesforce_id.clone());
        }
        let status = absorb_into(record, seen, &self.parents);
        if let Some(id) = &record.known.link.salesforce_id {
            self.by_id.insert((seen.object.clone(), id.clone()), place);
        }
        Seen {
            place: Some(place),
            status,
        }
    }

    fn add(&mut self, known: KnownRecord, before: Option<KnownRecord>, live: Vec<Intent>) -> usize {
        let place = self.records.len();
        let link = &known.link;
        if let Some(id) = &link.salesforce_id {
            self.by_id.insert((link.object.clone(), id.clone()), place);
        }
        self.by_key
            .insert((link.object.clone(), link.canonical_id.clone()), place);
        self.records.push(SeenRecord {
            known,
            before,
            live,
            ended: Vec::new(),
            touched: BTreeSet::new(),
            dirty: false,
            needs_refresh: false,
            moved: false,
            merged: false,
            lost: Vec::new(),
        });
        place
    }

    /// Finds the record by Salesforce id, then by external id, then by a former Salesforce id.
    fn find_or_make(
        &mut self,
        mapped: &MappedObject,
        form: KeyForm,
        seen: &SalesforceObservation,
    ) -> Option<usize> {
        let object = &seen.object;
        let canonical = external_id(seen).and_then(|raw| form.canonical(raw).ok());
        let by_key = canonical
            .as_ref()
            .and_then(|key| self.by_key.get(&(object.clone(), key.clone())))
            .copied();
        let id = (object.clone(), seen.salesforce_id.clone());
        if let Some(place) = self.by_id.get(&id).copied() {
            return Some(match (canonical, external_id(seen)) {
                (Some(canonical), Some(raw)) => self.adopt(place, by_key, &canonical, raw),
                (Some(_) | None, _) => place,
            });
        }
        if let Some(place) = by_key.or_else(|| self.former.get(&id).copied()) {
            return Some(place);
        }
        match seen.kind {
            // Nobody knows it, and it is gone or outside the filter: nothing to keep.
            ObservationKind::Deleted
            | ObservationKind::Missing
            | ObservationKind::Unmatched
            | ObservationKind::FilteredOut => None,
            ObservationKind::Changed
            | ObservationKind::Created
            | ObservationKind::Undeleted
            | ObservationKind::Snapshot
            | ObservationKind::Refresh
            | ObservationKind::Gap => Some(self.make(mapped, form, seen)),
        }
    }

    fn make(
        &mut self,
        mapped: &MappedObject,
        form: KeyForm,
        seen: &SalesforceObservation,
    ) -> usize {
        let given = external_id(seen)
            .and_then(|raw| Some((raw.to_owned(), form.canonical(raw).ok()?, false)));
        let (external_id, canonical_id, generated) = given.unwrap_or_else(|| {
            let generated = generate::for_salesforce(&mapped.organization_id, &seen.salesforce_id);
            let canonical = form
                .canonical(&generated)
                .unwrap_or_else(|_| generated.clone());
            (generated, canonical, true)
        });
        // An id without a sighting of the record itself (a gap) still says which record to read.
        let salesforce_id = (seen.kind == ObservationKind::Gap).then(|| seen.salesforce_id.clone());
        let link = SyncLink {
            record_id: RecordId(Uuid::nil()),
            tenant: mapped.tenant.clone(),
            object: mapped.sync.object.clone(),
            org_epoch: mapped.org_epoch,
            external_id,
            canonical_id,
            salesforce_id,
            local_key: None,
            base: Payload::new(),
            agreed: false,
            remote_state: RemoteState::default(),
            automation_overrides: BTreeMap::new(),
            version: 1,
        };
        let known = KnownRecord {
            link,
            generated,
            key_conflict: false,
            postgres_presence: Presence::Unseen,
            postgres_changed_at_ms: None,
        };
        self.add(known, None, Vec::new())
    }

    /// A record that was met without its external id got a generated one. Now that Salesforce shows the
    /// real one, it takes it, or, if another record goes by that, gives its Salesforce side to it.
    fn adopt(&mut self, place: usize, by_key: Option<usize>, canonical: &str, raw: &str) -> usize {
        let record = &self.records[place];
        let provisional = record.known.generated
            && !record.known.link.agreed
            && record.known.postgres_presence == Presence::Unseen;
        if !provisional {
            return place;
        }
        let object = record.known.link.object.clone();
        match by_key {
            Some(other) if other == place => place,
            Some(other) if self.records[other].known.link.salesforce_id.is_none() => {
                let id = self.records[place].known.link.salesforce_id.take();
                self.records[place].merged = true;
                if let Some(id) = id {
                    self.by_id.insert((object, id), other);
                }
                other
            }
            Some(_) => place,
            None => {
                let record = &mut self.records[place];
                record.moved = record.before.is_some();
                record.known.generated = false;
                raw.clone_into(&mut record.known.link.external_id);
                let link = &mut record.known.link;
                let old = std::mem::replace(&mut link.canonical_id, canonical.to_owned());
                self.by_key.remove(&(object.clone(), old));
                self.by_key.insert((object, canonical.to_owned()), place);
                place
            }
        }
    }
}

/// Returns the external id that the sighting carried. An empty one is none.
pub(super) fn external_id(seen: &SalesforceObservation) -> Option<&str> {
    seen.external_id
        .as_deref()
        .filter(|raw| !raw.trim().is_empty())
}

/// In another org than before nothing that was seen of the old one holds.
fn enter_org_epoch(link: &mut SyncLink, mapped: &MappedObject) {
    if link.org_epoch != mapped.org_epoch {
        link.org_epoch = mapped.org_epoch;
        link.remote_state = RemoteState::default();
    }
}

fn absorb_into(
    record: &mut SeenRecord,
    seen: &SalesforceObservation,
    parents: &BTreeMap<SalesforceId, String>,
) -> AbsorbStatus {
    let absorbed = absorb(&record.known.link, &record.live, seen, parents);
    let link = &mut record.known.link;
    link.remote_state = absorbed.remote_state;
    link.salesforce_id = absorbed.salesforce_id;
    link.base.extend(absorbed.base_advance);
    link.automation_overrides = absorbed.automation_overrides;
    for (id, field) in absorbed.echoed {
        if let Some(intent) = record.live.iter_mut().find(|live| live.intent_id == id) {
            intent.echoed.insert(field);
            record.touched.insert(id);
        }
    }
    for (id, state) in absorbed.intents {
        if let Some(intent) = record.live.iter_mut().find(|live| live.intent_id == id) {
            intent.state = state;
            record.touched.insert(id);
        }
    }
    let (ended, live) = std::mem::take(&mut record.live)
        .into_iter()
        .partition(has_ended);
    record.live = live;
    record.ended.extend::<Vec<Intent>>(ended);
    record.lost.extend(absorbed.overwritten);
    record.dirty |= absorbed.dirty;
    record.needs_refresh |= absorbed.needs_refresh;
    absorbed.status
}

fn has_ended(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Confirmed | IntentState::Refused => true,
        IntentState::Open
        | IntentState::Applied
        | IntentState::Unknown
        | IntentState::Abandoned => false,
    }
}
