//! What the calls answer with, where the engine itself has no such type.

use serde::{Serialize, Serializer};
use syncline_planner::config::{Config, Mistake};
use syncline_planner::model::ids::FieldName;
use syncline_planner::model::text::{JsonText, Word, WriteJson};
use syncline_planner::model::value::Value;
use syncline_planner::rule::Rule;
use syncline_planner::{words, write_object};

use super::Problem;

/// What is written as an object, in this order. A sorted map would weigh more than it brings here.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<K, V>(pub Vec<(K, V)>);

impl<K, V> Default for Listed<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Key, V: WriteJson> WriteJson for Listed<K, V> {
    fn write_json(&self, text: &mut JsonText) {
        let members = self.0.iter();
        text.members(&mut members.map(|(key, value)| (key.key(), value as &dyn WriteJson)));
    }
}

/// What may be the name of a member.
trait Key {
    fn key(&self) -> &str;
}

impl Key for FieldName {
    fn key(&self) -> &str {
        self.as_str()
    }
}

macro_rules! word_as_key {
    ($($name:ty)+) => {
        $(impl Key for $name {
            fn key(&self) -> &str {
                self.word()
            }
        })+
    };
}

word_as_key!(BatchLane Rule WriteKind);

impl<K: Serialize, V: Serialize> Serialize for Listed<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<K: PartialEq, V: Default> Listed<K, V> {
    /// Returns the value of `key`, which is added with its default if it is not there.
    pub(super) fn entry(&mut self, key: K) -> &mut V {
        let place = self.0.iter().position(|(known, _)| *known == key);
        let place = place.unwrap_or_else(|| {
            self.0.push((key, V::default()));
            self.0.len() - 1
        });
        &mut self.0[place].1
    }
}

/// A configuration that was checked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ConfigAnswer {
    /// The configuration; null if there are mistakes.
    pub config: Option<Config>,
    /// Its mistakes, by line.
    pub mistakes: Vec<Mistake>,
}

/// Why a record's plan is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RecordExplanation {
    /// The rule that decided about the record as a whole.
    pub rule: Rule,
    /// The rule in plain words.
    pub sentence: &'static str,
    /// It needs neither a write nor a person.
    pub settled: bool,
    /// The fields that something was decided about.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, FieldExplanation>")
    )]
    pub fields: Listed<FieldName, FieldExplanation>,
}

/// Why one field's plan is what it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FieldExplanation {
    /// The rule that decided.
    pub rule: Rule,
    /// The rule in plain words.
    pub sentence: &'static str,
    /// The last value both sides agreed on; null also where there is none.
    pub base: Option<Value>,
    /// What Postgres holds, likewise.
    pub postgres: Option<Value>,
    /// What Salesforce holds, likewise.
    pub salesforce: Option<Value>,
}

/// What one row of a batch came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum BatchRow {
    /// It was planned.
    Planned(PlannedRow),
    /// It cannot be used; the others are planned all the same.
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
    /// Fields that wait for a person; null stands for the record as a whole.
    pub conflicts: Vec<Option<FieldName>>,
    /// Values that lost by rule.
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

/// Where one row of a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum BatchLane {
    /// The row cannot be used.
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

/// What travels by one lane.
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
    /// Rows with a field, or as a whole, that waits for a person. Their other fields travel.
    pub conflicting: usize,
    /// What travels by each lane that is used.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<BatchLane, LaneLoad>")
    )]
    pub lanes: Listed<BatchLane, LaneLoad>,
    /// Rows by the rule that decided about the record.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<Rule, usize>")
    )]
    pub rules: Listed<Rule, usize>,
    /// Rows by what Postgres needs.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<WriteKind, usize>")
    )]
    pub to_postgres: Listed<WriteKind, usize>,
    /// Rows by what Salesforce needs.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<WriteKind, usize>")
    )]
    pub to_salesforce: Listed<WriteKind, usize>,
    /// API calls in all, an estimate.
    pub calls: usize,
    /// Bytes that go to Salesforce in all.
    pub bytes: usize,
    /// The lane of each row, in order.
    pub routes: Vec<BatchLane>,
}

/// A batch that fits into one call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct BatchAnswer {
    /// What each row came to, in order.
    pub rows: Vec<BatchRow>,
    /// The batch as a whole.
    pub summary: BatchSummary,
}

impl WriteJson for BatchRow {
    fn write_json(&self, text: &mut JsonText) {
        match self {
            Self::Planned(PlannedRow {
                external_id,
                rule,
                to_postgres,
                to_salesforce,
                conflicts,
                discarded,
                bytes,
            }) => text.object(&[
                Some(("outcome", &"planned")),
                Some(("external_id", external_id)),
                Some(("rule", rule)),
                Some(("to_postgres", to_postgres)),
                Some(("to_salesforce", to_salesforce)),
                Some(("conflicts", conflicts)),
                Some(("discarded", discarded)),
                Some(("bytes", bytes)),
            ]),
            Self::Refused(Problem { path, message, fix }) => text.object(&[
                Some(("outcome", &"refused")),
                Some(("path", path)),
                Some(("message", message)),
                Some(("fix", fix)),
            ]),
        }
    }
}

write_object!(ConfigAnswer { config, mistakes });
write_object!(RecordExplanation {
    rule,
    sentence,
    settled,
    fields
});
write_object!(FieldExplanation {
    rule,
    sentence,
    base,
    postgres,
    salesforce
});
write_object!(LaneLoad {
    records,
    calls,
    bytes
});
write_object!(BatchSummary {
    rows,
    settled,
    conflicting,
    lanes,
    rules,
    to_postgres,
    to_salesforce,
    calls,
    bytes,
    routes
});
write_object!(BatchAnswer { rows, summary });

words!(WriteKind {
    None: "none",
    Create: "create",
    Update: "update",
    Delete: "delete",
    SoftDelete: "soft_delete",
});
words!(BatchLane {
    Refused: "refused",
    Noop: "noop",
    Conflict: "conflict",
    Postgres: "postgres",
    Single: "single",
    Collections: "collections",
    CompositeGraph: "composite_graph",
    Bulk: "bulk",
});
