//! Reads what events leave out: the content of records that have no link yet, and whether an object's
//! filter shows them.
//!
//! Only Salesforce can evaluate a SOQL filter. So the records of a batch are read by id with the filter.
//! A record that does not come back is unmatched, and its content is dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::job::error::Error;
use crate::job::tenant::mapped_object;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::observe::read::{external_id_of, read_by_id, read_shown};
use crate::ports::MappedObject;
use crate::ports::salesforce::{Deleted, SalesforceRecord};

/// How events arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// As they were committed.
    InOrder,
    /// In any order: a created record may be deleted already, and its delete event may have come first.
    Unordered,
}

/// Completes the events of a batch. It completes events that carry too little for a new link (an update
/// carries only what changed, usually without the external id; a gap carries nothing), events that may
/// be too late for a new link, and, for objects with a filter, events of records that it does not show.
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

/// Marks an observation as one of a record that the filter does not show, and drops its content.
pub(super) fn unmatched(seen: &mut SalesforceObservation) {
    seen.kind = ObservationKind::Unmatched;
    seen.fields.clear();
}

/// Returns the records that must be read because their events are incomplete.
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

/// The event of a new record is complete, except for whether the filter shows the record and whether it
/// still exists. A delete is complete.
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

/// Drops the content of events whose records the filter does not show.
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

/// Replaces the record's first incomplete event by what was read. Its later events stay: by their
/// versions they are older than the read.
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
