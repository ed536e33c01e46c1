//! Plans one record: three-way, per field.
//!
//! Start at [`plan_record`]; `field` decides one field. A plan depends on no other record, time or lane.

mod filtered_out;
mod one_sided;
mod overwritten;

use serde::{Deserialize, Serialize};

use crate::config::{ConflictPolicy, ObjectSync};
use crate::model::Side;
use crate::model::edit_time::EditTime;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::FieldName;
use crate::model::intent::WriteAction;
use crate::model::key::KeyForm;
use crate::model::link::Presence;
use crate::model::value::Value;

use super::facts::{BySide, OverwrittenValue, RecordFacts};
use super::field::{self, Authority, FieldDecision, FieldRules, ThreeWay};
use super::mapping::Mapping;
pub use super::rule::Rule;

/// What one record needs. Its fields are known by their place; by their names at the edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
#[serde(bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub struct RecordPlan<F = FieldId> {
    /// The write to the row.
    pub to_postgres: SideWrite<F>,
    /// The write to the Salesforce record.
    pub to_salesforce: SideWrite<F>,
    /// How the base moves, per field, and after which confirmation.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, BaseAdvance>")
    )]
    pub base_advance: FieldMap<F, BaseAdvance>,
    /// Whether both sides' agreement begins or ends, and after which confirmation.
    #[serde(default)]
    pub agreement: Agreement,
    /// Fields that wait for a person.
    pub conflicts: Vec<FieldConflict<F>>,
    /// Values that a policy or an owner discarded: logged, so that they can be restored.
    pub discarded: Vec<DiscardedValue<F>>,
    /// Why, per field and for the record, in words.
    pub explanation: Explanation<F>,
}

/// A write to one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
// Two attributes: the TypeScript declarations are made from the one they can parse.
#[serde(rename_all = "snake_case", tag = "write", content = "fields")]
#[serde(bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub enum SideWrite<F = FieldId> {
    /// Nothing.
    None,
    /// Create with these values.
    Create(
        #[cfg_attr(
            feature = "typescript",
            ts(as = "std::collections::BTreeMap<FieldName, Value>")
        )]
        FieldMap<F, Value>,
    ),
    /// Change these values.
    Update(
        #[cfg_attr(
            feature = "typescript",
            ts(as = "std::collections::BTreeMap<FieldName, Value>")
        )]
        FieldMap<F, Value>,
    ),
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
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
pub struct FieldConflict<F = FieldId> {
    /// The field; none when one side deleted the record that the other edited.
    pub field: Option<F>,
    /// What both agreed on last.
    pub base: Option<Value>,
    /// What Postgres holds; none when it deleted the record. In a conflict of the whole record:
    /// what it edited, as canonical JSON text.
    pub postgres: Option<Value>,
    /// What Salesforce holds, likewise.
    pub salesforce: Option<Value>,
}

/// A value that a rule discarded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
pub struct DiscardedValue<F = FieldId> {
    /// The field.
    pub field: F,
    /// The side whose value was discarded.
    pub side: Side,
    /// The discarded value.
    pub value: Value,
    /// The rule.
    pub rule: Rule,
    /// The times that were compared, if times were.
    #[serde(default, skip_serializing_if = "BySide::is_empty")]
    pub edited: BySide<EditTime>,
}

/// Why the plan is what it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
#[serde(bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub struct Explanation<F = FieldId> {
    /// The rule that decided about the record as a whole.
    pub record: Rule,
    /// The rule that decided each field.
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, Rule>")
    )]
    pub fields: FieldMap<F, Rule>,
}

