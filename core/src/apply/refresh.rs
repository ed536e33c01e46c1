//! Refreshes leased records: reads them in Salesforce before they are planned. This is needed after an
//! unknown outcome, a gap, observations that cannot be ordered, or a delete of a missing record, and when a
//! record may no longer match the object's filter.
//!
//! A refresh never repeats a write.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::job::error::Error;
use crate::job::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::SalesforceId;
use crate::model::key::KeyForm;
use crate::model::observation::{ObservationKind, SalesforceObservation, Version};
use crate::model::value::Payload;
use crate::observe::read::{external_id_of, observation, read_by_id, read_matching};
use crate::planner::policy::{Cause, Tries, wait_ms};
use crate::ports::MappedObject;
use crate::ports::record::{LeaseEnd, LeasedTask};
use crate::ports::salesforce::{Deleted, Disposition, ReadBy, SalesforceError, SalesforceRecord};

use super::ApplyReport;

/// External ids of one read: about as many as fit into the URL of a GET.
const EXTERNAL_IDS_BATCH: usize = 200;

/// Reads the leased records that need it, and records the observations. Returns the leases that can be
/// planned now. Releases the others if the org cannot be used or read.
///
/// While the object needs a resync, and always if it has a filter, a record without a Salesforce id is
/// first read by its external id: a create would overwrite a record that already has this external id.
pub(super) async fn refresh(
    job: &Job<'_>,
    mapped: &MappedObject,
    leases: Vec<LeasedTask>,
    needs_resync: bool,
    report: &mut ApplyReport,
) -> Result<Vec<LeasedTask>, Error> {
    let unread = needs_resync || mapped.sync.filter.is_some();
    let (unknown, known): (Vec<_>, Vec<_>) = leases
        .into_iter()
        .partition(|lease| lease.needs_refresh || (unread && lease.salesforce_id.is_none()));
    if unknown.is_empty() {
        return Ok(known);
    }
    if let Some(wait_ms) = report.org_wait_ms {
        let waits = Waits::ForOrg { wait_ms };
        release(job, mapped, unknown, waits, report).await?;
        return Ok(known);
    }
    let observations = match read(job, mapped, &unknown).await {
        Ok(observations) => observations,
        Err(Error::Salesforce(error)) => {
            let outage = job.note_failure(&error).await;
            let waits = if error.disposition.concerns_tenant() {
                report.note_outage(outage, error.disposition);
                let wait_ms = report.org_wait_ms.unwrap_or_default();
                Waits::ForOrg { wait_ms }
            } else {
                // A field that was deleted or hidden makes every read of its object fail.
                job.tenant.reload_soon();
                Waits::Unreadable(&error)
            };
            release(job, mapped, unknown, waits, report).await?;
            return Ok(known);
        }
        Err(error) => return Err(error),
    };
    if std::mem::take(&mut report.outage_is_due) {
        job.end_outage_or_log().await;
    }
    job.store()
        .record_observations(std::slice::from_ref(mapped), &observations, None)
        .await?;
    report.refreshed += unknown.len();
    Ok(known.into_iter().chain(unknown).collect())
}

/// Reads the records by id, and by external id if no live record has the id. If the object has a filter,
/// reads the found records once more with it: a record that is not returned is filtered out.
async fn read(
    job: &Job<'_>,
    mapped: &MappedObject,
    leases: &[LeasedTask],
) -> Result<Vec<SalesforceObservation>, Error> {
    let ids: Vec<SalesforceId> = leases
        .iter()
        .filter_map(|lease| lease.salesforce_id.clone())
        .collect();
    let by_id = read_by_id(job, mapped, &ids).await?;
    let without_live: Vec<&LeasedTask> = leases
        .iter()
        .filter(|lease| live(&by_id, lease).is_none())
        .collect();
    let by_external_id = read_by_external_id(job, mapped, &without_live).await?;
    let found: BTreeSet<&SalesforceId> = by_id
        .values()
        .chain(by_external_id.values())
        .map(|record| &record.salesforce_id)
        .collect();
    let found: Vec<SalesforceId> = found.into_iter().cloned().collect();
    let shown = match mapped.sync.filter {
        Some(_) => Some(read_matching(job, mapped, &found).await?),
        None => None,
    };
    let with_filter = |record| Found::of(record, shown.as_ref());
    let form = mapped
        .schema
        .fields
        .get(&mapped.sync.external_id.field)
        .map_or_else(KeyForm::default, KeyForm::of);
    let absent = leases
        .iter()
        .filter_map(|lease| lease.salesforce_id.as_ref());
    let absent: BTreeSet<&SalesforceId> = absent.filter(|id| !by_id.contains_key(*id)).collect();
    let deleted = if absent.is_empty() {
        BTreeSet::new()
    } else {
        deleted_recently(job, mapped).await?
    };
    let cursor = format!("refresh:{}", job.shared.ids.uuid());
    let observations = leases.iter().flat_map(|lease| {
        let named = form
            .canonical(&lease.external_id)
            .ok()
            .and_then(|canonical| by_external_id.get(&canonical));
        Refreshed {
            lease,
            by_id: lease
                .salesforce_id
                .as_ref()
                .and_then(|id| by_id.get(id))
                .map(with_filter),
            named: named.map(with_filter),
            is_proven_deleted: lease
                .salesforce_id
                .as_ref()
                .is_none_or(|id| deleted.contains(id)),
        }
        .observations(job, mapped, &cursor)
    });
    Ok(observations.collect())
}

