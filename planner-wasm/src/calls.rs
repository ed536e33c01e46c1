//! What each export does, without JavaScript: JSON text in, JSON text or a problem out.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use syncline::config::{Config, ObjectSync};
use syncline::model::hash;
use syncline::model::ids::{FieldName, IntentId, LeaseEpoch, RecordId};
use syncline::model::intent::{Intent, IntentState, WriteAction};
use syncline::model::link::{Bounce, Presence};
use syncline::model::value::{Payload, Value};
use syncline::plan::record::{RecordPlan, RecordState, Rule, SideState};
use syncline::{ChangeEnvelope, PlannerContext, SourceSystem};

/// Longest input. A page previews a record at a time; anything longer is a mistake.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// Why an input cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The member that is wrong; empty for the input as a whole.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    fn at(path: &str, message: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            message: message.to_string(),
        }
    }

    /// Returns the problem as JSON text.
    pub fn to_json(&self) -> String {
        json!(self).to_string()
    }
}

/// One record and its rules, as [`plan_record`] and [`explain`] take it.
struct RecordInput {
    /// The object's rules.
    object: ObjectSync,
    /// The external id the record is known by.
    external_id: String,
    /// What both sides agreed on last; null for a record that never agreed.
    base: Option<Payload>,
    /// The row's fields; null if there is none.
    postgres: SideInput,
    /// The Salesforce record's fields; null if there is none.
    salesforce: SideInput,
    /// The Salesforce record lies outside the object's filter; its fields do not count then.
    outside: bool,
    /// When each side last changed, milliseconds since the epoch.
    changed_at_ms: BTreeMap<SourceSystem, i64>,
    /// Fields of Salesforce that are late effects of writes that were given up.
    late_effects: Vec<FieldName>,
    /// Fields that automation changes back.
    bounces: BTreeMap<FieldName, Bounce>,
    /// Fields with a write under way.
    under_way: Vec<FieldName>,
    /// Milliseconds by which the clocks may differ.
    clock_skew_ms: i64,
}

type SideInput = Option<Payload>;

/// Returns the version of the planner.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Checks a configuration. Mistakes are an answer, not a problem.
pub fn check_config(toml: &str) -> Result<String, Problem> {
    within_bounds(toml)?;
    let answer = match Config::parse(toml) {
        Ok(config) => json!({"config": config, "mistakes": []}),
        Err(error) => json!({"config": null, "mistakes": error.mistakes}),
    };
    Ok(answer.to_string())
}

/// Plans one record.
pub fn plan_record(input: &str) -> Result<String, Problem> {
    let plan = RecordInput::read(input)?.plan();
    Ok(text(&plan))
}

/// Plans one record and says why in words.
pub fn explain(input: &str) -> Result<String, Problem> {
    let record = RecordInput::read(input)?;
    let plan = record.plan();
    let said = |rule: Rule| json!({"rule": rule, "sentence": rule.sentence()});
    let fields: Map<String, Json> = plan
        .explanation
        .fields
        .iter()
        .map(|(field, rule)| {
            let held =
                |side: &SideInput| side.as_ref().and_then(|fields| fields.get(field)).cloned();
            let mut line = said(*rule);
            line["base"] = json!(held(&record.base));
            line["postgres"] = json!(held(&record.postgres));
            line["salesforce"] = json!(held(&record.salesforce));
            (field.to_string(), line)
        })
        .collect();
    let mut answer = said(plan.explanation.record);
    answer["fields"] = Json::Object(fields);
    answer["settled"] = json!(plan.is_settled());
    Ok(answer.to_string())
}

/// Plans one change.
pub fn plan_change(input: &str) -> Result<String, Problem> {
    let mut members = Members::read(input)?;
    let context: PlannerContext = members.required("context")?;
    let envelope: ChangeEnvelope = members.required("envelope")?;
    members.finish()?;
    Ok(text(&syncline::plan_change(&context, &envelope)))
}

/// Merges two payloads.
pub fn merge(input: &str) -> Result<String, Problem> {
    let mut members = Members::read(input)?;
    let object: ObjectSync = members.required("object")?;
    let source: SourceSystem = members.required("source")?;
    let incoming: Json = members.required("incoming")?;
    // A payload that is null is one; only a missing one is none.
    let current = members.members.remove("current");
    members.finish()?;
    let outcome = syncline::merge_payload(&object, current.as_ref(), source, &incoming);
    Ok(text(&outcome))
}