impl<F: Ord> SideWrite<F> {
    /// Returns whether nothing is written.
    pub fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Create(_) | Self::Update(_) | Self::Delete | Self::SoftDelete => false,
        }
    }

    /// Returns the values that are written.
    pub fn fields(&self) -> Option<&FieldMap<F, Value>> {
        match self {
            Self::Create(fields) | Self::Update(fields) => Some(fields),
            Self::None | Self::Delete | Self::SoftDelete => None,
        }
    }

    fn set(&mut self, field: F, value: Value) {
        match self {
            Self::Create(fields) | Self::Update(fields) => fields.insert(field, value),
            Self::None | Self::Delete | Self::SoftDelete => {
                *self = Self::Update(FieldMap::from_iter([(field, value)]));
            }
        }
    }

    fn rekeyed<G: Ord>(self, key: &impl Fn(F) -> Option<G>) -> SideWrite<G> {
        match self {
            Self::None => SideWrite::None,
            Self::Create(fields) => SideWrite::Create(fields.rekeyed(key)),
            Self::Update(fields) => SideWrite::Update(fields.rekeyed(key)),
            Self::Delete => SideWrite::Delete,
            Self::SoftDelete => SideWrite::SoftDelete,
        }
    }
}

impl<F: Ord> RecordPlan<F> {
    /// Returns whether the record needs neither a write nor a person.
    pub fn is_settled(&self) -> bool {
        self.writes_nothing() && self.conflicts.is_empty()
    }

    /// Returns whether neither side is written.
    pub fn writes_nothing(&self) -> bool {
        self.to_postgres.is_none() && self.to_salesforce.is_none()
    }
}

impl RecordPlan {
    /// Returns the plan with its fields named.
    pub fn named(self, mapping: &Mapping) -> RecordPlan<FieldName> {
        let name = |field: FieldId| mapping.name(field).clone();
        let key = |field| Some(name(field));
        let conflicts = self.conflicts.into_iter();
        let discarded = self.discarded.into_iter();
        RecordPlan {
            to_postgres: self.to_postgres.rekeyed(&key),
            to_salesforce: self.to_salesforce.rekeyed(&key),
            base_advance: self.base_advance.rekeyed(key),
            agreement: self.agreement,
            conflicts: conflicts
                .map(|conflict| FieldConflict {
                    field: conflict.field.map(name),
                    base: conflict.base,
                    postgres: conflict.postgres,
                    salesforce: conflict.salesforce,
                })
                .collect(),
            discarded: discarded
                .map(|lost| DiscardedValue {
                    field: name(lost.field),
                    side: lost.side,
                    value: lost.value,
                    rule: lost.rule,
                    edited: lost.edited,
                })
                .collect(),
            explanation: Explanation {
                record: self.explanation.record,
                fields: self.explanation.fields.rekeyed(key),
            },
        }
    }

    fn because(rule: Rule) -> Self {
        Self {
            to_postgres: SideWrite::None,
            to_salesforce: SideWrite::None,
            base_advance: FieldMap::default(),
            agreement: Agreement::Stays,
            conflicts: Vec::new(),
            discarded: Vec::new(),
            explanation: Explanation {
                record: rule,
                fields: FieldMap::default(),
            },
        }
    }

    fn side(&mut self, side: Side) -> &mut SideWrite {
        match side {
            Side::Postgres => &mut self.to_postgres,
            Side::Salesforce => &mut self.to_salesforce,
        }
    }

    fn advance(&mut self, field: FieldId, value: &Value, after: Confirmation) {
        let value = value.clone();
        self.base_advance
            .insert(field, BaseAdvance { value, after });
    }
}

impl Confirmation {
    fn of(side: Side) -> Self {
        match side {
            Side::Postgres => Self::Postgres,
            Side::Salesforce => Self::Salesforce,
        }
    }
}

