//! Finds the record that each Salesforce observation belongs to, and collects the effects of one batch.
//!
//! Processes one batch in order. [`absorb`] decides what an observation means.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::model::SyncLink;
use crate::model::generate;
use crate::model::ids::{
    FieldName, IntentId, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId,
};
use crate::model::intent::{Intent, IntentState};
use crate::model::key::KeyForm;
use crate::model::link::{Presence, RemoteState};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::{Payload, Value};
use crate::observation::{AbsorbStatus, absorb};

use super::KnownRecord;

/// The origin of an observation, which decides whose record it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Origin<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The org.
    pub organization_id: &'a SalesforceId,
    /// The epoch of the org's identity.
    pub org_epoch: OrgEpoch,
    /// How the object's external ids are compared.
    pub key_form: KeyForm,
}

/// A record of the batch.
#[derive(Debug)]
pub struct SeenRecord {
    /// The record. A new one has the nil record id until its link is created.
    pub known: KnownRecord,
    /// The record as loaded, to see whether anything changed; `None` for a new record.
    before: Option<KnownRecord>,
    /// Writes that may still echo.
    pub live: Vec<Intent>,
    /// Writes that the batch finally settled.
    pub ended: Vec<Intent>,
    /// Writes whose state or echoes changed.
    touched: BTreeSet<IntentId>,
    /// It has new work.
    pub dirty: bool,
    /// It must be refreshed before it is planned.
    pub needs_refresh: bool,
    /// Its external id was adopted from Salesforce.
    pub moved: bool,
    /// It proved to be another record's Salesforce side and is merged into that record.
    pub merged: bool,
    /// Values that our writes replaced unseen.
    overwritten: Vec<(FieldName, Value)>,
}

impl SeenRecord {
    /// Returns whether the link is new and must be created.
    pub fn is_new(&self) -> bool {
        self.before.is_none()
    }

    /// Returns whether the record differs from the loaded one.
    pub fn is_changed(&self) -> bool {
        self.before
            .as_ref()
            .is_some_and(|before| *before != self.known)
    }

    /// Returns the record as loaded; `None` for a new one.
    pub fn before(&self) -> Option<&KnownRecord> {
        self.before.as_ref()
    }

    /// Returns whether the batch gave the record a new Salesforce id.
    pub fn has_arrived(&self) -> bool {
        let before = self
            .before
            .as_ref()
            .and_then(|before| before.link.salesforce_id.as_ref());
        before != self.known.link.salesforce_id.as_ref()
    }

    /// Returns the writes to save.
    pub fn touched_intents(&self) -> impl Iterator<Item = &Intent> {
        self.live
            .iter()
            .chain(&self.ended)
            .filter(|intent| self.touched.contains(&intent.intent_id))
    }

    /// Returns the values that our writes replaced unseen.
    pub fn overwritten(&self) -> &[(FieldName, Value)] {
        &self.overwritten
    }
}

/// The loaded records of a batch.
#[derive(Debug, Default)]
pub struct KnownState {
    /// Records that some observation may belong to.
    pub records: Vec<KnownRecord>,
    /// Their live intents.
    pub intents: BTreeMap<RecordId, Vec<Intent>>,
    /// Former Salesforce ids.
    pub former: BTreeMap<(ObjectName, SalesforceId), RecordId>,
    /// External ids of records that references point to.
    pub parents: BTreeMap<SalesforceId, String>,
}

/// The records of one batch by every key that an observation may have.
#[derive(Debug)]
pub struct ObservationBatch {
    records: Vec<SeenRecord>,
    by_id: BTreeMap<(ObjectName, SalesforceId), usize>,
    by_key: BTreeMap<(ObjectName, String), usize>,
    former: BTreeMap<(ObjectName, SalesforceId), usize>,
    parents: BTreeMap<SalesforceId, String>,
}

/// The result of one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The index of its record; `None` for a delete of an unknown record.
    pub place: Option<usize>,
    /// Its status.
    pub status: AbsorbStatus,
}

impl ObservationBatch {
    /// Returns the batch of the records that its observations may belong to.
    pub fn new(loaded: KnownState) -> Self {
        let mut batch = Self {
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
            let place = batch.add(record.clone(), Some(record), live);
            places.insert(record_id, place);
        }
        batch.former = loaded
            .former
            .into_iter()
            .filter_map(|(name, record)| Some((name, *places.get(&record)?)))
            .collect();
        batch
    }

    /// Returns the records.
    pub fn records(&self) -> &[SeenRecord] {
        &self.records
    }

    /// Returns the records, to give new ones their ids.
    pub fn records_mut(&mut self) -> &mut [SeenRecord] {
        &mut self.records
    }

    /// Ends the batch and returns its records.
    pub fn into_records(self) -> Vec<SeenRecord> {
        self.records
    }

