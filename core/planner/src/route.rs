//! Chooses the lanes by which plans are written to Salesforce.

use serde::{Deserialize, Serialize};

use crate::config::LaneThresholds;
use crate::mapping::Mapping;
use crate::model::Side;
use crate::policy::freshness::may_overwrite;
use crate::record::RecordPlan;

/// Where one record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// Nowhere: it could not be planned.
    Refused,
    /// Nothing to write on either side.
    Noop,
    /// A person must decide first.
    Conflict,
    /// Only Postgres is written: no call to Salesforce.
    Postgres,
    /// One REST call for this record.
    Single,
    /// sObject Collections, with up to 200 records a call.
    Collections,
    /// Composite graph, for records that depend on each other.
    CompositeGraph,
    /// Bulk API 2.0.
    Bulk,
}

/// One plan as its lane sees it, with what is known beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routable {
    /// Where it goes if nothing is written to Salesforce; none if something is.
    pub at_rest: Option<Lane>,
    /// It replaces an edit in Salesforce that a rule discarded.
    pub discards_edit: bool,
    /// It could replace an edit that was not seen and that would win, or that a person must decide about: it is
    /// only made if the record has not changed since.
    pub may_overwrite: bool,
    /// A user waits for it.
    pub urgent: bool,
    /// It depends on records of the same round, or they on it.
    pub has_dependencies: bool,
}

impl Routable {
    /// Returns a plan of which nothing is known beside it.
    pub fn of(plan: &RecordPlan, mapping: &Mapping) -> Self {
        let at_rest = match (plan.conflicts.is_empty(), plan.to_postgres.is_none()) {
            (false, _) => Lane::Conflict,
            (true, true) => Lane::Noop,
            (true, false) => Lane::Postgres,
        };
        Self {
            at_rest: plan.to_salesforce.is_none().then_some(at_rest),
            discards_edit: plan
                .discarded
                .iter()
                .any(|discarded| discarded.side == Side::Salesforce),
            may_overwrite: may_overwrite(mapping, plan),
            urgent: false,
            has_dependencies: false,
        }
    }
}

/// What the round may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneBudget {
    /// API calls left to this round; none for no limit. Calls of the REST lane only.
    pub calls_max: Option<usize>,
    /// Composite graphs may be sent.
    pub graph: bool,
    /// Bulk jobs may be opened.
    pub bulk: bool,
}

impl LaneBudget {
    /// Returns a budget of REST calls without a limit.
    pub const REST: Self = Self {
        calls_max: None,
        graph: false,
        bulk: false,
    };
}

/// Records in one sObject Collections call (REST API Developer Guide, "sObject Collections").
pub const COLLECTION_RECORDS_MAX: usize = 200;

/// Most records of one Composite Graph call (REST API Developer Guide, "Composite Graph Limits").
const GRAPH_RECORDS_MAX: usize = 500;

/// Most bytes of one Bulk API 2.0 job (Bulk API 2.0 guide, "Bulk API and Bulk API 2.0 Limits": 150 MB
/// in base64).
const BULK_JOB_BYTES_MAX: usize = 100_000_000;

/// Calls of one Bulk job: create, upload, close, one poll, and three results.
const BULK_JOB_CALLS: usize = 7;

/// Returns the number of API calls for the records of one lane and one kind of write, and the bytes of their values:
/// creates, updates and deletes never share a call. An estimate.
pub fn calls_of(lane: Lane, records: usize, bytes: usize) -> usize {
    match lane {
        Lane::Refused | Lane::Noop | Lane::Conflict | Lane::Postgres => 0,
        Lane::Single => records,
        Lane::Collections => records.div_ceil(COLLECTION_RECORDS_MAX),
        Lane::CompositeGraph => records.div_ceil(GRAPH_RECORDS_MAX),
        Lane::Bulk => bytes.div_ceil(BULK_JOB_BYTES_MAX).max(1) * BULK_JOB_CALLS,
    }
}

/// Chooses a lane for each plan, in order. A record's plan never depends on other records; its lane does.
///
/// Records that depend on each other go by graph. Urgent ones and those that discard an edit go by single calls, as
/// many as thresholds and calls allow; all others by collections, or by Bulk if there are enough of them. One that
/// alone may overwrite an edit goes by a single call if one is left: it has a condition, while several share a read.
pub fn route(plans: &[Routable], thresholds: LaneThresholds, budget: LaneBudget) -> Vec<Lane> {
    let choices: Vec<Lane> = plans
        .iter()
        .map(|plan| first_choice(plan, budget))
        .collect();
    let plain = choices
        .iter()
        .filter(|lane| **lane == Lane::Collections)
        .count();
    let by_bulk = budget.bulk && plain >= thresholds.bulk_min_batch_size.max(1);
    let collection_calls = if by_bulk {
        0
    } else {
        plain.div_ceil(COLLECTION_RECORDS_MAX)
    };
    let mut singles = budget
        .calls_max
        .map_or(thresholds.rest_max_batch_size, |calls| {
            calls
                .saturating_sub(collection_calls)
                .min(thresholds.rest_max_batch_size)
        });
    let mut lanes: Vec<Lane> = choices
        .into_iter()
        .map(|lane| match lane {
            Lane::Single => match singles.checked_sub(1) {
                Some(left) => {
                    singles = left;
                    Lane::Single
                }
                None => Lane::Collections,
            },
            Lane::Collections if by_bulk => Lane::Bulk,
            Lane::Refused
            | Lane::Noop
            | Lane::Conflict
            | Lane::Postgres
            | Lane::Collections
            | Lane::CompositeGraph
            | Lane::Bulk => lane,
        })
        .collect();
    if singles > 0
        && let Some(alone) = alone_in_need_of_a_condition(plans, &lanes)
    {
        lanes[alone] = Lane::Single;
    }
    lanes
}

/// Returns the place of the write that may overwrite an edit, if only one of those that share calls may.
fn alone_in_need_of_a_condition(plans: &[Routable], lanes: &[Lane]) -> Option<usize> {
    let shares_calls = |lane: Lane| matches!(lane, Lane::Collections | Lane::Bulk);
    let places = plans.iter().zip(lanes).enumerate();
    let mut guarded = places.filter(|(_, (plan, lane))| plan.may_overwrite && shares_calls(**lane));
    let (alone, _) = guarded.next()?;
    guarded.next().is_none().then_some(alone)
}

/// Returns the route of the write without the others, if there is a write.
fn first_choice(plan: &Routable, budget: LaneBudget) -> Lane {
    let by_graph = plan.has_dependencies && budget.graph;
    match (plan.at_rest, by_graph, plan.urgent || plan.discards_edit) {
        (Some(at_rest), _, _) => at_rest,
        (None, true, _) => Lane::CompositeGraph,
        (None, false, true) => Lane::Single,
        (None, false, false) => Lane::Collections,
    }
}
