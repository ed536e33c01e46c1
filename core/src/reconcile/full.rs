//! The full comparison: walks both sides by key, and classifies every record and every row.
//!
//! The records of Salesforce come first, each with its link and its rows, and with them the links that
//! Salesforce does not return. Then come the rows: those that have no record with a Salesforce id are classified,
//! the others were met before. After each page its counts and the position are stored together, so that the next
//! run goes on there and nothing is counted twice.

use std::time::Duration;

use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::guard::StreamGuard;
use crate::job::tenant::read_fields;
use crate::model::ids::{ObjectName, RecordId, SalesforceId};
use crate::ports::comparison::{
    Begin, Comparison, CountedRecord, RecordClass, RowPage, UnknownRow, WalkPosition,
};
use crate::ports::record::ObservedRecord;
use crate::ports::salesforce::ScanPage;
use crate::ports::{MappedObject, StreamName};

use super::compare::{DriftItem, compare};
use super::page::{Comparer, PageFindings, SeenIds, count, settled};
use super::{Failures, ReconcileReport, has_time, log};

/// Rows of one page of a table, and links of one page that Salesforce does not return.
const ROWS_MAX: usize = 2_000;

/// How often a full comparison of an object begins where jobs run on a schedule.
pub(crate) const FULL_EVERY: Duration = Duration::from_hours(24);

/// Which objects are compared, and whether a comparison is begun.
#[derive(Debug, Clone)]
pub struct CompareOptions {
    /// Only this object.
    pub object: Option<ObjectName>,
    /// When a comparison is begun.
    pub begin: Begin,
}

/// Called after each page.
pub type OnProgress<'p> = &'p mut (dyn FnMut(&Comparison) + Send);

/// Compares every record of the objects, starting where the last run stopped.
pub(crate) async fn full(
    job: &Job<'_>,
    options: &CompareOptions,
    deadline: Deadline,
    on_progress: OnProgress<'_>,
) -> Result<ReconcileReport, Error> {
    let mut report = ReconcileReport {
        complete: true,
        ..ReconcileReport::default()
    };
    let chosen = |mapped: &&MappedObject| {
        let only = options.object.as_ref();
        only.is_none_or(|only| *only == mapped.sync.object)
    };
    let mut due = Vec::new();
    // All are begun before the first is walked, so that the others follow when time runs out.
    for mapped in job.mapped_objects().iter().filter(chosen) {
        let begun = job.store().begin_comparison(mapped, options.begin).await?;
        due.extend(begun.map(|_| mapped));
    }
    let mut failures = Failures::default();
    for mapped in due {
        let stream = StreamName::Comparison(mapped.sync.object.clone());
        let Some(lease) = job.acquire(&stream).await? else {
            report.complete = false;
            continue;
        };
        // Read again under the lease: another worker may have gone on meanwhile.
        let Some(comparison) = job.store().begin_comparison(mapped, Begin::Never).await? else {
            job.release(lease).await;
            continue;
        };
        let mut walk = Walk {
            comparer: Comparer::new(job, mapped, Some(comparison.started_at)),
            comparison,
            lease,
        };
        let ended = walk.run(deadline, &mut report, &mut *on_progress).await;
        job.release(walk.lease).await;
        report.complete &= failures.of_table(mapped, ended)?.unwrap_or(false);
    }
    if report.enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    log(job, "full", &report);
    failures.end(report)
}

/// Reads the next page of an object.
pub(super) async fn scan_page(
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

/// One object's full comparison under its lease.
struct Walk<'a> {
    comparer: Comparer<'a>,
    comparison: Comparison,
    lease: StreamGuard,
}