    /// Absorbs one observation into its record.
    pub fn take(&mut self, origin: Origin<'_>, seen: &SalesforceObservation) -> Seen {
        let Some(place) = self.find_or_make(origin, seen) else {
            return Seen {
                place: None,
                status: AbsorbStatus::Unchanged,
            };
        };
        let record = &mut self.records[place];
        enter_org_epoch(&mut record.known.link, origin);
        let former = self
            .former
            .get(&(seen.object.clone(), seen.salesforce_id.clone()));
        if record.known.link.salesforce_id.is_none()
            && record.known.link.remote_state.presence == Presence::Deleted
            && former == Some(&place)
        {
            // It has the id that the record had before its delete, and is ordered against that delete.
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
            overwritten: Vec::new(),
        });
        place
    }

    /// Finds the record by Salesforce id, also by the one that our delete ended, then by external id, then by a former
    /// Salesforce id.
    fn find_or_make(&mut self, origin: Origin<'_>, seen: &SalesforceObservation) -> Option<usize> {
        let object = &seen.object;
        let canonical = external_id(seen).and_then(|raw| origin.key_form.canonical(raw).ok());
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
        let former = self.former.get(&id).copied();
        let deleted = former.filter(|place| self.was_deleted_by_us(*place, seen));
        let former = former.filter(|place| !self.is_another(*place, seen));
        if let Some(place) = deleted.or(by_key).or(former) {
            return Some(place);
        }
        match seen.kind {
            // The record is unknown, and deleted or filtered out: nothing to keep.
            ObservationKind::Deleted
            | ObservationKind::Missing
            | ObservationKind::Unreadable
            | ObservationKind::Unmatched
            | ObservationKind::FilteredOut => None,
            ObservationKind::Changed
            | ObservationKind::Created
            | ObservationKind::Undeleted
            | ObservationKind::Snapshot
            | ObservationKind::Refresh
            | ObservationKind::Gap => Some(self.make(origin, seen)),
        }
    }

    /// Returns whether the link is of the observed record, which we deleted and that has no successor. Another link may
    /// have its external id: that of the event may be one that it had only for a while.
    fn was_deleted_by_us(&self, place: usize, seen: &SalesforceObservation) -> bool {
        let link = &self.records[place].known.link;
        let deleted = link.remote_state.before_delete.as_ref();
        link.salesforce_id.is_none()
            && deleted.is_some_and(|deleted| deleted.salesforce_id == seen.salesforce_id)
    }

    /// Returns whether a live record that had a link before is another one now: its former link has the id of
    /// its successor, and no record has its external id. It was deleted, created again under another external
    /// id, and undeleted.
    fn is_another(&self, place: usize, seen: &SalesforceObservation) -> bool {
        let shows_its_external_id = match seen.kind {
            ObservationKind::Created
            | ObservationKind::Undeleted
            | ObservationKind::Snapshot
            | ObservationKind::Refresh => true,
            ObservationKind::Changed
            | ObservationKind::Deleted
            | ObservationKind::Missing
            | ObservationKind::Unreadable
            | ObservationKind::Gap
            | ObservationKind::Unmatched
            | ObservationKind::FilteredOut => false,
        };
        let current = &self.records[place].known.link.salesforce_id;
        shows_its_external_id
            && current
                .as_ref()
                .is_some_and(|current| *current != seen.salesforce_id)
    }

    fn make(&mut self, origin: Origin<'_>, seen: &SalesforceObservation) -> usize {
        let given = external_id(seen)
            .and_then(|raw| Some((raw.to_owned(), origin.key_form.canonical(raw).ok()?, false)));
        let (external_id, canonical_id, generated) = given.unwrap_or_else(|| {
            let generated = generate::for_salesforce(origin.organization_id, &seen.salesforce_id);
            let canonical = origin
                .key_form
                .canonical(&generated)
                .unwrap_or_else(|_| generated.clone());
            (generated, canonical, true)
        });
        // A gap has no values, but its id names the record to read.
        let salesforce_id = (seen.kind == ObservationKind::Gap).then(|| seen.salesforce_id.clone());
        let link = SyncLink {
            record_id: RecordId(Uuid::nil()),
            tenant: origin.tenant.clone(),
            object: seen.object.clone(),
            org_epoch: origin.org_epoch,
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
            postgres_edited: BTreeMap::new(),
        };
        self.add(known, None, Vec::new())
    }

    /// Replaces the generated id of a record that was seen without its external id by the real one. If another
    /// record has that external id, merges the record into it.
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

/// Returns the external id of the observation, if it is not empty.
pub fn external_id(seen: &SalesforceObservation) -> Option<&str> {
    seen.external_id
        .as_deref()
        .filter(|raw| !raw.trim().is_empty())
}

/// Clears the Salesforce side of a link that was observed in another org.
fn enter_org_epoch(link: &mut SyncLink, origin: Origin<'_>) {
    if link.org_epoch != origin.org_epoch {
        link.org_epoch = origin.org_epoch;
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
    // Both sides have held the record since then, also if its row is gone by now.
    link.agreed |= !absorbed.base_advance.is_empty();
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
    record.overwritten.extend(absorbed.overwritten);
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
