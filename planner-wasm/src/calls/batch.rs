//! Many records at once: planned row by row as they come, routed when all have come.
//!
//! Rows come in chunks, so that a page can show progress and stop between them. Of each plan only
//! what its lane depends on is kept.

use syncline_planner::RecordFacts;
use syncline_planner::config::ObjectSync;
use syncline_planner::model::SourceSystem;
use syncline_planner::model::text::JsonText;
use syncline_planner::model::value::Value;
use syncline_planner::record::{DiscardedValue, FieldConflict, RecordPlan, SideWrite};
use syncline_planner::route::{
    ApplyLane, COLLECTION_RECORDS_MAX, LaneBudget, RestCall, Routable, Route, route,
};

use super::answers::{BatchLane, BatchRow, BatchSummary, LaneLoad, Listed, PlannedRow, WriteKind};
use super::json::{self, Node};
use super::read::Members;
use super::{Problem, input};

/// Most rows of one batch: what a page can hold beside them.
const ROWS_MAX: usize = 1_000_000;

/// Most records of one Composite Graph call (REST API Developer Guide, "Composite Graph Limits").
const GRAPH_RECORDS_MAX: usize = 500;

/// Most bytes of one Bulk API 2.0 job (Bulk API 2.0 guide, "Bulk API and Bulk API 2.0 Limits": 150 MB
/// in base64).
const BULK_JOB_BYTES_MAX: usize = 100_000_000;

/// Calls of one Bulk job: create, upload, close, one poll, and three results.
const BULK_JOB_CALLS: usize = 7;

/// A batch that is being planned.
#[derive(Debug)]
pub struct Batch {
    object: ObjectSync,
    budget: LaneBudget,
    rows: Vec<Kept>,
}

/// What is kept of a row.
#[derive(Debug)]
enum Kept {
    Planned(Box<KeptPlan>),
    Refused,
}

#[derive(Debug)]
struct KeptPlan {
    /// The plan without its values.
    plan: RecordPlan,
    to_postgres: WriteKind,
    to_salesforce: WriteKind,
    bytes: usize,
    urgent: bool,
    has_dependencies: bool,
}

impl Batch {
    /// Begins a batch: `{"object": …}`, and optionally `"graph"` and `"bulk"` (whether these lanes may
    /// be used; they may unless they are false) and `"calls_max"` (REST calls that may be spent on
    /// single calls).
    pub fn begin(input: &str) -> Result<Self, Problem> {
        Self::of(input::members(input)?)
    }

    pub(super) fn of(mut members: Members<'_>) -> Result<Self, Problem> {
        let object = members.required("object")?;
        let graph: Option<bool> = members.optional("graph")?;
        let bulk: Option<bool> = members.optional("bulk")?;
        let calls_max = members.optional("calls_max")?;
        members.finish(&["object", "graph", "bulk", "calls_max"])?;
        Ok(Self {
            object,
            budget: LaneBudget {
                calls_max,
                graph: graph.unwrap_or(true),
                bulk: bulk.unwrap_or(true),
            },
            rows: Vec::new(),
        })
    }

    /// Plans the rows of a chunk of JSON Lines and returns what each came to, as a JSON array. A row
    /// is a record as [`super::plan_record`] takes it, without its object and with, optionally,
    /// `"urgent"` and `"has_dependencies"`. A row that cannot be used does not stop the others; blank
    /// lines are skipped.
    pub fn plan(&mut self, lines: &str) -> Result<String, Problem> {
        input::within_bounds(lines)?;
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        self.room_for(lines.clone().count())?;
        let rows: Vec<BatchRow> = lines.map(|line| self.plan_one(json::parse(line))).collect();
        Ok(super::text(&rows))
    }

    /// Returns the batch as a whole, with the lane of each row, as JSON.
    pub fn finish(&self) -> String {
        super::text(&self.summary())
    }

