//! Chooses the lanes by which plans are written to Salesforce.

use serde::{Deserialize, Serialize};

use crate::config::LaneThresholds;

use super::record::RecordPlan;

/// A way to Salesforce.
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
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApplyLane {
    /// Nothing to write.
    Noop,
    /// A person must decide first.
    Conflict,
    /// Single calls for urgent or contested rows, sObject Collections for all others.
    Rest,
    /// Composite graph: records that depend on each other.
    CompositeGraph,
    /// Bulk API 2.0.
    Bulk,
}

/// How a record of lane [`ApplyLane::Rest`] travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum RestCall {
    /// One call for this record.
    Single,
    /// With up to 200 others.
    Collections,
}

/// One plan to be routed, with what is known beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routable<'a> {
    /// The plan.
    pub plan: &'a RecordPlan,
    /// A user waits for it.
    pub urgent: bool,
    /// It depends on records of the same round, or they on it.
    pub has_dependencies: bool,
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

/// Where one plan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Route {
    /// The lane.
    pub lane: ApplyLane,
    /// How, on lane [`ApplyLane::Rest`].
    pub call: Option<RestCall>,
}

impl Route {
    const fn to(lane: ApplyLane) -> Self {
        Self { lane, call: None }
    }

    const fn rest(call: RestCall) -> Self {
        Self {
            lane: ApplyLane::Rest,
            call: Some(call),
        }
    }
}

/// Records in one sObject Collections call (REST API Developer Guide, "sObject Collections").
pub const COLLECTION_RECORDS_MAX: usize = 200;

/// Chooses a lane for each plan, in order. A record's plan never depends on other records; its lane does.
///
/// Records that depend on each other go by graph. If enough others remain for Bulk, they go by Bulk. Else
/// urgent and contested ones go by single calls, as many as thresholds and calls allow, and all others by
/// collections. A write is contested if it replaces a value that a user wrote.
pub fn route(plans: &[Routable<'_>], thresholds: LaneThresholds, budget: LaneBudget) -> Vec<Route> {
    let first = |routable: &Routable<'_>| first_choice(routable, budget);
    let plain = plans
        .iter()
        .filter(|routable| first(routable) == Some(Route::rest(RestCall::Collections)))
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
    plans
        .iter()
        .map(|routable| match first(routable) {
            None => Route::to(resting_lane(routable.plan)),
            Some(Route {
                lane: ApplyLane::Rest,
                call: Some(RestCall::Single),
            }) => match singles.checked_sub(1) {
                Some(left) => {
                    singles = left;
                    Route::rest(RestCall::Single)
                }
                None => Route::rest(RestCall::Collections),
            },
            Some(Route {
                lane: ApplyLane::Rest,
                call: Some(RestCall::Collections) | None,
            }) if by_bulk => Route::to(ApplyLane::Bulk),
            Some(route) => route,
        })
        .collect()
}

/// Returns the route of the write without the others, if there is a write.
fn first_choice(routable: &Routable<'_>, budget: LaneBudget) -> Option<Route> {
    if routable.plan.to_salesforce.is_none() {
        return None;
    }
    let contested = routable
        .plan
        .discarded
        .iter()
        .any(|discarded| discarded.side == crate::model::SourceSystem::Salesforce);
    match (
        routable.has_dependencies && budget.graph,
        routable.urgent || contested,
    ) {
        (true, _) => Some(Route::to(ApplyLane::CompositeGraph)),
        (false, true) => Some(Route::rest(RestCall::Single)),
        (false, false) => Some(Route::rest(RestCall::Collections)),
    }
}

fn resting_lane(plan: &RecordPlan) -> ApplyLane {
    if plan.conflicts.is_empty() {
        ApplyLane::Noop
    } else {
        ApplyLane::Conflict
    }
}
