//! Compares one page of records on both live sides, reads suspects a second time, and enqueues what nothing explains.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::config::CaptureMode;
use crate::job::Job;
use crate::job::error::Error;
use crate::model::ids::{RecordId, SalesforceId};
use crate::model::link::{Presence, RemoteState};
use crate::model::observation::SalesforceObservation;
use crate::observe::planner::ObjectPlanner;
use crate::observe::read::{external_id_of, read_matching, snapshot};
use crate::ports::MappedObject;
use crate::ports::comparison::{CountedRecord, Explanations, PageRecord, RecordClass};
use crate::ports::record::ObservedRecord;
use crate::ports::salesforce::{Deleted, SalesforceRecord};

use super::ReconcileReport;
use super::compare::{
    Difference, DriftItem, compare, explained, missing_rows, reads_otherwise, shows_news,
};

/// How long the event of a change may take to arrive and be captured. A difference to a record that changed in
/// Salesforce since then is pending: the event is on its way.
const EVENT_MS_MAX: i64 = 120_000;

/// One object that is compared.
pub(super) struct Comparer<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) mapped: &'a MappedObject,
    planner: ObjectPlanner<'a>,
    /// When the full comparison began: records that were linked later belong to the next one.
    pub(super) started_at: Option<DateTime<Utc>>,
}

/// What a page was found to contain.
#[derive(Default)]
pub(super) struct PageFindings {
    /// What is counted, one entry a record.
    pub(super) findings: Vec<CountedRecord>,
    /// Records that nothing explains.
    pub(super) drifted: Vec<DriftItem>,
    /// Records to read again on both sides.
    pub(super) marked: Vec<RecordId>,
    /// Records in Salesforce to record as they were read.
    pub(super) unrecorded: Vec<SalesforceRecord>,
    /// Rows that were never captured, by what identifies them.
    pub(super) uncaptured: Vec<serde_json::Value>,
    /// When the latest of the changes in Salesforce was made whose events should have arrived and did not.
    unheard_ms: Option<i64>,
}

/// The Salesforce ids of a page; none: Salesforce does not return the record.
pub(super) type SeenIds = BTreeMap<SalesforceId, Option<SalesforceRecord>>;

/// One compared record.
struct Compared {
    finding: CountedRecord,
    record: Option<RecordId>,
    drift: Option<DriftItem>,
    /// Nothing explains it but that it changed in Salesforce so lately that its event may be on its way.
    is_recent: bool,
    /// When it changed in Salesforce, if no event has told that in time.
    unheard_ms: Option<i64>,
    /// Other fields can be read than last time, or the record again.
    reads_otherwise: bool,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(
        job: &'a Job<'a>,
        mapped: &'a MappedObject,
        started_at: Option<DateTime<Utc>>,
    ) -> Self {
        Self {
            job,
            mapped,
            planner: ObjectPlanner::new(mapped),
            started_at,
        }
    }

