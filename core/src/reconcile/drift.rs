//! Compares both live sides page by page, reads differing records a second time, and enqueues those that
//! have drifted.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::guard::StreamGuard;
use crate::job::tenant::read_fields;
use crate::model::cursor::SourceCursor;
use crate::model::ids::{RecordId, SalesforceId};
use crate::model::link::Presence;
use crate::model::observation::SalesforceObservation;
use crate::observe::planner::ObjectPlanner;
use crate::observe::read::{read_matching, snapshot};
use crate::ports::MappedObject;
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamName;
use crate::ports::record::ObservedRecord;
use crate::ports::salesforce::{Deleted, SalesforceRecord, ScanPage};

use super::compare::{Comparison, DriftItem, compare, reads_otherwise};
use super::{ReconcileReport, has_time};

/// How far back an incremental comparison goes: twice the usual hour between two runs.
const INCREMENTAL_WINDOW_MS: i64 = 2 * 60 * 60 * 1_000;

/// The position of a finished full comparison.
const COMPARED_ALL: &str = "end";

/// The result of one page.
#[derive(Default)]
struct PageFindings {
    compared: u64,
    allowed: u64,
    drifted: Vec<DriftItem>,
    /// Records in Salesforce that have no link, or of which other fields can be read than last time.
    unrecorded: Vec<SalesforceRecord>,
    /// Linked records that Salesforce does not return any more.
    vanished: Vec<RecordId>,
}

/// Compares every record of every object, starting where the last run stopped.
pub(crate) async fn full(job: &Job<'_>, deadline: Deadline) -> Result<ReconcileReport, Error> {
    let mut report = ReconcileReport {
        complete: true,
        ..ReconcileReport::default()
    };
    for mapped in job.mapped_objects() {
        let stream = StreamName(format!("reconcile:{}", mapped.sync.object));
        let Some(lease) = job.acquire(&stream).await? else {
            report.complete = false;
            continue;
        };
        let mut comparison = FullComparison::resume(job, mapped, lease);
        let ended = comparison.run(deadline, &mut report).await;
        job.release(comparison.lease).await;
        report.complete &= ended?;
    }
    if report.enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    log(job, "full", &report);
    Ok(report)
}

/// Compares the records that changed in Salesforce recently.
pub(crate) async fn incremental(
    job: &Job<'_>,
    deadline: Deadline,
) -> Result<ReconcileReport, Error> {
    let mut report = ReconcileReport {
        complete: true,
        ..ReconcileReport::default()
    };
    for mapped in job.mapped_objects() {
        let planner = ObjectPlanner::new(mapped);
        let mut since_ms = job.now_ms() - INCREMENTAL_WINDOW_MS;
        let mut after: Option<SalesforceId> = None;
        loop {
            if !has_time(job, deadline) {
                report.complete = false;
                break;
            }
            let page = changed_page(job, mapped, since_ms, after.as_ref()).await?;
            let findings = inspect_changes(job, mapped, &planner, &page).await?;
            enqueue(job, mapped, findings, &mut report).await?;
            if let Some(last) = page.records.last() {
                since_ms = last.version.modified_ms.unwrap_or(since_ms);
                after = Some(last.salesforce_id.clone());
            }
            if page.done {
                break;
            }
        }
    }
    if report.enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    log(job, "incremental", &report);
    Ok(report)
}

/// Finds drift in every object. Enqueues nothing.
pub(crate) async fn detect(job: &Job<'_>, deadline: Deadline) -> Result<Vec<DriftItem>, Error> {
    let mut drifted = Vec::new();
    for mapped in job.mapped_objects() {
        let planner = ObjectPlanner::new(mapped);
        let mut after = None;
        while has_time(job, deadline) {
            let page = scan_page(job, mapped, after.as_ref()).await?;
            let findings = inspect(job, mapped, &planner, after.as_ref(), &page).await?;
            drifted.extend(findings.drifted);
            after = page.records.last().map(|last| last.salesforce_id.clone());
            if page.done {
                break;
            }
        }
    }
    Ok(drifted)
}

