//! Compares what changed lately, finds drift without enqueueing it, and enqueues drift that was found.

use std::collections::BTreeMap;

use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::Error;
use crate::job::tenant::read_fields;
use crate::model::ids::{RecordId, SalesforceId};
use crate::model::link::Presence;
use crate::observe::read::read_matching;
use crate::ports::MappedObject;
use crate::ports::comparison::PageRecord;
use crate::ports::salesforce::ScanPage;

use super::compare::{DriftItem, missing_rows};
use super::full::scan_page;
use super::page::{Comparer, PageFindings, SeenIds};
use super::{Failures, ReconcileReport, has_time, log};

/// How far back an incremental comparison goes: eight of the usual quarters of an hour, so that some may fail.
const INCREMENTAL_WINDOW_MS: i64 = 2 * 60 * 60 * 1_000;

/// Compares the records that changed in Salesforce recently.
pub(crate) async fn incremental(
    job: &Job<'_>,
    deadline: Deadline,
) -> Result<ReconcileReport, Error> {
    let mut report = ReconcileReport {
        complete: true,
        ..ReconcileReport::default()
    };
    let mut failures = Failures::default();
    for mapped in job.mapped_objects() {
        let compared = object_changes(job, mapped, deadline, &mut report).await;
        report.complete &= failures.of_table(mapped, compared)?.unwrap_or(false);
    }
    if report.enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    log(job, "incremental", &report);
    failures.end(report)
}

/// Compares the records of an object that changed recently. Returns whether there was time for all.
async fn object_changes(
    job: &Job<'_>,
    mapped: &MappedObject,
    deadline: Deadline,
    report: &mut ReconcileReport,
) -> Result<bool, Error> {
    let comparer = Comparer::new(job, mapped, None);
    let mut since_ms = job.now_ms() - INCREMENTAL_WINDOW_MS;
    let mut after: Option<SalesforceId> = None;
    while has_time(job, deadline) {
        let page = changed_page(job, mapped, since_ms, after.as_ref()).await?;
        if let Some(last) = page.records.last() {
            since_ms = last.version.modified_ms.unwrap_or(since_ms);
            after = Some(last.salesforce_id.clone());
        }
        let done = page.done;
        let findings = inspect_changes(&comparer, page).await?;
        findings.enqueue(&comparer, report).await?;
        if done {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Finds drift in every object. Enqueues nothing.
pub(crate) async fn detect(job: &Job<'_>, deadline: Deadline) -> Result<Vec<DriftItem>, Error> {
    let mut drifted = Vec::new();
    for mapped in job.mapped_objects() {
        let comparer = Comparer::new(job, mapped, None);
        let mut after = None;
        while has_time(job, deadline) {
            let page = scan_page(job, mapped, after.as_ref()).await?;
            after = page.records.last().map(|last| last.salesforce_id.clone());
            let done = page.done;
            let findings = comparer.page(seen(page)).await?;
            drifted.extend(findings.drifted);
            if done {
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
        let is_its =
            |item: &&DriftItem| item.object == mapped.sync.object && item.tenant == mapped.tenant;
        let items = items.iter().filter(is_its);
        let missing: Vec<RecordId> = missing_rows(items.clone()).collect();
        let records: Vec<RecordId> = items.map(|item| item.record_id).collect();
        enqueued += job
            .store()
            .enqueue_repair(mapped, &records, &missing)
            .await?;
    }
    if enqueued > 0 {
        job.wake_up_for_due_work().await?;
    }
    Ok(enqueued)
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

fn seen(page: ScanPage) -> SeenIds {
    let records = page.records.into_iter();
    records
        .map(|record| (record.salesforce_id.clone(), Some(record)))
        .collect()
}

/// Compares one page of changes. Enqueues records that do not match the object's filter, unless they are
/// known to be filtered out.
async fn inspect_changes(comparer: &Comparer<'_>, page: ScanPage) -> Result<PageFindings, Error> {
    let Comparer { job, mapped, .. } = *comparer;
    if mapped.sync.filter.is_none() {
        return comparer.page(seen(page)).await;
    }
    let ids: Vec<SalesforceId> = page
        .records
        .iter()
        .map(|record| record.salesforce_id.clone())
        .collect();
    let shown = read_matching(job, mapped, &ids).await?;
    let unmatched: Vec<PageRecord<'_>> = ids
        .iter()
        .filter(|id| !shown.contains_key(id))
        .map(|salesforce_id| PageRecord {
            salesforce_id,
            fields: None,
            external_id: None,
        })
        .collect();
    let strayed = job.store().observe_page(mapped, &unmatched, None).await?;
    let strayed: Vec<RecordId> = strayed
        .linked
        .iter()
        .filter(|observed| observed.known.link.remote_state.presence == Presence::Present)
        .map(|observed| observed.known.link.record_id)
        .collect();
    let explanations = comparer.explain(strayed.clone()).await?;
    let shown: BTreeMap<_, _> = shown.into_iter().map(|(id, one)| (id, Some(one))).collect();
    let mut findings = comparer.page(shown).await?;
    let is_idle = |record: &RecordId| {
        let work = explanations.work.get(record);
        work.is_none_or(|work| !work.is_pending && work.parked.is_none())
    };
    findings.marked.extend(strayed.into_iter().filter(is_idle));
    Ok(findings)
}
