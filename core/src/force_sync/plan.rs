//! Planning one change.

use serde_json::Value as Json;

use super::config::ObjectSync;
use super::model::{ChangeEnvelope, ChangeOperation, SourceSystem};
use crate::model::SourceCursor;
use crate::planner;

pub use crate::planner::ApplyLane;

/// What the planner needs besides the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannerContext {
    /// The object's mapping.
    pub object: ObjectSync,
    /// The record on the other side, if it exists there.
    pub current_payload: Option<Json>,
    /// The number of records that are planned together.
    pub batch_size: usize,
    /// The record is written alone, whatever the batch size.
    pub urgent: bool,
    /// The record must be written in one call with others.
    pub has_dependencies: bool,
}

/// What to do about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanDecision {
    /// How the record is written to Salesforce.
    pub lane: ApplyLane,
    /// The new payload of the other side; null for a delete. Absent if nothing is written.
    pub payload: Option<Json>,
    /// The fields that a person must decide, sorted.
    pub conflicts: Vec<String>,
}

/// The result of merging two payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Both payloads are equal.
    Noop,
    /// The merged payload.
    Merged(Json),
    /// The payloads contradict each other.
    Conflict {
        /// The fields that differ, sorted.
        fields: Vec<String>,
    },
}

/// Merges the payload of `source` into the record of the other side: [`crate::planner::merge_payload`].
pub fn merge_payload(
    object: &ObjectSync,
    current_payload: Option<&Json>,
    source: SourceSystem,
    incoming_payload: &Json,
) -> MergeOutcome {
    let rules = object.rules();
    match planner::merge_payload(&rules, current_payload, source.into(), incoming_payload) {
        planner::MergeOutcome::Noop => MergeOutcome::Noop,
        planner::MergeOutcome::Merged(payload) => MergeOutcome::Merged(payload),
        planner::MergeOutcome::Conflict(fields) => MergeOutcome::Conflict { fields },
    }
}

/// Plans a change for the other side: [`crate::planner::plan_change`].
///
/// There is no base here. So a delete is planned as if the other side had not edited the record.
pub fn plan_change(context: &PlannerContext, envelope: &ChangeEnvelope) -> PlanDecision {
    let base_payload = match envelope.operation() {
        ChangeOperation::Upsert => None,
        ChangeOperation::Delete => context.current_payload.clone(),
    };
    // The planner ignores where a change was seen.
    let cursor = envelope
        .cursor()
        .map_or_else(|| SourceCursor::Snapshot("none".to_owned()), Into::into);
    let decision = planner::plan_change(
        &planner::PlannerContext {
            object: context.object.rules(),
            current_payload: context.current_payload.clone(),
            base_payload,
            batch_size: context.batch_size,
            urgent: context.urgent,
            has_dependencies: context.has_dependencies,
        },
        &envelope.seen_at(cursor),
    );
    PlanDecision {
        lane: decision.lane,
        payload: decision.payload,
        conflicts: decision.conflicts,
    }
}