/// How far back the log of deletes is read: Salesforce keeps it for 15 days, and the clocks may differ.
const DELETE_LOG_MS: i64 = 14 * 24 * 60 * 60 * 1_000;

/// The log is read by minutes: the end lies after the current one.
const DELETE_LOG_AHEAD_MS: i64 = 2 * 60 * 1_000;

/// Returns the records of the object that Salesforce logged as deleted; none if it keeps no log of them.
async fn deleted_recently(
    job: &Job<'_>,
    mapped: &MappedObject,
) -> Result<BTreeSet<SalesforceId>, Error> {
    let now_ms = job.now_ms();
    let (since_ms, until_ms) = (now_ms - DELETE_LOG_MS, now_ms + DELETE_LOG_AHEAD_MS);
    let object = &mapped.sync.object;
    match job
        .salesforce()
        .deleted_since(object, since_ms, until_ms)
        .await
    {
        Ok(deleted) => Ok(deleted),
        Err(error) if error.disposition == Disposition::Park => {
            tracing::warn!(
                tenant = %job.id(), %object, %error,
                "the log of deletes cannot be read: records that are not found are held"
            );
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn live<'a>(
    found: &'a BTreeMap<SalesforceId, SalesforceRecord>,
    lease: &LeasedTask,
) -> Option<&'a SalesforceRecord> {
    found
        .get(lease.salesforce_id.as_ref()?)
        .filter(|record| record.deleted == Deleted::No)
}

/// Reads records by external id. A live one is preferred to a deleted one of the same external id.
async fn read_by_external_id(
    job: &Job<'_>,
    mapped: &MappedObject,
    leases: &[&LeasedTask],
) -> Result<BTreeMap<String, SalesforceRecord>, Error> {
    let field = &mapped.sync.external_id.field;
    let form = mapped
        .schema
        .fields
        .get(field)
        .map_or_else(KeyForm::default, KeyForm::of);
    let mut found: BTreeMap<String, SalesforceRecord> = BTreeMap::new();
    for batch in leases.chunks(EXTERNAL_IDS_BATCH) {
        let by = ReadBy::ExternalId {
            field: field.clone(),
            values: batch
                .iter()
                .map(|lease| lease.external_id.clone())
                .collect(),
        };
        let records = job
            .salesforce()
            .read(&mapped.sync.object, &by, &read_fields(&mapped.sync))
            .await?;
        for record in records {
            let canonical =
                external_id_of(mapped, &record).and_then(|given| form.canonical(&given).ok());
            let Some(canonical) = canonical else { continue };
            let replaces = record.deleted == Deleted::No || !found.contains_key(&canonical);
            if replaces {
                found.insert(canonical, record);
            }
        }
    }
    Ok(found)
}

/// A record that was found, and whether it matches the object's filter.
#[derive(Clone, Copy)]
struct Found<'a> {
    record: &'a SalesforceRecord,
    filtered_out: bool,
}

impl<'a> Found<'a> {
    /// Returns the record as read with the filter, which is the later read; else as filtered out.
    fn of(
        record: &'a SalesforceRecord,
        shown: Option<&'a BTreeMap<SalesforceId, SalesforceRecord>>,
    ) -> Self {
        let matched = match shown {
            Some(shown) => shown.get(&record.salesforce_id),
            None => Some(record),
        };
        Self {
            record: matched.unwrap_or(record),
            filtered_out: matched.is_none(),
        }
    }

    fn is_live(&self) -> bool {
        self.record.deleted == Deleted::No
    }

    /// A filtered-out record is observed only as such, live or deleted, without its values.
    fn kind(&self) -> ObservationKind {
        match (self.filtered_out, self.record.deleted) {
            (true, _) => ObservationKind::FilteredOut,
            (false, Deleted::No) => ObservationKind::Refresh,
            (false, Deleted::Yes) => ObservationKind::Deleted,
        }
    }
}

