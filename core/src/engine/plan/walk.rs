//! Walks both sides of one object, and plans each record once.
//!
//! The records of Salesforce come first, each with its link and its rows, and with them the links that Salesforce does
//! not return. Then come the rows: those that were not met before are planned, most of them as new records.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::ObjectSync;
use crate::job::error::Error;
use crate::job::tenant::{ObjectsToPlan, Tenant, read_fields};
use crate::model::cursor::SourceCursor;
use crate::model::ids::SalesforceId;
use crate::model::key::KeyForm;
use crate::model::observation::{ObservationKind, SalesforceObservation, Version};
use crate::model::value::Payload;
use crate::observe::planner::ObjectPlanner;
use crate::observe::read::{external_id_of, observation_by, read_from};
use crate::ports::MappedObject;
use crate::ports::plan_store::{PageToPlan, PlannedOnly, RowPlace};
use crate::ports::salesforce::{Deleted, Disposition, ReadBy, SalesforceRecord};

use super::count::{Counter, ObjectPlan, key_of};
use super::lookups::{Pending, is_full};
use super::met::{Met, Place};
use super::{Parents, PlanListener, PlanProgress};

/// Rows of one page of a table, and links of one page that Salesforce does not return.
const ROWS_MAX: usize = 2_000;

/// Records of one read by external id or Salesforce id: about as many as fit into the URL of a GET.
const READ_BATCH: usize = 200;

/// What the observations of a plan have as their cursor. It is stored nowhere.
const CURSOR: &str = "plan";

/// How far back the log of deletes is read: Salesforce keeps it for 15 days, and the clocks may differ.
const DELETE_LOG_MS: i64 = 14 * 24 * 60 * 60 * 1_000;

/// The log is read by minutes: the end lies after the current one.
const DELETE_LOG_AHEAD_MS: i64 = 2 * 60 * 1_000;

