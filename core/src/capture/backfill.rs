//! Reads whole objects whose scope is stale, page by page in id order, under the scan stream's lease.
//!
//! The subscription is open before the first page is read, so that what changes behind the scan
//! comes as an event. Records that the scan should have met and did not are marked to be looked at:
//! a scan proves absence no more than a missing event does.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::error::Error;
use crate::engine::job::{Job, STREAM_LEASE_MS};
use crate::engine::orphans::StreamGuard;
use crate::engine::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::Value;
use crate::ports::MappedObject;
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamName;
use crate::ports::salesforce::{SalesforceRecord, ScanPage};

use super::window::Window;
use super::{CaptureOptions, CaptureReport, wake_up_for};

/// The position of a scan that is done.
const SCAN_END: &str = "end";

/// Objects still to be read in this run, and the one being read.
pub(super) struct Backfill {
    /// Parents first.
    pending: VecDeque<ObjectName>,
    current: Option<Scan>,
}

/// One object being read.
struct Scan {
    mapped: MappedObject,
    lease: StreamGuard,
    leased_at_ms: i64,
}

/// Reads stale objects without a subscription, for tenants whose events come through a queue.
pub(super) async fn capture(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let window = Window::open(job, options);
    let mut report = CaptureReport::default();
    let mut backfill = Backfill::of_all(job);
    while window.is_open(job) && backfill.step(job, &mut report).await? {}
    backfill.close(job).await;
    Ok(report)
}

impl Backfill {
    /// Returns the backfill of every mapped object; fresh ones cost one look at their stream.
    pub(super) fn of_all(job: &Job<'_>) -> Self {
        Self {
            pending: job
                .mapped_objects()
                .iter()
                .map(|mapped| mapped.sync.object.clone())
                .collect(),
            current: None,
        }
    }

    /// Adds objects that have become stale.
    pub(super) fn add(&mut self, objects: &[ObjectName]) {
        for object in objects {
            if !self.pending.contains(object) {
                self.pending.push_back(object.clone());
            }
        }
    }

    /// Returns true while something remains to be read.
    pub(super) fn is_pending(&self) -> bool {
        self.current.is_some() || !self.pending.is_empty()
    }

    /// Reads one page, or begins the next object. Returns whether something remains.
    pub(super) async fn step(
        &mut self,
        job: &Job<'_>,
        report: &mut CaptureReport,
    ) -> Result<bool, Error> {
        match self.current.take() {
            Some(scan) => self.current = scan.page(job, report).await?,
            None => {
                if let Some(object) = self.pending.pop_front() {
                    self.current = Scan::begin(job, &object).await?;
                }
            }
        }
        Ok(self.is_pending())
    }

    /// Gives the lease of an unfinished scan back; the next run goes on where it stands.
    pub(super) async fn close(self, job: &Job<'_>) {
        if let Some(scan) = self.current {
            job.release(scan.lease).await;
        }
    }
}

impl Scan {
    /// Takes the scan's lease. None if the object is not stale or somebody else reads it.
    async fn begin(job: &Job<'_>, object: &ObjectName) -> Result<Option<Self>, Error> {
        let mapped = job.mapped(object)?.clone();
        let stream = StreamName(format!("scan:{object}"));
        let leased_at_ms = job.now_ms();
        let Some(lease) = job.acquire(&stream).await? else {
            return Ok(None);
        };
        if lease.needs_resync || lease.position.is_none() {
            Ok(Some(Self {
                mapped,
                lease,
                leased_at_ms,
            }))
        } else {
            job.release(lease).await;
            Ok(None)
        }
    }

    /// Reads and records the next page. Returns the scan while it goes on.
    async fn page(
        mut self,
        job: &Job<'_>,
        report: &mut CaptureReport,
    ) -> Result<Option<Self>, Error> {
        if job.now_ms() - self.leased_at_ms > STREAM_LEASE_MS / 3 && !self.renew(job).await? {
            return Ok(None);
        }
        let after = self.after();
        let sync = Arc::clone(&self.mapped.sync);
        let page = job
            .salesforce()
            .scan(
                &sync.object,
                &read_fields(&sync),
                sync.filter.as_deref(),
                after.as_ref(),
            )
            .await?;
        let dirty = self.record(job, &page, report).await?;
        let missed = self.repair_vanished(job, after.as_ref(), &page).await?;
        wake_up_for(job, dirty + missed, report).await?;
        if page.done {
            tracing::info!(
                tenant = %job.id(), object = %sync.object, count = report.scanned,
                "the object has been read as a whole"
            );
            job.release(self.lease).await;
            return Ok(None);
        }
        Ok(Some(self))
    }

