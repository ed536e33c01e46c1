//! Counts what would be done with the records of one object, and keeps a few samples: names, never values.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::apply::round_records;
use crate::config::{LaneThresholds, ObjectSync};
use crate::engine::check::FirstContact;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::{FieldName, ObjectName};
use crate::model::intent::WriteAction;
use crate::planner::facts::RecordFacts;
use crate::planner::mapping::Mapping;
use crate::planner::policy::delete_guard::{DeleteCounts, exceeded};
use crate::planner::record::Rule;
use crate::planner::route::{Lane, LaneBudget, Routable, calls_of, route};
use crate::ports::MappedObject;
use crate::ports::apply_store::{PlannedPostgres, PlannedRecord};
use crate::ports::plan_store::PlannedOnly;
use crate::ports::record::{LeaseEnd, ParkReason};

/// Samples that are kept of each work.
const SAMPLES_MAX: usize = 5;

/// Different reasons that are kept; more are counted as records only.
const REASONS_MAX: usize = 50;

/// How long one call takes, as the page assumes it, too: most of it is Salesforce's own work.
const CALL_MS: u64 = 800;

/// Calls that write at once, as the client makes them.
const CALLS_AT_ONCE: u64 = 4;

/// Rows that are written to Postgres in a second, as measured on two cores.
const ROWS_A_SECOND: u64 = 2_000;

/// What would be done with a record. A record counts under everything that applies to it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Work {
    /// Its row is created.
    CreateInPostgres,
    /// Its row is changed.
    UpdateInPostgres,
    /// Its row is deleted, or marked as deleted.
    DeleteInPostgres,
    /// It is created in Salesforce.
    CreateInSalesforce,
    /// It is changed in Salesforce.
    UpdateInSalesforce,
    /// It is deleted in Salesforce.
    DeleteInSalesforce,
    /// It gets a generated external id.
    GenerateId,
    /// Fields of it, or the whole record, wait for a person.
    Conflict,
    /// Fields of it cannot be written, or their lookups not be resolved; the others are.
    Withhold,
    /// It stops with a reason.
    Park,
    /// It waits for something that is under way.
    Wait,
    /// A rule keeps the sides apart: a direction, an owner, ignored deletes.
    KeptApart,
    /// In Salesforce it is outside the object's filter; its row is left alone.
    FilteredOut,
    /// Both sides are equal.
    Equal,
}

impl Work {
    /// All of them.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns whether a person must act before the record is as both sides want it.
    pub fn needs_person(self) -> bool {
        match self {
            Self::Conflict | Self::Withhold | Self::Park => true,
            Self::CreateInPostgres
            | Self::UpdateInPostgres
            | Self::DeleteInPostgres
            | Self::CreateInSalesforce
            | Self::UpdateInSalesforce
            | Self::DeleteInSalesforce
            | Self::GenerateId
            | Self::Wait
            | Self::KeptApart
            | Self::FilteredOut
            | Self::Equal => false,
        }
    }
}

/// A record that a person may want to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// What would be done with it.
    pub work: Work,
    /// Its external id; its Salesforce id or primary key if it has none yet.
    pub key: String,
    /// The fields that are written, in conflict or withheld; empty if it is all of them.
    pub fields: Vec<FieldName>,
}

/// Why records or fields of them stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A stable code.
    pub code: String,
    /// The field that causes it, if one does.
    pub field: Option<FieldName>,
    /// Records.
    pub records: u64,
    /// One of them.
    pub key: String,
    /// What to do about that one. It may quote its values, as dead letters do.
    pub message: String,
}

/// What would be done with a field of records that both sides have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FieldCounts {
    /// Rows in which it is changed.
    pub to_postgres: u64,
    /// Records of Salesforce in which it is changed.
    pub to_salesforce: u64,
    /// Records in which it waits for a person.
    pub conflicts: u64,
    /// Records in which it cannot be written.
    pub withheld: u64,
}

/// The records of one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LaneLoad {
    /// Records.
    pub records: u64,
    /// API calls, as Salesforce counts them; an estimate.
    pub calls: u64,
    /// Bytes of the values, as JSON.
    pub bytes: u64,
}