/// Enqueues drifted records, to be read on both sides. Returns how many.
pub(crate) async fn repair(job: &Job<'_>, items: &[DriftItem]) -> Result<usize, Error> {
    let mut enqueued = 0;
    for mapped in job.mapped_objects() {
        let records: Vec<RecordId> = items
            .iter()
            .filter(|item| item.object == mapped.sync.object && item.tenant == mapped.tenant)
            .map(|item| item.record_id)
            .collect();
        if !records.is_empty() {
            enqueued += job.store().enqueue_repair(mapped, &records).await?;
        }
    }
    if enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    Ok(enqueued)
}

/// One object's full comparison under its lease.
struct FullComparison<'a> {
    job: &'a Job<'a>,
    mapped: &'a MappedObject,
    lease: StreamGuard,
    planner: ObjectPlanner<'a>,
    at: ScanProgress,
}

/// The progress of a full comparison: its counts, and the last compared id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ScanProgress {
    after: Option<SalesforceId>,
    compared: u64,
    differing: u64,
}

impl ScanProgress {
    /// Reads it from a stored position. It starts again if the position is missing or marks the end.
    fn of(position: Option<&SourceCursor>) -> Self {
        let Some(SourceCursor::Snapshot(text)) = position else {
            return Self::default();
        };
        let mut parts = text.split(' ');
        let (after, compared, differing) = (parts.next(), parts.next(), parts.next());
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok());
        match (
            after.and_then(|id| SalesforceId::parse(id).ok()),
            number(compared),
            number(differing),
        ) {
            (Some(after), Some(compared), Some(differing)) => Self {
                after: Some(after),
                compared,
                differing,
            },
            _ => Self::default(),
        }
    }

    fn cursor(&self, done: bool) -> SourceCursor {
        SourceCursor::Snapshot(match (&self.after, done) {
            (Some(after), false) => format!("{after} {} {}", self.compared, self.differing),
            (Some(_) | None, _) => COMPARED_ALL.to_owned(),
        })
    }
}

impl<'a> FullComparison<'a> {
    fn resume(job: &'a Job<'a>, mapped: &'a MappedObject, lease: StreamGuard) -> Self {
        Self {
            job,
            mapped,
            at: ScanProgress::of(lease.position.as_ref()),
            lease,
            planner: ObjectPlanner::new(mapped),
        }
    }