/// The walk of one object.
pub(super) struct Walk<'a> {
    tenant: &'a Tenant,
    loaded: &'a ObjectsToPlan,
    mapped: &'a MappedObject,
    planner: ObjectPlanner<'a>,
    form: KeyForm,
    now_ms: i64,
    met: Met,
    /// What Salesforce logged as deleted, once it was asked.
    deleted: Option<BTreeSet<SalesforceId>>,
    /// Lookups within the object.
    pending: Vec<Pending>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        (tenant, loaded): (&'a Tenant, &'a ObjectsToPlan),
        mapped: &'a MappedObject,
        now_ms: i64,
    ) -> Self {
        let key = mapped.schema.fields.get(&mapped.sync.external_id.field);
        Self {
            tenant,
            loaded,
            mapped,
            planner: ObjectPlanner::new(mapped),
            form: key.map_or_else(KeyForm::default, KeyForm::of),
            now_ms,
            met: Met::default(),
            deleted: None,
            pending: Vec::new(),
        }
    }

    /// Plans every record of both sides.
    pub(super) async fn run(
        mut self,
        plan: &mut ObjectPlan,
        parents: &mut Parents<'a>,
        listener: &mut dyn PlanListener,
    ) -> Result<(), Error> {
        let mut counter = Counter::new(plan, self.mapped);
        let parents_asked = parents.names.calls;
        let mut after = None;
        loop {
            let next = self
                .salesforce(after.as_ref(), (&mut counter, parents), listener)
                .await?;
            self.report(&mut counter, listener);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut after = None;
        loop {
            let next = self
                .postgres(after.as_ref(), (&mut counter, parents), listener)
                .await?;
            self.report(&mut counter, listener);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        self.judge_pending(&mut counter, parents);
        counter.end();
        plan.reads += parents.names.calls - parents_asked;
        let is_captured = self.is_captured().await?;
        plan.finish(self.sync(), is_captured);
        if let Some(problem) = self.tenant.store.other_table(self.mapped).await? {
            plan.is_held = true;
            plan.notes.push(format!(
                "table {} {problem}: nothing is written before `syncline install` has decided whether rows that it lacks \
                 were deleted",
                plan.table
            ));
        }
        Ok(())
    }

    fn sync(&self) -> &'a ObjectSync {
        &self.mapped.sync
    }

    fn report(&self, counter: &mut Counter<'_>, listener: &mut dyn PlanListener) {
        let plan = counter.plan();
        listener.progress(&PlanProgress {
            object: &self.sync().object,
            in_salesforce: plan.in_salesforce,
            in_postgres: plan.in_postgres,
        });
    }

    async fn is_captured(&self) -> Result<bool, Error> {
        if !self.loaded.has_control_plane {
            return Ok(false);
        }
        let captured = self.tenant.store.captured_objects(&self.mapped.tenant);
        Ok(captured.await?.contains_key(&self.sync().object))
    }

    /// Plans one page of Salesforce, and the links of its range that it does not show. Returns the last id, unless
    /// no page follows.
    async fn salesforce(
        &mut self,
        after: Option<&SalesforceId>,
        (counter, parents): (&mut Counter<'_>, &mut Parents<'a>),
        listener: &mut dyn PlanListener,
    ) -> Result<Option<SalesforceId>, Error> {
        let sync = self.sync();
        let (fields, filter) = (read_fields(sync), sync.filter.as_deref());
        let scanned = self
            .tenant
            .salesforce
            .scan(&sync.object, &fields, filter, after);
        let mut page = scanned.await?;
        counter.plan().reads += 1;
        let ids: Vec<&SalesforceId> = page.records.iter().map(|one| &one.salesforce_id).collect();
        let upto = if page.done { None } else { ids.last().copied() };
        let hidden = match self.loaded.has_control_plane {
            true => {
                let range = (after, upto);
                let store = &self.tenant.store;
                store
                    .ids_not_seen(self.mapped, range, &ids, ROWS_MAX)
                    .await?
            }
            false => Vec::new(),
        };
        let mut next = upto.cloned();
        if hidden.len() == ROWS_MAX {
            // So many links that the rest of the range is left to the next page.
            next = hidden.last().cloned();
            page.records
                .retain(|record| Some(&record.salesforce_id) <= next.as_ref());
        }
        parents.names.meet(self.mapped, &page.records);
        let plan = counter.plan();
        for record in &page.records {
            plan.in_salesforce += 1;
            let external_id = external_id_of(self.mapped, record);
            let is_blank = external_id.is_none_or(|given| given.trim().is_empty());
            plan.without_id_in_salesforce += u64::from(is_blank);
        }
        let mut observations = self.hidden(&hidden, counter).await?;
        let shown = page.records.iter();
        observations.extend(shown.map(|record| self.observed(record, ObservationKind::Snapshot)));
        for planned in self.planned((&observations, &[]), parents).await? {
            self.met.add(&planned.canonical_id, &planned.rows);
            self.count(planned, (counter, parents), listener);
        }
        Ok(next)
    }

    /// Reads the records of links that a page does not show, as apply refreshes them.
    async fn hidden(
        &mut self,
        ids: &[SalesforceId],
        counter: &mut Counter<'_>,
    ) -> Result<Vec<SalesforceObservation>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = read_from(&*self.tenant.salesforce, self.mapped, ids).await?;
        let calls = ids.len().div_ceil(READ_BATCH);
        counter.plan().reads += u64::try_from(calls).unwrap_or(u64::MAX);
        if read.len() < ids.len() && self.deleted.is_none() {
            self.deleted = Some(self.deleted_recently().await?);
        }
        let observed = ids.iter().map(|id| match read.get(id) {
            Some(record) => {
                let kind = match (record.deleted, &self.sync().filter) {
                    (Deleted::Yes, _) => ObservationKind::Deleted,
                    (Deleted::No, Some(_)) => ObservationKind::FilteredOut,
                    (Deleted::No, None) => ObservationKind::Refresh,
                };
                self.observed(record, kind)
            }
            None => self.absent(id),
        });
        Ok(observed.collect())
    }

    /// Returns the records of the object that Salesforce logged as deleted; none if it keeps no log of them.
    async fn deleted_recently(&self) -> Result<BTreeSet<SalesforceId>, Error> {
        let (since_ms, until_ms) = (
            self.now_ms - DELETE_LOG_MS,
            self.now_ms + DELETE_LOG_AHEAD_MS,
        );
        let object = &self.sync().object;
        let salesforce = &self.tenant.salesforce;
        match salesforce.deleted_since(object, since_ms, until_ms).await {
            Ok(deleted) => Ok(deleted),
            Err(error) if error.disposition == Disposition::Park => Ok(BTreeSet::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the observation that a linked record was not found.
    fn absent(&self, id: &SalesforceId) -> SalesforceObservation {
        let is_deleted = self.deleted.as_ref().is_some_and(|log| log.contains(id));
        SalesforceObservation {
            object: self.sync().object.clone(),
            salesforce_id: id.clone(),
            external_id: None,
            kind: match is_deleted {
                true => ObservationKind::Missing,
                false => ObservationKind::Unreadable,
            },
            fields: Payload::new(),
            unreadable: BTreeMap::new(),
            version: Version::default(),
            cursor: SourceCursor::Snapshot(CURSOR.to_owned()),
            ordinal: 0,
            ours: false,
        }
    }

    fn observed(&self, record: &SalesforceRecord, kind: ObservationKind) -> SalesforceObservation {
        observation_by(&self.loaded.user, self.mapped, record, (kind, CURSOR))
    }

    /// Plans the rows of one page that were not met. Returns the last row, unless no page follows.
    async fn postgres(
        &mut self,
        after: Option<&serde_json::Value>,
        (counter, parents): (&mut Counter<'_>, &mut Parents<'a>),
        listener: &mut dyn PlanListener,
    ) -> Result<Option<serde_json::Value>, Error> {
        let store = &self.tenant.store;
        let page = store.row_places(self.mapped, after, ROWS_MAX).await?;
        let (mut rows, mut asked) = (Vec::new(), Vec::new());
        let (mut respelled, mut unknown) = (BTreeSet::new(), BTreeMap::new());
        for row in page.rows {
            counter.plan().in_postgres += 1;
            counter.plan().without_id_in_postgres += u64::from(row.external_id.is_none());
            let external_id = row.external_id.as_deref();
            let canonical = external_id.and_then(|id| self.form.canonical(id).ok());
            let place = self.met.place(&row.identity, canonical.as_deref());
            match (place, &row.external_id) {
                (Place::Planned, _) => continue,
                (Place::Second, Some(key)) => {
                    counter.add_second_row(key, &self.sync().external_id.field);
                    continue;
                }
                (Place::New, Some(key)) if self.sync().filter.is_some() => asked.push(key.clone()),
                (Place::Unknown, Some(key)) => {
                    asked.push(key.clone());
                    unknown.extend(canonical.map(|canonical| (canonical, row.identity.clone())));
                }
                (Place::Respelled, Some(key)) => {
                    asked.push(key.clone());
                    respelled.extend(canonical);
                }
                (Place::New, _) | (_, None) => {}
            }
            rows.push(row);
        }
        let mut found = self.by_external_id(&asked, counter).await?;
        // A record of an unknown row was planned with it, or is outside the filter.
        found.retain(|record| {
            let canonical = self.canonical(record);
            let met = canonical.and_then(|canonical| unknown.remove(&canonical));
            rows.retain(|row: &RowPlace| Some(&row.identity) != met.as_ref());
            met.is_none()
        });
        let observations = self.found(&found, &respelled);
        self.take_back(&found, &respelled, (counter, parents))
            .await?;
        let places: BTreeSet<String> = rows.iter().map(|row| row.identity.to_string()).collect();
        for planned in self.planned((&observations, &rows), parents).await? {
            // A record with several rows counts with the first of them.
            let first = planned.rows.first().map(ToString::to_string);
            if first.is_some_and(|first| places.contains(&first)) {
                self.count(planned, (counter, parents), listener);
            }
        }
        Ok(page.next)
    }

    /// Reads live records by external id.
    async fn by_external_id(
        &self,
        external_ids: &[String],
        counter: &mut Counter<'_>,
    ) -> Result<Vec<SalesforceRecord>, Error> {
        let sync = self.sync();
        let fields = read_fields(sync);
        let mut found = Vec::new();
        for batch in external_ids.chunks(READ_BATCH) {
            let by = ReadBy::ExternalId {
                field: sync.external_id.field.clone(),
                values: batch.to_vec(),
            };
            counter.plan().reads += 1;
            let salesforce = &self.tenant.salesforce;
            found.extend(salesforce.read(&sync.object, &by, &fields).await?);
        }
        found.retain(|record| record.deleted == Deleted::No);
        Ok(found)
    }

    /// Returns what was read of rows: a record that the scan did not show does not match the filter.
    fn found(
        &self,
        found: &[SalesforceRecord],
        respelled: &BTreeSet<String>,
    ) -> Vec<SalesforceObservation> {
        let observed = found.iter().map(|record| {
            let is_shown = self
                .canonical(record)
                .is_some_and(|canonical| respelled.contains(&canonical));
            let kind = match (is_shown, &self.sync().filter) {
                (false, Some(_)) => ObservationKind::FilteredOut,
                (true, _) | (false, None) => ObservationKind::Snapshot,
            };
            self.observed(record, kind)
        });
        observed.collect()
    }

    fn canonical(&self, record: &SalesforceRecord) -> Option<String> {
        self.form
            .canonical(&external_id_of(self.mapped, record)?)
            .ok()
    }

    /// Takes back that records were counted without a row which have one.
    async fn take_back(
        &self,
        found: &[SalesforceRecord],
        respelled: &BTreeSet<String>,
        (counter, parents): (&mut Counter<'_>, &mut Parents<'a>),
    ) -> Result<(), Error> {
        let shown = found.iter().filter(|record| {
            let canonical = self.canonical(record);
            canonical.is_some_and(|canonical| respelled.contains(&canonical))
        });
        let shown = shown.map(|record| self.observed(record, ObservationKind::Snapshot));
        let shown: Vec<SalesforceObservation> = shown.collect();
        if shown.is_empty() {
            return Ok(());
        }
        for planned in self.planned((&shown, &[]), parents).await? {
            counter.take_back(planned);
        }
        Ok(())
    }

    async fn planned(
        &self,
        (observations, rows): (&[SalesforceObservation], &[RowPlace]),
        parents: &mut Parents<'a>,
    ) -> Result<Vec<PlannedOnly>, Error> {
        if observations.is_empty() && rows.is_empty() {
            return Ok(Vec::new());
        }
        let names = parents.names.of(self.tenant, self.mapped, observations);
        let names = names.await?;
        let page = PageToPlan {
            observations,
            rows,
            parents: &names,
        };
        let store = &self.tenant.store;
        Ok(store.plan_only(self.mapped, &page, &self.planner).await?)
    }

    fn count(
        &mut self,
        mut planned: PlannedOnly,
        (counter, parents): (&mut Counter<'_>, &mut Parents<'a>),
        listener: &mut dyn PlanListener,
    ) {
        let key = key_of(&planned);
        // A record that stops is found by lookups, too, if Salesforce has it.
        if planned.plan.is_ok() || planned.salesforce_id.is_some() {
            let object = &self.mapped.sync.object;
            parents.keys.add(object, &planned.canonical_id);
        }
        if let Ok(record) = &mut planned.plan {
            let pending = parents.keys.judge(self.mapped, &key, record);
            if !is_full(&self.pending) {
                self.pending.extend(pending);
            }
        }
        let record = counter.add(&key, planned);
        if let Some(record) = record.filter(|_| listener.wants_records()) {
            let facts = record.facts.named(&record.rules.mapping);
            listener.record(&self.sync().object, facts);
        }
    }

    /// Judges the lookups within the object.
    fn judge_pending(&mut self, counter: &mut Counter<'_>, parents: &mut Parents<'a>) {
        parents.keys.complete(&self.mapped.sync.object);
        for pending in std::mem::take(&mut self.pending) {
            if let Some(reason) = parents.keys.judge_pending(self.mapped, &pending) {
                counter.add_withheld(&pending.key, &reason);
            }
        }
    }
}
