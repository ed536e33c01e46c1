//! Reads what events lack: the values of records that have no link yet, and whether a record matches its
//! object's filter.
//!
//! Only Salesforce can evaluate a SOQL filter. So the records of a batch are read by id with the filter.
//! A record that is not returned does not match, and its values are dropped.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::job::error::Error;
use crate::job::tenant::mapped_object;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::observe::read::{external_id_of, read_by_id, read_matching};
use crate::ports::MappedObject;
use crate::ports::salesforce::{Deleted, SalesforceRecord};

/// In which order events arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// In commit order.
    InOrder,
    /// In any order: the delete event of a record may have arrived before its create event.
    Unordered,
}

/// Completes the events of a batch by reading their records, if an event has too few values for a new
/// link (an update has only the changed fields, usually without the external id; a gap has none), if an
/// event may be outdated, or if its object has a filter.
pub(super) async fn complete(
    job: &Job<'_>,
    arrival: Arrival,
    mut observations: Vec<SalesforceObservation>,
) -> Result<Vec<SalesforceObservation>, Error> {
    for (object, ids) in records_to_read(job, arrival, &observations) {
        // Events of unmapped objects are out of scope; the store counts them.
        let Some(mapped) = mapped_object(job.mapped_objects(), &object) else {
            continue;
        };
        let ids: Vec<SalesforceId> = ids.into_iter().collect();
        let (ids, shown) = match mapped.sync.filter {
            Some(_) => {
                let shown = read_matching(job, mapped, &ids).await?;
                drop_unmatched(mapped, arrival, &mut observations, &shown);
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
            replace_first((mapped, arrival), &mut observations, id, records.get(id));
        }
    }
    Ok(observations)
}

/// Marks an observation as one of a record that does not match the filter, and drops its values.
pub(super) fn unmatched(seen: &mut SalesforceObservation) {
    seen.kind = ObservationKind::Unmatched;
    seen.fields.clear();
}

/// Returns the records that must be read because their events are incomplete.
fn records_to_read(
    job: &Job<'_>,
    arrival: Arrival,
    observations: &[SalesforceObservation],
) -> BTreeMap<ObjectName, BTreeSet<SalesforceId>> {
    let mut asked: BTreeMap<ObjectName, BTreeSet<SalesforceId>> = BTreeMap::new();
    for seen in observations {
        let mapped = mapped_object(job.mapped_objects(), &seen.object);
        if mapped.is_some_and(|mapped| must_be_read(mapped, arrival, seen)) {
            asked
                .entry(seen.object.clone())
                .or_default()
                .insert(seen.salesforce_id.clone());
        }
    }
    asked
}

/// Returns whether the event's record must be read. A create event is complete, but does not show whether
/// the record matches the filter or, out of order, still exists. A delete is complete.
fn must_be_read(mapped: &MappedObject, arrival: Arrival, seen: &SalesforceObservation) -> bool {
    match seen.kind {
        ObservationKind::Changed | ObservationKind::Gap => true,
        ObservationKind::Created | ObservationKind::Undeleted => {
            mapped.sync.filter.is_some() || arrival == Arrival::Unordered
        }
        ObservationKind::Snapshot
        | ObservationKind::Refresh
        | ObservationKind::Deleted
        | ObservationKind::Missing
        | ObservationKind::Unreadable
        | ObservationKind::Unmatched
        | ObservationKind::FilteredOut => false,
    }
}

/// Drops the values of events whose records do not match the filter.
fn drop_unmatched(
    mapped: &MappedObject,
    arrival: Arrival,
    observations: &mut [SalesforceObservation],
    shown: &BTreeMap<SalesforceId, SalesforceRecord>,
) {
    observations
        .iter_mut()
        .filter(|seen| seen.object == mapped.sync.object && must_be_read(mapped, arrival, seen))
        .filter(|seen| !shown.contains_key(&seen.salesforce_id))
        .for_each(unmatched);
}

/// Replaces the record's first incomplete event by the record as read. Its later events stay: by their
/// versions they are older than the read.
fn replace_first(
    (mapped, arrival): (&MappedObject, Arrival),
    observations: &mut [SalesforceObservation],
    id: &SalesforceId,
    record: Option<&SalesforceRecord>,
) {
    let first = observations
        .iter_mut()
        .find(|seen| seen.salesforce_id == *id && must_be_read(mapped, arrival, seen));
    let Some(seen) = first else { return };
    match record {
        Some(record) if record.deleted == Deleted::No => {
            seen.kind = ObservationKind::Snapshot;
            seen.external_id = external_id_of(mapped, record);
            seen.fields = record.fields.clone();
            seen.unreadable = record.unreadable.clone();
            seen.version = record.version;
        }
        Some(_) => {
            seen.kind = ObservationKind::Deleted;
            seen.fields.clear();
        }
        // It is gone, or our user cannot read it (any more).
        None => {
            seen.kind = ObservationKind::Unreadable;
            seen.fields.clear();
        }
    }
}
