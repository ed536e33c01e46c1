//! Plans one change envelope, for callers without a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::config::{DeleteMode, DeleteOnEdit, ObjectSync};
use crate::model::hash::canonical_json;
use crate::model::ids::FieldName;
use crate::model::{ChangeEnvelope, Side};

use super::field::{self, Authority, FieldDecision, FieldRules, ThreeWay};
use super::merge::{MergeOutcome, ROOT, merge_payload, same, sorted};
use super::rule::Rule;

/// A way to Salesforce, as far as one envelope says.
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
    /// Single calls and sObject Collections.
    Rest,
    /// Composite graph: records that depend on each other.
    CompositeGraph,
    /// Bulk API 2.0.
    Bulk,
}

/// What is known besides the envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct PlannerContext {
    /// The object's rules.
    pub object: ObjectSync,
    /// What the other side holds; none if it lacks the record.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(type = "Json | null"))]
    pub current_payload: Option<Json>,
    /// What both sides agreed on last; none if they never did.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(type = "Json | null"))]
    pub base_payload: Option<Json>,
    /// Records that are sent in this round.
    #[serde(default)]
    pub batch_size: usize,
    /// A user waits for it.
    #[serde(default)]
    pub urgent: bool,
    /// It depends on records of this round, or they on it.
    #[serde(default)]
    pub has_dependencies: bool,
}

/// What to do about one envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PlanDecision {
    /// The lane.
    pub lane: ApplyLane,
    /// What the other side is to hold, null for a delete; none for noop and conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(type = "Json"))]
    pub payload: Option<Json>,
    /// Fields that wait for a person, sorted.
    #[serde(default)]
    pub conflicts: Vec<String>,
    /// Why, per field; empty where there was no base to compare with.
    #[serde(default)]
    pub explanation: BTreeMap<String, Rule>,
}

impl PlanDecision {
    fn at_rest(lane: ApplyLane, conflicts: Vec<String>) -> Self {
        Self {
            lane,
            payload: None,
            conflicts,
            explanation: BTreeMap::new(),
        }
    }
}

/// Decides what one envelope means for the other side: three-way with a base, else by
/// [`merge_payload`].
///
/// A field that the envelope does not carry is unchanged. Times are not compared here: where the
/// later edit would win, the tie rule decides.
pub fn plan_change(context: &PlannerContext, envelope: &ChangeEnvelope) -> PlanDecision {
    if envelope.tombstone {
        return plan_tombstone(context);
    }
    let (outcome, explanation) = match (&context.base_payload, &context.current_payload) {
        (Some(base), Some(current)) => three_way(&context.object, base, current, envelope),
        (Some(base), None) => (
            edit_of_deleted(&context.object, base, envelope),
            BTreeMap::new(),
        ),
        (None, current) => {
            let merged = merge_payload(
                &context.object,
                current.as_ref(),
                envelope.source,
                &envelope.payload,
            );
            (merged, BTreeMap::new())
        }
    };
    PlanDecision {
        explanation,
        ..decision(context, outcome)
    }
}

fn decision(context: &PlannerContext, outcome: MergeOutcome) -> PlanDecision {
    match outcome {
        MergeOutcome::Noop => PlanDecision::at_rest(ApplyLane::Noop, Vec::new()),
        MergeOutcome::Conflict(fields) => PlanDecision::at_rest(ApplyLane::Conflict, fields),
        MergeOutcome::Merged(payload) => {
            let unchanged = context
                .current_payload
                .as_ref()
                .is_some_and(|current| same(current, &payload));
            if unchanged {
                return PlanDecision::at_rest(ApplyLane::Noop, Vec::new());
            }
            PlanDecision {
                payload: Some(payload),
                ..PlanDecision::at_rest(lane(context), Vec::new())
            }
        }
    }
}

fn lane(context: &PlannerContext) -> ApplyLane {
    let large = context.batch_size >= context.object.lanes.bulk_min_batch_size;
    match (context.has_dependencies, context.urgent, large) {
        (true, _, _) => ApplyLane::CompositeGraph,
        (false, true, _) => ApplyLane::Rest,
        (false, false, true) => ApplyLane::Bulk,
        (false, false, false) => ApplyLane::Rest,
    }
}

