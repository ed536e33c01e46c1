//! The steps of a full comparison: links and rows of a page of Salesforce, and a page of rows with their links.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::model::ids::{ObjectName, RecordId, SalesforceId};
use crate::ports::comparison::{ObservedPage, PageRecord, RowPage, UnknownRow};
use crate::ports::record::{ObservedRecord, PostgresRow};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::read::{
    FoundRows, Links, Locking, RowError, read_rows, read_rows_uncaptured,
};
use crate::store::mapped_table::shape::{TableShape, key_form, read_shape};
use crate::store::mapped_table::walk::{WalkedRow, rows_after};
use crate::store::operations::parents::{parents_of, references, remote_parents};
use crate::store::operations::table_identity::require_installed_table;
use crate::store::tables::capture::{installed, skew_and_installed};
use crate::store::tables::comparison::linked_after;
use crate::store::tables::intent::live_intents;
use crate::store::tables::link::{KnownRecord, by_salesforce_id, named, of_rows, resolve_parents};
use crate::store::transaction::Tx;

/// Whether the rows of a table are captured, so that the spellings of their external ids are known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Capture {
    /// They are.
    Done,
    /// Perhaps not yet.
    Ahead(Links),
}

/// Reads the rows of records; where Postgres refuses an external id that the column's type does not take,
/// tries the halves. A record whose external id no row can have has no row.
pub(super) async fn read_taken_rows(
    tx: &mut Tx,
    (mapped, shape): (&MappedObject, &TableShape),
    records: Vec<&KnownRecord>,
    capture: Capture,
) -> Result<FoundRows, StoreError> {
    let mut found = FoundRows::default();
    let mut batches = vec![records];
    // Each refusal halves a batch, so there are at most twice as many batches as records.
    while let Some(batch) = batches.pop() {
        tx.savepoint().await?;
        let read = match capture {
            Capture::Done => read_rows(tx, mapped, shape, &batch, Locking::Refresh).await,
            Capture::Ahead(links) => read_rows_uncaptured(tx, mapped, shape, &batch, links).await,
        };
        match read {
            Ok(read) => {
                tx.release_savepoint().await?;
                found.rows.extend(read.rows);
            }
            Err(RowError::Refused(_)) => {
                tx.rollback_to_savepoint().await?;
                if batch.len() > 1 {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([second.to_vec(), first.to_vec()]);
                }
            }
            Err(RowError::Store(error)) => return Err(error),
        }
    }
    Ok(found)
}

