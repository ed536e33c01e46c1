//! Plans one record: three-way, per field.
//!
//! Start at [`plan_record`]; `field` decides one field. A plan depends on no other record, time or lane.

mod filtered_out;
mod one_sided;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::ObjectSync;
use crate::model::SourceSystem;
use crate::model::ids::FieldName;
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::key::KeyForm;
use crate::model::link::{AutomationOverride, Presence};
use crate::model::value::{Payload, Value};

use super::field::{self, Authority, FieldDecision, FieldRules, ThreeWay};
pub use super::rule::Rule;

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
    /// The live row. `Unseen` and `Deleted` are both "no row". A row whose soft-delete column is
    /// filled is `Deleted`. A row is never `FilteredOut`: Salesforce alone judges the filter.
    pub postgres: SideState,
    /// The remote state.
    pub salesforce: SideState,
    /// Fields of the remote state that late writes changed: ours, abandoned before they landed.
    pub late_writes: Vec<FieldName>,
    /// Fields that Salesforce automation changed back, and how often.
    pub automation_overrides: &'a BTreeMap<FieldName, AutomationOverride>,
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
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct RecordPlan {
    /// The write to the row.
    pub to_postgres: SideWrite,
    /// The write to the Salesforce record.
    pub to_salesforce: SideWrite,
    /// How the base moves, per field, and after which confirmation.
    pub base_advance: BTreeMap<FieldName, BaseAdvance>,
    /// Whether [`RecordState::agreed`] begins or ends, and after which confirmation.
    #[serde(default)]
    pub agreement: Agreement,
    /// Fields that wait for a person.
    pub conflicts: Vec<FieldConflict>,
    /// Values that a policy or an owner discarded: logged, so that they can be restored.
    pub discarded: Vec<DiscardedValue>,
    /// Why, per field and for the record, in words.
    pub explanation: Explanation,
}

/// A write to one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
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
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct BaseAdvance {
    /// The value both sides will hold.
    pub value: Value,
    /// What must be confirmed first.
    pub after: Confirmation,
}

/// Whether both sides hold the record as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case", tag = "agreement", content = "after")]
pub enum Agreement {
    /// As it was.
    #[default]
    Stays,
    /// Both sides hold it from now on: one of them lacking it later is a delete.
    Begins(Confirmation),
    /// The delete is done: the base is forgotten, and the record may be created again.
    Ends(Confirmation),
}

/// What must be confirmed before a base may move.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FieldConflict {
    /// The field; none when one side deleted the record that the other edited.
    pub field: Option<FieldName>,
    /// What both agreed on last.
    pub base: Option<Value>,
    /// What Postgres holds; none when it deleted the record. In a conflict of the whole record:
    /// what it edited, as canonical JSON text.
    pub postgres: Option<Value>,
    /// What Salesforce holds, likewise.
    pub salesforce: Option<Value>,
}

/// A value that lost by rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct DiscardedValue {
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
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Explanation {
    /// The rule that decided about the record as a whole.
    pub record: Rule,
    /// The rule that decided each field.
    pub fields: BTreeMap<FieldName, Rule>,
}

impl SideWrite {
    /// Returns whether nothing is written.
    pub fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Create(_) | Self::Update(_) | Self::Delete | Self::SoftDelete => false,
        }
    }

    /// Returns the values that are written.
    pub fn fields(&self) -> Option<&Payload> {
        match self {
            Self::Create(fields) | Self::Update(fields) => Some(fields),
            Self::None | Self::Delete | Self::SoftDelete => None,
        }
    }

    fn set(&mut self, field: &FieldName, value: Value) {
        match self {
            Self::Create(fields) | Self::Update(fields) => {
                fields.insert(field.clone(), value);
            }
            Self::None | Self::Delete | Self::SoftDelete => {
                let mut fields = Payload::new();
                fields.insert(field.clone(), value);
                *self = Self::Update(fields);
            }
        }
    }
}

impl RecordPlan {
    /// Returns whether the record needs neither a write nor a person.
    pub fn is_settled(&self) -> bool {
        self.writes_nothing() && self.conflicts.is_empty()
    }