/// What would be done with the records of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectPlan {
    /// The object.
    pub object: ObjectName,
    /// Its table, with the schema.
    pub table: String,
    /// Records of both sides that were planned.
    pub records: u64,
    /// Live records in Salesforce that match the filter.
    pub in_salesforce: u64,
    /// Rows.
    pub in_postgres: u64,
    /// Those of Salesforce without an external id.
    pub without_id_in_salesforce: u64,
    /// Rows without an external id.
    pub without_id_in_postgres: u64,
    /// Records by what would be done; what none needs is left out.
    pub work: BTreeMap<Work, u64>,
    /// By field, what would be done with records that both sides have.
    pub fields: BTreeMap<FieldName, FieldCounts>,
    /// Records by the rule that decided about the record.
    pub rules: BTreeMap<Rule, u64>,
    /// Why records and fields stop.
    pub reasons: Vec<Reason>,
    /// Some records of each work.
    pub samples: Vec<Sample>,
    /// The records of each lane that is used, with the calls that write them.
    pub lanes: BTreeMap<Lane, LaneLoad>,
    /// Calls that read Salesforce for it.
    pub reads: u64,
    /// API calls in all, an estimate.
    pub calls: u64,
    /// About how long it takes, in seconds.
    pub seconds: u64,
    /// What else a person should know.
    pub notes: Vec<String>,
    /// Installing it would be refused, or its deletes would be withheld, until a person decides.
    pub is_held: bool,
    /// Why the plan is not complete.
    pub problem: Option<String>,
    #[serde(skip)]
    deletes: u64,
    #[serde(skip)]
    agreed: u64,
    #[serde(skip)]
    rows_written: u64,
}

impl ObjectPlan {
    pub(super) fn new(sync: &ObjectSync) -> Self {
        Self {
            object: sync.object.clone(),
            table: format!("{}.{}", sync.table.schema, sync.table.table),
            records: 0,
            in_salesforce: 0,
            in_postgres: 0,
            without_id_in_salesforce: 0,
            without_id_in_postgres: 0,
            work: BTreeMap::new(),
            fields: BTreeMap::new(),
            rules: BTreeMap::new(),
            reasons: Vec::new(),
            samples: Vec::new(),
            lanes: BTreeMap::new(),
            reads: 0,
            calls: 0,
            seconds: 0,
            notes: Vec::new(),
            is_held: false,
            problem: None,
            deletes: 0,
            agreed: 0,
            rows_written: 0,
        }
    }

    /// Returns the records with which this would be done.
    pub fn of(&self, work: Work) -> u64 {
        self.work.get(&work).copied().unwrap_or_default()
    }

    /// Returns whether a person must act, or the plan is not complete.
    pub fn needs_person(&self) -> bool {
        self.is_held || self.problem.is_some() || self.work.keys().any(|work| work.needs_person())
    }

    /// Notes what only all records together show: how they are held up, and how long they take.
    pub(super) fn finish(&mut self, sync: &ObjectSync, is_captured: bool) {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let deletes = DeleteCounts {
            in_hour: count(self.deletes),
            in_day: count(self.deletes),
            records: count(self.agreed),
        };
        if exceeded(&sync.deletes, deletes).is_some() {
            self.is_held = true;
            self.notes.push(format!(
                "{} deletes are more than may be made at once: all of them wait for `syncline deletes approve {}`",
                self.deletes, self.object
            ));
        }
        let contact = FirstContact {
            records: self.in_salesforce,
            records_without_id: self.without_id_in_salesforce,
            rows: self.in_postgres,
            rows_without_id: self.without_id_in_postgres,
        };
        if !is_captured && contact.duplicates_records() {
            self.is_held = true;
            self.notes.push(format!(
                "{}, so `syncline install` refuses: {}",
                contact.problem(&self.object),
                crate::engine::check::FIRST_CONTACT_FIX
            ));
        }
        let writes: u64 = self.lanes.values().map(|lane| lane.calls).sum();
        self.calls = writes + self.reads;
        let ms = writes.div_ceil(CALLS_AT_ONCE) * CALL_MS
            + self.reads * CALL_MS
            + self.rows_written * 1_000 / ROWS_A_SECOND;
        self.seconds = ms.div_ceil(1_000);
    }

