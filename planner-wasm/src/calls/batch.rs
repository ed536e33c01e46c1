//! Many records at once: planned row by row as they come, routed when all have come.
//!
//! Rows come in chunks, so that a page can show progress and stop between them. Of each plan only
//! what its lane depends on is kept.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Deserialize;
use syncline_planner::config::ObjectSync;
use syncline_planner::model::SourceSystem;
use syncline_planner::model::value::Value;
use syncline_planner::record::{DiscardedValue, FieldConflict, RecordPlan, SideWrite};
use syncline_planner::route::{
    ApplyLane, COLLECTION_RECORDS_MAX, LaneBudget, RestCall, Routable, Route, route,
};

use super::answers::{BatchLane, BatchRow, BatchSummary, LaneLoad, PlannedRow, WriteKind};
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

/// How a batch begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    object: ObjectSync,
    #[serde(default)]
    graph: Option<bool>,
    #[serde(default)]
    bulk: Option<bool>,
    #[serde(default)]
    calls_max: Option<usize>,
}

impl Batch {
    /// Begins a batch: `{"object": …}`, and optionally `"graph"` and `"bulk"` (whether these lanes may
    /// be used; they may unless they are false) and `"calls_max"` (REST calls that may be spent on
    /// single calls).
    pub fn begin(input: &str) -> Result<Self, Problem> {
        let options: Options = input::read(input)?;
        Ok(Self {
            object: options.object,
            budget: LaneBudget {
                calls_max: options.calls_max,
                graph: options.graph.unwrap_or(true),
                bulk: options.bulk.unwrap_or(true),
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
        let rows: Vec<BatchRow> = lines.map(|line| self.plan_one(line)).collect();
        Ok(super::text(&rows))
    }

    /// Returns the batch as a whole, with the lane of each row, as JSON.
    pub fn finish(&self) -> String {
        super::text(&self.summary())
    }

    fn room_for(&self, rows: usize) -> Result<(), Problem> {
        if self.rows.len() + rows > ROWS_MAX {
            let message = format!("the batch has more than {ROWS_MAX} rows");
            return Err(Problem::of_input(message, "begin another batch"));
        }
        Ok(())
    }

    fn plan_one(&mut self, line: &str) -> BatchRow {
        match self.planned(line) {
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

    fn planned(&self, line: &str) -> Result<(PlannedRow, KeptPlan), Problem> {
        let record = input::row(line)?;
        let (external_id, plan) = record.facts.into_plan(&self.object);
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
            urgent: record.urgent,
            has_dependencies: record.has_dependencies,
            plan: without_values(plan),
        };
        Ok((row, kept))
    }

    /// Routes all rows as one round and counts what that costs.
    fn summary(&self) -> BatchSummary {
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
        let mut loads: BTreeMap<(BatchLane, WriteKind), LaneLoad> = BTreeMap::new();
        for row in &self.rows {
            let (lane, kind, bytes) = match (row, row.plan().and_then(|_| lanes.next())) {
                (Kept::Planned(kept), Some(route)) => {
                    summary.count(kept);
                    (
                        lane_of(route, kept.to_postgres),
                        kept.to_salesforce,
                        kept.bytes,
                    )
                }
                (Kept::Planned(_) | Kept::Refused, _) => (BatchLane::Refused, WriteKind::None, 0),
            };
            let load = loads.entry((lane, kind)).or_default();
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

/// Returns the lane of a record that travels alone and may use every lane.
pub(super) fn lane_alone(plan: &RecordPlan, object: &ObjectSync) -> BatchLane {
    let routable = Routable {
        plan,
        urgent: false,
        has_dependencies: false,
    };
    let budget = LaneBudget {
        calls_max: None,
        graph: true,
        bulk: true,
    };
    let routes = route(&[routable], object.lanes, budget);
    let kind = WriteKind::of(&plan.to_postgres);
    routes
        .first()
        .map_or(BatchLane::Refused, |route| lane_of(*route, kind))
}

fn lane_of(route: Route, to_postgres: WriteKind) -> BatchLane {
    match (route.lane, route.call, to_postgres) {
        (ApplyLane::Noop, _, WriteKind::None) => BatchLane::Noop,
        (ApplyLane::Noop, _, _) => BatchLane::Postgres,
        (ApplyLane::Conflict, _, _) => BatchLane::Conflict,
        (ApplyLane::Rest, Some(RestCall::Single), _) => BatchLane::Single,
        (ApplyLane::Rest, Some(RestCall::Collections) | None, _) => BatchLane::Collections,
        (ApplyLane::CompositeGraph, _, _) => BatchLane::CompositeGraph,
        (ApplyLane::Bulk, _, _) => BatchLane::Bulk,
    }
}

impl BatchSummary {
    fn of_rows(rows: usize) -> Self {
        Self {
            rows,
            settled: 0,
            conflicting: 0,
            lanes: BTreeMap::new(),
            rules: BTreeMap::new(),
            to_postgres: BTreeMap::new(),
            to_salesforce: BTreeMap::new(),
            calls: 0,
            bytes: 0,
            routes: Vec::with_capacity(rows),
        }
    }

    fn count(&mut self, kept: &KeptPlan) {
        self.settled += usize::from(kept.plan.is_settled());
        self.conflicting += usize::from(!kept.plan.conflicts.is_empty());
        *self.rules.entry(kept.plan.explanation.record).or_default() += 1;
        *self.to_postgres.entry(kept.to_postgres).or_default() += 1;
        *self.to_salesforce.entry(kept.to_salesforce).or_default() += 1;
    }

    fn add_up(&mut self, loads: BTreeMap<(BatchLane, WriteKind), LaneLoad>) {
        for ((lane, _), load) in loads {
            let calls = calls_of(lane, load);
            let sum = self.lanes.entry(lane).or_default();
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

/// Returns how many bytes the values of a write are as JSON.
fn bytes_of(write: &SideWrite) -> usize {
    let mut bytes = Counted(0);
    if let Some(fields) = write.fields() {
        serde_json::to_writer(&mut bytes, fields).expect("values by field are JSON");
    }
    bytes.0
}

/// Counts what is written to it.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
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
