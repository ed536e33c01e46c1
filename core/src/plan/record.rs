//! The plan of one record: three-way, per field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ObjectSync;
use crate::model::SourceSystem;
use crate::model::ids::FieldName;
use crate::model::intent::Intent;
use crate::model::link::{Bounce, Presence};
use crate::model::value::{Payload, Value};

/// Everything that decides what one record needs next.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordState<'a> {
    /// Its rules.
    pub policy: &'a ObjectSync,
    /// The external id the record is known by: both sides must come to hold it.
    pub external_id: &'a str,
    /// Per field, the last value both sides agreed on (the external id field included).
    pub base: &'a Payload,
    /// Both sides have held this record and agreed since it was last deleted. Without it, "added
    /// over there" and "deleted over here" look the same.
    pub agreed: bool,
    /// The live row. `Unseen` and `Deleted` are both "no row".
    pub postgres: SideState,
    /// The image.
    pub salesforce: SideState,
    /// Fields of the image that are late effects of superseded writes of ours.
    pub late_effects: Vec<FieldName>,
    /// Fields that Salesforce automation changed back, and how often.
    pub bounces: &'a BTreeMap<FieldName, Bounce>,
    /// Writes that are neither settled nor known to have had no effect. While one is open, its
    /// fields are not planned.
    pub open_intents: &'a [Intent],
    /// Milliseconds by which the two sides' clocks may differ beyond the fixed two seconds.
    pub clock_skew_ms: i64,
}

/// One side as the plan sees it, canonical, references resolved to external ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SideState {
    /// Whether the record is there.
    pub presence: Presence,
    /// Its mapped fields (the external id field included). A field that is absent was never seen.
    pub fields: Payload,
    /// When the side last changed, milliseconds since the epoch, by its own clock.
    pub changed_at_ms: Option<i64>,
}

/// What one record needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordPlan {
    /// The write to the row.
    pub to_postgres: SideWrite,
    /// The write to the Salesforce record.
    pub to_salesforce: SideWrite,
    /// How the base moves, per field, and after which confirmation.
    pub base_advance: BTreeMap<FieldName, BaseAdvance>,
    /// Fields that wait for a person.
    pub conflicts: Vec<FieldConflict>,
    /// Values that a policy or an owner overruled: logged, so that they can be restored.
    pub overruled: Vec<Overruled>,
    /// Why, per field and for the record, in words.
    pub explanation: Explanation,
}

/// A write to one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "write", content = "fields")]
pub enum SideWrite {
    /// Nothing.
    #[default]
    None,
    /// Create with these values.
    Create(Payload),
    /// Change these values.
    Update(Payload),
    /// Delete.
    Delete,
    /// Fill the soft-delete column.
    SoftDelete,
}

/// One step of the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseAdvance {
    /// The value both sides will hold.
    pub value: Value,
    /// What must be confirmed first.
    pub after: Confirmation,
}

/// What must be confirmed before a base may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// Nothing: both sides hold the value already.
    Agreed,
    /// The write to Postgres.
    Postgres,
    /// The write to Salesforce.
    Salesforce,
}

/// What two sides differ about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldConflict {
    /// The field; none when one side deleted the record that the other edited.
    pub field: Option<FieldName>,
    /// What both agreed on last.
    pub base: Option<Value>,
    /// What Postgres holds; none when it deleted the record.
    pub postgres: Option<Value>,
    /// What Salesforce holds; none when it deleted the record.
    pub salesforce: Option<Value>,
}

/// A value that lost by rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overruled {
    /// The field.
    pub field: FieldName,
    /// The side whose value lost.
    pub side: SourceSystem,
    /// The value that lost.
    pub value: Value,
    /// The rule.
    pub rule: Rule,
}

/// Why the plan is what it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The rule that decided about the record as a whole.
    pub record: Rule,
    /// The rule that decided each field.
    pub fields: BTreeMap<FieldName, Rule>,
}

/// The rules, by name. Each has one sentence in plain words, see [`Rule::sentence`].
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Both sides hold the same.
    #[default]
    Equal,
    /// Only Postgres changed it.
    PostgresChanged,
    /// Only Salesforce changed it.
    SalesforceChanged,
    /// Both changed it, to the same value.
    SameChange,
    /// Salesforce owns the field.
    SalesforceOwns,
    /// Postgres owns the field.
    PostgresOwns,
    /// Both changed it and a person must decide.
    Conflict,
    /// Both changed it and Salesforce wins by policy.
    SalesforceWins,
    /// Both changed it and Postgres wins by policy.
    PostgresWins,
    /// Both changed it and the later edit wins.
    LaterEditWins,
    /// Both changed it, too close in time to tell, and the tie goes to Salesforce.
    TieGoesToSalesforce,
    /// The field has no base and is seeded from Salesforce.
    SeededFromSalesforce,
    /// The field has no base and is seeded from Postgres.
    SeededFromPostgres,
    /// The field has no base and the other side holds nothing.
    FilledIn,
    /// The record is new in Postgres.
    CreatedInPostgres,
    /// The record is new in Salesforce.
    CreatedInSalesforce,
    /// The record was deleted in Postgres.
    DeletedInPostgres,
    /// The record was deleted in Salesforce.
    DeletedInSalesforce,
    /// The record was deleted on both sides.
    DeletedOnBoth,
    /// One side deleted what the other edited, and the delete wins.
    DeleteBeatsEdit,
    /// One side deleted what the other edited, and the edit wins.
    EditBeatsDelete,
    /// One side deleted what the other edited, and a person must decide.
    DeleteAgainstEdit,
    /// Deletes do not travel for this object.
    DeletesIgnored,
    /// Changes do not travel in this direction; the source's value is restored.
    DirectionForbids,
    /// Salesforce automation keeps changing it back; it is shown, not fought over.
    ContestedByAutomation,
    /// A late effect of an earlier write of ours: the agreed value is written again.
    LateEffect,
    /// A write of it is under way.
    WriteUnderWay,
    /// One side has never shown the field: nothing can be said about it.
    NotSeen,
    /// Neither side holds the record.
    NothingThere,
}