/// The result of refreshing one record.
struct Refreshed<'a> {
    lease: &'a LeasedTask,
    by_id: Option<Found<'a>>,
    named: Option<Found<'a>>,
    /// If nothing has its id: Salesforce logged its delete, or it never had an id.
    is_proven_deleted: bool,
}

impl Refreshed<'_> {
    /// Returns the observations: of the record itself; or that its id does not exist any more, and of the
    /// record that has its external id now, if there is one.
    fn observations(
        &self,
        job: &Job<'_>,
        mapped: &MappedObject,
        cursor: &str,
    ) -> Vec<SalesforceObservation> {
        let plain = |found: Found<'_>| observation(job, mapped, found.record, found.kind(), cursor);
        let seen = |found, ordinal| SalesforceObservation {
            external_id: Some(self.lease.external_id.clone()),
            ordinal,
            ..plain(found)
        };
        if let Some(found) = self.by_id.filter(Found::is_live) {
            // Its external id may have changed in Salesforce; the plan decides about that.
            return vec![plain(found)];
        }
        let named = self.named.filter(Found::is_live);
        let gone = match (self.by_id, named) {
            (Some(deleted), _) => Some(seen(deleted, 0)),
            // Found by its external id; or it never existed, and its absence settles no write.
            (None, found) if self.lease.salesforce_id.is_none() => {
                (found.is_none() && self.lease.needs_refresh).then(|| self.missing(mapped, cursor))
            }
            (None, Some(_) | None) => Some(self.missing(mapped, cursor)),
        };
        let successor = named.map(|found| seen(found, 1));
        gone.into_iter().chain(successor).collect()
    }

    /// Returns the observation that the record was not found. Absence alone does not prove a delete: our user may
    /// not see the record any more. A record that never had an id is identified
    /// by its external id.
    fn missing(&self, mapped: &MappedObject, cursor: &str) -> SalesforceObservation {
        SalesforceObservation {
            object: mapped.sync.object.clone(),
            salesforce_id: self.lease.salesforce_id.clone().unwrap_or_else(no_id),
            external_id: Some(self.lease.external_id.clone()),
            kind: if self.is_proven_deleted {
                ObservationKind::Missing
            } else {
                ObservationKind::Unreadable
            },
            fields: Payload::new(),
            unreadable: BTreeMap::new(),
            version: Version::default(),
            cursor: SourceCursor::Snapshot(cursor.to_owned()),
            ordinal: 0,
            ours: false,
        }
    }
}

/// Returns the id of zeroes, which Salesforce uses for "no record".
fn no_id() -> SalesforceId {
    SalesforceId::parse("000000000000000AAA").expect("the empty id is well formed")
}

/// Why records could not be read.
enum Waits<'a> {
    /// The org cannot be used.
    ForOrg {
        /// Until it is tried again.
        wait_ms: i64,
    },
    /// Reading them failed.
    Unreadable(&'a SalesforceError),
}

impl Waits<'_> {
    /// Returns how the lease of a record ends.
    fn end(&self, lease: &LeasedTask) -> LeaseEnd {
        let (delay_ms, cause, reason) = match self {
            Self::ForOrg { wait_ms } => (*wait_ms, None, "the org cannot be used".to_owned()),
            Self::Unreadable(error) => {
                let tries = Tries::of(lease.record_id, &lease.attempts);
                let cause = Cause::Unreadable;
                (wait_ms(cause, tries), Some(cause), error.to_string())
            }
        };
        LeaseEnd::Later {
            delay_ms,
            cause,
            // The refresh that it needs was not made.
            needs_refresh: lease.needs_refresh,
            code: None,
            reason,
            awaits: Vec::new(),
        }
    }
}

/// Releases leases whose records could not be read. Each waits longer each time it cannot be read; the records
/// are not the cause, so none is ever parked for it.
async fn release(
    job: &Job<'_>,
    mapped: &MappedObject,
    leases: Vec<LeasedTask>,
    waits: Waits<'_>,
    report: &mut ApplyReport,
) -> Result<(), Error> {
    report.requeued += leases.len();
    if let Waits::Unreadable(error) = &waits {
        tracing::warn!(
            tenant = %job.id(), object = %mapped.sync.object, count = leases.len(), %error,
            "records could not be refreshed; they wait"
        );
    }
    let releases: Vec<(LeasedTask, LeaseEnd)> = leases
        .into_iter()
        .map(|lease| {
            let end = waits.end(&lease);
            (lease, end)
        })
        .collect();
    job.store().release_tasks(mapped, &releases).await?;
    Ok(())
}
