//! Plans many records: each row when it arrives; routes them when all have arrived.
//!
//! Rows come in chunks, so that a page can show progress and stop between them. Of each plan only
//! what its lane depends on is kept.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Deserialize;
use syncline_planner::config::ObjectSync;
use syncline_planner::model::ids::FieldName;
use syncline_planner::record::SideWrite;
use syncline_planner::route::{Lane, LaneBudget, Routable, calls_of, route};
use syncline_planner::rule::Rule;
use syncline_planner::{Mapping, RecordPlan, plan_record};

use super::answers::{BatchRow, BatchSummary, LaneLoad, PlannedRow, WriteKind};
use super::{Problem, input};

/// Most rows of one batch: more do not fit into a page's memory.
const ROWS_MAX: usize = 1_000_000;

/// A batch that is being planned.
#[derive(Debug)]
pub struct Batch {
    mapping: Mapping,
    budget: LaneBudget,
    /// `None` for an invalid row.
    rows: Vec<Option<Kept>>,
}

/// What the summary of the batch needs of one planned row.
#[derive(Debug)]
struct Kept {
    routable: Routable,
    rule: Rule,
    conflicting: bool,
    to_postgres: WriteKind,
    to_salesforce: WriteKind,
    bytes: usize,
}

/// The options of a batch.
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
            mapping: Mapping::new(options.object),
            budget: LaneBudget {
                calls_max: options.calls_max,
                graph: options.graph.unwrap_or(true),
                bulk: options.bulk.unwrap_or(true),
            },
            rows: Vec::new(),
        })
    }

    /// Plans the rows of a chunk of JSON Lines and returns the result of each, as a JSON array. A row
    /// is a record as [`super::plan_record`] takes it, without its object and with, optionally,
    /// `"urgent"` and `"has_dependencies"`. An invalid row does not stop the others; blank
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
                self.rows.push(Some(kept));
                BatchRow::Planned(row)
            }
            Err(problem) => {
                self.rows.push(None);
                BatchRow::Refused(problem)
            }
        }
    }

    fn planned(&self, line: &str) -> Result<(PlannedRow, Kept), Problem> {
        let record = input::row(line)?;
        let external_id = record.facts.external_id.clone();
        let plan = plan_record(&self.mapping, &record.facts.placed(&self.mapping));
        let routable = Routable {
            urgent: record.urgent,
            has_dependencies: record.has_dependencies,
            ..Routable::of(&plan, &self.mapping)
        };
        let plan = plan.named(&self.mapping);
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
        let kept = Kept {
            routable,
            rule: row.rule,
            conflicting: !plan.conflicts.is_empty(),
            to_postgres: row.to_postgres,
            to_salesforce: row.to_salesforce,
            bytes: row.bytes,
        };
        Ok((row, kept))
    }

    /// Routes all rows as one round and counts what that costs.
    fn summary(&self) -> BatchSummary {
        let plans = self.rows.iter().flatten();
        let routables: Vec<Routable> = plans.map(|kept| kept.routable).collect();
        let lanes = route(&routables, self.mapping.rules().lanes, self.budget);
        let mut lanes = lanes.into_iter();
        let mut summary = BatchSummary::of_rows(self.rows.len());
        let mut loads: BTreeMap<(Lane, WriteKind), LaneLoad> = BTreeMap::new();
        for row in &self.rows {
            let planned = row.as_ref().and_then(|kept| Some((kept, lanes.next()?)));
            let (lane, kind, bytes) = match planned {
                Some((kept, lane)) => {
                    summary.count(kept);
                    (lane, kept.to_salesforce, kept.bytes)
                }
                None => (Lane::Refused, WriteKind::None, 0),
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

/// Returns the lane of a record that is sent alone and may use every lane.
pub(super) fn lane_alone(plan: &RecordPlan, mapping: &Mapping) -> Lane {
    let budget = LaneBudget {
        calls_max: None,
        graph: true,
        bulk: true,
    };
    let lanes = route(
        &[Routable::of(plan, mapping)],
        mapping.rules().lanes,
        budget,
    );
    lanes.first().copied().unwrap_or(Lane::Refused)
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

    fn count(&mut self, kept: &Kept) {
        self.settled += usize::from(kept.routable.at_rest == Some(Lane::Noop));
        self.conflicting += usize::from(kept.conflicting);
        *self.rules.entry(kept.rule).or_default() += 1;
        *self.to_postgres.entry(kept.to_postgres).or_default() += 1;
        *self.to_salesforce.entry(kept.to_salesforce).or_default() += 1;
    }

    fn add_up(&mut self, loads: BTreeMap<(Lane, WriteKind), LaneLoad>) {
        for ((lane, _), load) in loads {
            let calls = calls_of(lane, load.records, load.bytes);
            let sum = self.lanes.entry(lane).or_default();
            sum.records += load.records;
            sum.bytes += load.bytes;
            sum.calls += calls;
            self.calls += calls;
            self.bytes += load.bytes;
        }
    }
}

impl WriteKind {
    fn of(write: &SideWrite<FieldName>) -> Self {
        match write {
            SideWrite::None => Self::None,
            SideWrite::Create(_) => Self::Create,
            SideWrite::Update(_) => Self::Update,
            SideWrite::Delete => Self::Delete,
            SideWrite::SoftDelete => Self::SoftDelete,
        }
    }
}

/// Returns the length of a write's values as JSON.
fn bytes_of(write: &SideWrite<FieldName>) -> usize {
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
