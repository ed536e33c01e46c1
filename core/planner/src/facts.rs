//! What is known of one record when it is planned: all that decides, but the rules.
//!
//! Facts stand alone, and are read and written as JSON with their fields named. The journal keeps them
//! beside each decision, and the planner of a browser takes them as its input, so that any past
//! decision can be made again, under the same rules or under others.

use serde::{Deserialize, Serialize};

use crate::model::Side;
use crate::model::edit_time::EditTime;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::FieldName;
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{AutomationOverride, Presence, SyncLink, present};
use crate::model::value::Value;

use super::mapping::Mapping;
use super::record::{RecordPlan, plan_record};

/// One side as the plan sees it, canonical, references resolved to external ids.
#[derive(Debug, Clone, PartialEq)]
pub struct SideState<F = FieldId> {
    /// Whether the record is there. Of a row, `Unseen` and `Deleted` are both "no row"; a row whose
    /// soft-delete column is filled is `Deleted`, and a row is never `FilteredOut`.
    pub presence: Presence,
    /// Its mapped fields (the external id field included). A field that is absent was never seen.
    pub fields: FieldMap<F, Value>,
    /// When the side last changed, milliseconds since the epoch, by its own clock.
    pub changed_at_ms: Option<i64>,
    /// When its fields were edited, where that is known and may matter.
    pub edited: FieldMap<F, EditTime>,
}

impl<F> Default for SideState<F> {
    fn default() -> Self {
        Self {
            presence: Presence::Unseen,
            fields: FieldMap::default(),
            changed_at_ms: None,
            edited: FieldMap::default(),
        }
    }
}

/// An edit in Salesforce that a write of ours replaced before it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct OverwrittenValue {
    /// Its value.
    pub value: Value,
    /// The base that it was made from; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    // Apart: the TypeScript declarations are made from the one above.
    #[serde(deserialize_with = "present")]
    pub base: Option<Value>,
    /// When it was made, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditTime>,
}

/// When the fields of each side were edited, where that is known and may matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub struct FieldEdits<F = FieldId> {
    /// Those of the row.
    #[serde(default, skip_serializing_if = "FieldMap::is_empty")]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, EditTime>")
    )]
    pub postgres: FieldMap<F, EditTime>,
    /// Those of the Salesforce record.
    #[serde(default, skip_serializing_if = "FieldMap::is_empty")]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, EditTime>")
    )]
    pub salesforce: FieldMap<F, EditTime>,
}

impl<F> Default for FieldEdits<F> {
    fn default() -> Self {
        Self {
            postgres: FieldMap::default(),
            salesforce: FieldMap::default(),
        }
    }
}

impl<F> FieldEdits<F> {
    fn is_empty(&self) -> bool {
        self.postgres.is_empty() && self.salesforce.is_empty()
    }
}

/// Something that each side may have one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct BySide<T> {
    /// That of Postgres.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub postgres: Option<T>,
    /// That of Salesforce.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub salesforce: Option<T>,
}

impl<T> Default for BySide<T> {
    fn default() -> Self {
        Self {
            postgres: None,
            salesforce: None,
        }
    }
}

