//! Plans locked records, and converts between the types of the planner and of the store.
//!
//! Pure: the store calls it inside its transaction, with exactly the rows that it has locked.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use uuid::Uuid;

use crate::config::{ObjectSync, Owner};
use crate::model::Side;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::ids::{FencingToken, FieldName, IntentId, RecordId, SalesforceId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::{AutomationOverride, Presence};
use crate::model::value::{Payload, Value};
use crate::planner::facts::{RecordFacts, SideState};
use crate::planner::mapping::Mapping;
use crate::planner::policy::freshness::{Freshness, must_be_read};
use crate::planner::policy::{Cause, NextStep, Tries, UNREADABLE_RECORD, decide, wait_ms};
use crate::planner::record::{Confirmation, RecordPlan, Rule, SideWrite, plan_record};
use crate::ports::apply_store::{PlanRules, PlannedPostgres, PlannedRecord, PostgresSettlement};
use crate::ports::record::{
    LeaseEnd, LeasedTask, MISSING_PARENT, ObservedRecord, ParkReason, PostgresRow,
};
use crate::ports::{MappedObject, RecordPlanner};

use super::sides::{
    Invalid, MappedField, is_soft_deleted, mapped_fields, overwritten, postgres_side, row_content,
    salesforce_side, unknown_lookup, unreadable_fields, wire_columns,
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
            .map_err(|unplannable| LeaseEnd::park(unplannable.park_reason(self.mapped)))?;
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
            side.fields.retain(|id, _| {
                let name = Some(self.mapping().name(*id));
                unreadable
                    .iter()
                    .all(|reason| reason.field.as_ref() != name)
            });
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
            withheld,
            awaits,
        })
    }

    /// Returns the reasons why fields of the plan cannot be written to Salesforce: the value is invalid for
    /// the field, or Salesforce has just refused it.
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
        invalid.chain(refused).collect()
    }

    /// Returns how the lease ends if the record cannot be planned now.
    fn obstacle(&self, lease: &LeasedTask, observed: &ObservedRecord) -> Option<LeaseEnd> {
        if observed.row_locked {
            let reason = "another transaction has locked the row";
            return wait(lease, Cause::RowBusy, reason);
        }
        if lost_too_many_workers(lease) {
            return Some(LeaseEnd::park(worker_lost()));
        }
        if let [first, second, ..] = observed.rows.as_slice() {
            return Some(LeaseEnd::park(duplicate_key(
                &self.mapped.sync,
                first,
                second,
            )));
        }
        observed
            .intents
            .iter()
            .find_map(|intent| match intent.state {
                IntentState::Unknown => Some(refresh_first(lease)),
                IntentState::Open => {
                    let reason = "a write of the record is under way";
                    let wait = wait(lease, Cause::InFlight, reason);
                    Some(wait.unwrap_or_else(|| refresh_first(lease)))
                }
                IntentState::Applied
                | IntentState::Confirmed
                | IntentState::Refused
                | IntentState::Abandoned => None,
            })
    }

    /// Returns a wait for the parents of a row that does not exist yet: its table may not take it without them, and
    /// they usually come soon. After some waits it is written without those lookups.
    fn wait_for_parents(lease: &LeasedTask) -> Option<LeaseEnd> {
        let reason = "the record it points to is not known yet";
        wait(lease, Cause::Lookup, reason)
    }

    /// Returns the plan's write to the row, in wire form.
    fn row_write(&self, observed: &ObservedRecord, plan: &RecordPlan) -> Option<PlannedPostgres> {
        match &plan.to_postgres {
            SideWrite::None => None,
            SideWrite::Create(values) => {
                let mut columns = wire_columns(&self.fields, values);
                match observed.rows.first() {
                    // The row still exists, marked as deleted: the mark is removed.
                    Some(row) if is_soft_deleted(&self.mapped.sync, row) => {
                        if let Some(column) = &self.mapped.sync.deletes.column {
                            columns.insert(column.as_str().to_owned(), serde_json::Value::Null);
                        }
                        Some(PlannedPostgres::Update(columns))
                    }
                    Some(_) | None => Some(PlannedPostgres::Insert(columns)),
                }
            }
            SideWrite::Update(values) => {
                Some(PlannedPostgres::Update(wire_columns(&self.fields, values)))
            }
            SideWrite::Delete => Some(PlannedPostgres::Delete),
            SideWrite::SoftDelete => Some(PlannedPostgres::SoftDelete),
        }
    }

    /// Returns the plan's write to Salesforce as an intent, without withheld fields and without fields that
    /// our user may not write. If no field of an update remains, there is no intent; if none of them was
    /// withheld, it fails with the reason.
    fn intent(
        &self,
        lease: &LeasedTask,
        plan: &RecordPlan,
        withheld: &[ParkReason],
    ) -> Result<Option<Intent>, ParkReason> {
        let nothing = FieldMap::default();
        let (action, values) = match &plan.to_salesforce {
            SideWrite::None | SideWrite::SoftDelete => return Ok(None),
            SideWrite::Create(values) => (WriteAction::Create, values),
            SideWrite::Update(values) => (WriteAction::Update, values),
            SideWrite::Delete => (WriteAction::Delete, &nothing),
        };
        let is_withheld = |name| {
            withheld
                .iter()
                .any(|reason| reason.field.as_ref() == Some(name))
        };
        let fields: Payload = values
            .iter()
            .filter(|(field, _)| self.may_write(**field, action))
            .map(|(field, value)| (self.mapping().name(*field), value))
            .filter(|(name, _)| !is_withheld(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let first = values.keys().map(|field| self.mapping().name(*field)).min();
        if let (WriteAction::Update, true, Some(field)) = (action, fields.is_empty(), first) {
            return match withheld {
                [] => Err(not_writeable(&self.mapped.sync, field)),
                [_, ..] => Ok(None),
            };
        }
        Ok(Some(Intent {
            intent_id: intent_id(lease.record_id, lease.token),
            record_id: lease.record_id,
            fencing_token: lease.token,
            action,
            fields,
            state: IntentState::Open,
            echoed: BTreeSet::new(),
        }))
    }

    /// Records that exchange their external ids in Salesforce first give up their own: it is cleared, and the next
    /// write sends the new one. Other fields are sent at once.
    fn exchange_external_id(
        &self,
        lease: &LeasedTask,
        observed: &ObservedRecord,
        intent: Option<Intent>,
    ) -> Result<Option<Intent>, LeaseEnd> {
        let mut intent = match intent {
            Some(intent) if observed.external_id_in_use => intent,
            intent => return Ok(intent),
        };
        let field = &self.mapped.sync.external_id.field;
        let schema = self.mapped.schema.fields.get(field);
        let sent = match (intent.action, intent.fields.get(field)) {
            (WriteAction::Update, Some(Value::Text(sent))) => sent.clone(),
            (WriteAction::Update, Some(sent @ Value::Number(_))) => sent.to_json().to_string(),
            (WriteAction::Update | WriteAction::Create | WriteAction::Delete, _) => {
                return Ok(Some(intent));
            }
        };
        if !schema.is_some_and(|schema| schema.nillable) {
            return Ok(Some(intent));
        }
        let there = observed.known.link.remote_state.fields.get(field);
        if there.is_some_and(|there| there.value != Value::Null) {
            intent.fields.insert(field.clone(), Value::Null);
            return Ok(Some(intent));
        }
        let reason = "another record still has its external id in Salesforce";
        match wait(lease, Cause::ValueTaken, reason) {
            Some(end) => Err(end.awaiting(vec![sent])),
            // Salesforce names the record that has it.
            None => Ok(Some(intent)),
        }
    }

    fn mapped_field(&self, id: FieldId) -> Option<&MappedField> {
        self.fields.iter().find(|field| field.id == id)
    }

    fn may_write(&self, field: FieldId, action: WriteAction) -> bool {
        self.mapped_field(field).is_some_and(|field| match action {
            WriteAction::Create => field.createable,
            WriteAction::Update => field.updateable,
            WriteAction::Delete => false,
        })
    }

    /// Counts the writes that repeat the owner's value because Salesforce changed it back. Forgets the count
    /// of a field that has changed in Postgres since.
    fn automation_overrides(
        &self,
        observed: &ObservedRecord,
        plan: &RecordPlan,
        facts: &RecordFacts,
    ) -> BTreeMap<FieldName, AutomationOverride> {
        let held = |side, field: FieldId| facts.held(side).and_then(|fields| fields.get(&field));
        let mut automation_overrides = observed.known.link.automation_overrides.clone();
        automation_overrides.retain(|name, automation_override| {
            let field = self.mapping().field(name);
            field.and_then(|field| held(Side::Postgres, field)) == Some(&automation_override.sent)
        });
        let SideWrite::Update(sent) = &plan.to_salesforce else {
            return automation_overrides;
        };
        for (field, value) in sent.iter() {
            let base = facts.base.as_ref().and_then(|base| base.get(field));
            let stored = held(Side::Salesforce, *field).filter(|stored| *stored != value);
            if let (true, Some(stored)) = (base == Some(value), stored) {
                let name = self.mapping().name(*field);
                let count = automation_overrides
                    .get(name)
                    .map_or(0, |automation_override| automation_override.count);
                automation_overrides.insert(
                    name.clone(),
                    AutomationOverride {
                        count: count.saturating_add(1),
                        sent: value.clone(),
                        stored: stored.clone(),
                    },
                );
            }
        }
        automation_overrides
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
        let PlannedRecord {
            plan,
            postgres: Some(write),
            ..
        } = planned
        else {
            return PostgresSettlement {
                base: Payload::new(),
                altered: false,
            };
        };
        // Both sides had the values that were sent, if only briefly, so they become the base. A trigger's
        // changes to them are a later edit in Postgres.
        let base: Payload = plan
            .base_advance
            .iter()
            .filter(|(field, advance)| {
                advance.after == Confirmation::Postgres && self.was_sent(**field, write)
            })
            .map(|(field, advance)| {
                let name = self.mapping().name(*field).clone();
                (name, advance.value.clone())
            })
            .collect();
        let holds = row_content(&self.fields, returned).values;
        let mut base = base;
        base.extend(self.defaults(plan, write, &holds));
        PostgresSettlement {
            base,
            altered: self.is_altered(observed, (plan, write), &holds),
        }
    }
}

impl ObjectPlanner<'_> {
    /// Returns the values that a new row has instead of those that Postgres refuses: they are no edits.
    fn defaults(
        &self,
        plan: &RecordPlan,
        write: &PlannedPostgres,
        holds: &FieldMap<FieldId, Value>,
    ) -> Payload {
        let SideWrite::Create(values) = &plan.to_postgres else {
            return Payload::new();
        };
        let left_out = values.keys().filter(|field| !self.was_sent(**field, write));
        left_out
            .filter_map(|field| {
                let name = self.mapping().name(*field).clone();
                Some((name, holds.get(field)?.clone()))
            })
            .collect()
    }

    /// Returns false if the field's column was left out of the write because Postgres refuses its value.
    fn was_sent(&self, field: FieldId, write: &PlannedPostgres) -> bool {
        write.columns().is_none_or(|columns| {
            self.mapped_field(field)
                .is_some_and(|field| columns.contains_key(field.column.as_str()))
        })
    }

    /// Returns true if the row has a value that is neither the old one nor the one that was sent.
    fn is_altered(
        &self,
        observed: &ObservedRecord,
        (plan, write): (&RecordPlan, &PlannedPostgres),
        holds: &FieldMap<FieldId, Value>,
    ) -> bool {
        let (expected, created) = match &plan.to_postgres {
            SideWrite::Create(values) => (values, true),
            SideWrite::Update(values) => (values, false),
            SideWrite::None | SideWrite::Delete | SideWrite::SoftDelete => return false,
        };
        let before = observed
            .rows
            .first()
            .map(|row| row_content(&self.fields, row).values)
            .unwrap_or_default();
        holds.iter().any(|(field, held)| {
            let planned = expected.get(field);
            let sent = planned.filter(|_| self.was_sent(*field, write));
            if created && planned.is_some() && sent.is_none() {
                return false;
            }
            let wanted = sent.or_else(|| before.get(field));
            match wanted {
                Some(wanted) => wanted != held,
                // A default of a new row is a change; null is not.
                None => created && !is_blank(held),
            }
        })
    }
}