    /// Compares page by page. Returns whether the object was compared to its end.
    async fn run(
        &mut self,
        deadline: Deadline,
        report: &mut ReconcileReport,
    ) -> Result<bool, Error> {
        while has_time(self.job, deadline) {
            if self.page(report).await? {
                return Ok(true);
            }
            if !self.job.keep(&mut self.lease).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Compares one page and stores the progress. Returns whether it was the last page.
    async fn page(&mut self, report: &mut ReconcileReport) -> Result<bool, Error> {
        let (job, mapped) = (self.job, self.mapped);
        let page = scan_page(job, mapped, self.at.after.as_ref()).await?;
        let findings = inspect(job, mapped, &self.planner, self.at.after.as_ref(), &page).await?;
        let differing =
            findings.drifted.len() + findings.unrecorded.len() + findings.vanished.len();
        self.at.compared += findings.compared;
        self.at.differing += findings.allowed + u64::try_from(differing).unwrap_or(u64::MAX);
        self.at.after = page.records.last().map(|last| last.salesforce_id.clone());
        enqueue(job, mapped, findings, report).await?;
        let position = StreamPosition {
            cursor: self.at.cursor(page.done),
            needs_resync: Some(false),
            out_of_scope: 0,
        };
        job.store()
            .record_observations(
                std::slice::from_ref(mapped),
                &[],
                Some((&mut self.lease, position)),
            )
            .await?;
        if page.done {
            job.store()
                .publish_comparison(mapped, self.at.compared, self.at.differing)
                .await?;
        }
        Ok(page.done)
    }
}

async fn scan_page(
    job: &Job<'_>,
    mapped: &MappedObject,
    after: Option<&SalesforceId>,
) -> Result<ScanPage, Error> {
    let sync = &mapped.sync;
    let page = job
        .salesforce()
        .scan(
            &sync.object,
            &read_fields(sync),
            sync.filter.as_deref(),
            after,
        )
        .await?;
    Ok(page)
}

async fn changed_page(
    job: &Job<'_>,
    mapped: &MappedObject,
    since_ms: i64,
    after: Option<&SalesforceId>,
) -> Result<ScanPage, Error> {
    let page = job
        .salesforce()
        .changed_since(
            &mapped.sync.object,
            &read_fields(&mapped.sync),
            since_ms,
            after,
        )
        .await?;
    Ok(page)
}

/// Compares one page of a scan, and finds the linked records that are missing from it.
async fn inspect(
    job: &Job<'_>,
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    after: Option<&SalesforceId>,
    page: &ScanPage,
) -> Result<PageFindings, Error> {
    let mut findings = PageFindings::default();
    compare_records(job, mapped, planner, &page.records, &mut findings).await?;
    let seen: Vec<SalesforceId> = page
        .records
        .iter()
        .map(|record| record.salesforce_id.clone())
        .collect();
    let upto = if page.done { None } else { seen.last() };
    let vanished = job.store().vanished(mapped, after, upto, &seen).await?;
    let idle = job.store().idle_records(mapped, &vanished).await?;
    findings.vanished = idle.into_iter().collect();
    Ok(findings)
}

/// Compares one page of changes. Enqueues records that do not match the object's filter, unless they are
/// known to be filtered out.
async fn inspect_changes(
    job: &Job<'_>,
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    page: &ScanPage,
) -> Result<PageFindings, Error> {
    let mut findings = PageFindings::default();
    if mapped.sync.filter.is_none() {
        compare_records(job, mapped, planner, &page.records, &mut findings).await?;
        return Ok(findings);
    }
    let ids: Vec<SalesforceId> = page
        .records
        .iter()
        .map(|record| record.salesforce_id.clone())
        .collect();
    let shown = read_matching(job, mapped, &ids).await?;
    let unmatched: Vec<SalesforceId> = ids
        .into_iter()
        .filter(|id| !shown.contains_key(id))
        .collect();
    let records: Vec<SalesforceRecord> = shown.into_values().collect();
    compare_records(job, mapped, planner, &records, &mut findings).await?;
    let strayed: Vec<RecordId> = job
        .store()
        .observe(mapped, &unmatched)
        .await?
        .into_iter()
        .filter(|observed| observed.known.link.remote_state.presence == Presence::Present)
        .map(|observed| observed.known.link.record_id)
        .collect();
    let idle = job.store().idle_records(mapped, &strayed).await?;
    findings.vanished = idle.into_iter().collect();
    Ok(findings)
}

/// Compares records just read with their rows. Records that differ are read again on both sides; they
/// count only if they still differ and have no open work.
async fn compare_records(
    job: &Job<'_>,
    mapped: &MappedObject,
    planner: &ObjectPlanner<'_>,
    records: &[SalesforceRecord],
    findings: &mut PageFindings,
) -> Result<(), Error> {
    let by_id: BTreeMap<SalesforceId, SalesforceRecord> = records
        .iter()
        .map(|record| (record.salesforce_id.clone(), record.clone()))
        .collect();
    let first = Comparisons::of(job, mapped, planner, &by_id).await?;
    findings.compared += u64::try_from(records.len()).unwrap_or(u64::MAX);
    findings.allowed += first.allowed;
    findings.unrecorded = first.unrecorded;
    if first.drifted.is_empty() {
        return Ok(());
    }
    let suspects: Vec<SalesforceId> = first.drifted.into_keys().collect();
    let again = read_matching(job, mapped, &suspects).await?;
    let second = Comparisons::of(job, mapped, planner, &again).await?;
    let suspects: Vec<RecordId> = second.drifted.values().map(|item| item.record_id).collect();
    let idle: BTreeSet<RecordId> = job.store().idle_records(mapped, &suspects).await?;
    findings.drifted = second
        .drifted
        .into_values()
        .filter(|item| idle.contains(&item.record_id))
        .collect();
    Ok(())
}

/// The result of comparing a set of records.
#[derive(Default)]
struct Comparisons {
    drifted: BTreeMap<SalesforceId, DriftItem>,
    allowed: u64,
    unrecorded: Vec<SalesforceRecord>,
}

impl Comparisons {
    async fn of(
        job: &Job<'_>,
        mapped: &MappedObject,
        planner: &ObjectPlanner<'_>,
        read: &BTreeMap<SalesforceId, SalesforceRecord>,
    ) -> Result<Self, Error> {
        let ids: Vec<SalesforceId> = read.keys().cloned().collect();
        let observed: BTreeMap<SalesforceId, ObservedRecord> = job
            .store()
            .observe(mapped, &ids)
            .await?
            .into_iter()
            .filter_map(|observed| Some((observed.known.link.salesforce_id.clone()?, observed)))
            .collect();
        let mut comparisons = Self::default();
        for (id, record) in read {
            let Some(observed) = observed.get(id) else {
                // A deleted record that has no link is neither new nor missing.
                if record.deleted == Deleted::No {
                    comparisons.unrecorded.push(record.clone());
                }
                continue;
            };
            let is_readable_again = record.deleted == Deleted::No
                && observed.known.link.remote_state.presence == Presence::Unreadable;
            if is_readable_again || reads_otherwise(planner, observed, record) {
                comparisons.unrecorded.push(record.clone());
                continue;
            }
            match compare(mapped, planner, observed, Some(record)) {
                Comparison::Equal => {}
                Comparison::Allowed => comparisons.allowed += 1,
                Comparison::Drifted(item) => {
                    comparisons.drifted.insert(id.clone(), item);
                }
            }
        }
        Ok(comparisons)
    }
}

/// Enqueues what a page found: drifted and vanished records are read again, the others are recorded as
/// observed.
async fn enqueue(
    job: &Job<'_>,
    mapped: &MappedObject,
    findings: PageFindings,
    report: &mut ReconcileReport,
) -> Result<(), Error> {
    let records: Vec<RecordId> = findings
        .drifted
        .iter()
        .map(|item| item.record_id)
        .chain(findings.vanished)
        .collect();
    if !records.is_empty() {
        report.enqueued += job.store().enqueue_repair(mapped, &records).await?;
    }
    if !findings.unrecorded.is_empty() {
        let cursor = format!("reconcile:{}", job.shared.ids.uuid());
        let observations: Vec<SalesforceObservation> = findings
            .unrecorded
            .iter()
            .map(|record| snapshot(job, mapped, record, &cursor))
            .collect();
        let recorded = job
            .store()
            .record_observations(std::slice::from_ref(mapped), &observations, None)
            .await?;
        report.enqueued += recorded.dirty;
    }
    report.compared += findings.compared;
    report.allowed += findings.allowed;
    report.drifted.extend(findings.drifted);
    Ok(())
}

fn log(job: &Job<'_>, kind: &str, report: &ReconcileReport) {
    tracing::info!(
        tenant = %job.id(),
        kind,
        compared = report.compared,
        drifted = report.drifted.len(),
        allowed = report.allowed,
        enqueued = report.enqueued,
        complete = report.complete,
        "compared both live sides"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_comparison_resumes_and_restarts_when_done() {
        let at = ScanProgress {
            after: Some(SalesforceId::parse("001xx000003DGb2AAG").unwrap()),
            compared: 2_000,
            differing: 3,
        };
        assert_eq!(ScanProgress::of(Some(&at.cursor(false))), at);
        assert_eq!(
            ScanProgress::of(Some(&at.cursor(true))),
            ScanProgress::default()
        );
        assert_eq!(ScanProgress::of(None), ScanProgress::default());
    }
}
