//! The inputs of one record's plan, in a form that can be stored and planned again.
//!
//! A [`RecordState`] borrows from the engine; these facts own their data. The journal stores them with each
//! decision, and the planner in the browser takes them as its input. So any past decision can be repeated,
//! with the same rules or with others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::ObjectSync;
use crate::model::SourceSystem;
use crate::model::ids::{FencingToken, FieldName, IntentId, RecordId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{AutomationOverride, Presence};
use crate::model::value::{Payload, Value};

use super::record::{RecordPlan, RecordState, SideState, is_under_way, plan_record};

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
    pub fn of(&self, side: SourceSystem) -> Option<T> {
        match side {
            SourceSystem::Postgres => self.postgres,
            SourceSystem::Salesforce => self.salesforce,
        }
    }

    fn is_empty(&self) -> bool {
        self.postgres.is_none() && self.salesforce.is_none()
    }

    fn set(&mut self, side: SourceSystem, value: Option<T>) {
        match side {
            SourceSystem::Postgres => self.postgres = value,
            SourceSystem::Salesforce => self.salesforce = value,
        }
    }
}

/// Everything but the rules that decides what one record needs next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct RecordFacts {
    /// The external id the record is known by.
    pub external_id: String,
    /// Per field, the last value both sides agreed on; null for a record that never agreed.
    #[serde(default)]
    pub base: Option<Payload>,
    /// Both sides have held the record and agreed, where that is not what the base says: by itself,
    /// a record that has a base has agreed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<bool>,
    /// The row's fields; null if there is no row.
    #[serde(default)]
    pub postgres: Option<Payload>,
    /// The Salesforce record's fields; null if there is no record.
    #[serde(default)]
    pub salesforce: Option<Payload>,
    /// The Salesforce record lies outside the object's filter; its fields do not count then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub filtered_out: bool,
    /// What a side that is null means, where it is not the usual: a record that agreed was deleted
    /// there, any other was never seen there.
    #[serde(default, skip_serializing_if = "BySide::is_empty")]
    pub presence: BySide<Presence>,
    /// When each side last changed, milliseconds since the epoch, by its own clock.
    #[serde(default, skip_serializing_if = "BySide::is_empty")]
    pub changed_at_ms: BySide<i64>,
    /// Fields of Salesforce that late writes changed: ours, abandoned before they landed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late_writes: Vec<FieldName>,
    /// Fields that Salesforce automation changed back, and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    /// Fields with a write to Salesforce under way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under_way: Vec<FieldName>,
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

impl RecordFacts {
    /// Returns the facts of a state: planning them gives what planning the state gives.
    pub fn of(state: &RecordState<'_>) -> Self {
        let has_base = state.agreed || !state.base.is_empty();
        let mut facts = Self {
            external_id: state.external_id.to_owned(),
            base: has_base.then(|| state.base.clone()),
            agreed: (has_base != state.agreed).then_some(state.agreed),
            late_writes: state.late_writes.clone(),
            automation_overrides: state.automation_overrides.clone(),
            clock_skew_ms: state.clock_skew_ms,
            ..Self::default()
        };
        for intent in state.open_intents.iter().filter(|one| is_under_way(one)) {
            facts.under_way.extend(intent.fields.keys().cloned());
            match intent.action {
                WriteAction::Create | WriteAction::Delete => {
                    facts.under_way_action = Some(intent.action);
                }
                WriteAction::Update => {
                    facts.under_way_action.get_or_insert(WriteAction::Update);
                }
            }
        }
        facts.keep_side(SourceSystem::Postgres, &state.postgres);
        facts.keep_side(SourceSystem::Salesforce, &state.salesforce);
        facts
    }

    /// Plans the record with these rules.
    pub fn plan(&self, policy: &ObjectSync) -> RecordPlan {
        self.clone().into_plan(policy).1
    }

    /// Plans the record with these rules, and returns its external id with the plan. Consumes the values: for
    /// thousands of records, copying them would take much of the time.
    pub fn into_plan(mut self, policy: &ObjectSync) -> (String, RecordPlan) {
        let nothing = Payload::new();
        let postgres = self.postgres.take();
        let salesforce = self.salesforce.take();
        let plan = plan_record(&RecordState {
            policy,
            external_id: &self.external_id,
            base: self.base.as_ref().unwrap_or(&nothing),
            agreed: self.has_agreed(),
            postgres: self.side(SourceSystem::Postgres, postgres),
            salesforce: self.side(SourceSystem::Salesforce, salesforce),
            late_writes: self.late_writes.clone(),
            automation_overrides: &self.automation_overrides,
            open_intents: &self.intents(),
            clock_skew_ms: self.clock_skew_ms,
        });
        (self.external_id, plan)
    }

    /// Returns the fields of a side, if it has the record.
    pub fn held(&self, side: SourceSystem) -> Option<&Payload> {
        match side {
            SourceSystem::Postgres => self.postgres.as_ref(),
            SourceSystem::Salesforce => self.salesforce.as_ref(),
        }
    }

    fn has_agreed(&self) -> bool {
        self.agreed.unwrap_or(self.base.is_some())
    }

    /// Returns what it usually means if a side lacks the record.
    fn usual_absence(&self) -> Presence {
        if self.has_agreed() {
            Presence::Deleted
        } else {
            Presence::Unseen
        }
    }

    fn keep_side(&mut self, side: SourceSystem, state: &SideState) {
        let present = state.presence == Presence::Present;
        let fields = present.then(|| state.fields.clone());
        match side {
            SourceSystem::Postgres => self.postgres = fields,
            SourceSystem::Salesforce => self.salesforce = fields,
        }
        if state.presence == Presence::FilteredOut {
            self.filtered_out = true;
        } else if !present && state.presence != self.usual_absence() {
            self.presence.set(side, Some(state.presence));
        }
        self.changed_at_ms.set(side, state.changed_at_ms);
    }

    /// Returns a side with these fields, or without the record.
    fn side(&self, side: SourceSystem, held: Option<Payload>) -> SideState {
        if self.filtered_out && side == SourceSystem::Salesforce {
            return SideState {
                presence: Presence::FilteredOut,
                fields: Payload::new(),
                changed_at_ms: self.changed_at_ms.of(side),
            };
        }
        let absent = || match self.presence.of(side) {
            Some(Presence::Unseen) => Presence::Unseen,
            Some(Presence::Deleted) => Presence::Deleted,
            Some(Presence::Present | Presence::FilteredOut) | None => self.usual_absence(),
        };
        SideState {
            presence: held.as_ref().map_or_else(absent, |_| Presence::Present),
            fields: held.unwrap_or_default(),
            changed_at_ms: self.changed_at_ms.of(side),
        }
    }

    fn intents(&self) -> Vec<Intent> {
        if self.under_way.is_empty() && self.under_way_action.is_none() {
            return Vec::new();
        }
        let none = Uuid::nil();
        let mut fields = Payload::new();
        for field in &self.under_way {
            fields.insert(field.clone(), Value::Null);
        }
        vec![Intent {
            intent_id: IntentId(none),
            record_id: RecordId(none),
            fencing_token: FencingToken(0),
            action: self.under_way_action.unwrap_or(WriteAction::Update),
            fields,
            state: IntentState::Open,
            echoed: Default::default(),
        }]
    }
}