    pub(super) fn planner(&self) -> &ObjectPlanner<'a> {
        &self.planner
    }

    /// Compares the records of a page. What nothing explains is read again on both sides, and counts only if the
    /// second read shows it too and the record has no open work.
    pub(super) async fn page(&self, mut seen: SeenIds) -> Result<PageFindings, Error> {
        let mut compared = self.read(&seen).await?;
        let suspects: Vec<SalesforceId> = compared
            .iter()
            .filter(|(_, one)| one.finding.class.is_unexplained())
            .map(|(id, _)| id.clone())
            .collect();
        if !suspects.is_empty() {
            let mut read = read_matching(self.job, self.mapped, &suspects).await?;
            let again: SeenIds = suspects
                .into_iter()
                .map(|id| {
                    let record = read.remove(&id);
                    (id, record)
                })
                .collect();
            compared.extend(self.read(&again).await?);
            seen.extend(again);
        }
        let mut page = PageFindings::default();
        for (id, one) in compared {
            page.add(one, seen.remove(&id).flatten());
        }
        Ok(page)
    }

    /// Compares records just read with their rows.
    async fn read(&self, seen: &SeenIds) -> Result<BTreeMap<SalesforceId, Compared>, Error> {
        let (job, mapped) = (self.job, self.mapped);
        let names: BTreeMap<&SalesforceId, String> = seen
            .iter()
            .filter_map(|(id, record)| Some((id, external_id_of(mapped, record.as_ref()?)?)))
            .collect();
        let asked: Vec<PageRecord<'_>> = seen
            .iter()
            .map(|(id, record)| PageRecord {
                salesforce_id: id,
                fields: record.as_ref().map(|record| &record.fields),
                external_id: names.get(id).map(String::as_str),
            })
            .collect();
        let page = job
            .store()
            .observe_page(mapped, &asked, self.started_at)
            .await?;
        let mut linked: BTreeMap<&SalesforceId, (&ObservedRecord, Difference)> = BTreeMap::new();
        for observed in &page.linked {
            if let Some(id) = &observed.known.link.salesforce_id {
                let read = seen.get(id).and_then(Option::as_ref);
                let difference = compare(mapped, &self.planner, observed, read);
                linked.insert(id, (observed, difference));
            }
        }
        let open = linked
            .values()
            .filter(|(_, difference)| difference.is_open());
        let records: BTreeSet<RecordId> = open
            .map(|(observed, _)| observed.known.link.record_id)
            .chain(page.named.values().copied())
            .collect();
        let explanations = self.explain(records.into_iter().collect()).await?;
        let mut compared = BTreeMap::new();
        for (id, record) in seen {
            let one = match linked.remove(id) {
                Some((observed, _)) if page.appeared.contains(&observed.known.link.record_id) => {
                    appeared(observed, record.as_ref())
                }
                Some((observed, difference)) => {
                    self.linked(observed, &difference, record.as_ref(), &explanations)
                }
                None => {
                    let named = page.named.get(id);
                    let name = names.get(id).map(String::as_str);
                    self.unlinked(id, record.as_ref(), (name, named), &explanations)
                }
            };
            compared.insert(id.clone(), one);
        }
        Ok(compared)
    }

    pub(super) async fn explain(&self, records: Vec<RecordId>) -> Result<Explanations, Error> {
        Ok(self.job.store().explain(self.mapped, &records).await?)
    }

    /// Returns when a record changed in Salesforce, if that is later than what was last seen of it, and whether so
    /// lately that the event may be on its way.
    fn unseen_change(
        &self,
        seen: Option<&RemoteState>,
        read: Option<&SalesforceRecord>,
    ) -> Option<(i64, bool)> {
        let changed_ms = read?.version.modified_ms?;
        let versions = seen.into_iter().flat_map(|seen| {
            let fields = seen.fields.values().map(|field| field.version);
            fields.chain([seen.presence_version])
        });
        let seen_ms = versions.filter_map(|version| version.modified_ms).max();
        let is_unseen = seen_ms.is_none_or(|seen_ms| seen_ms < changed_ms);
        is_unseen.then(|| {
            let is_recent = changed_ms >= self.job.now_ms() - EVENT_MS_MAX;
            (changed_ms, is_recent)
        })
    }

    fn linked(
        &self,
        observed: &ObservedRecord,
        difference: &Difference,
        read: Option<&SalesforceRecord>,
        explanations: &Explanations,
    ) -> Compared {
        let link = &observed.known.link;
        let class = difference.class(explanations.work.get(&link.record_id));
        let unseen = self.unseen_change(Some(&link.remote_state), read);
        let is_recent = class.is_unexplained() && matches!(unseen, Some((_, true)));
        let live = read.filter(|record| record.deleted == Deleted::No);
        let is_read_again = explanations.needs_resync
            && live.is_none_or(|record| shows_news(&self.planner, &link.remote_state, record));
        let class = settled(class, is_read_again || is_recent);
        let drift = class.is_unexplained().then(|| DriftItem {
            tenant: self.mapped.tenant.clone(),
            object: self.mapped.sync.object.clone(),
            record_id: link.record_id,
            external_id: link.external_id.clone(),
            fields: difference.differing(),
            absent: difference.absent,
        });
        Compared {
            finding: CountedRecord {
                class,
                rows: count(observed.rows.len()),
                in_salesforce: live.is_some(),
                fields: difference.fields(),
                key: link.external_id.clone(),
            },
            record: Some(link.record_id),
            unheard_ms: unheard(class, unseen),
            drift,
            is_recent,
            reads_otherwise: live.is_some_and(|record| {
                link.remote_state.presence == Presence::Unreadable
                    || reads_otherwise(&self.planner, observed, record)
            }),
        }
    }

    /// Classifies a record in Salesforce without a link. `named` is the record that has its external id.
    fn unlinked(
        &self,
        id: &SalesforceId,
        read: Option<&SalesforceRecord>,
        (name, named): (Option<&str>, Option<&RecordId>),
        explanations: &Explanations,
    ) -> Compared {
        let work = named.and_then(|record| explanations.work.get(record));
        let missing = match name {
            Some(_) => RecordClass::OnlyInSalesforce,
            None => RecordClass::WithoutId,
        };
        let class = explained(work).unwrap_or(missing);
        let unseen = self.unseen_change(None, read);
        let is_recent = class.is_unexplained() && matches!(unseen, Some((_, true)));
        let class = settled(class, explanations.needs_resync || is_recent);
        Compared {
            unheard_ms: unheard(class, unseen),
            finding: CountedRecord {
                class,
                rows: 0,
                // A deleted record that has no link is neither new nor missing.
                in_salesforce: read.is_some_and(|record| record.deleted == Deleted::No),
                fields: Vec::new(),
                key: name.unwrap_or(id.as_str()).to_owned(),
            },
            record: None,
            drift: None,
            is_recent,
            reads_otherwise: false,
        }
    }
}

