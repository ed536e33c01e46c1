//! Plans locked records, and converts between the types of the planner and of the store.
//!
//! Pure: the store calls it inside its transaction, with exactly the rows that it has locked.

mod automation;
mod intent;
mod obstacle;
mod reasons;
mod row;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::config::{ObjectSync, Owner};
use crate::model::Side;
use crate::model::fields::FieldId;
use crate::model::ids::SalesforceId;
use crate::model::link::Presence;
use crate::model::value::Value;
use crate::planner::facts::{RecordFacts, SideState};
use crate::planner::mapping::Mapping;
use crate::planner::policy::freshness::{Freshness, must_be_read};
use crate::planner::record::{RecordPlan, Rule, plan_record};
use crate::ports::apply_store::{PlanRules, PlannedRecord, PostgresSettlement};
use crate::ports::record::{
    LeaseEnd, LeasedTask, MISSING_PARENT, ObservedRecord, ParkReason, PostgresRow, Withheld,
};
use crate::ports::{MappedObject, RecordPlanner};

use obstacle::refresh_first;
use reasons::{not_writeable, unreadable_record};

use super::sides::{
    Invalid, MappedField, mapped_fields, overwritten, postgres_side, salesforce_side,
    unknown_lookup, unreadable_fields,
};

/// Plans the records of one object.
pub(crate) struct ObjectPlanner<'a> {
    mapped: &'a MappedObject,
    /// The rules, kept with each plan. Salesforce owns every field that our user may not write.
    rules: Arc<PlanRules>,
    fields: Vec<MappedField>,
    /// How recent the remote state of a record is that was not read for its plan.
    freshness: Freshness,
}

impl<'a> ObjectPlanner<'a> {
    pub(crate) fn new(mapped: &'a MappedObject) -> Self {
        let rules = PlanRules::of(writeable_rules(mapped));
        Self {
            mapped,
            fields: mapped_fields(mapped, &rules.mapping),
            rules: Arc::new(rules),
            freshness: Freshness::Streamed,
        }
    }

    /// Sets how recent the remote states are.
    pub(crate) fn with_freshness(self, freshness: Freshness) -> Self {
        Self { freshness, ..self }
    }

    pub(crate) fn fields(&self) -> &[MappedField] {
        &self.fields
    }

    fn mapping(&self) -> &Mapping {
        &self.rules.mapping
    }

    /// Plans a record from these two sides.
    pub(crate) fn plan_sides(
        &self,
        observed: &ObservedRecord,
        postgres: SideState,
        salesforce: SideState,
    ) -> RecordPlan {
        let facts = self.facts(observed, postgres, salesforce);
        plan_record(self.mapping(), &facts)
    }

    /// Returns what is known of a record: what its plan is made from.
    fn facts(
        &self,
        observed: &ObservedRecord,
        postgres: SideState,
        salesforce: SideState,
    ) -> RecordFacts {
        let mut facts = RecordFacts::of(
            &observed.known.link,
            &observed.intents,
            observed.clock_skew_ms,
            |name| self.mapping().field(name),
        );
        let is_marked = postgres.presence == Presence::Deleted && !observed.rows.is_empty();
        facts.soft_deleted = is_marked.then(|| postgres.fields.clone());
        facts.set_side(Side::Postgres, postgres);
        facts.set_side(Side::Salesforce, salesforce);
        let remote_state = &observed.known.link.remote_state;
        facts.overwritten = overwritten(&self.fields, remote_state, &observed.parents);
        facts
    }

    fn planned(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
    ) -> Result<PlannedRecord, LeaseEnd> {
        if let Some(end) = self.obstacle(lease, observed) {
            return Err(end);
        }
        let link = &observed.known.link;
        let (mut postgres, invalid) = postgres_side(self.mapped, &self.fields, observed)
            .map_err(|nameless| LeaseEnd::park(nameless.park_reason(self.mapped)))?;
        let (mut salesforce, unknown) =
            salesforce_side(&self.fields, &link.remote_state, &observed.parents);
        let mut awaits = match unknown.is_empty() {
            true => Vec::new(),
            false => unknown_parents(&self.fields, observed),
        };
        if !unknown.is_empty()
            && observed.rows.is_empty()
            && let Some(end) = Self::wait_for_parents(lease)
        {
            return Err(end.awaiting(awaits));
        }
        let mut unreadable = unreadable_fields(self.mapped, &link.remote_state);
        unreadable.extend(
            unknown
                .iter()
                .map(|field| unknown_lookup(self.mapped, field)),
        );
        for side in [&mut postgres, &mut salesforce] {
            self.leave_out(side, &unreadable);
        }
        let facts = self.facts(observed, postgres, salesforce);
        let plan = plan_record(self.mapping(), &facts);
        if plan.explanation.record == Rule::Unreadable
            && (observed.known.link.agreed || facts.postgres.is_some())
        {
            return Err(LeaseEnd::park(unreadable_record(
                &self.mapped.sync,
                observed,
            )));
        }
        if let Some(end) = self.missing_row(lease, observed, &plan) {
            return Err(end);
        }
        let freshness = if lease.needs_refresh {
            Freshness::JustRead
        } else {
            self.freshness
        };
        if must_be_read(self.mapping(), &plan, &facts, freshness) {
            return Err(refresh_first(lease));
        }
        let mut withheld = self.withheld(observed, &plan, &invalid);
        withheld.extend(unreadable);
        awaits.extend(refused_parents(observed));
        let intent = self.intent(lease, &plan, &withheld);
        let intent = intent.map_err(LeaseEnd::park)?;
        Ok(PlannedRecord {
            postgres: self.row_write(observed, &plan),
            automation_overrides: self.automation_overrides(observed, &plan, &facts),
            intent: self.exchange_external_id(lease, observed, intent)?,
            plan,
            facts,
            rules: Arc::clone(&self.rules),
            withheld: Withheld {
                reasons: withheld,
                awaits,
            },
        })
    }

