//! Answers that the planner itself has no type for.

use std::collections::BTreeMap;

use serde::Serialize;
use syncline_planner::RecordPlan;
use syncline_planner::config::{Config, Mistake};
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::value::Value;
use syncline_planner::route::Lane;
use syncline_planner::rule::Rule;

use super::Problem;

/// A configuration that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ConfigAnswer {
    /// The configuration; null if there are mistakes.
    pub config: Option<Config>,
    /// Its mistakes, by line.
    pub mistakes: Vec<Mistake>,
}

/// What one record needs, why, and its lane.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RecordAnswer<'a> {
    /// What both sides need.
    #[serde(flatten)]
    pub plan: RecordPlan<FieldName>,
    /// Its lane if it is sent alone.
    pub lane: Lane,
    /// Why, in words.
    pub why: RecordExplanation<'a>,
    /// Fields of the record that its rules do not map. They are left alone.
    pub unmapped: Vec<&'a FieldName>,
}

/// Why a record's plan is as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RecordExplanation<'a> {
    /// The rule that decided about the record as a whole.
    pub rule: Rule,
    /// The rule in plain words.
    pub sentence: &'static str,
    /// It needs neither a write nor a person.
    pub settled: bool,
    /// The fields that something was decided about.
    pub fields: BTreeMap<FieldName, FieldExplanation<'a>>,
}

/// Why one field's plan is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FieldExplanation<'a> {
    /// The rule that decided.
    pub rule: Rule,
    /// The rule in plain words.
    pub sentence: &'static str,
    /// The last value both sides agreed on; null if there is no such value.
    pub base: Option<&'a Value>,
    /// What Postgres holds; null if it holds no value.
    pub postgres: Option<&'a Value>,
    /// What Salesforce holds; null if it holds no value.
    pub salesforce: Option<&'a Value>,
}

/// The result of one row of a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum BatchRow {
    /// It was planned.
    Planned(PlannedRow),
    /// It is invalid; the others are still planned.
    Refused(Problem),
}

/// The plan of one row of a batch, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PlannedRow {
    /// The external id the record is known by.
    pub external_id: String,
    /// The rule that decided about the record as a whole.
    pub rule: Rule,
    /// What the row in Postgres needs.
    pub to_postgres: WriteKind,
    /// What the Salesforce record needs.
    pub to_salesforce: WriteKind,
    /// Fields that wait for a person; null means the whole record.
    pub conflicts: Vec<Option<FieldName>>,
    /// Values that a rule discarded.
    pub discarded: usize,
    /// Bytes of the values that go to Salesforce, as JSON.
    pub bytes: usize,
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum WriteKind {
    /// Nothing.
    None,
    /// Create.
    Create,
    /// Change.
    Update,
    /// Delete.
    Delete,
    /// Fill the soft-delete column.
    SoftDelete,
}

/// The records of one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct LaneLoad {
    /// Records.
    pub records: usize,
    /// API calls, as Salesforce counts them; an estimate.
    pub calls: usize,
    /// Bytes of the values, as JSON.
    pub bytes: usize,
}

/// A batch as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct BatchSummary {
    /// Rows that were given.
    pub rows: usize,
    /// Rows that need neither a write nor a person.
    pub settled: usize,
    /// Rows with a conflict that waits for a person: in a field or in the whole record. Their other fields are written.
    pub conflicting: usize,
    /// The records of each lane that is used.
    pub lanes: BTreeMap<Lane, LaneLoad>,
    /// Rows by the rule that decided about the record.
    pub rules: BTreeMap<Rule, usize>,
    /// Rows by what Postgres needs.
    pub to_postgres: BTreeMap<WriteKind, usize>,
    /// Rows by what Salesforce needs.
    pub to_salesforce: BTreeMap<WriteKind, usize>,
    /// API calls in all, an estimate.
    pub calls: usize,
    /// Bytes that go to Salesforce in all.
    pub bytes: usize,
    /// The lane of each row, in order.
    pub routes: Vec<Lane>,
}