/// Reads the table's shape. Fails if it is not the table that capture was installed on: the rows that another one
/// lacks were not deleted.
async fn read_installed_shape(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<TableShape, StoreError> {
    let shape = read_shape(tx, mapped).await?;
    if let Some(before) = installed(tx, mapped).await? {
        require_installed_table(mapped, &shape, Some(&before))?;
    }
    Ok(shape)
}

/// Reads links and live rows of the records of one page, without locks. Parents are those that the remote state and
/// the record as read point to.
pub(super) async fn observe_page(
    tx: &mut Tx,
    mapped: &MappedObject,
    seen: &[PageRecord<'_>],
    started_at: Option<DateTime<Utc>>,
) -> Result<ObservedPage, StoreError> {
    let ids: Vec<SalesforceId> = seen.iter().map(|one| one.salesforce_id.clone()).collect();
    let known = by_salesforce_id(tx, mapped, &ids).await?;
    let records: Vec<RecordId> = known.iter().map(|known| known.link.record_id).collect();
    let appeared = match started_at {
        Some(started_at) => linked_after(tx, &records, started_at).await?,
        None => BTreeSet::new(),
    };
    let named = named_by_others(tx, mapped, seen, &known).await?;
    let shape = read_installed_shape(tx, mapped).await?;
    let mut found =
        read_taken_rows(tx, (mapped, &shape), known.iter().collect(), Capture::Done).await?;
    let linked = observed(tx, mapped, seen, known, &mut found.rows).await?;
    Ok(ObservedPage {
        linked,
        named,
        appeared,
    })
}

/// Returns the records that have the external ids of records without a link.
async fn named_by_others(
    tx: &mut Tx,
    mapped: &MappedObject,
    seen: &[PageRecord<'_>],
    known: &[KnownRecord],
) -> Result<BTreeMap<SalesforceId, RecordId>, StoreError> {
    let linked: BTreeSet<&SalesforceId> = known
        .iter()
        .filter_map(|known| known.link.salesforce_id.as_ref())
        .collect();
    let form = key_form(mapped);
    let names: Vec<(&SalesforceId, String)> = seen
        .iter()
        .filter(|one| !linked.contains(one.salesforce_id))
        .filter_map(|one| {
            let name = form.canonical(one.external_id?).ok()?;
            Some((one.salesforce_id, name))
        })
        .collect();
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted: Vec<&str> = names.iter().map(|(_, name)| name.as_str()).collect();
    let holders = named(tx, mapped, &wanted).await?;
    Ok(names
        .into_iter()
        .filter_map(|(id, name)| Some((id.clone(), *holders.get(&name)?)))
        .collect())
}

/// Completes links with their writes, rows and parents.
async fn observed(
    tx: &mut Tx,
    mapped: &MappedObject,
    seen: &[PageRecord<'_>],
    known: Vec<KnownRecord>,
    rows: &mut BTreeMap<RecordId, Vec<PostgresRow>>,
) -> Result<Vec<ObservedRecord>, StoreError> {
    let records: Vec<RecordId> = known.iter().map(|known| known.link.record_id).collect();
    let mut intents = live_intents(tx, &records).await?;
    let mut live: BTreeMap<&SalesforceId, Vec<(ObjectName, SalesforceId)>> = BTreeMap::new();
    for one in seen {
        if let Some(fields) = one.fields {
            live.insert(
                one.salesforce_id,
                references(mapped, |name| fields.get(name)),
            );
        }
    }
    let mut pointed = remote_parents(mapped, &known);
    pointed.extend(live.values().flatten().cloned());
    let parents = resolve_parents(tx, &mapped.tenant, &pointed).await?;
    let (clock_skew_ms, _) = skew_and_installed(tx, mapped).await?;
    let complete = |known: KnownRecord| {
        let record_id = known.link.record_id;
        let mut its_parents = parents_of(mapped, &known, &parents);
        let id = known.link.salesforce_id.as_ref();
        for (_, parent) in id.and_then(|id| live.get(id)).into_iter().flatten() {
            if let Some(name) = parents.get(parent) {
                its_parents.insert(parent.clone(), name.clone());
            }
        }
        ObservedRecord {
            intents: intents.remove(&record_id).unwrap_or_default(),
            rows: rows.remove(&record_id).unwrap_or_default(),
            row_locked: false,
            parents: its_parents,
            external_id_in_use: false,
            clock_skew_ms,
            refused: Vec::new(),
            known,
        }
    };
    Ok(known.into_iter().map(complete).collect())
}

/// Reads a page of rows. Rows are matched to records as [`observe_page`] matches them, so that each row is counted
/// either with its record in Salesforce or here.
pub(super) async fn observe_rows(
    tx: &mut Tx,
    mapped: &MappedObject,
    started_at: DateTime<Utc>,
    after: Option<&serde_json::Value>,
    limit: usize,
) -> Result<RowPage, StoreError> {
    let shape = read_installed_shape(tx, mapped).await?;
    let walked = rows_after(tx, mapped, &shape, after, limit).await?;
    let next = match walked.last() {
        Some(last) if walked.len() == limit => Some(last.place.clone()),
        Some(_) | None => None,
    };
    let mut page = RowPage {
        rows: u64::try_from(walked.len()).unwrap_or(u64::MAX),
        next,
        ..RowPage::default()
    };
    let known = links_of(tx, mapped, &walked).await?;
    let found =
        read_taken_rows(tx, (mapped, &shape), known.iter().collect(), Capture::Done).await?;
    let mut of_record: BTreeMap<String, (RecordId, PostgresRow)> = BTreeMap::new();
    for (record, rows) in found.rows {
        for row in rows {
            of_record.insert(row.identity.to_string(), (record, row));
        }
    }
    let linked: Vec<RecordId> = known
        .iter()
        .filter(|known| known.link.salesforce_id.is_some())
        .map(|known| known.link.record_id)
        .collect();
    let appeared = linked_after(tx, &linked, started_at).await?;
    let linked: BTreeSet<RecordId> = linked.into_iter().collect();
    let mut unlinked: BTreeMap<RecordId, Vec<PostgresRow>> = BTreeMap::new();
    for row in walked {
        match of_record.remove(&row.place.to_string()) {
            Some((record, _)) if appeared.contains(&record) => page.appeared += 1,
            Some((record, _)) if linked.contains(&record) => {}
            Some((record, row)) => unlinked.entry(record).or_default().push(row),
            None => page.unknown.push(UnknownRow {
                identity: row.place,
                external_id: row.external_id,
                is_captured: row.is_captured,
            }),
        }
    }
    let known: Vec<KnownRecord> = known
        .into_iter()
        .filter(|known| unlinked.contains_key(&known.link.record_id))
        .collect();
    page.unlinked = observed(tx, mapped, &[], known, &mut unlinked).await?;
    Ok(page)
}

/// Returns the links that rows may belong to.
async fn links_of(
    tx: &mut Tx,
    mapped: &MappedObject,
    rows: &[WalkedRow],
) -> Result<Vec<KnownRecord>, StoreError> {
    let form = key_form(mapped);
    let written: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.external_id.as_deref())
        .collect();
    let canonical_ids: Vec<String> = written
        .iter()
        .filter_map(|written| form.canonical(written).ok())
        .collect();
    let places: Vec<&serde_json::Value> = rows.iter().map(|row| &row.place).collect();
    of_rows(tx, mapped, &canonical_ids, &written, &places).await
}