    pub(super) fn plan_rows(&mut self, rows: Vec<Node<'_>>) -> Result<Vec<BatchRow>, Problem> {
        self.room_for(rows.len())?;
        Ok(rows.into_iter().map(|row| self.plan_one(Ok(row))).collect())
    }

    fn room_for(&self, rows: usize) -> Result<(), Problem> {
        if self.rows.len() + rows > ROWS_MAX {
            let message = format!("the batch has more than {ROWS_MAX} rows");
            return Err(Problem::at("", message, "begin another batch"));
        }
        Ok(())
    }

    fn plan_one(&mut self, row: Result<Node<'_>, Problem>) -> BatchRow {
        match row.and_then(|row| self.planned(row)) {
            Ok((row, kept)) => {
                self.rows.push(Kept::Planned(Box::new(kept)));
                BatchRow::Planned(row)
            }
            Err(problem) => {
                self.rows.push(Kept::Refused);
                BatchRow::Refused(problem)
            }
        }
    }

    fn planned(&self, row: Node<'_>) -> Result<(PlannedRow, KeptPlan), Problem> {
        let mut members = Members::of(row)?;
        let urgent: Option<bool> = members.optional("urgent")?;
        let has_dependencies: Option<bool> = members.optional("has_dependencies")?;
        let facts: RecordFacts = members.all()?;
        let (external_id, plan) = facts.into_plan(&self.object);
        let row = PlannedRow {
            rule: plan.explanation.record,
            to_postgres: WriteKind::of(&plan.to_postgres),
            to_salesforce: WriteKind::of(&plan.to_salesforce),
            conflicts: plan
                .conflicts
                .iter()
                .map(|conflict| conflict.field.clone())
                .collect(),
            discarded: plan.discarded.len(),
            bytes: bytes_of(&plan.to_salesforce),
            external_id,
        };
        let kept = KeptPlan {
            to_postgres: row.to_postgres,
            to_salesforce: row.to_salesforce,
            bytes: row.bytes,
            urgent: urgent.unwrap_or(false),
            has_dependencies: has_dependencies.unwrap_or(false),
            plan: without_values(plan),
        };
        Ok((row, kept))
    }

    /// Routes all rows as one round and counts what that costs.
    pub(super) fn summary(&self) -> BatchSummary {
        let plans: Vec<&KeptPlan> = self.rows.iter().filter_map(Kept::plan).collect();
        let routables: Vec<Routable<'_>> = plans
            .iter()
            .map(|kept| Routable {
                plan: &kept.plan,
                urgent: kept.urgent,
                has_dependencies: kept.has_dependencies,
            })
            .collect();
        let mut lanes = route(&routables, self.object.lanes, self.budget).into_iter();
        let mut summary = BatchSummary::of_rows(self.rows.len());
        let mut loads: Listed<(BatchLane, WriteKind), LaneLoad> = Listed::default();
        for row in &self.rows {
            let (lane, kind, bytes) = match (row, row.plan().and_then(|_| lanes.next())) {
                (Kept::Planned(kept), Some(route)) => {
                    summary.count(kept);
                    (kept.lane(route), kept.to_salesforce, kept.bytes)
                }
                (Kept::Planned(_) | Kept::Refused, _) => (BatchLane::Refused, WriteKind::None, 0),
            };
            let load = loads.entry((lane, kind));
            load.records += 1;
            load.bytes += bytes;
            summary.routes.push(lane);
        }
        summary.add_up(loads);
        summary
    }
}

impl Kept {
    fn plan(&self) -> Option<&KeptPlan> {
        match self {
            Self::Planned(kept) => Some(kept),
            Self::Refused => None,
        }
    }
}

impl KeptPlan {
    fn lane(&self, route: Route) -> BatchLane {
        match (route.lane, route.call, self.to_postgres) {
            (ApplyLane::Noop, _, WriteKind::None) => BatchLane::Noop,
            (ApplyLane::Noop, _, _) => BatchLane::Postgres,
            (ApplyLane::Conflict, _, _) => BatchLane::Conflict,
            (ApplyLane::Rest, Some(RestCall::Single), _) => BatchLane::Single,
            (ApplyLane::Rest, Some(RestCall::Collections) | None, _) => BatchLane::Collections,
            (ApplyLane::CompositeGraph, _, _) => BatchLane::CompositeGraph,
            (ApplyLane::Bulk, _, _) => BatchLane::Bulk,
        }
    }
}

