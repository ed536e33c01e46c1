//! Plans locked records, and converts between the types of the planner and of the store.
//!
//! Pure: the store calls it inside its transaction, with exactly the rows that it has locked.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use uuid::Uuid;

use crate::config::{ObjectSync, Owner};
use crate::model::ids::{FencingToken, FieldName, IntentId, RecordId};
use crate::model::intent::{Intent, IntentState, WriteAction};
use crate::model::link::AutomationOverride;
use crate::model::value::{Payload, Value};
use crate::planner::facts::RecordFacts;
use crate::planner::policy::{NextStep, Obstacle, Tries, decide};
use crate::planner::record::{
    Confirmation, RecordPlan, RecordState, SideState, SideWrite, plan_record,
};
use crate::planner::route::ApplyLane;
use crate::ports::apply_store::{
    NewIntent, PlanEvidence, PlanRules, PlannedPostgres, PostgresSettlement, RecordDecision,
};
use crate::ports::record::{ObservedRecord, ParkReason, PostgresRow};
use crate::ports::{MappedObject, RecordPlanner};

use super::sides::{
    Invalid, MappedField, Unplannable, is_soft_deleted, mapped_fields, postgres_side, row_content,
    salesforce_side, unreadable_fields, wire_columns,
};

/// Plans the records of one object.
pub(crate) struct ObjectPlanner<'a> {
    mapped: &'a MappedObject,
    /// The mapping. Salesforce owns every field that our user may not write.
    policy: ObjectSync,
    /// The same, kept with each plan.
    rules: Arc<PlanRules>,
    fields: Vec<MappedField>,
}

impl<'a> ObjectPlanner<'a> {
    pub(crate) fn new(mapped: &'a MappedObject) -> Self {
        let fields = mapped_fields(mapped);
        let policy = writeable_policy(&mapped.sync, &fields);
        Self {
            mapped,
            rules: Arc::new(PlanRules::of(&policy)),
            policy,
            fields,
        }
    }

    pub(crate) fn fields(&self) -> &[MappedField] {
        &self.fields
    }

    /// Plans a record from these two sides.
    pub(crate) fn plan_sides(
        &self,
        observed: &ObservedRecord,
        postgres: SideState,
        salesforce: SideState,
    ) -> RecordPlan {
        self.plan_and_keep(observed, postgres, salesforce).0
    }

    /// Plans a record, and returns the evidence of the plan.
    fn plan_and_keep(
        &self,
        observed: &ObservedRecord,
        postgres: SideState,
        salesforce: SideState,
    ) -> (RecordPlan, RecordFacts) {
        let link = &observed.link;
        let open: Vec<Intent> = observed
            .intents
            .iter()
            .filter(is_unsettled)
            .cloned()
            .collect();
        let state = RecordState {
            policy: &self.policy,
            external_id: &link.external_id,
            base: &link.base,
            agreed: link.agreed,
            postgres,
            salesforce,
            late_writes: link
                .remote_state
                .fields
                .iter()
                .filter(|(_, field)| field.late_write)
                .map(|(name, _)| name.clone())
                .collect(),
            automation_overrides: &link.automation_overrides,
            open_intents: &open,
            clock_skew_ms: observed.clock_skew_ms,
        };
        (plan_record(&state), RecordFacts::of(&state))
    }

    fn decision(&self, observed: &ObservedRecord) -> RecordDecision {
        if let Some(decision) = self.obstacle(observed) {
            return decision;
        }
        let sides = postgres_side(self.mapped, &self.fields, observed).and_then(|postgres| {
            let link = &observed.link;
            let salesforce = salesforce_side(&self.fields, &link.remote_state, &observed.parents)?;
            Ok((postgres, salesforce))
        });
        let ((mut postgres, invalid), mut salesforce) = match sides {
            Ok(sides) => sides,
            Err(unplannable) => return self.unplannable(observed, &unplannable),
        };
        let unreadable = unreadable_fields(self.mapped, &observed.link.remote_state);
        for field in unreadable.iter().filter_map(|reason| reason.field.as_ref()) {
            postgres.fields.remove(field);
            salesforce.fields.remove(field);
        }
        let postgres_now = postgres.fields.clone();
        let salesforce_now = salesforce.fields.clone();
        let (plan, facts) = self.plan_and_keep(observed, postgres, salesforce);
        let mut withheld = self.withheld(observed, &plan, &invalid);
        withheld.extend(unreadable);
        let intent = match self.intent(observed, &plan, &withheld) {
            Ok(intent) => intent,
            Err(reason) => return RecordDecision::Park(reason),
        };
        RecordDecision::Planned {
            postgres: self.row_write(observed, &plan),
            automation_overrides: self.automation_overrides(
                observed,
                &plan,
                &postgres_now,
                &salesforce_now,
            ),
            intent,
            plan: Box::new(plan),
            evidence: Box::new(PlanEvidence {
                facts,
                rules: Arc::clone(&self.rules),
            }),
            withheld,
        }
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
            .filter(|one| values.contains_key(&one.field))
            .map(|one| one.park_reason(self.mapped));
        let refused = observed
            .refused
            .iter()
            .filter(|one| values.get(&one.field) == Some(&one.value))
            .map(|one| one.reason.clone());
        invalid.chain(refused).collect()
    }