/// Returns the wait that follows from what is in the way, or `None` if the record must not wait any longer.
fn wait(lease: &LeasedTask, cause: Cause, reason: &str) -> Option<LeaseEnd> {
    let step = decide(cause, Tries::of(lease.record_id, &lease.attempts));
    LeaseEnd::after(step, reason)
}

/// Returns a refresh: at once the first time, later if refreshes do not help.
fn refresh_first(lease: &LeasedTask) -> LeaseEnd {
    let cause = Cause::Changed;
    let delay_ms = wait_ms(cause, Tries::of(lease.record_id, &lease.attempts));
    LeaseEnd::refresh(delay_ms, Some(cause), "it is refreshed first")
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

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Boolean(false))
}

/// Returns the rules with every shared field that our user cannot update (formulas, roll-ups, fields
/// without edit access) owned by Salesforce: an edit in Postgres could never arrive.
fn writeable_rules(mapped: &MappedObject) -> ObjectSync {
    let mut rules = (*mapped.sync).clone();
    for (name, field) in &mut rules.fields {
        let schema = mapped.schema.fields.get(name);
        if schema.is_some_and(|schema| !schema.updateable) && field.owner == Owner::Shared {
            field.owner = Owner::Salesforce;
        }
    }
    rules
}

/// Returns the id of the one write that a record can make under a lease.
fn intent_id(record: RecordId, token: FencingToken) -> IntentId {
    IntentId(Uuid::new_v5(
        &record.0,
        format!("intent:{}", token.0).as_bytes(),
    ))
}