    /// Counts a work of one record, or takes it back.
    fn count(&mut self, work: Work, key: &str, fields: Vec<FieldName>) {
        *self.work.entry(work).or_default() += 1;
        let known = self.samples.iter().filter(|known| known.work == work);
        if known.count() < SAMPLES_MAX {
            self.samples.push(Sample {
                work,
                key: key.to_owned(),
                fields,
            });
        }
    }

    fn add_reason(&mut self, key: &str, reason: &ParkReason) {
        let mut known = self.reasons.iter();
        let known =
            known.position(|known| known.code == reason.code && known.field == reason.field);
        match known {
            Some(place) => self.reasons[place].records += 1,
            None if self.reasons.len() < REASONS_MAX => self.reasons.push(Reason {
                code: reason.code.clone(),
                field: reason.field.clone(),
                records: 1,
                key: key.to_owned(),
                message: reason.message.clone(),
            }),
            None => {}
        }
    }
}

/// Counts the records of one object as they are planned, and routes their writes round by round, as apply does.
pub(super) struct Counter<'p> {
    plan: &'p mut ObjectPlan,
    lanes: LaneThresholds,
    round_records: usize,
    /// Records of the round that is not full yet.
    leased: usize,
    writes: Vec<(Routable, WriteAction, usize)>,
}

impl<'p> Counter<'p> {
    pub(super) fn new(plan: &'p mut ObjectPlan, mapped: &MappedObject) -> Self {
        Self {
            plan,
            lanes: mapped.sync.lanes,
            round_records: round_records(mapped),
            leased: 0,
            writes: Vec::new(),
        }
    }

    pub(super) fn plan(&mut self) -> &mut ObjectPlan {
        self.plan
    }

    /// Counts a record. Returns its facts, if it could be planned.
    pub(super) fn add(&mut self, key: &str, planned: PlannedOnly) -> Option<PlannedRecord> {
        self.leased += 1;
        let record = match planned.plan {
            Ok(record) => record,
            Err(end) => {
                self.add_end(key, &end);
                return None;
            }
        };
        let works = works_of(&record, planned.generated, !planned.rows.is_empty());
        if works.is_empty() {
            return Some(record);
        }
        self.plan.records += 1;
        let rule = record.plan.explanation.record;
        *self.plan.rules.entry(rule).or_default() += 1;
        self.plan.agreed += u64::from(record.facts.has_agreed());
        for (work, fields) in &works {
            self.plan.count(*work, key, fields.clone());
            self.count_fields(*work, fields);
        }
        let deletes = |(work, _): &(Work, Vec<FieldName>)| {
            matches!(work, Work::DeleteInPostgres | Work::DeleteInSalesforce)
        };
        self.plan.deletes += u64::from(works.iter().any(deletes));
        self.plan.rows_written += u64::from(record.postgres.is_some());
        for reason in &record.withheld.reasons {
            self.plan.add_reason(key, reason);
        }
        self.route(&record);
        Some(record)
    }

    /// Counts a field of a counted record as withheld.
    pub(super) fn add_withheld(&mut self, key: &str, reason: &ParkReason) {
        let fields: Vec<FieldName> = reason.field.iter().cloned().collect();
        self.count_fields(Work::Withhold, &fields);
        self.plan.count(Work::Withhold, key, fields);
        self.plan.add_reason(key, reason);
    }

    /// Counts a row that has the external id of a record which has a row already.
    pub(super) fn add_second_row(&mut self, key: &str, field: &FieldName) {
        let reason = ParkReason {
            code: "duplicate_key".to_owned(),
            field: Some(field.clone()),
            message:
                "another row has the same external id for Salesforce: change or delete one of them"
                    .to_owned(),
        };
        self.add_end(key, &LeaseEnd::park(reason));
    }

