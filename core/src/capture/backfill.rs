//! Reads objects that need a resync, page by page in id order, under the scan stream's lease.
//!
//! The subscription is open before the first page is read, so that a later change of a record already
//! scanned arrives as an event. Linked records that are missing from their page are enqueued to be read
//! by id, because a missing row in a scan does not prove that the record was deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::job::Job;
use crate::job::error::Error;
use crate::job::guard::StreamGuard;
use crate::job::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::{ObjectName, SalesforceId};
use crate::model::observation::SalesforceObservation;
use crate::observe::read::snapshot;
use crate::ports::capture_store::StreamPosition;
use crate::ports::salesforce::ScanPage;
use crate::ports::{MappedObject, StreamName};

use super::window::Window;
use super::{CaptureOptions, CaptureReport, wake_up_for};

/// The position of a finished scan.
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
}

/// Reads objects that need a resync without a subscription, for tenants whose events come through a queue.
pub(super) async fn capture(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let window = Window::open(job, options).await?;
    let mut report = CaptureReport::default();
    Backfill::read_all(job, &window, &mut report).await?;
    Ok(report)
}

impl Backfill {
    /// Reads every mapped object that needs a resync, while the window is open.
    pub(super) async fn read_all(
        job: &Job<'_>,
        window: &Window,
        report: &mut CaptureReport,
    ) -> Result<(), Error> {
        let mut backfill = Self::of_all(job);
        while window.is_open(job) && backfill.step(job, report).await? {}
        backfill.close(job).await;
        Ok(())
    }

    /// Returns the backfill of every mapped object. One that needs no resync costs one read of its stream.
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

    /// Adds objects that need a resync now.
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

    /// Releases the lease of an unfinished scan; the next run continues it.
    pub(super) async fn close(self, job: &Job<'_>) {
        if let Some(scan) = self.current {
            job.release(scan.lease).await;
        }
    }
}

impl Scan {
    /// Acquires the scan's lease. Returns `None` if the object needs no resync or another worker reads it.
    async fn begin(job: &Job<'_>, object: &ObjectName) -> Result<Option<Self>, Error> {
        let mapped = job.mapped(object)?.clone();
        let stream = StreamName::Scan(object.clone());
        let Some(lease) = job.acquire(&stream).await? else {
            return Ok(None);
        };
        if lease.needs_resync || lease.position.is_none() {
            Ok(Some(Self { mapped, lease }))
        } else {
            job.release(lease).await;
            Ok(None)
        }
    }

    /// Reads and records the next page. Returns the scan unless it has ended.
    async fn page(
        mut self,
        job: &Job<'_>,
        report: &mut CaptureReport,
    ) -> Result<Option<Self>, Error> {
        if !job.keep(&mut self.lease).await? {
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
                "the object has been read completely"
            );
            job.release(self.lease).await;
            return Ok(None);
        }
        Ok(Some(self))
    }

    /// Returns the last id that was read, from the stored position.
    fn after(&self) -> Option<SalesforceId> {
        match &self.lease.position {
            Some(SourceCursor::Snapshot(position)) => SalesforceId::parse(position).ok(),
            Some(SourceCursor::SalesforceReplayId(_) | SourceCursor::OutboxId(_)) | None => None,
        }
    }

    async fn record(
        &mut self,
        job: &Job<'_>,
        page: &ScanPage,
        report: &mut CaptureReport,
    ) -> Result<usize, Error> {
        let cursor = format!("{}:{}", self.lease.stream, self.lease.token.0);
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

    /// Enqueues linked records of the page's id range that are missing from the page.
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
        Ok(job
            .store()
            .enqueue_repair(&self.mapped, &vanished, &[])
            .await?)
    }
}