/// Returns whether the workers that leased the record ended too often without a result.
fn lost_too_many_workers(lease: &LeasedTask) -> bool {
    let tries = Tries::of(lease.record_id, &lease.attempts);
    lease.attempts.of(Cause::Abandoned) > 0 && decide(Cause::Abandoned, tries) == NextStep::Park
}

fn worker_lost() -> ParkReason {
    ParkReason {
        code: "worker_lost".to_owned(),
        field: None,
        message: "the workers that took the record ended each time before its work was done: look in their \
                  logs for the cause (memory, time limit), then replay it"
            .to_owned(),
    }
}

fn duplicate_key(sync: &ObjectSync, first: &PostgresRow, second: &PostgresRow) -> ParkReason {
    let name = |row: &PostgresRow| row.external_id.clone().unwrap_or_default();
    ParkReason {
        code: "duplicate_key".to_owned(),
        field: Some(sync.external_id.field.clone()),
        message: format!(
            "two rows of {}.{} are one record for Salesforce: {:?} and {:?} in column {}. Change or \
             delete one of them; it is tried again by itself",
            sync.table.schema,
            sync.table.table,
            name(first),
            name(second),
            sync.external_id.column,
        ),
    }
}

fn unreadable_record(sync: &ObjectSync, observed: &ObservedRecord) -> ParkReason {
    let object = &sync.object;
    let id = observed.known.link.salesforce_id.as_ref();
    ParkReason {
        code: UNREADABLE_RECORD.to_owned(),
        field: None,
        message: format!(
            "Salesforce does not return {object} {} to our user any more, and nothing shows that it was deleted. \
             Nothing is written on either side. If the user should see it, grant View All on {object} and \
             replay; if it was deleted, run `syncline deletes approve {object} --unreadable`",
            id.map_or("", SalesforceId::as_str)
        ),
    }
}

fn not_writeable(sync: &ObjectSync, field: &FieldName) -> ParkReason {
    ParkReason {
        code: "not_writeable".to_owned(),
        field: Some(field.clone()),
        message: format!(
            "{}.{field} cannot be updated by the integration user. Grant edit access, or set owner = \
             \"salesforce\" for it in syncline.toml",
            sync.object
        ),
    }
}

#[cfg(test)]
mod tests;