    /// Takes back that a record was counted that is counted again, with its row.
    pub(super) fn take_back(&mut self, planned: PlannedOnly) {
        let key = key_of(&planned);
        let works = match &planned.plan {
            Ok(record) => works_of(record, planned.generated, !planned.rows.is_empty()),
            Err(LeaseEnd::Park { .. }) => vec![(Work::Park, Vec::new())],
            Err(LeaseEnd::Later { .. } | LeaseEnd::Done { .. }) => vec![(Work::Wait, Vec::new())],
        };
        if works.is_empty() {
            return;
        }
        self.plan.records -= 1;
        for (work, _) in works {
            take_one(&mut self.plan.work, work);
        }
        self.plan.samples.retain(|sample| sample.key != key);
        if let Ok(record) = &planned.plan {
            take_one(&mut self.plan.rules, record.plan.explanation.record);
            self.plan.rows_written -= u64::from(record.postgres.is_some());
        }
        // Without its row it was sent nowhere: its external id is there already.
        let lane = lane_at_rest(planned.plan.as_ref().ok());
        if let Some(load) = self.plan.lanes.get_mut(&lane) {
            load.records = load.records.saturating_sub(1);
        }
    }

    /// Routes what is left.
    pub(super) fn end(mut self) {
        self.end_round();
    }

    fn add_end(&mut self, key: &str, end: &LeaseEnd) {
        self.plan.records += 1;
        self.plan.lanes.entry(Lane::Refused).or_default().records += 1;
        match end {
            LeaseEnd::Park { reason, .. } => {
                let fields = reason.field.iter().cloned().collect();
                self.plan.count(Work::Park, key, fields);
                self.plan.add_reason(key, reason);
            }
            LeaseEnd::Later { .. } | LeaseEnd::Done { .. } => {
                self.plan.count(Work::Wait, key, Vec::new());
            }
        }
    }

    fn count_fields(&mut self, work: Work, fields: &[FieldName]) {
        for field in fields {
            let counts = self.plan.fields.entry(field.clone()).or_default();
            match work {
                Work::UpdateInPostgres => counts.to_postgres += 1,
                Work::UpdateInSalesforce => counts.to_salesforce += 1,
                Work::Conflict => counts.conflicts += 1,
                Work::Withhold => counts.withheld += 1,
                Work::CreateInPostgres
                | Work::DeleteInPostgres
                | Work::CreateInSalesforce
                | Work::DeleteInSalesforce
                | Work::GenerateId
                | Work::Park
                | Work::Wait
                | Work::KeptApart
                | Work::FilteredOut
                | Work::Equal => {}
            }
        }
    }

    fn route(&mut self, record: &PlannedRecord) {
        match &record.intent {
            Some(intent) => {
                let bytes = serde_json::to_string(&intent.fields).map_or(0, |json| json.len());
                let routable = Routable::of(&record.plan, &record.rules.mapping);
                self.writes.push((routable, intent.action, bytes));
            }
            None => {
                let lane = lane_at_rest(Some(record));
                self.plan.lanes.entry(lane).or_default().records += 1;
            }
        }
        if self.leased >= self.round_records {
            self.end_round();
        }
    }

    fn end_round(&mut self) {
        self.leased = 0;
        let writes = std::mem::take(&mut self.writes);
        let routables: Vec<Routable> = writes.iter().map(|(routable, ..)| *routable).collect();
        let lanes = route(&routables, self.lanes, LaneBudget::REST);
        let mut loads: BTreeMap<(Lane, &'static str), (usize, usize)> = BTreeMap::new();
        let mut is_checked = false;
        for ((routable, action, bytes), lane) in writes.into_iter().zip(lanes) {
            let load = loads.entry((lane, action.into())).or_default();
            *load = (load.0 + 1, load.1 + bytes);
            is_checked |= routable.may_overwrite && lane != Lane::Single;
        }
        // Before several updates are sent together, one call reads whether their records have changed.
        self.plan.reads += u64::from(is_checked);
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        for ((lane, _), (records, bytes)) in loads {
            let load = self.plan.lanes.entry(lane).or_default();
            load.records += number(records);
            load.calls += number(calls_of(lane, records, bytes));
            load.bytes += number(bytes);
        }
    }
}

/// Returns the lane of a record that is not written to Salesforce.
fn lane_at_rest(record: Option<&PlannedRecord>) -> Lane {
    match record {
        None => Lane::Refused,
        Some(record) if !record.plan.conflicts.is_empty() => Lane::Conflict,
        Some(record) if record.postgres.is_some() => Lane::Postgres,
        Some(_) => Lane::Noop,
    }
}

/// Counts one less.
fn take_one<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K) {
    let left = counts.remove(&key).map_or(0, |count| count - 1);
    if left > 0 {
        counts.insert(key, left);
    }
}

