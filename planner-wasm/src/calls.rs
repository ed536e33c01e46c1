//! What each export does, without JavaScript: JSON text in, JSON text or a problem out.

pub mod answers;
mod batch;
mod input;
pub mod json;
mod problem;
pub mod read;

use serde::Serialize;
use serde_json::Value as Json;
use syncline_planner::config::{Config, ObjectSync};
use syncline_planner::model::hash;
use syncline_planner::model::text::{JsonText, WriteJson};
use syncline_planner::{ChangeEnvelope, PlannerContext, RecordFacts, SourceSystem};

use answers::{ConfigAnswer, FieldExplanation, Listed, RecordExplanation};
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

/// Plans one record.
pub fn plan_record(input: &str) -> Result<String, Problem> {
    let (object, facts) = record(input)?;
    Ok(text(&facts.plan(&object)))
}

/// Plans one record and says why in words.
pub fn explain(input: &str) -> Result<String, Problem> {
    let (object, facts) = record(input)?;
    let plan = facts.plan(&object);
    let fields = plan.explanation.fields.iter().map(|(field, rule)| {
        let held = |side| facts.held(side).and_then(|fields| fields.get(field));
        let line = FieldExplanation {
            rule: *rule,
            sentence: rule.sentence(),
            base: facts
                .base
                .as_ref()
                .and_then(|base| base.get(field))
                .cloned(),
            postgres: held(SourceSystem::Postgres).cloned(),
            salesforce: held(SourceSystem::Salesforce).cloned(),
        };
        (field.clone(), line)
    });
    Ok(text(&RecordExplanation {
        rule: plan.explanation.record,
        sentence: plan.explanation.record.sentence(),
        settled: plan.is_settled(),
        fields: Listed(fields.collect()),
    }))
}

/// Plans a batch that fits into one call: `{"object": …, "rows": […]}`, see [`Batch`].
pub fn plan_batch(input: &str) -> Result<String, Problem> {
    let mut members = input::members(input)?;
    let rows = members.list("rows")?;
    let mut batch = Batch::of(members)?;
    let rows = batch.plan_rows(rows)?;
    Ok(text(&answers::BatchAnswer {
        rows,
        summary: batch.summary(),
    }))
}

/// Plans one change.
pub fn plan_change(input: &str) -> Result<String, Problem> {
    let mut members = input::members(input)?;
    let context: PlannerContext = members.required("context")?;
    let envelope: ChangeEnvelope = members.required("envelope")?;
    members.finish(&["context", "envelope"])?;
    Ok(text(&syncline_planner::plan_change(&context, &envelope)))
}

/// Merges two payloads.
pub fn merge(input: &str) -> Result<String, Problem> {
    let mut members = input::members(input)?;
    let object: ObjectSync = members.required("object")?;
    let source: SourceSystem = members.required("source")?;
    let incoming: Json = members.required("incoming")?;
    // A payload that is null is one; only a missing one is none.
    let current = members.some("current")?;
    members.finish(&["object", "source", "incoming", "current"])?;
    let outcome = syncline_planner::merge_payload(&object, current.as_ref(), source, &incoming);
    Ok(text(&outcome))
}

/// Returns the hash of a JSON text.
pub fn canonical_hash(json: &str) -> Result<String, Problem> {
    let json: Json = input::whole(json)?;
    Ok(hash::canonical_hash(&json))
}

fn record(input: &str) -> Result<(ObjectSync, RecordFacts), Problem> {
    let mut members = input::members(input)?;
    let object = members.required("object")?;
    Ok((object, members.all()?))
}

/// Writes an answer. Where tests run, it is compared with what serde writes: one of them says what the
/// types of the package are.
fn text<T: Serialize + WriteJson>(answer: &T) -> String {
    let text = JsonText::of(answer);
    debug_assert_eq!(serde_json::to_string(answer).ok().as_ref(), Some(&text));
    text
}