/// Plans a delete: it is written if the other side still has the values of the base.
fn plan_tombstone(context: &PlannerContext) -> PlanDecision {
    let delete = || PlanDecision {
        payload: Some(Json::Null),
        ..PlanDecision::at_rest(lane(context), Vec::new())
    };
    let noop = || PlanDecision::at_rest(ApplyLane::Noop, Vec::new());
    let Some(current) = &context.current_payload else {
        return noop();
    };
    match context.object.deletes.mode {
        DeleteMode::Ignore => return noop(),
        DeleteMode::Propagate | DeleteMode::Soft => {}
    }
    let edited = context
        .base_payload
        .as_ref()
        .is_none_or(|base| !same(base, current));
    match (edited, context.object.deletes.on_edit) {
        (false, _) | (true, DeleteOnEdit::DeleteWins) => delete(),
        (true, DeleteOnEdit::EditWins) => noop(),
        (true, DeleteOnEdit::Manual) => {
            PlanDecision::at_rest(ApplyLane::Conflict, vec![ROOT.to_owned()])
        }
    }
}

/// Plans an edit of a record that the other side has deleted.
fn edit_of_deleted(object: &ObjectSync, base: &Json, envelope: &ChangeEnvelope) -> MergeOutcome {
    let edited = match (base, &envelope.payload) {
        (Json::Object(base), Json::Object(sent)) => sorted(sent)
            .into_iter()
            .any(|(field, value)| !base.get(field).is_some_and(|base| same(base, value))),
        (base, sent) => !same(base, sent),
    };
    match (edited, object.deletes.on_edit) {
        (false, _) | (true, DeleteOnEdit::DeleteWins) => MergeOutcome::Noop,
        (true, DeleteOnEdit::EditWins) => MergeOutcome::Merged(envelope.payload.clone()),
        (true, DeleteOnEdit::Manual) => MergeOutcome::Conflict(vec![ROOT.to_owned()]),
    }
}

fn three_way(
    object: &ObjectSync,
    base: &Json,
    current: &Json,
    envelope: &ChangeEnvelope,
) -> (MergeOutcome, BTreeMap<String, Rule>) {
    let (Json::Object(base), Json::Object(held), Json::Object(sent)) =
        (base, current, &envelope.payload)
    else {
        return (whole(base, current, &envelope.payload), BTreeMap::new());
    };
    let mut merged = held.clone();
    let mut conflicts = Vec::new();
    let mut explanation = BTreeMap::new();
    for (field, value) in sorted(sent) {
        let decision = decide_field(
            object,
            field,
            envelope.source,
            [base.get(field), held.get(field), Some(value)],
        );
        let rule = match decision {
            FieldDecision::Agree(rule) => rule,
            FieldDecision::Take { from, rule } => {
                if from == envelope.source {
                    merged.insert(field.clone(), value.clone());
                }
                rule
            }
            FieldDecision::Conflict => {
                conflicts.push(field.clone());
                Rule::Conflict
            }
        };
        explanation.insert(field.clone(), rule);
    }
    let outcome = if conflicts.is_empty() {
        MergeOutcome::Merged(Json::Object(merged))
    } else {
        MergeOutcome::Conflict(conflicts)
    };
    (outcome, explanation)
}

/// Decides one field from the base, the other side's value and the envelope's value.
fn decide_field(
    object: &ObjectSync,
    field: &str,
    source: Side,
    values: [Option<&Json>; 3],
) -> FieldDecision {
    let [base, held, sent] = values.map(|value| value.map(canonical_json));
    let held = held.unwrap_or_else(|| NULL.to_owned());
    let sent = sent.unwrap_or_else(|| NULL.to_owned());
    let (postgres, salesforce) = match source {
        Side::Postgres => (&sent, &held),
        Side::Salesforce => (&held, &sent),
    };
    let authority = FieldName::parse(field)
        .ok()
        .and_then(|field| Authority::over(&field, object));
    field::decide(
        ThreeWay::of(base.as_ref(), postgres, salesforce, |value| value == NULL),
        FieldRules {
            authority,
            conflicts: object.conflicts,
            seed: object.seed,
            later: None,
        },
    )
}

/// A null as canonical JSON.
const NULL: &str = "null";

/// Merges payloads that are not objects as one value.
fn whole(base: &Json, current: &Json, incoming: &Json) -> MergeOutcome {
    if same(current, incoming) || same(base, incoming) {
        MergeOutcome::Noop
    } else if same(base, current) {
        MergeOutcome::Merged(incoming.clone())
    } else {
        MergeOutcome::Conflict(vec![ROOT.to_owned()])
    }
}
