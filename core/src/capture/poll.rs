//! Reads recent changes by SystemModstamp: for orgs without change events.
//!
//! A timestamp becomes visible only when its transaction commits, so each pass begins a little before the
//! end of the last one. A record that is read twice is recognised by its version.

use crate::job::Job;
use crate::job::error::Error;
use crate::job::guard::StreamGuard;
use crate::job::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::SalesforceId;
use crate::model::observation::SalesforceObservation;
use crate::observe::read::{read_matching, snapshot};
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamLease;
use crate::ports::salesforce::{SalesforceRecord, ScanPage};
use crate::ports::{MappedObject, StreamName};

use super::backfill::Backfill;
use super::enrich::unmatched;
use super::window::Window;
use super::{CaptureOptions, CaptureReport, wake_up_for};

/// How far before the last seen timestamp a pass begins: longer than a synchronous Salesforce transaction
/// takes from its first write to its commit.
const OVERLAP_MS: i64 = 5 * 60 * 1_000;

/// How far before now the first pass of an object begins: room for clocks that differ, because the
/// backfill that follows reads everything older.
const FIRST_PASS_MS: i64 = 60 * 60 * 1_000;

/// How long a polling capture waits between two passes: each pass costs one API call per object.
const PASS_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

/// Polls every object once and reads objects that need a resync; then keeps polling, pass by pass.
pub(super) async fn capture(
    job: &Job<'_>,
    options: &CaptureOptions,
) -> Result<CaptureReport, Error> {
    let window = Window::open(job, options).await?;
    let mut report = CaptureReport::default();
    while window.is_open(job) {
        for mapped in job.mapped_objects() {
            if !pass(job, mapped, &window, &mut report).await? {
                report.leased_elsewhere = true;
            }
        }
        Backfill::read_all(job, &window, &mut report).await?;
        match window.wait(job, options, PASS_EVERY) {
            Some(wait) => job.shared.pause(wait).await,
            None => break,
        }
    }
    Ok(report)
}

/// Reads one object's window under its lease. Returns false if another worker has leased it.
async fn pass(
    job: &Job<'_>,
    mapped: &MappedObject,
    window: &Window,
    report: &mut CaptureReport,
) -> Result<bool, Error> {
    let stream = StreamName::Poll(mapped.sync.object.clone());
    let Some(lease) = job.acquire(&stream).await? else {
        return Ok(false);
    };
    if lease.position.is_none() {
        // The object may have been captured by events until some days ago.
        let object = std::slice::from_ref(&mapped.sync.object);
        job.store()
            .mark_needs_resync(job.id(), object, "polling begins")
            .await?;
    }
    let mut pass = Pass {
        job,
        mapped,
        since_ms: since(&lease, job.now_ms()),
        after: None,
        cursor: format!("{stream}:{}", job.now_ms()),
        lease,
    };
    let mut ended = Ok(true);
    while window.is_open(job) {
        ended = pass.page(report).await;
        match ended {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
    }
    job.release(pass.lease).await;
    ended.map(|_| true)
}

/// Returns where the pass begins, in milliseconds.
fn since(lease: &StreamLease, now_ms: i64) -> i64 {
    match &lease.position {
        Some(SourceCursor::Snapshot(position)) => position
            .parse::<i64>()
            .map_or(now_ms - FIRST_PASS_MS, |seen_ms| seen_ms - OVERLAP_MS),
        Some(SourceCursor::SalesforceReplayId(_) | SourceCursor::OutboxId(_)) | None => {
            now_ms - FIRST_PASS_MS
        }
    }
}

/// One pass over one object's window.
struct Pass<'a> {
    job: &'a Job<'a>,
    mapped: &'a MappedObject,
    since_ms: i64,
    after: Option<SalesforceId>,
    /// Identifies this pass: the same timestamp may have another value in another pass.
    cursor: String,
    lease: StreamGuard,
}

impl Pass<'_> {
    /// Reads and records one page. Returns whether more follow.
    async fn page(&mut self, report: &mut CaptureReport) -> Result<bool, Error> {
        if !self.job.keep(&mut self.lease).await? {
            return Ok(false);
        }
        let page = self
            .job
            .salesforce()
            .changed_since(
                &self.mapped.sync.object,
                &read_fields(&self.mapped.sync),
                self.since_ms,
                self.after.as_ref(),
            )
            .await?;
        let observations = self.observations(&page.records).await?;
        let position = StreamPosition {
            cursor: SourceCursor::Snapshot(self.reached(&page).to_string()),
            needs_resync: Some(false),
            out_of_scope: 0,
        };
        let recorded = self
            .job
            .store()
            .record_observations(
                std::slice::from_ref(self.mapped),
                &observations,
                Some((&mut self.lease, position)),
            )
            .await?;
        report.add_observations(&recorded);
        wake_up_for(self.job, recorded.dirty, report).await?;
        if let Some(last) = page.records.last() {
            self.since_ms = last.version.modified_ms.unwrap_or(self.since_ms);
            self.after = Some(last.salesforce_id.clone());
        }
        Ok(!page.done)
    }

    /// Returns the observations of a page. A record that does not match the object's filter is unmatched.
    /// The others are observed as read with the filter, because that read is later than the page.
    async fn observations(
        &self,
        records: &[SalesforceRecord],
    ) -> Result<Vec<SalesforceObservation>, Error> {
        if self.mapped.sync.filter.is_none() {
            return Ok(records
                .iter()
                .map(|record| self.observation(record))
                .collect());
        }
        let ids: Vec<SalesforceId> = records
            .iter()
            .map(|record| record.salesforce_id.clone())
            .collect();
        let shown = read_matching(self.job, self.mapped, &ids).await?;
        let observations = records.iter().map(|record| {
            let found = shown.get(&record.salesforce_id);
            let mut seen = self.observation(found.unwrap_or(record));
            if found.is_none() {
                unmatched(&mut seen);
            }
            seen
        });
        Ok(observations.collect())
    }

    fn observation(&self, record: &SalesforceRecord) -> SalesforceObservation {
        snapshot(self.job, self.mapped, record, &self.cursor)
    }

    /// Returns the latest timestamp seen so far, never earlier than the stored one.
    fn reached(&self, page: &ScanPage) -> i64 {
        let stored = since(&self.lease, self.job.now_ms()).saturating_add(OVERLAP_MS);
        page.records
            .iter()
            .filter_map(|record| record.version.modified_ms)
            .chain([stored, self.since_ms])
            .max()
            .unwrap_or(self.since_ms)
    }
}