/// Decides what one record needs next.
///
/// The base is what makes the question answerable: without it, "added over there" and "deleted over
/// here" look the same, and so do "changed here" and "changed there". Total: every state has a plan,
/// and carrying it out leaves a state whose plan writes nothing.
pub fn plan_record(mapping: &Mapping, facts: &RecordFacts) -> RecordPlan {
    let record = Record { mapping, facts };
    let postgres = record.presence(Side::Postgres) == Presence::Present;
    let salesforce = record.presence(Side::Salesforce);
    let both = postgres && salesforce == Presence::Present;
    if record.waits_for_a_write(both) {
        return RecordPlan::because(Rule::WriteUnderWay);
    }
    match (postgres, salesforce) {
        (_, Presence::FilteredOut) => filtered_out::plan_filtered_out(record),
        (_, Presence::Unreadable) => RecordPlan::because(Rule::Unreadable),
        (true, Presence::Present) => plan_fields(record),
        (true, Presence::Unseen | Presence::Deleted) => {
            one_sided::plan_one_sided(record, Side::Postgres)
        }
        (false, Presence::Present) => one_sided::plan_one_sided(record, Side::Salesforce),
        (false, Presence::Unseen | Presence::Deleted) if facts.has_agreed() => RecordPlan {
            agreement: Agreement::Ends(Confirmation::Agreed),
            ..RecordPlan::because(Rule::DeletedOnBoth)
        },
        (false, Presence::Unseen | Presence::Deleted) => RecordPlan::because(Rule::NothingThere),
    }
}

/// A record and the rules it is planned by.
#[derive(Debug, Clone, Copy)]
struct Record<'a> {
    mapping: &'a Mapping,
    facts: &'a RecordFacts,
}

impl<'a> Record<'a> {
    fn rules(self) -> &'a ObjectSync {
        self.mapping.rules()
    }

    fn presence(self, side: Side) -> Presence {
        self.facts.presence_on(side)
    }

    /// Returns what a side that holds the record shows of a field.
    fn value(self, side: Side, field: FieldId) -> Option<&'a Value> {
        if self.facts.filtered_out && side == Side::Salesforce {
            return None;
        }
        self.facts.held(side)?.at(field)
    }

    fn base(self, field: FieldId) -> Option<&'a Value> {
        self.facts.base.as_ref()?.at(field)
    }

    /// Returns the edit in Salesforce that a write of ours replaced, if it can be written again.
    fn overwritten(self, field: FieldId) -> Option<&'a OverwrittenValue> {
        let may_write = self.may_write(Side::Salesforce);
        self.facts.overwritten.at(field).filter(|_| may_write)
    }

    /// Returns when each side edited the field. If that is not known of one of them, an edit of the one cannot be
    /// compared with one of the other, and the times at which the sides last changed at all count.
    fn edited(self, field: FieldId) -> BySide<EditTime> {
        let salesforce = match self.overwritten(field) {
            Some(edit) => edit.edited,
            None => self.facts.edited.salesforce.get(&field).copied(),
        };
        let postgres = self.facts.edited.postgres.get(&field).copied();
        if postgres.is_some() && salesforce.is_some() {
            return BySide {
                postgres,
                salesforce,
            };
        }
        BySide {
            postgres: self.facts.changed_at_ms.postgres.map(EditTime::at),
            salesforce: self.facts.changed_at_ms.salesforce.map(EditTime::at),
        }
    }

    fn may_write(self, side: Side) -> bool {
        field::may_write(self.rules().direction, side)
    }

    /// Returns the external id that `side` holds, if it is not null.
    fn external_id_on(self, side: Side) -> Option<&'a Value> {
        self.value(side, Mapping::EXTERNAL_ID)
            .filter(|value| **value != Value::Null)
    }

    /// Whether the record exists is not known while a create or delete is under way, and whether a
    /// delete meets an edit is not known while an edit is.
    fn waits_for_a_write(self, both_here: bool) -> bool {
        match self.facts.write_under_way() {
            Some(WriteAction::Create | WriteAction::Delete) => true,
            Some(WriteAction::Update) => !both_here,
            None => false,
        }
    }

    /// Automation has changed the field back twice, and neither side has moved since.
    fn is_overridden_by_automation(self, field: FieldId) -> bool {
        self.facts
            .automation_overrides
            .at(field)
            .is_some_and(|stored| stored.count >= AUTOMATION_OVERRIDES_MAX)
            && self.is_stored_otherwise(field)
    }

    /// Salesforce has not kept the row's value: it ignored the write, or automation changed it.
    fn is_stored_otherwise(self, field: FieldId) -> bool {
        let stored = self.facts.automation_overrides.at(field);
        stored.is_some_and(|stored| {
            self.value(Side::Postgres, field) == Some(&stored.sent)
                && self.value(Side::Salesforce, field) == Some(&stored.stored)
        })
    }

    fn is_late_write(self, field: FieldId) -> bool {
        self.facts.late_writes.contains(&field) && self.may_write(Side::Salesforce)
    }
}