    async fn renew(&mut self, job: &Job<'_>) -> Result<bool, Error> {
        self.leased_at_ms = job.now_ms();
        job.renew(&mut self.lease).await
    }

    /// Returns the last id that was read, from the stored position.
    fn after(&self) -> Option<SalesforceId> {
        match &self.lease.position {
            Some(SourceCursor::Snapshot(position)) => SalesforceId::parse(position).ok(),
            Some(SourceCursor::SalesforceReplayId(_) | SourceCursor::PostgresLsn(_)) | None => None,
        }
    }

    async fn record(
        &mut self,
        job: &Job<'_>,
        page: &ScanPage,
        report: &mut CaptureReport,
    ) -> Result<usize, Error> {
        let cursor = format!("{}:{}", self.lease.stream.0, self.lease.token.0);
        let observations: Vec<SalesforceObservation> = page
            .records
            .iter()
            .map(|record| snapshot(job, &self.mapped, record, &cursor))
            .collect();
        let last = page.records.last().map(|record| &record.salesforce_id);
        let position = match (page.done, last) {
            (false, Some(id)) => id.as_str().to_owned(),
            (true, Some(_) | None) | (false, None) => SCAN_END.to_owned(),
        };
        let position = StreamPosition {
            cursor: SourceCursor::Snapshot(position),
            needs_resync: page.done.then_some(false),
            out_of_scope: 0,
        };
        let recorded = job
            .store()
            .record_observations(
                std::slice::from_ref(&self.mapped),
                &observations,
                Some((&mut self.lease, position)),
            )
            .await?;
        report.add_observations(&recorded);
        report.scanned += page.records.len();
        Ok(recorded.dirty)
    }

    /// Marks linked records of the page's id range that the page did not show.
    async fn repair_vanished(
        &self,
        job: &Job<'_>,
        after: Option<&SalesforceId>,
        page: &ScanPage,
    ) -> Result<usize, Error> {
        let seen: Vec<SalesforceId> = page
            .records
            .iter()
            .map(|record| record.salesforce_id.clone())
            .collect();
        let upto = if page.done { None } else { seen.last() };
        let vanished = job
            .store()
            .vanished(&self.mapped, after, upto, &seen)
            .await?;
        if vanished.is_empty() {
            return Ok(0);
        }
        Ok(job.store().enqueue_repair(&self.mapped, &vanished).await?)
    }
}

/// Returns a read as an observation: every mapped field is present.
pub(crate) fn snapshot(
    job: &Job<'_>,
    mapped: &MappedObject,
    record: &SalesforceRecord,
    cursor: &str,
) -> SalesforceObservation {
    observation(job, mapped, record, ObservationKind::Snapshot, cursor)
}

/// Returns a read as an observation of this kind.
pub(crate) fn observation(
    job: &Job<'_>,
    mapped: &MappedObject,
    record: &SalesforceRecord,
    kind: ObservationKind,
    cursor: &str,
) -> SalesforceObservation {
    SalesforceObservation {
        object: mapped.sync.object.clone(),
        salesforce_id: record.salesforce_id.clone(),
        external_id: external_id_of(mapped, record),
        kind,
        fields: record.fields.clone(),
        version: record.version,
        cursor: SourceCursor::Snapshot(cursor.to_owned()),
        ordinal: 0,
        ours: record.modified_by.as_ref() == Some(&job.loaded().user),
        transaction_key: None,
    }
}

/// Returns the external id that the record holds.
pub(crate) fn external_id_of(mapped: &MappedObject, record: &SalesforceRecord) -> Option<String> {
    match record.fields.get(&mapped.sync.external_id.field) {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Null | Value::Boolean(_)) | None => None,
    }
}
