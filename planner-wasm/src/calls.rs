//! The exports without JavaScript: each takes a JSON text and returns a JSON text or a problem.

pub mod answers;
mod batch;
mod input;
mod problem;

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;
use syncline_planner::config::{Config, ObjectSync};
use syncline_planner::model::hash;
use syncline_planner::model::ids::FieldName;
use syncline_planner::{ChangeEnvelope, Mapping, PlannerContext, RecordFacts, RecordPlan, Side};

use answers::{ConfigAnswer, FieldExplanation, RecordAnswer, RecordExplanation};
pub use batch::Batch;
pub use problem::Problem;

/// Longest input of one call, in bytes. A record is some kilobytes; longer batches come in chunks.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// Returns the version of the planner.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Returns the JSON Schema of `syncline.toml`, for editors.
pub fn config_schema() -> String {
    text(&syncline_planner::config::json_schema())
}

/// Checks a configuration. Mistakes are an answer, not a problem.
pub fn check_config(toml: &str) -> Result<String, Problem> {
    input::within_bounds(toml)?;
    let answer = match Config::parse(toml) {
        Ok(config) => ConfigAnswer {
            config: Some(config),
            mistakes: Vec::new(),
        },
        Err(error) => ConfigAnswer {
            config: None,
            mistakes: error.mistakes,
        },
    };
    Ok(text(&answer))
}

/// Plans one record: what it needs, why, and its lane.
pub fn plan_record(input: &str) -> Result<String, Problem> {
    let (facts, object) = input::record(input)?;
    let mapping = Mapping::new(object);
    let plan = syncline_planner::plan_record(&mapping, &facts.clone().placed(&mapping));
    let lane = batch::lane_alone(&plan, &mapping);
    let plan = plan.named(&mapping);
    Ok(text(&RecordAnswer {
        lane,
        why: explanation(&facts, &plan),
        unmapped: unmapped(&facts, &mapping),
        plan,
    }))
}

fn explanation<'a>(
    facts: &'a RecordFacts<FieldName>,
    plan: &RecordPlan<FieldName>,
) -> RecordExplanation<'a> {
    let fields = plan.explanation.fields.iter().map(|(field, rule)| {
        let held = |side| facts.held(side).and_then(|fields| fields.get(field));
        let line = FieldExplanation {
            rule: *rule,
            sentence: rule.sentence(),
            base: facts.base.as_ref().and_then(|base| base.get(field)),
            postgres: held(Side::Postgres),
            salesforce: held(Side::Salesforce),
        };
        (field.clone(), line)
    });
    RecordExplanation {
        rule: plan.explanation.record,
        sentence: plan.explanation.record.sentence(),
        settled: plan.is_settled(),
        fields: fields.collect(),
    }
}

/// Returns the fields of a record that its rules do not map.
fn unmapped<'a>(facts: &'a RecordFacts<FieldName>, mapping: &Mapping) -> Vec<&'a FieldName> {
    let payloads = [&facts.base, &facts.postgres, &facts.salesforce];
    let fields: BTreeSet<&FieldName> = payloads
        .into_iter()
        .flatten()
        .flat_map(|fields| fields.keys())
        .collect();
    fields
        .into_iter()
        .filter(|field| mapping.field(field).is_none())
        .collect()
}

/// Plans one change.
pub fn plan_change(input: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        context: PlannerContext,
        envelope: ChangeEnvelope,
    }
    let Input { context, envelope } = input::read(input)?;
    Ok(text(&syncline_planner::plan_change(&context, &envelope)))
}

/// Merges two payloads.
pub fn merge(input: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Input {
        object: ObjectSync,
        source: Side,
        incoming: Json,
        /// A payload that is null is a payload; only a missing member means that there is no payload.
        #[serde(default, deserialize_with = "given")]
        current: Option<Json>,
    }
    let input: Input = input::read(input)?;
    let outcome = syncline_planner::merge_payload(
        &input.object,
        input.current.as_ref(),
        input.source,
        &input.incoming,
    );
    Ok(text(&outcome))
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Returns the hash of a JSON text.
pub fn canonical_hash(json: &str) -> Result<String, Problem> {
    let json: Json = input::read(json)?;
    Ok(hash::canonical_hash(&json))
}

fn text<T: Serialize>(answer: &T) -> String {
    serde_json::to_string(answer).expect("the keys of an answer are texts, so it is JSON")
}