    /// Returns why the record cannot be planned now, if it cannot.
    fn obstacle(&self, observed: &ObservedRecord) -> Option<RecordDecision> {
        if observed.row_locked {
            return wait(
                observed,
                Obstacle::RowLocked,
                "another transaction has locked the row",
            );
        }
        if let [first, second, ..] = observed.rows.as_slice() {
            return Some(RecordDecision::Park(duplicate_key(
                &self.mapped.sync,
                first,
                second,
            )));
        }
        observed
            .intents
            .iter()
            .find_map(|intent| match intent.state {
                IntentState::Unknown => Some(RecordDecision::Refresh),
                IntentState::Open => {
                    let reason = "a write of the record is under way";
                    let wait = wait(observed, Obstacle::WriteUnderWay, reason);
                    Some(wait.unwrap_or(RecordDecision::Refresh))
                }
                IntentState::Applied
                | IntentState::Confirmed
                | IntentState::Refused
                | IntentState::Abandoned => None,
            })
    }

    fn unplannable(&self, observed: &ObservedRecord, unplannable: &Unplannable) -> RecordDecision {
        let park = || RecordDecision::Park(unplannable.park_reason(self.mapped));
        match unplannable {
            Unplannable::InvalidExternalId(_) => park(),
            Unplannable::UnknownParent { .. } => wait(
                observed,
                Obstacle::MissingParent,
                "the record it points to is not known yet",
            )
            .unwrap_or_else(park),
        }
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
        observed: &ObservedRecord,
        plan: &RecordPlan,
        withheld: &[ParkReason],
    ) -> Result<Option<NewIntent>, ParkReason> {
        let (action, values) = match &plan.to_salesforce {
            SideWrite::None | SideWrite::SoftDelete => return Ok(None),
            SideWrite::Create(values) => (WriteAction::Create, values),
            SideWrite::Update(values) => (WriteAction::Update, values),
            SideWrite::Delete => (WriteAction::Delete, &Payload::new()),
        };
        let is_withheld = |name| {
            withheld
                .iter()
                .any(|reason| reason.field.as_ref() == Some(name))
        };
        let fields: Payload = values
            .iter()
            .filter(|(name, _)| self.may_write(name, action) && !is_withheld(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let (WriteAction::Update, true, Some(field)) =
            (action, fields.is_empty(), values.keys().next())
        {
            return match withheld {
                [] => Err(not_writeable(&self.mapped.sync, field)),
                [_, ..] => Ok(None),
            };
        }
        let epoch = observed
            .lease
            .as_ref()
            .map_or(FencingToken(0), |lease| lease.token);
        Ok(Some(NewIntent {
            intent_id: intent_id(observed.link.record_id, epoch),
            action,
            fields,
            lane: ApplyLane::Rest,
        }))
    }

    fn may_write(&self, name: &FieldName, action: WriteAction) -> bool {
        self.fields
            .iter()
            .find(|field| field.name == *name)
            .is_some_and(|field| match action {
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
        postgres: &Payload,
        salesforce: &Payload,
    ) -> BTreeMap<FieldName, AutomationOverride> {
        let link = &observed.link;
        let mut automation_overrides = link.automation_overrides.clone();
        automation_overrides.retain(|field, automation_override| {
            postgres.get(field) == Some(&automation_override.sent)
        });
        let SideWrite::Update(sent) = &plan.to_salesforce else {
            return automation_overrides;
        };
        for (field, value) in sent {
            let nothing_new = link.base.get(field) == Some(value);
            let stored = salesforce.get(field).filter(|stored| *stored != value);
            if let (true, Some(stored)) = (nothing_new, stored) {
                let count = automation_overrides
                    .get(field)
                    .map_or(0, |automation_override| automation_override.count);
                automation_overrides.insert(
                    field.clone(),
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
    fn plan(&self, observed: &ObservedRecord) -> RecordDecision {
        // A panic in one record's plan must not roll back the other records of the transaction.
        catch_unwind(AssertUnwindSafe(|| self.decision(observed))).unwrap_or_else(|_| {
            RecordDecision::Park(ParkReason {
                code: "panic".to_owned(),
                field: None,
                message:
                    "planning the record failed; this is a fault of the engine, please report it"
                        .to_owned(),
            })
        })
    }

    fn settle_postgres(
        &self,
        observed: &ObservedRecord,
        decision: &RecordDecision,
        returned: &PostgresRow,
    ) -> PostgresSettlement {
        let RecordDecision::Planned {
            plan,
            postgres: Some(write),
            ..
        } = decision
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
                advance.after == Confirmation::Postgres && self.was_sent(field, write)
            })
            .map(|(field, advance)| (field.clone(), advance.value.clone()))
            .collect();
        let holds = row_content(&self.fields, returned).values;
        PostgresSettlement {
            base,
            altered: self.is_altered(observed, (plan, write), &holds),
        }
    }
}

impl ObjectPlanner<'_> {
    /// Returns false if the field's column was left out of the write because Postgres refuses its value.
    fn was_sent(&self, name: &FieldName, write: &PlannedPostgres) -> bool {
        let (PlannedPostgres::Insert(columns) | PlannedPostgres::Update(columns)) = write else {
            return true;
        };
        self.fields
            .iter()
            .find(|field| field.name == *name)
            .is_some_and(|field| columns.contains_key(field.column.as_str()))
    }

    /// Returns true if the row has a value that is neither the old one nor the one that was sent.
    fn is_altered(
        &self,
        observed: &ObservedRecord,
        (plan, write): (&RecordPlan, &PlannedPostgres),
        holds: &Payload,
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
        holds.iter().any(|(field, withheld)| {
            let sent = expected.get(field).filter(|_| self.was_sent(field, write));
            let wanted = sent.or_else(|| before.get(field));
            match wanted {
                Some(wanted) => wanted != withheld,
                // A default of a new row is a change; null is not.
                None => created && !is_blank(withheld),
            }
        })
    }
}

/// Returns how long to wait because of an obstacle, or `None` if the record must not wait.
fn wait(observed: &ObservedRecord, obstacle: Obstacle, reason: &str) -> Option<RecordDecision> {
    let attempt = observed.lease.as_ref().map_or(0, |lease| lease.attempt);
    match decide(obstacle, Tries::of(observed.link.record_id, attempt)) {
        NextStep::Wait { delay_ms, counts } => Some(RecordDecision::Wait {
            reason: reason.to_owned(),
            delay_ms,
            counts,
        }),
        NextStep::Refresh { .. } => Some(RecordDecision::Refresh),
        NextStep::Park => None,
    }
}

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Boolean(false))
}

fn is_unsettled(intent: &&Intent) -> bool {
    match intent.state {
        IntentState::Open | IntentState::Unknown => true,
        IntentState::Applied
        | IntentState::Confirmed
        | IntentState::Refused
        | IntentState::Abandoned => false,
    }
}

/// Returns the mapping with every shared field that our user cannot update (formulas, roll-ups, fields
/// without edit access) owned by Salesforce: an edit in Postgres could never arrive.
fn writeable_policy(sync: &ObjectSync, fields: &[MappedField]) -> ObjectSync {
    let mut policy = sync.clone();
    for field in fields.iter().filter(|field| !field.updateable) {
        if let Some(mapped) = policy.fields.get_mut(&field.name)
            && mapped.owner == Owner::Shared
        {
            mapped.owner = Owner::Salesforce;
        }
    }
    policy
}

/// Returns the id of the one write that a record can make under a lease.
fn intent_id(record: RecordId, token: FencingToken) -> IntentId {
    IntentId(Uuid::new_v5(
        &record.0,
        format!("intent:{}", token.0).as_bytes(),
    ))
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