    /// Returns whether neither side is written.
    pub fn writes_nothing(&self) -> bool {
        self.to_postgres.is_none() && self.to_salesforce.is_none()
    }

    fn because(rule: Rule) -> Self {
        let mut plan = Self::default();
        plan.explanation.record = rule;
        plan
    }

    fn side(&mut self, side: SourceSystem) -> &mut SideWrite {
        match side {
            SourceSystem::Postgres => &mut self.to_postgres,
            SourceSystem::Salesforce => &mut self.to_salesforce,
        }
    }

    fn advance(&mut self, field: &FieldName, value: &Value, after: Confirmation) {
        let value = value.clone();
        self.base_advance
            .insert(field.clone(), BaseAdvance { value, after });
    }
}

impl Confirmation {
    fn of(side: SourceSystem) -> Self {
        match side {
            SourceSystem::Postgres => Self::Postgres,
            SourceSystem::Salesforce => Self::Salesforce,
        }
    }
}

/// Decides what one record needs next.
///
/// The base is what makes the question answerable: without it, "added over there" and "deleted over
/// here" look the same, and so do "changed here" and "changed there". Total: every state has a plan,
/// and carrying it out leaves a state whose plan writes nothing.
pub fn plan_record(state: &RecordState<'_>) -> RecordPlan {
    let postgres = state.postgres.presence == Presence::Present;
    let salesforce = state.salesforce.presence == Presence::Present;
    if waits_for_a_write(state, postgres && salesforce) {
        return RecordPlan::because(Rule::WriteUnderWay);
    }
    if state.salesforce.presence == Presence::FilteredOut {
        return filtered_out::plan_filtered_out(state);
    }
    match (postgres, salesforce) {
        (true, true) => plan_fields(state),
        (true, false) => one_sided::plan_one_sided(state, SourceSystem::Postgres),
        (false, true) => one_sided::plan_one_sided(state, SourceSystem::Salesforce),
        (false, false) if state.agreed => RecordPlan {
            agreement: Agreement::Ends(Confirmation::Agreed),
            ..RecordPlan::because(Rule::DeletedOnBoth)
        },
        (false, false) => RecordPlan::because(Rule::NothingThere),
    }
}

impl<'a> RecordState<'a> {
    fn holds(&self, side: SourceSystem) -> &SideState {
        match side {
            SourceSystem::Postgres => &self.postgres,
            SourceSystem::Salesforce => &self.salesforce,
        }
    }

    /// Mapped fields, the external id among them.
    fn mapped(&self) -> impl Iterator<Item = &'a FieldName> {
        std::iter::once(&self.policy.external_id.field).chain(self.policy.fields.keys())
    }

    fn may_write(&self, side: SourceSystem) -> bool {
        field::may_write(self.policy.direction, side)
    }

    /// Returns the external id that `side` holds, if it is not null.
    fn external_id_on(&self, side: SourceSystem) -> Option<&Value> {
        self.holds(side)
            .fields
            .get(&self.policy.external_id.field)
            .filter(|value| **value != Value::Null)
    }

    fn under_way(&self, field: &FieldName) -> bool {
        self.open_intents
            .iter()
            .any(|intent| is_under_way(intent) && intent.fields.contains_key(field))
    }

    /// Automation has changed the field back twice, and neither side has moved since.
    fn is_overridden_by_automation(&self, field: &FieldName) -> bool {
        self.automation_overrides
            .get(field)
            .is_some_and(|automation_override| {
                automation_override.count >= AUTOMATION_OVERRIDES_MAX
                    && self.postgres.fields.get(field) == Some(&automation_override.sent)
                    && self.salesforce.fields.get(field) == Some(&automation_override.stored)
            })
    }

    fn is_late_write(&self, field: &FieldName) -> bool {
        self.late_writes.contains(field) && self.may_write(SourceSystem::Salesforce)
    }
}

/// After this many overrides a field is only reported and no longer written: one may be a coincidence.
pub const AUTOMATION_OVERRIDES_MAX: u32 = 2;