impl Walk<'_> {
    /// Compares page by page. Returns whether the object was compared to its end.
    async fn run(
        &mut self,
        deadline: Deadline,
        report: &mut ReconcileReport,
        on_progress: OnProgress<'_>,
    ) -> Result<bool, Error> {
        let job = self.comparer.job;
        while has_time(job, deadline) {
            let next = match self.comparison.position.take() {
                Some(WalkPosition::Salesforce { after }) => {
                    self.salesforce(after.as_ref(), report).await?
                }
                Some(WalkPosition::Postgres { after }) => {
                    self.postgres(after.as_ref(), report).await?
                }
                None => return Ok(true),
            };
            self.comparison.position = next;
            let stored = job.store().save_comparison(&self.lease, &self.comparison);
            self.comparison.finished_at = stored.await?;
            on_progress(&self.comparison);
            if self.comparison.finished_at.is_some() {
                return Ok(true);
            }
            if !job.keep(&mut self.lease).await? {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Compares one page of Salesforce, and the links of its range that it does not show. Returns the next position.
    async fn salesforce(
        &mut self,
        after: Option<&SalesforceId>,
        report: &mut ReconcileReport,
    ) -> Result<Option<WalkPosition>, Error> {
        let Comparer { job, mapped, .. } = self.comparer;
        let mut page = scan_page(job, mapped, after).await?;
        let ids: Vec<&SalesforceId> = page.records.iter().map(|one| &one.salesforce_id).collect();
        let upto = if page.done { None } else { ids.last().copied() };
        let mut hidden = job
            .store()
            .ids_not_seen(mapped, (after, upto), &ids, ROWS_MAX)
            .await?;
        if hidden.len() == ROWS_MAX {
            // So many links that the rest of the range is left to the next page.
            if let Some(last) = hidden.last().cloned() {
                page.records.retain(|record| record.salesforce_id <= last);
                page.done = false;
            }
        }
        let mut seen: SeenIds = hidden.drain(..).map(|id| (id, None)).collect();
        for record in page.records {
            seen.insert(record.salesforce_id.clone(), Some(record));
        }
        let last = seen.keys().next_back().cloned();
        let findings = self.comparer.page(seen).await?;
        self.count(findings, report).await?;
        Ok(Some(match last {
            Some(last) if !page.done => WalkPosition::Salesforce { after: Some(last) },
            Some(_) | None => WalkPosition::Postgres { after: None },
        }))
    }

    /// Classifies the rows of one page that have no record with a Salesforce id. Returns the next position.
    async fn postgres(
        &mut self,
        after: Option<&serde_json::Value>,
        report: &mut ReconcileReport,
    ) -> Result<Option<WalkPosition>, Error> {
        let mut page = self.row_page(after).await?;
        let mut next = page.next.take();
        let mut rows_met = page.rows;
        let mut findings = self.rows(page).await?;
        if findings
            .findings
            .iter()
            .any(|one| one.class.is_unexplained())
        {
            // A record may have been settled between the reads of its row and of its work.
            let mut again = self.row_page(after).await?;
            next = again.next.take();
            rows_met = again.rows;
            let second = self.rows(again).await?;
            findings = second.confirming(&findings);
        }
        self.comparison.tally.rows_met += rows_met;
        self.count(findings, report).await?;
        Ok(next.map(|after| WalkPosition::Postgres { after: Some(after) }))
    }

    async fn row_page(&self, after: Option<&serde_json::Value>) -> Result<RowPage, Error> {
        let Comparer { job, mapped, .. } = self.comparer;
        let started_at = self.comparison.started_at;
        let page = job
            .store()
            .observe_rows(mapped, started_at, after, ROWS_MAX);
        Ok(page.await?)
    }

    async fn rows(&self, page: RowPage) -> Result<PageFindings, Error> {
        let mut found = PageFindings::default();
        for _ in 0..page.appeared {
            found.findings.push(CountedRecord {
                class: RecordClass::Appeared,
                rows: 1,
                in_salesforce: false,
                fields: Vec::new(),
                key: String::new(),
            });
        }
        let records: Vec<RecordId> = page
            .unlinked
            .iter()
            .map(|observed| observed.known.link.record_id)
            .collect();
        let explanations = self.comparer.explain(records).await?;
        for observed in &page.unlinked {
            let work = explanations.work.get(&observed.known.link.record_id);
            let difference = compare(
                self.comparer.mapped,
                self.comparer.planner(),
                observed,
                None,
            );
            let class = settled(difference.class(work), explanations.needs_resync);
            if class.is_unexplained() {
                found.marked.push(observed.known.link.record_id);
                found.drifted.push(missing(observed));
            }
            found.findings.push(CountedRecord {
                class,
                rows: count(observed.rows.len()),
                in_salesforce: false,
                fields: Vec::new(),
                key: observed.known.link.external_id.clone(),
            });
        }
        for row in page.unknown {
            let finding = unknown(&row, explanations.needs_resync);
            if finding.class.is_unexplained() {
                found.uncaptured.push(row.identity);
            }
            found.findings.push(finding);
        }
        Ok(found)
    }

    async fn count(
        &mut self,
        findings: PageFindings,
        report: &mut ReconcileReport,
    ) -> Result<(), Error> {
        for finding in findings.enqueue(&self.comparer, report).await? {
            self.comparison.tally.add(finding);
        }
        Ok(())
    }
}

/// Returns a record that has rows and no Salesforce id.
fn missing(observed: &ObservedRecord) -> DriftItem {
    let link = &observed.known.link;
    DriftItem {
        tenant: link.tenant.clone(),
        object: link.object.clone(),
        record_id: link.record_id,
        external_id: link.external_id.clone(),
        fields: Vec::new(),
        absent: Some("Salesforce"),
    }
}

/// Classifies a row that belongs to no record.
fn unknown(row: &UnknownRow, needs_resync: bool) -> CountedRecord {
    let class = match (&row.external_id, row.is_captured) {
        (_, true) => RecordClass::Pending,
        (Some(_), false) => settled(RecordClass::OnlyInPostgres, needs_resync),
        (None, false) => settled(RecordClass::WithoutId, needs_resync),
    };
    CountedRecord {
        class,
        rows: 1,
        in_salesforce: false,
        fields: Vec::new(),
        key: row
            .external_id
            .clone()
            .unwrap_or_else(|| row.identity.to_string()),
    }
}
