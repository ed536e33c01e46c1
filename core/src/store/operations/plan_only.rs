//! [`PlanStore`] on Postgres: plans records as capture and apply would, and writes nothing.
//!
//! The rows and records of a page are assigned to their links as capture assigns them, only that the links of new
//! records are never made. Then each record is planned as apply plans a leased one, from rows that are not locked.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use uuid::Uuid;

use crate::model::ids::{FencingToken, Generation, RecordId, SalesforceId};
use crate::model::link::Presence;
use crate::model::value::Payload;
use crate::planner::identity::observations::{
    KnownState, ObservationBatch, SeenRecord, external_id,
};
use crate::planner::identity::rows::{KeyedChange, RowIdentityMap};
use crate::planner::policy::attempts::LOOKUP_ATTEMPTS_MAX;
use crate::planner::policy::{Attempts, Cause};
use crate::ports::plan_store::{PageToPlan, PlanStore, PlannedOnly, RowPlace, RowPlaces};
use crate::ports::record::{LeaseEnd, LeasedTask, ObservedRecord, ParkReason};
use crate::ports::{MappedObject, RecordPlanner, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::identity::{TableIdentity, other_table};
use crate::store::mapped_table::read::Links;
use crate::store::mapped_table::shape::{TableShape, key_form, read_shape};
use crate::store::mapped_table::walk::places_after;
use crate::store::operations::children::Children;
use crate::store::operations::compare::{Capture, read_taken_rows};
use crate::store::operations::drain_outbox::{backfill_change, names, new_record, updated};
use crate::store::operations::leased_record::{LeasedRecord, external_ids_in_use};
use crate::store::operations::parents::{parents_of, references, remote_parents};
use crate::store::operations::record_observations::origin;
use crate::store::tables::alias::{Wanted, former_ids};
use crate::store::tables::capture::{installed, skew_and_installed};
use crate::store::tables::database::has_control_plane;
use crate::store::tables::intent::live_intents;
use crate::store::tables::link::{KnownRecord, read_by_names, resolve_parents};
use crate::store::transaction::Tx;

#[async_trait]
impl PlanStore for PgStore {
    async fn row_places(
        &self,
        mapped: &MappedObject,
        after: Option<&serde_json::Value>,
        limit: usize,
    ) -> Result<RowPlaces, StoreError> {
        let mut tx = self.begin_read_only().await?;
        let shape = read_shape(&mut tx, mapped).await?;
        let rows = places_after(&mut tx, mapped, &shape, after, limit).await?;
        tx.rollback().await?;
        let next = match rows.last() {
            Some(last) if rows.len() == limit => Some(last.identity.clone()),
            Some(_) | None => None,
        };
        Ok(RowPlaces { rows, next })
    }

    async fn other_table(&self, mapped: &MappedObject) -> Result<Option<String>, StoreError> {
        let mut tx = self.begin_read_only().await?;
        let mut problem = None;
        if has_control_plane(&mut tx).await?
            && let Some(before) = installed(&mut tx, mapped).await?
        {
            let shape = read_shape(&mut tx, mapped).await?;
            problem = other_table(mapped, &shape, &before).map(str::to_owned);
        }
        tx.rollback().await?;
        Ok(problem)
    }

    async fn plan_only(
        &self,
        mapped: &MappedObject,
        page: &PageToPlan<'_>,
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedOnly>, StoreError> {
        let mut tx = self.begin_read_only().await?;
        let planned = plan_only(&mut tx, mapped, page, planner).await?;
        tx.rollback().await?;
        Ok(planned)
    }
}

impl PgStore {
    /// Opens a transaction in which Postgres refuses every write.
    async fn begin_read_only(&self) -> Result<Tx, StoreError> {
        let mut tx = self.begin().await?;
        tx.script("allowing reads only", "set transaction read only")
            .await?;
        Ok(tx)
    }
}

async fn plan_only(
    tx: &mut Tx,
    mapped: &MappedObject,
    page: &PageToPlan<'_>,
    planner: &dyn RecordPlanner,
) -> Result<Vec<PlannedOnly>, StoreError> {
    let links = match has_control_plane(tx).await? {
        true => Links::Stored,
        false => Links::None,
    };
    let shape = read_shape(tx, mapped).await?;
    let (changes, refused) = row_changes(mapped, &shape, page.rows);
    let mut planned = refused;
    let (seen, parents, clock_skew_ms) =
        assign(tx, (mapped, &shape), page, &changes, links).await?;
    let known: Vec<&KnownRecord> = seen.iter().map(|record| &record.known).collect();
    let table = (mapped, &shape);
    let mut found = read_taken_rows(tx, table, known, Capture::Ahead(links)).await?;
    let in_use = match links {
        Links::Stored => {
            let known: Vec<KnownRecord> = seen.iter().map(|record| record.known.clone()).collect();
            external_ids_in_use(tx, mapped, &known).await?
        }
        Links::None => BTreeSet::new(),
    };
    for SeenRecord { known, live, .. } in seen {
        let record_id = known.link.record_id;
        let known = without_row(known, !found.rows.contains_key(&record_id));
        let mut record = LeasedRecord {
            lease: lease(&known),
            observed: ObservedRecord {
                intents: live,
                rows: Vec::new(),
                row_locked: false,
                parents: parents_of(mapped, &known, &parents),
                external_id_in_use: in_use.contains(&record_id),
                clock_skew_ms,
                refused: Vec::new(),
                known,
            },
            must_be_read: false,
            plan: Err(LeaseEnd::Done { again: true }),
            row: None,
            children: Children::default(),
        };
        record.plan(&mut found, planner);
        record.fit(mapped, &shape);
        planned.push(result(record));
    }
    Ok(planned)
}

/// Returns the changes that the backfill of the rows would be, and the rows that it would refuse.
fn row_changes(
    mapped: &MappedObject,
    shape: &TableShape,
    rows: &[RowPlace],
) -> (Vec<KeyedChange>, Vec<PlannedOnly>) {
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for row in rows {
        let primary_key = (!shape.primary_key.is_empty()).then_some(&row.identity);
        match backfill_change(mapped, row.external_id.as_deref(), primary_key) {
            Ok(change) => changes.push(change),
            Err((code, message)) => refused.push(refused_row(row, code, message)),
        }
    }
    (changes, refused)
}

fn refused_row(row: &RowPlace, code: &str, message: String) -> PlannedOnly {
    let external_id = row.external_id.clone();
    PlannedOnly {
        external_id: external_id.unwrap_or_else(|| row.identity.to_string()),
        canonical_id: String::new(),
        salesforce_id: None,
        generated: false,
        rows: vec![row.identity.clone()],
        plan: Err(LeaseEnd::park(ParkReason {
            code: code.to_owned(),
            field: None,
            message,
        })),
    }
}

/// Assigns the page's rows and observations to records, as capture does. Returns these records, the parents that they
/// point to, and how far the clocks of both sides may differ.
async fn assign(
    tx: &mut Tx,
    (mapped, shape): (&MappedObject, &TableShape),
    page: &PageToPlan<'_>,
    changes: &[KeyedChange],
    links: Links,
) -> Result<(Vec<SeenRecord>, BTreeMap<SalesforceId, String>, i64), StoreError> {
    let mut wanted: Vec<Wanted> = changes.iter().flat_map(names).collect();
    wanted.extend(page.observations.iter().map(|seen| Wanted {
        tenant: mapped.tenant.to_string(),
        object: seen.object.to_string(),
        canonical_id: external_id(seen).and_then(|raw| key_form(mapped).canonical(raw).ok()),
        local_key: None,
        salesforce_id: Some(seen.salesforce_id.clone()),
    }));
    let (mut known, clock_skew_ms) = match links {
        Links::None => (Vec::new(), 0),
        Links::Stored => {
            let (clock_skew_ms, installed) = skew_and_installed(tx, mapped).await?;
            let mut known = read_by_names(tx, &wanted).await?;
            if TableIdentity::of(installed.as_ref(), mapped, shape) == TableIdentity::Renamed {
                known.iter_mut().for_each(forget_agreement);
            }
            (known, clock_skew_ms)
        }
    };
    let mut identities = RowIdentityMap::new(std::mem::take(&mut known));
    for change in changes {
        identities.take(change);
    }
    let mut of_rows = BTreeSet::new();
    for (place, entry) in identities.entries().iter().enumerate() {
        let mut record =
            updated(entry).unwrap_or_else(|| new_record(std::slice::from_ref(mapped), entry));
        if entry.known.is_none() {
            record.link.record_id = provisional_id(place);
        }
        of_rows.extend(entry.dirty.then_some(record.link.record_id));
        known.push(record);
    }
    let first_new = known.len();
    let state = known_state(tx, mapped, page, &wanted, (known, links)).await?;
    let parents = state.parents.clone();
    let mut batch = ObservationBatch::new(state);
    let taken: BTreeSet<usize> = page
        .observations
        .iter()
        .filter_map(|seen| batch.take(origin(mapped), seen).place)
        .collect();
    for (place, record) in batch.records_mut().iter_mut().enumerate() {
        if record.is_new() {
            record.known.link.record_id = provisional_id(first_new + place);
        }
    }
    let records = batch.into_records().into_iter().enumerate();
    let concerned = records.filter(|(place, record)| {
        !record.merged && (taken.contains(place) || of_rows.contains(&record.known.link.record_id))
    });
    let records = concerned.map(|(_, record)| record).collect();
    Ok((records, parents, clock_skew_ms))
}

/// Returns what the observations are assigned with: links, their writes, former ids, and parents.
async fn known_state(
    tx: &mut Tx,
    mapped: &MappedObject,
    page: &PageToPlan<'_>,
    wanted: &[Wanted],
    (records, links): (Vec<KnownRecord>, Links),
) -> Result<KnownState, StoreError> {
    let mut parents = page.parents.clone();
    if links == Links::None {
        return Ok(KnownState {
            records,
            parents,
            ..KnownState::default()
        });
    }
    let ids: Vec<RecordId> = records.iter().map(|record| record.link.record_id).collect();
    let mut pointed = remote_parents(mapped, &records);
    for seen in page.observations {
        pointed.extend(references(mapped, |field| seen.fields.get(field)));
    }
    parents.extend(resolve_parents(tx, &mapped.tenant, &pointed).await?);
    Ok(KnownState {
        intents: live_intents(tx, &ids).await?,
        former: former_ids(tx, wanted).await?,
        records,
        parents,
    })
}

/// Forgets what was agreed with another table, as `install` does when the mapping names a new one.
fn forget_agreement(known: &mut KnownRecord) {
    known.link.base = Payload::new();
    known.link.agreed = false;
    known.link.automation_overrides = BTreeMap::new();
    known.link.local_key = None;
    known.key_conflict = false;
    known.postgres_presence = Presence::Unseen;
}

/// Notes that a row is missing: a comparison would find it, and it counts as deleted then.
fn without_row(mut known: KnownRecord, is_missing: bool) -> KnownRecord {
    if is_missing && known.link.agreed {
        known.postgres_presence = Presence::Deleted;
    }
    known
}

/// Returns the id of a record that has no link: no stored record has such a low one.
fn provisional_id(place: usize) -> RecordId {
    RecordId(Uuid::from_u128(1 + place as u128))
}

/// Returns a lease under which a record that was just read is planned to the end: what apply would wait for has not
/// come.
fn lease(known: &KnownRecord) -> LeasedTask {
    LeasedTask {
        record_id: known.link.record_id,
        token: FencingToken(0),
        generation: Generation(0),
        attempts: Attempts::default().with(Cause::Lookup, LOOKUP_ATTEMPTS_MAX),
        needs_refresh: true,
        salesforce_id: known.link.salesforce_id.clone(),
        external_id: known.link.external_id.clone(),
    }
}

fn result(record: LeasedRecord) -> PlannedOnly {
    let LeasedRecord { observed, plan, .. } = record;
    let rows = observed.rows.into_iter().map(|row| row.identity);
    let KnownRecord {
        link, generated, ..
    } = observed.known;
    PlannedOnly {
        external_id: link.external_id,
        canonical_id: link.canonical_id,
        salesforce_id: link.salesforce_id,
        generated,
        rows: rows.collect(),
        plan,
    }
}