/// Returns `Pending` for what nothing explains while a change is on its way.
pub(super) fn settled(class: RecordClass, is_on_its_way: bool) -> RecordClass {
    match class.is_unexplained() && is_on_its_way {
        true => RecordClass::Pending,
        false => class,
    }
}

/// Returns when a record changed whose change no event has told.
fn unheard(class: RecordClass, unseen: Option<(i64, bool)>) -> Option<i64> {
    unseen
        .filter(|_| class.is_unexplained())
        .map(|(changed_ms, _)| changed_ms)
}

/// Counts a record in Salesforce that was linked after the comparison began; its row is met by the walk of the table.
fn appeared(observed: &ObservedRecord, read: Option<&SalesforceRecord>) -> Compared {
    Compared {
        finding: CountedRecord {
            class: RecordClass::Appeared,
            rows: 0,
            in_salesforce: read.is_some_and(|record| record.deleted == Deleted::No),
            fields: Vec::new(),
            key: observed.known.link.external_id.clone(),
        },
        record: Some(observed.known.link.record_id),
        drift: None,
        is_recent: false,
        unheard_ms: None,
        reads_otherwise: false,
    }
}

impl PageFindings {
    /// Keeps what nothing explains only if an earlier read found it, too; the rest is pending.
    pub(super) fn confirming(mut self, earlier: &Self) -> Self {
        let suspects = earlier.findings.iter();
        let suspects: BTreeSet<&str> = suspects
            .filter(|finding| finding.class.is_unexplained())
            .map(|finding| finding.key.as_str())
            .collect();
        for finding in &mut self.findings {
            let is_new = !suspects.contains(finding.key.as_str());
            finding.class = settled(finding.class, is_new);
        }
        self.drifted.retain(|item| earlier.drifted.contains(item));
        self.marked.retain(|record| earlier.marked.contains(record));
        self.uncaptured
            .retain(|row| earlier.uncaptured.contains(row));
        self
    }

    fn add(&mut self, compared: Compared, read: Option<SalesforceRecord>) {
        let Compared { finding, .. } = &compared;
        let is_due = finding.class.is_unexplained() || compared.is_recent;
        let live = read.filter(|record| record.deleted == Deleted::No);
        match (compared.record, live) {
            (None, Some(record)) if is_due => self.unrecorded.push(record),
            (Some(_), Some(record)) if compared.reads_otherwise => self.unrecorded.push(record),
            (Some(record), _) if is_due => self.marked.push(record),
            (None | Some(_), _) => {}
        }
        self.unheard_ms = self.unheard_ms.max(compared.unheard_ms);
        self.findings.push(compared.finding);
        self.drifted.extend(compared.drift);
    }

    /// Enqueues what nothing explains: records are read again on both sides, records in Salesforce are recorded as
    /// they were read, rows are captured. Adds the counts to the report.
    pub(super) async fn enqueue(
        self,
        comparer: &Comparer<'_>,
        report: &mut ReconcileReport,
    ) -> Result<Vec<CountedRecord>, Error> {
        let (job, mapped) = (comparer.job, comparer.mapped);
        let missing: BTreeSet<RecordId> = missing_rows(self.drifted.iter()).collect();
        let marked = self.marked.iter().copied();
        let missing: Vec<RecordId> = marked.filter(|record| missing.contains(record)).collect();
        report.enqueued += job
            .store()
            .enqueue_repair(mapped, &self.marked, &missing)
            .await?;
        if !self.unrecorded.is_empty() {
            let cursor = format!("reconcile:{}", job.shared.ids.uuid());
            let observations: Vec<SalesforceObservation> = self
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
        if !self.uncaptured.is_empty() {
            let rows = &self.uncaptured;
            report.enqueued += job.store().enqueue_unknown_rows(mapped, rows).await?;
        }
        let is_relayed = job.tenant.config.capture == CaptureMode::Relay;
        if let Some(changed_ms) = self.unheard_ms.filter(|_| is_relayed) {
            job.store().note_unheard(mapped, changed_ms).await?;
        }
        report.drifted.extend(self.drifted);
        for finding in &self.findings {
            report.count(finding);
        }
        Ok(self.findings)
    }
}

/// Returns a number of rows.
pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
