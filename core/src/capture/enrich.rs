//! What events leave out is read: the content of records that nobody knows yet, and whether an object's
//! filter shows them.
//!
//! A SOQL filter can be judged by Salesforce alone. So the records of a batch are asked for by id, with
//! the filter; what does not come back is unmatched, and none of its content goes any further.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::error::Error;
use crate::engine::job::Job;
use crate::engine::tenant::{mapped_object, read_fields};
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::ports::MappedObject;
use crate::ports::salesforce::{Deleted, ReadBy, SalesforceRecord};

use super::backfill::external_id_of;

/// Records of one read by id.
const READ_BATCH: usize = 200;

/// How events arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// As they were committed.
    InOrder,
    /// In any order: a record whose creation is told may be gone, and that may have been told before.
    Unordered,
}

/// Completes the events of a batch: those that say too little to begin a link with (an update carries
/// only what changed, most often without the external id, and a gap carries nothing), those that may
/// come too late to begin one, and, for objects with a filter, those of records that the filter does
/// not show.
pub(super) async fn complete(
    job: &Job<'_>,
    arrival: Arrival,
    mut observations: Vec<SalesforceObservation>,
) -> Result<Vec<SalesforceObservation>, Error> {
    for (object, ids) in asked_about(job, arrival, &observations) {
        // Events of unmapped objects are out of scope; the store counts them.
        let Some(mapped) = mapped_object(job.mapped_objects(), &object) else {
            continue;
        };
        let ids: Vec<SalesforceId> = ids.into_iter().collect();
        let (ids, shown) = match mapped.sync.filter {
            Some(_) => {
                let shown = read_shown(job, mapped, &ids).await?;
                keep_out(mapped, arrival, &mut observations, &shown);
                (shown.keys().cloned().collect(), Some(shown))
            }
            None => (ids, None),
        };
        let unlinked = job.store().unlinked(mapped, &ids).await?;
        let records = match shown {
            Some(shown) => shown,
            None => read_by_id(job, mapped, &unlinked).await?,
        };
        for id in &unlinked {
            put_whole((mapped, arrival), &mut observations, id, records.get(id));
        }
    }
    Ok(observations)
}

/// Reads records by id, batch by batch. Deleted ones come too; absent ones do not exist for us.
pub(crate) async fn read_by_id(
    job: &Job<'_>,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    read_batches(job, mapped, ids, &|ids| ReadBy::Id(ids)).await
}

/// Reads those of the records that the object's filter shows, deleted ones by what they held last; all
/// of them, where it has no filter.
pub(crate) async fn read_shown(
    job: &Job<'_>,
    mapped: &MappedObject,
    ids: &[SalesforceId],
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    match &mapped.sync.filter {
        Some(filter) => {
            let matching = |ids| ReadBy::Matching {
                ids,
                filter: filter.clone(),
            };
            read_batches(job, mapped, ids, &matching).await
        }
        None => read_by_id(job, mapped, ids).await,
    }
}

async fn read_batches(
    job: &Job<'_>,
    mapped: &MappedObject,
    ids: &[SalesforceId],
    by: &(dyn Fn(Vec<SalesforceId>) -> ReadBy + Sync),
) -> Result<BTreeMap<SalesforceId, SalesforceRecord>, Error> {
    let fields = read_fields(&mapped.sync);
    let mut found = BTreeMap::new();
    for batch in ids.chunks(READ_BATCH) {
        let records = job
            .salesforce()
            .read(&mapped.sync.object, &by(batch.to_vec()), &fields)
            .await?;
        found.extend(
            records
                .into_iter()
                .map(|record| (record.salesforce_id.clone(), record)),
        );
    }
    Ok(found)
}

/// Says that a record was seen which the filter does not show; of its content nothing is told.
pub(super) fn unmatched(seen: &mut SalesforceObservation) {
    seen.kind = ObservationKind::Unmatched;
    seen.fields.clear();
}

/// Returns the records that the events leave a question about.
fn asked_about(
    job: &Job<'_>,
    arrival: Arrival,
    observations: &[SalesforceObservation],
) -> BTreeMap<ObjectName, BTreeSet<SalesforceId>> {
    let mut asked: BTreeMap<ObjectName, BTreeSet<SalesforceId>> = BTreeMap::new();
    for seen in observations {
        let mapped = mapped_object(job.mapped_objects(), &seen.object);
        if mapped.is_some_and(|mapped| is_asked_about(mapped, arrival, seen)) {
            asked
                .entry(seen.object.clone())
                .or_default()
                .insert(seen.salesforce_id.clone());
        }
    }
    asked
}

/// A new record says everything but whether the filter shows it, and whether it is still there. What a
/// delete says stands by itself.
fn is_asked_about(mapped: &MappedObject, arrival: Arrival, seen: &SalesforceObservation) -> bool {
    match seen.kind {
        ObservationKind::Changed | ObservationKind::Gap => true,
        ObservationKind::Created | ObservationKind::Undeleted => {
            mapped.sync.filter.is_some() || arrival == Arrival::Unordered
        }
        ObservationKind::Snapshot
        | ObservationKind::Refresh
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Unmatched
        | ObservationKind::FilteredOut => false,
    }
}

/// Empties the events of records that the filter does not show.
fn keep_out(
    mapped: &MappedObject,
    arrival: Arrival,
    observations: &mut [SalesforceObservation],
    shown: &BTreeMap<SalesforceId, SalesforceRecord>,
) {
    observations
        .iter_mut()
        .filter(|seen| seen.object == mapped.sync.object && is_asked_about(mapped, arrival, seen))
        .filter(|seen| !shown.contains_key(&seen.salesforce_id))
        .for_each(unmatched);
}

/// Puts what the read showed in place of the record's first event that leaves a question. Its later
/// ones stay: by their versions they are older than the read.
fn put_whole(
    (mapped, arrival): (&MappedObject, Arrival),
    observations: &mut [SalesforceObservation],
    id: &SalesforceId,
    record: Option<&SalesforceRecord>,
) {
    let first = observations
        .iter_mut()
        .find(|seen| seen.salesforce_id == *id && is_asked_about(mapped, arrival, seen));
    let Some(seen) = first else { return };
    match record {
        Some(record) if record.deleted == Deleted::No => {
            seen.kind = ObservationKind::Snapshot;
            seen.external_id = external_id_of(mapped, record);
            seen.fields = record.fields.clone();
            seen.version = record.version;
        }
        Some(_) | None => {
            seen.kind = ObservationKind::Deleted;
            seen.fields.clear();
        }
    }
}