    /// Removes the fields that cannot be read: what is known of them may be out of date.
    fn leave_out(&self, side: &mut SideState, unreadable: &[ParkReason]) {
        side.fields.retain(|id, _| {
            let name = Some(self.mapping().name(*id));
            unreadable
                .iter()
                .all(|reason| reason.field.as_ref() != name)
        });
    }

    /// Returns the reasons why fields of the plan cannot be written to Salesforce: the value is invalid for the
    /// field, our user has lost the right to write it, or Salesforce has just refused it.
    fn withheld(
        &self,
        observed: &ObservedRecord,
        plan: &RecordPlan,
        invalid: &[Invalid],
    ) -> Vec<ParkReason> {
        let Some(values) = plan.to_salesforce.fields() else {
            return Vec::new();
        };
        let invalid = invalid
            .iter()
            .filter(|one| values.contains_key(&one.id))
            .map(|one| one.park_reason(self.mapped));
        let refused = observed
            .refused
            .iter()
            .filter(|one| {
                let field = self.mapping().field(&one.field);
                field.and_then(|field| values.get(&field)) == Some(&one.value)
            })
            .map(|one| one.reason.clone());
        let read_only = self
            .fields
            .iter()
            .filter(|field| field.became_read_only && values.contains_key(&field.id))
            .map(|field| not_writeable(&self.mapped.sync, &field.name));
        invalid.chain(read_only).chain(refused).collect()
    }

    fn mapped_field(&self, id: FieldId) -> Option<&MappedField> {
        self.fields.iter().find(|field| field.id == id)
    }
}

impl RecordPlanner for ObjectPlanner<'_> {
    fn plan(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
    ) -> Result<PlannedRecord, LeaseEnd> {
        // A panic in one record's plan must not roll back the other records of the transaction.
        catch_unwind(AssertUnwindSafe(|| self.planned(lease, observed))).unwrap_or_else(|_| {
            Err(LeaseEnd::park(ParkReason {
                code: "panic".to_owned(),
                field: None,
                message:
                    "planning the record failed; this is a fault of the engine, please report it"
                        .to_owned(),
            }))
        })
    }

    fn settle_postgres(
        &self,
        observed: &ObservedRecord,
        planned: &PlannedRecord,
        returned: &PostgresRow,
    ) -> PostgresSettlement {
        self.settled_row(observed, planned, returned)
    }
}

/// Returns the external ids of parents that Salesforce did not know in earlier attempts.
fn refused_parents(observed: &ObservedRecord) -> impl Iterator<Item = String> {
    observed
        .refused
        .iter()
        .filter(|one| one.reason.code == MISSING_PARENT)
        .filter_map(|one| match &one.value {
            Value::Text(parent) => Some(parent.clone()),
            Value::Null | Value::Boolean(_) | Value::Number(_) => None,
        })
}

/// Returns the Salesforce ids of the record's parents that have no link yet.
fn unknown_parents(fields: &[MappedField], observed: &ObservedRecord) -> Vec<String> {
    let seen = &observed.known.link.remote_state.fields;
    fields
        .iter()
        .filter(|field| field.is_lookup)
        .filter_map(|field| match &seen.get(&field.name)?.value {
            Value::Text(id) => SalesforceId::parse(id).ok(),
            Value::Null | Value::Boolean(_) | Value::Number(_) => None,
        })
        .filter(|id| !observed.parents.contains_key(id))
        .map(|id| id.to_string())
        .collect()
}

/// Returns the rules with every shared field that our user could never update (formulas, roll-ups, fields without
/// edit access) owned by Salesforce: an edit in Postgres could never arrive. Where it has lost the right, edits wait.
fn writeable_rules(mapped: &MappedObject) -> ObjectSync {
    let mut rules = (*mapped.sync).clone();
    for (name, field) in &mut rules.fields {
        let schema = mapped.schema.fields.get(name);
        let is_read_only = schema.is_some_and(|one| !one.updateable && !one.became_read_only());
        if is_read_only && field.owner == Owner::Shared {
            field.owner = Owner::Salesforce;
        }
    }
    rules
}

#[cfg(test)]
mod tests;
