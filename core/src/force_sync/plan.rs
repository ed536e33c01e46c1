//! Planning one change.

use serde_json::Value as Json;

use super::config::ObjectSync;
use super::model::{ChangeEnvelope, ChangeOperation, SourceSystem};
use crate::model::SourceCursor;
use crate::planner;

pub use crate::planner::ApplyLane;

/// What is known beside the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannerContext {
    /// The object's mapping.
    pub object: ObjectSync,
    /// What the other side holds; absent if it lacks the record.
    pub current_payload: Option<Json>,
    /// Records that are planned together.
    pub batch_size: usize,
    /// The record goes alone, however many there are.
    pub urgent: bool,
    /// The record must arrive together with others.
    pub has_dependencies: bool,
}

/// What to do about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanDecision {
    /// The way to Salesforce.
    pub lane: ApplyLane,
    /// What the other side is to hold, null for a delete. Absent if nothing is written.
    pub payload: Option<Json>,
    /// The fields that a person must decide, sorted.
    pub conflicts: Vec<String>,
}

/// The result of merging two payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Both hold the same.
    Noop,
    /// The merged payload.
    Merged(Json),
    /// The payloads contradict each other.
    Conflict {
        /// The fields that differ, sorted.
        fields: Vec<String>,
    },
}

/// Merges what `source` sent into what the other side holds: [`crate::merge_payload`].
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

/// Decides what a change means for the other side: [`crate::plan_change`].
///
/// There is no base here. So a delete is planned as one of a record that the other side has not edited.
pub fn plan_change(context: &PlannerContext, envelope: &ChangeEnvelope) -> PlanDecision {
    let base_payload = match envelope.operation() {
        ChangeOperation::Upsert => None,
        ChangeOperation::Delete => context.current_payload.clone(),
    };
    // Where a change was seen plays no part in planning it.
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