/// Returns whether the write may still change the record.
pub(super) fn is_under_way(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Open | IntentState::Unknown => true,
        IntentState::Applied
        | IntentState::Confirmed
        | IntentState::Refused
        | IntentState::Abandoned => false,
    }
}

/// Returns whether the record must wait for a write in flight: during a create or delete it is unknown whether
/// the record exists, and during an update, whether a delete conflicts with an edit.
fn waits_for_a_write(state: &RecordState<'_>, both_here: bool) -> bool {
    state.open_intents.iter().any(|intent| {
        is_under_way(intent)
            && match intent.action {
                WriteAction::Create | WriteAction::Delete => true,
                WriteAction::Update => !both_here,
            }
    })
}

// Both sides hold the record.

fn plan_fields(state: &RecordState<'_>) -> RecordPlan {
    let mut plan = RecordPlan::default();
    if !state.agreed {
        plan.agreement = Agreement::Begins(Confirmation::Agreed);
    }
    for field in state.mapped() {
        let rule = plan_field(state, field, &mut plan);
        plan.explanation.fields.insert(field.clone(), rule);
    }
    plan.explanation.record = record_rule(&plan);
    plan
}

fn record_rule(plan: &RecordPlan) -> Rule {
    let writes = (plan.to_postgres.is_none(), plan.to_salesforce.is_none());
    match (plan.conflicts.is_empty(), writes) {
        (false, _) => Rule::Conflict,
        (true, (true, true)) => Rule::Equal,
        (true, (false, true)) => Rule::SalesforceChanged,
        (true, (true, false)) => Rule::PostgresChanged,
        (true, (false, false)) => Rule::BothChanged,
    }
}

fn plan_field(state: &RecordState<'_>, field: &FieldName, plan: &mut RecordPlan) -> Rule {
    let sides = (
        state.postgres.fields.get(field),
        state.salesforce.fields.get(field),
    );
    let (Some(postgres), Some(salesforce)) = sides else {
        return Rule::NotSeen;
    };
    if state.under_way(field) {
        return Rule::WriteUnderWay;
    }
    if *field == state.policy.external_id.field
        && (*postgres == Value::Null || *salesforce == Value::Null)
    {
        return fill_in_external_id(state, plan);
    }
    if state.is_overridden_by_automation(field) {
        return Rule::AutomationOverride;
    }
    if state.is_late_write(field) && postgres != salesforce {
        return reassert(state, field, postgres, plan);
    }
    let values = FieldValues {
        postgres,
        salesforce,
        seen: ThreeWay::of(state.base.get(field), postgres, salesforce, is_null),
    };
    match decide_field(state, field, values.seen) {
        FieldDecision::Agree(rule) => {
            if state.base.get(field) != Some(postgres) {
                plan.advance(field, postgres, Confirmation::Agreed);
            }
            rule
        }
        FieldDecision::Take { from, rule } => {
            take(state, field, values, (from, rule), plan);
            rule
        }
        FieldDecision::Conflict => {
            plan.conflicts.push(FieldConflict {
                field: Some(field.clone()),
                base: state.base.get(field).cloned(),
                postgres: Some(postgres.clone()),
                salesforce: Some(salesforce.clone()),
            });
            Rule::Conflict
        }
    }
}

/// The values of one field on both sides.
#[derive(Clone, Copy)]
struct FieldValues<'v> {
    postgres: &'v Value,
    salesforce: &'v Value,
    seen: ThreeWay,
}

impl<'v> FieldValues<'v> {
    fn on(self, side: SourceSystem) -> &'v Value {
        match side {
            SourceSystem::Postgres => self.postgres,
            SourceSystem::Salesforce => self.salesforce,
        }
    }
}

fn is_null(value: &Value) -> bool {
    *value == Value::Null
}