/// After this many overrides a field is only reported and no longer written: one may be a coincidence.
pub const AUTOMATION_OVERRIDES_MAX: u32 = 2;

// Both sides hold the record.

fn plan_fields(record: Record<'_>) -> RecordPlan {
    let mut plan = RecordPlan::because(Rule::Equal);
    if !record.facts.has_agreed() {
        plan.agreement = Agreement::Begins(Confirmation::Agreed);
    }
    let fields = record.mapping.fields();
    plan.explanation.fields = FieldMap::with_capacity(fields.len());
    for field in fields {
        let rule = plan_field(record, field, &mut plan);
        plan.explanation.fields.insert(field, rule);
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

fn plan_field(record: Record<'_>, field: FieldId, plan: &mut RecordPlan) -> Rule {
    let sides = (
        record.value(Side::Postgres, field),
        record.value(Side::Salesforce, field),
    );
    let (Some(postgres), Some(salesforce)) = sides else {
        return Rule::NotSeen;
    };
    if record.facts.under_way.contains(&field) {
        return Rule::WriteUnderWay;
    }
    if field == Mapping::EXTERNAL_ID && (*postgres == Value::Null || *salesforce == Value::Null) {
        return fill_in_external_id(record, plan);
    }
    // An edit that a write of ours replaced unseen is decided as if Salesforce still had it.
    let edit = record.overwritten(field);
    if edit.is_none() && record.is_overridden_by_automation(field) {
        return Rule::AutomationOverride;
    }
    if edit.is_none() && record.is_late_write(field) && postgres != salesforce {
        return reassert(record, field, postgres, plan);
    }
    let base = edit.map_or_else(|| record.base(field), |edit| edit.base.as_ref());
    let edited = edit.map_or(salesforce, |edit| &edit.value);
    let seen = ThreeWay::of(base, postgres, edited, is_null);
    match decide_field(record, field, seen) {
        FieldDecision::Agree(rule) => {
            // Most fields of most records: both sides hold the base.
            if edit.is_some() || seen.postgres_is_base != Some(true) {
                agree(record, field, postgres, plan);
            }
            rule
        }
        FieldDecision::Take { from, rule } => {
            let to = from.other();
            let (value, replaced) = match from {
                Side::Postgres => (postgres, edited),
                Side::Salesforce => (edited, postgres),
            };
            agree(record, field, value, plan);
            let lost_by = match record.is_stored_otherwise(field) {
                true if to == Side::Postgres => Some(Rule::AutomationOverride),
                _ => seen.would_be_lost(to).then_some(rule),
            };
            plan.discarded.extend(lost_by.map(|rule| {
                let edited = rule.compares_times().then(|| record.edited(field));
                DiscardedValue {
                    field,
                    side: to,
                    value: replaced.clone(),
                    rule,
                    edited: edited.unwrap_or_default(),
                }
            }));
            rule
        }
        FieldDecision::Conflict => {
            plan.conflicts.push(FieldConflict {
                field: Some(field),
                base: base.cloned(),
                postgres: Some(postgres.clone()),
                salesforce: Some(edited.clone()),
            });
            Rule::Conflict
        }
    }
}

/// Plans the write of the value to each side that has another one.
fn agree(record: Record<'_>, field: FieldId, value: &Value, plan: &mut RecordPlan) {
    let mut after = Confirmation::Agreed;
    // Salesforce last: its confirmation comes after the commit that wrote the row.
    for side in [Side::Postgres, Side::Salesforce] {
        if record.value(side, field) != Some(value) {
            plan.side(side).set(field, value.clone());
            after = Confirmation::of(side);
        }
    }
    if record.base(field) != Some(value) {
        plan.advance(field, value, after);
    }
}

fn is_null(value: &Value) -> bool {
    *value == Value::Null
}

fn decide_field(record: Record<'_>, field: FieldId, seen: ThreeWay) -> FieldDecision {
    let authority = record.mapping.authority(field);
    let unbased = seen.postgres_is_base.is_none() && !seen.same;
    if unbased && field == Mapping::EXTERNAL_ID && spelled_alike(record) {
        // Postgres's spelling may be what foreign keys of the customer point to.
        return FieldDecision::Take {
            from: authority.map_or(Side::Postgres, Authority::side),
            rule: Rule::FilledIn,
        };
    }
    let conflicts = record.rules().conflicts;
    let later = match conflicts {
        ConflictPolicy::LastWriterWins => {
            field::later_edit(record.edited(field), record.facts.clock_skew_ms)
        }
        ConflictPolicy::ManualReview
        | ConflictPolicy::FieldOwnership
        | ConflictPolicy::SalesforceWins
        | ConflictPolicy::PostgresWins => None,
    };
    let rules = FieldRules {
        authority,
        conflicts,
        seed: record.rules().seed,
        later,
    };
    field::decide(seen, rules)
}

/// Plans the write of the value of `from` to the other side, and lists a value that is lost by that.
fn reassert(record: Record<'_>, field: FieldId, postgres: &Value, plan: &mut RecordPlan) -> Rule {
    let owner = record.mapping.authority(field).map(Authority::side);
    let agreed = match (owner, record.base(field)) {
        (Some(Side::Salesforce), Some(base)) => base,
        (Some(Side::Salesforce | Side::Postgres) | None, _) => postgres,
    };
    if record.value(Side::Salesforce, field) != Some(agreed) {
        plan.to_salesforce.set(field, agreed.clone());
    }
    if record.base(field) != Some(agreed) {
        plan.advance(field, agreed, Confirmation::Salesforce);
    }
    if postgres != agreed {
        plan.to_postgres.set(field, agreed.clone());
        plan.discarded.push(DiscardedValue {
            field,
            side: Side::Postgres,
            value: postgres.clone(),
            rule: Rule::SalesforceOwns,
            edited: BySide::default(),
        });
    }
    Rule::LateWrite
}

// The external id: both sides must come to hold it.

/// Returns whether both external ids are equal and only spelled differently.
fn spelled_alike(record: Record<'_>) -> bool {
    let spelled = |side, form: KeyForm| match record.external_id_on(side) {
        Some(Value::Text(text)) => form.canonical(text).ok(),
        Some(Value::Null | Value::Boolean(_) | Value::Number(_)) | None => None,
    };
    [KeyForm::CaseFolded, KeyForm::Numeric].iter().any(|form| {
        let postgres = spelled(Side::Postgres, *form);
        postgres.is_some() && postgres == spelled(Side::Salesforce, *form)
    })
}

/// Plans the write of the external id to each side that lacks it. A cleared external id is not an edit.
fn fill_in_external_id(record: Record<'_>, plan: &mut RecordPlan) -> Rule {
    let field = Mapping::EXTERNAL_ID;
    let value = external_id_value(record);
    let mut after = Confirmation::Agreed;
    // Salesforce last: its confirmation comes after the commit that wrote the row.
    for side in [Side::Postgres, Side::Salesforce] {
        if record.external_id_on(side).is_some() {
            continue;
        }
        if !record.may_write(side) {
            return Rule::DirectionForbids;
        }
        plan.side(side).set(field, value.clone());
        after = Confirmation::of(side);
    }
    if record.base(field) != Some(&value) {
        plan.advance(field, &value, after);
    }
    Rule::FilledIn
}

fn external_id_value(record: Record<'_>) -> Value {
    record
        .external_id_on(Side::Postgres)
        .or_else(|| record.external_id_on(Side::Salesforce))
        .cloned()
        .unwrap_or_else(|| Value::text(&record.facts.external_id))
}