/// Returns the hash of a JSON text.
pub fn canonical_hash(json: &str) -> Result<String, Problem> {
    within_bounds(json)?;
    let json: Json = serde_json::from_str(json).map_err(|error| Problem::at("", error))?;
    Ok(hash::canonical_hash(&json))
}

impl RecordInput {
    fn read(input: &str) -> Result<Self, Problem> {
        let mut members = Members::read(input)?;
        let record = Self {
            object: members.required("object")?,
            external_id: members.required("external_id")?,
            base: members.optional("base")?,
            postgres: members.optional("postgres")?,
            salesforce: members.optional("salesforce")?,
            outside: members.optional("outside")?,
            changed_at_ms: members.optional("changed_at_ms")?,
            late_effects: members.optional("late_effects")?,
            bounces: members.optional("bounces")?,
            under_way: members.optional("under_way")?,
            clock_skew_ms: members.optional("clock_skew_ms")?,
        };
        members.finish()?;
        Ok(record)
    }

    fn plan(&self) -> RecordPlan {
        let empty = Payload::new();
        syncline::plan_record(&RecordState {
            policy: &self.object,
            external_id: &self.external_id,
            base: self.base.as_ref().unwrap_or(&empty),
            agreed: self.base.is_some(),
            postgres: self.side(SourceSystem::Postgres, &self.postgres),
            salesforce: self.salesforce(),
            late_effects: self.late_effects.clone(),
            bounces: &self.bounces,
            open_intents: &self.intents(),
            clock_skew_ms: self.clock_skew_ms,
        })
    }

    fn salesforce(&self) -> SideState {
        let side = self.side(SourceSystem::Salesforce, &self.salesforce);
        match self.outside {
            true => SideState {
                presence: Presence::Outside,
                fields: Payload::new(),
                ..side
            },
            false => side,
        }
    }

    /// A side that lacks a record that was agreed on has deleted it.
    fn side(&self, side: SourceSystem, fields: &SideInput) -> SideState {
        let presence = match (fields, &self.base) {
            (Some(_), _) => Presence::Present,
            (None, Some(_)) => Presence::Deleted,
            (None, None) => Presence::Unseen,
        };
        SideState {
            presence,
            fields: fields.clone().unwrap_or_default(),
            changed_at_ms: self.changed_at_ms.get(&side).copied(),
        }
    }

    fn intents(&self) -> Vec<Intent> {
        if self.under_way.is_empty() {
            return Vec::new();
        }
        let nobody = uuid::Uuid::nil();
        vec![Intent {
            intent_id: IntentId(nobody),
            record_id: RecordId(nobody),
            lease_epoch: LeaseEpoch(0),
            action: WriteAction::Update,
            fields: self
                .under_way
                .iter()
                .map(|field| (field.clone(), Value::Null))
                .collect(),
            state: IntentState::Open,
            echoed: Default::default(),
        }]
    }
}

/// The members of a JSON object, taken one by one, so that a problem can name its member.
struct Members {
    members: Map<String, Json>,
}

impl Members {
    fn read(input: &str) -> Result<Self, Problem> {
        within_bounds(input)?;
        let members = serde_json::from_str(input).map_err(|error| Problem::at("", error))?;
        Ok(Self { members })
    }

    fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Problem> {
        match self.members.remove(name) {
            Some(member) => parsed(name, member),
            None => Err(Problem::at(name, "it is missing")),
        }
    }

    /// A member that is missing or null has its default.
    fn optional<T: DeserializeOwned + Default>(&mut self, name: &str) -> Result<T, Problem> {
        match self.members.remove(name) {
            Some(Json::Null) | None => Ok(T::default()),
            Some(member) => parsed(name, member),
        }
    }

    fn finish(self) -> Result<(), Problem> {
        match self.members.keys().next() {
            Some(name) => Err(Problem::at(name, "it is unknown")),
            None => Ok(()),
        }
    }
}

fn parsed<T: DeserializeOwned>(name: &str, member: Json) -> Result<T, Problem> {
    T::deserialize(member).map_err(|error| Problem::at(name, error))
}

fn within_bounds(input: &str) -> Result<(), Problem> {
    if input.len() > INPUT_BYTES_MAX {
        let message = format!("it is longer than {INPUT_BYTES_MAX} bytes");
        return Err(Problem::at("", message));
    }
    Ok(())
}

fn text<T: Serialize>(answer: &T) -> String {
    serde_json::to_string(answer).expect("an answer has only text keys")
}