fn decide_field(state: &RecordState<'_>, field: &FieldName, seen: ThreeWay) -> FieldDecision {
    let authority = Authority::over(field, state.policy);
    let unbased = seen.postgres_is_base.is_none() && !seen.same;
    if unbased && *field == state.policy.external_id.field && spelled_alike(state) {
        // Foreign keys in the users' tables may reference Postgres's spelling.
        return FieldDecision::Take {
            from: authority.map_or(SourceSystem::Postgres, Authority::side),
            rule: Rule::FilledIn,
        };
    }
    let rules = FieldRules {
        authority,
        conflicts: state.policy.conflicts,
        seed: state.policy.seed,
        later: field::later_edit(
            state.postgres.changed_at_ms,
            state.salesforce.changed_at_ms,
            state.clock_skew_ms,
        ),
    };
    field::decide(seen, rules)
}

/// Plans the write of the value of `from` to the other side, and lists a value that is lost by that.
fn take(
    state: &RecordState<'_>,
    field: &FieldName,
    values: FieldValues<'_>,
    (from, rule): (SourceSystem, Rule),
    plan: &mut RecordPlan,
) {
    let to = from.other();
    let value = values.on(from);
    plan.side(to).set(field, value.clone());
    if state.base.get(field) != Some(value) {
        plan.advance(field, value, Confirmation::of(to));
    }
    if values.seen.would_be_lost(to) {
        plan.discarded.push(DiscardedValue {
            field: field.clone(),
            side: to,
            value: values.on(to).clone(),
            rule,
        });
    }
}

/// Handles a late write in Salesforce: plans as if Salesforce still had the base.
fn reassert(
    state: &RecordState<'_>,
    field: &FieldName,
    postgres: &Value,
    plan: &mut RecordPlan,
) -> Rule {
    let owner = Authority::over(field, state.policy).map(Authority::side);
    let agreed = match (owner, state.base.get(field)) {
        (Some(SourceSystem::Salesforce), Some(base)) => base,
        (Some(SourceSystem::Salesforce | SourceSystem::Postgres) | None, _) => postgres,
    };
    if state.salesforce.fields.get(field) != Some(agreed) {
        plan.to_salesforce.set(field, agreed.clone());
    }
    if state.base.get(field) != Some(agreed) {
        plan.advance(field, agreed, Confirmation::Salesforce);
    }
    if postgres != agreed {
        plan.to_postgres.set(field, agreed.clone());
        plan.discarded.push(DiscardedValue {
            field: field.clone(),
            side: SourceSystem::Postgres,
            value: postgres.clone(),
            rule: Rule::SalesforceOwns,
        });
    }
    Rule::LateWrite
}

// The external id: both sides must come to hold it.

/// Returns whether both external ids are equal and only spelled differently.
fn spelled_alike(state: &RecordState<'_>) -> bool {
    let spelled = |side, form: KeyForm| match state.external_id_on(side) {
        Some(Value::Text(text)) => form.canonical(text).ok(),
        Some(Value::Null | Value::Boolean(_) | Value::Number(_)) | None => None,
    };
    [KeyForm::CaseFolded, KeyForm::Numeric].iter().any(|form| {
        let postgres = spelled(SourceSystem::Postgres, *form);
        postgres.is_some() && postgres == spelled(SourceSystem::Salesforce, *form)
    })
}

/// Plans the write of the external id to each side that lacks it. A cleared external id is not an edit.
fn fill_in_external_id(state: &RecordState<'_>, plan: &mut RecordPlan) -> Rule {
    let field = &state.policy.external_id.field;
    let value = external_id_value(state);
    let mut after = Confirmation::Agreed;
    // Salesforce last: its confirmation comes after the commit that wrote the row.
    for side in [SourceSystem::Postgres, SourceSystem::Salesforce] {
        if state.external_id_on(side).is_some() {
            continue;
        }
        if !state.may_write(side) {
            return Rule::DirectionForbids;
        }
        plan.side(side).set(field, value.clone());
        after = Confirmation::of(side);
    }
    if state.base.get(field) != Some(&value) {
        plan.advance(field, &value, after);
    }
    Rule::FilledIn
}

fn external_id_value(state: &RecordState<'_>) -> Value {
    state
        .external_id_on(SourceSystem::Postgres)
        .or_else(|| state.external_id_on(SourceSystem::Salesforce))
        .cloned()
        .unwrap_or_else(|| Value::text(state.external_id))
}