impl<T: Copy> BySide<T> {
    /// Returns what `side` has.
    pub fn of(&self, side: Side) -> Option<T> {
        match side {
            Side::Postgres => self.postgres,
            Side::Salesforce => self.salesforce,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.postgres.is_none() && self.salesforce.is_none()
    }

    fn set(&mut self, side: Side, value: Option<T>) {
        match side {
            Side::Postgres => self.postgres = value,
            Side::Salesforce => self.salesforce = value,
        }
    }
}

// Named facts may hold fields that are not mapped: `placed` leaves them out.
/// Everything but the rules that decides what one record needs next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(concrete(F = FieldName))
)]
#[serde(deny_unknown_fields)]
#[serde(bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub struct RecordFacts<F = FieldId> {
    /// The external id the record is known by.
    pub external_id: String,
    /// Per field, the last value both sides agreed on; null for a record that never agreed.
    #[serde(default)]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "Option<std::collections::BTreeMap<FieldName, Value>>")
    )]
    pub base: Option<FieldMap<F, Value>>,
    /// Both sides have held the record and agreed, where that is not what the base says: by itself,
    /// a record that has a base has agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<bool>,
    /// The row's fields; null if there is no row.
    #[serde(default)]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "Option<std::collections::BTreeMap<FieldName, Value>>")
    )]
    pub postgres: Option<FieldMap<F, Value>>,
    /// The fields of a row that is marked as deleted.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "Option<std::collections::BTreeMap<FieldName, Value>>")
    )]
    pub soft_deleted: Option<FieldMap<F, Value>>,
    /// The Salesforce record's fields; null if there is no record.
    #[serde(default)]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "Option<std::collections::BTreeMap<FieldName, Value>>")
    )]
    pub salesforce: Option<FieldMap<F, Value>>,
    /// The Salesforce record does not match the object's filter; its fields are ignored then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filtered_out: bool,
    /// What a side that is null means, where it is not the usual: a record that agreed was deleted
    /// there, any other was never seen there.
    #[serde(default, skip_serializing_if = "BySide::is_empty")]
    pub presence: BySide<Presence>,
    /// When each side last changed, milliseconds since the epoch, by its own clock.
    #[serde(default, skip_serializing_if = "BySide::is_empty")]
    pub changed_at_ms: BySide<i64>,
    /// When each side edited its fields. A field for which that is not known on both sides is decided by the times
    /// of the record.
    #[serde(
        default = "FieldEdits::default",
        skip_serializing_if = "FieldEdits::is_empty"
    )]
    pub edited: FieldEdits<F>,
    /// Fields of Salesforce that late writes changed: ours, abandoned before they landed.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub late_writes: Vec<F>,
    /// Fields that Salesforce automation changed back, and how often.
    #[serde(default, skip_serializing_if = "FieldMap::is_empty")]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, AutomationOverride>")
    )]
    pub automation_overrides: FieldMap<F, AutomationOverride>,
    /// Edits in Salesforce that our writes replaced before they were seen, and that are not decided yet.
    #[serde(default, skip_serializing_if = "FieldMap::is_empty")]
    #[cfg_attr(
        feature = "typescript",
        ts(as = "std::collections::BTreeMap<FieldName, OverwrittenValue>")
    )]
    pub overwritten: FieldMap<F, OverwrittenValue>,
    /// Fields with a write to Salesforce under way.
    #[serde(default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<F>,
    /// What the write that is under way does; an update unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way_action: Option<WriteAction>,
    /// Milliseconds by which the two sides' clocks may differ beyond the fixed two seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock_skew_ms: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl<F: Ord> RecordFacts<F> {
    /// Returns the facts of a record of which only its external id is known.
    pub fn new(external_id: String) -> Self {
        Self {
            external_id,
            base: None,
            agreed: None,
            postgres: None,
            soft_deleted: None,
            salesforce: None,
            filtered_out: false,
            presence: BySide::default(),
            changed_at_ms: BySide::default(),
            edited: FieldEdits::default(),
            late_writes: Vec::new(),
            automation_overrides: FieldMap::default(),
            overwritten: FieldMap::default(),
            under_way: Vec::new(),
            under_way_action: None,
            clock_skew_ms: 0,
        }
    }

    /// Returns what link and writes say about a record; its sides are set with [`Self::set_side`].
    ///
    /// `field` gives the key of a field. What is stored may name fields that are no longer mapped: one
    /// without a key is left out.
    pub fn of(
        link: &SyncLink,
        intents: &[Intent],
        clock_skew_ms: i64,
        field: impl Fn(&FieldName) -> Option<F>,
    ) -> Self {
        let has_base = link.agreed || !link.base.is_empty();
        let base = link.base.iter();
        let late_writes = link.remote_state.fields.iter();
        let automation_overrides = link.automation_overrides.iter();
        let mut facts = Self {
            base: has_base.then(|| {
                base.filter_map(|(name, value)| Some((field(name)?, value.clone())))
                    .collect()
            }),
            agreed: (has_base != link.agreed).then_some(link.agreed),
            late_writes: late_writes
                .filter(|(_, remote)| remote.late_write)
                .filter_map(|(name, _)| field(name))
                .collect(),
            automation_overrides: automation_overrides
                .filter_map(|(name, one)| Some((field(name)?, one.clone())))
                .collect(),
            clock_skew_ms,
            ..Self::new(link.external_id.clone())
        };
        for intent in intents.iter().filter(|intent| is_under_way(intent)) {
            facts
                .under_way
                .extend(intent.fields.keys().filter_map(&field));
            match intent.action {
                WriteAction::Create | WriteAction::Delete => {
                    facts.under_way_action = Some(intent.action);
                }
                WriteAction::Update => {
                    facts.under_way_action.get_or_insert(WriteAction::Update);
                }
            }
        }
        facts
    }

    /// Sets what a side holds, after base and agreement are known.
    pub fn set_side(&mut self, side: Side, state: SideState<F>) {
        let present = state.presence == Presence::Present;
        let fields = present.then_some(state.fields);
        match side {
            Side::Postgres => self.postgres = fields,
            Side::Salesforce => self.salesforce = fields,
        }
        if state.presence == Presence::FilteredOut {
            self.filtered_out = true;
        } else if !present && state.presence != self.usual_absence() {
            self.presence.set(side, Some(state.presence));
        }
        self.changed_at_ms.set(side, state.changed_at_ms);
        match side {
            Side::Postgres => self.edited.postgres = state.edited,
            Side::Salesforce => self.edited.salesforce = state.edited,
        }
    }

    /// Returns the fields that a side holds, if it holds the record.
    pub fn held(&self, side: Side) -> Option<&FieldMap<F, Value>> {
        match side {
            Side::Postgres => self.postgres.as_ref(),
            Side::Salesforce => self.salesforce.as_ref(),
        }
    }

    /// Returns whether both sides have held this record and agreed since it was last deleted. Without
    /// it, "added over there" and "deleted over here" look the same.
    pub fn has_agreed(&self) -> bool {
        self.agreed.unwrap_or(self.base.is_some())
    }

    /// Returns whether a side holds the record.
    pub fn presence_on(&self, side: Side) -> Presence {
        if self.filtered_out && side == Side::Salesforce {
            return Presence::FilteredOut;
        }
        if self.held(side).is_some() {
            return Presence::Present;
        }
        match self.presence.of(side) {
            Some(Presence::Unseen) => Presence::Unseen,
            Some(Presence::Deleted) => Presence::Deleted,
            Some(Presence::Unreadable) => Presence::Unreadable,
            Some(Presence::Present | Presence::FilteredOut) | None => self.usual_absence(),
        }
    }

    /// Returns what the write under way does, if there is one.
    pub(super) fn write_under_way(&self) -> Option<WriteAction> {
        let update = (!self.under_way.is_empty()).then_some(WriteAction::Update);
        self.under_way_action.or(update)
    }

    /// Returns what it usually means that a side lacks the record.
    fn usual_absence(&self) -> Presence {
        if self.has_agreed() {
            Presence::Deleted
        } else {
            Presence::Unseen
        }
    }

    /// Returns the same under other keys; what is known of a field without one is left out.
    fn rekeyed<G: Ord>(self, key: &impl Fn(F) -> Option<G>) -> RecordFacts<G> {
        let values = |fields: FieldMap<F, Value>| fields.rekeyed(key);
        let under_way_action = self.write_under_way();
        RecordFacts {
            external_id: self.external_id,
            base: self.base.map(values),
            agreed: self.agreed,
            postgres: self.postgres.map(values),
            soft_deleted: self.soft_deleted.map(values),
            salesforce: self.salesforce.map(values),
            filtered_out: self.filtered_out,
            presence: self.presence,
            changed_at_ms: self.changed_at_ms,
            edited: FieldEdits {
                postgres: self.edited.postgres.rekeyed(key),
                salesforce: self.edited.salesforce.rekeyed(key),
            },
            late_writes: self.late_writes.into_iter().filter_map(key).collect(),
            automation_overrides: self.automation_overrides.rekeyed(key),
            overwritten: self.overwritten.rekeyed(key),
            under_way: self.under_way.into_iter().filter_map(key).collect(),
            under_way_action,
            clock_skew_ms: self.clock_skew_ms,
        }
    }
}

impl RecordFacts {
    /// Returns the facts with their fields named.
    pub fn named(self, mapping: &Mapping) -> RecordFacts<FieldName> {
        self.rekeyed(&|field| Some(mapping.name(field).clone()))
    }
}

impl RecordFacts<FieldName> {
    /// Returns the facts of the mapped fields.
    pub fn placed(self, mapping: &Mapping) -> RecordFacts {
        self.rekeyed(&|name| mapping.field(&name))
    }

    /// Plans the record by this mapping.
    pub fn plan(self, mapping: &Mapping) -> RecordPlan<FieldName> {
        plan_record(mapping, &self.placed(mapping)).named(mapping)
    }
}

/// Returns whether the write may still change the record.
fn is_under_way(intent: &Intent) -> bool {
    match intent.state {
        IntentState::Open | IntentState::Unknown => true,
        IntentState::Applied
        | IntentState::Confirmed
        | IntentState::Refused
        | IntentState::Abandoned => false,
    }
}