impl BatchSummary {
    fn of_rows(rows: usize) -> Self {
        Self {
            rows,
            settled: 0,
            conflicting: 0,
            lanes: Listed::default(),
            rules: Listed::default(),
            to_postgres: Listed::default(),
            to_salesforce: Listed::default(),
            calls: 0,
            bytes: 0,
            routes: Vec::with_capacity(rows),
        }
    }

    fn count(&mut self, kept: &KeptPlan) {
        self.settled += usize::from(kept.plan.is_settled());
        self.conflicting += usize::from(!kept.plan.conflicts.is_empty());
        *self.rules.entry(kept.plan.explanation.record) += 1;
        *self.to_postgres.entry(kept.to_postgres) += 1;
        *self.to_salesforce.entry(kept.to_salesforce) += 1;
    }

    fn add_up(&mut self, loads: Listed<(BatchLane, WriteKind), LaneLoad>) {
        for ((lane, _), load) in loads.0 {
            let calls = calls_of(lane, load);
            let sum = self.lanes.entry(lane);
            sum.records += load.records;
            sum.bytes += load.bytes;
            sum.calls += calls;
            self.calls += calls;
            self.bytes += load.bytes;
        }
    }
}

/// Returns the calls of the records that one lane writes in one way: creates, updates and deletes
/// never share a call.
fn calls_of(lane: BatchLane, load: LaneLoad) -> usize {
    match lane {
        BatchLane::Refused | BatchLane::Noop | BatchLane::Conflict | BatchLane::Postgres => 0,
        BatchLane::Single => load.records,
        BatchLane::Collections => load.records.div_ceil(COLLECTION_RECORDS_MAX),
        BatchLane::CompositeGraph => load.records.div_ceil(GRAPH_RECORDS_MAX),
        BatchLane::Bulk => load.bytes.div_ceil(BULK_JOB_BYTES_MAX).max(1) * BULK_JOB_CALLS,
    }
}

impl WriteKind {
    fn of(write: &SideWrite) -> Self {
        match write {
            SideWrite::None => Self::None,
            SideWrite::Create(_) => Self::Create,
            SideWrite::Update(_) => Self::Update,
            SideWrite::Delete => Self::Delete,
            SideWrite::SoftDelete => Self::SoftDelete,
        }
    }
}

fn bytes_of(write: &SideWrite) -> usize {
    write
        .fields()
        .map_or(0, |fields| JsonText::of(fields).len())
}

/// Returns the plan as its lane sees it: which writes there are, whether something waits or was
/// discarded, and no values.
fn without_values(plan: RecordPlan) -> RecordPlan {
    let emptied = |write| match write {
        SideWrite::Create(_) => SideWrite::Create(Default::default()),
        SideWrite::Update(_) => SideWrite::Update(Default::default()),
        write @ (SideWrite::None | SideWrite::Delete | SideWrite::SoftDelete) => write,
    };
    let conflict = plan.conflicts.first().map(|_| FieldConflict {
        field: None,
        base: None,
        postgres: None,
        salesforce: None,
    });
    let contested = plan
        .discarded
        .into_iter()
        .find(|discarded| discarded.side == SourceSystem::Salesforce)
        .map(|discarded| DiscardedValue {
            value: Value::Null,
            ..discarded
        });
    let mut kept = RecordPlan {
        to_postgres: emptied(plan.to_postgres),
        to_salesforce: emptied(plan.to_salesforce),
        conflicts: Vec::from_iter(conflict),
        discarded: Vec::from_iter(contested),
        ..RecordPlan::default()
    };
    kept.explanation.record = plan.explanation.record;
    kept
}