/// Returns what a person knows the record by.
pub(super) fn key_of(planned: &PlannedOnly) -> String {
    let known = planned.salesforce_id.as_ref().map(ToString::to_string);
    let row = planned.rows.first().map(ToString::to_string);
    match planned.generated {
        true => known.or(row).unwrap_or_else(|| planned.external_id.clone()),
        false => planned.external_id.clone(),
    }
}

/// Returns what would be done with a planned record, each with the fields that it concerns; nothing if neither side has
/// the record.
fn works_of(record: &PlannedRecord, generated: bool, has_row: bool) -> Vec<(Work, Vec<FieldName>)> {
    let PlannedRecord { plan, facts, .. } = record;
    let mapping = &record.rules.mapping;
    let mut works = Vec::new();
    match &record.postgres {
        Some(PlannedPostgres::Insert(_)) => works.push((Work::CreateInPostgres, Vec::new())),
        Some(PlannedPostgres::Update(columns)) => {
            let fields = names(mapping, plan.to_postgres.fields());
            let rules = mapping.rules();
            let is_written = |field: &FieldName| {
                let column = rules.fields.get(field).map(|field| &field.column);
                let column = column.unwrap_or(&rules.external_id.column);
                columns.contains_key(column.as_str())
            };
            let fields = fields.into_iter().filter(is_written).collect();
            works.push((Work::UpdateInPostgres, fields));
        }
        Some(PlannedPostgres::Delete | PlannedPostgres::SoftDelete) => {
            works.push((Work::DeleteInPostgres, Vec::new()));
        }
        None => {}
    }
    if let Some(intent) = &record.intent {
        works.push(match intent.action {
            WriteAction::Create => (Work::CreateInSalesforce, Vec::new()),
            WriteAction::Update => {
                let fields = intent.fields.keys().cloned().collect();
                (Work::UpdateInSalesforce, fields)
            }
            WriteAction::Delete => (Work::DeleteInSalesforce, Vec::new()),
        });
    }
    if generated && !works.is_empty() {
        works.push((Work::GenerateId, Vec::new()));
    }
    if !plan.conflicts.is_empty() {
        let fields = plan.conflicts.iter().filter_map(|conflict| conflict.field);
        let fields = fields.map(|field| mapping.name(field).clone()).collect();
        works.push((Work::Conflict, fields));
    }
    let withheld = record.withheld.reasons.iter();
    let withheld: BTreeSet<FieldName> = withheld.filter_map(|one| one.field.clone()).collect();
    if !withheld.is_empty() {
        works.push((Work::Withhold, withheld.into_iter().collect()));
    }
    if works.is_empty() {
        works.extend(
            at_rest(plan.explanation.record, facts, has_row).map(|rest| (rest, Vec::new())),
        );
    }
    works
}

fn names<V>(mapping: &Mapping, values: Option<&FieldMap<FieldId, V>>) -> Vec<FieldName> {
    let fields = values.into_iter().flat_map(|values| values.keys());
    fields.map(|field| mapping.name(*field).clone()).collect()
}

/// Returns what a record is that needs nothing; `None` if neither side has it.
fn at_rest(rule: Rule, facts: &RecordFacts, has_row: bool) -> Option<Work> {
    if rule == Rule::WriteUnderWay {
        return Some(Work::Wait);
    }
    if facts.filtered_out {
        return has_row.then_some(Work::FilteredOut);
    }
    match (&facts.postgres, &facts.salesforce) {
        (None, None) => has_row.then_some(Work::Equal),
        (Some(row), Some(record)) if row == record => Some(Work::Equal),
        (Some(_) | None, Some(_)) | (Some(_), None) => Some(Work::KeptApart),
    }
}
