//! Plans a record that only one side has: new on this side, or deleted on the other.

use crate::config::{DeleteMode, DeleteOnEdit};
use crate::model::SourceSystem;
use crate::model::hash::canonical_payload;
use crate::model::ids::FieldName;
use crate::model::link::Presence;
use crate::model::value::{Payload, Value};

use super::super::field::Authority;
use super::{
    Agreement, Confirmation, DiscardedValue, FieldConflict, RecordPlan, RecordState, Rule,
    SideWrite, external_id_value,
};

/// Plans a record that only `holder` has.
pub(super) fn plan_one_sided(state: &RecordState<'_>, holder: SourceSystem) -> RecordPlan {
    let lacking = holder.other();
    match (state.agreed, state.holds(lacking).presence, lacking) {
        (false, _, _) if !state.may_write(lacking) => RecordPlan::because(Rule::DirectionForbids),
        (false, _, SourceSystem::Salesforce) => create(state, lacking, Rule::CreatedInPostgres),
        (false, _, SourceSystem::Postgres) => create(state, lacking, Rule::CreatedInSalesforce),
        // The record was never seen in this org epoch, so its absence is not a delete.
        (true, Presence::Unseen, SourceSystem::Salesforce) => RecordPlan::because(Rule::NotSeen),
        (true, _, _) => plan_deleted(state, holder),
    }
}

/// Plans a record that `holder` still has and the other side deleted.
fn plan_deleted(state: &RecordState<'_>, holder: SourceSystem) -> RecordPlan {
    let deleter = holder.other();
    match state.policy.deletes.mode {
        DeleteMode::Ignore => return RecordPlan::because(Rule::DeletesIgnored),
        DeleteMode::Propagate | DeleteMode::Soft => {}
    }
    if !state.may_write(holder) {
        return create(state, deleter, Rule::DirectionForbids);
    }
    let edits = edits(state, holder);
    let (weighed, unweighed): (Vec<Edit<'_>>, Vec<Edit<'_>>) =
        edits.iter().partition(|edit| edit.counts);
    let rule = match (weighed.is_empty(), deleter, state.policy.deletes.on_edit) {
        (true, SourceSystem::Postgres, _) => Rule::DeletedInPostgres,
        (true, SourceSystem::Salesforce, _) => Rule::DeletedInSalesforce,
        (false, _, DeleteOnEdit::DeleteWins) => Rule::DeleteBeatsEdit,
        (false, _, DeleteOnEdit::EditWins) => {
            return create(state, deleter, Rule::EditBeatsDelete);
        }
        (false, _, DeleteOnEdit::Manual) => {
            let mut plan = RecordPlan::because(Rule::DeleteAgainstEdit);
            plan.conflicts = vec![delete_against_edit(holder, &weighed)];
            plan.explain(&weighed);
            return plan;
        }
    };
    let mut plan = delete(state, holder, rule);
    plan.explain(&weighed);
    plan.explain(&unweighed);
    plan.discarded = edits.iter().map(|edit| edit.discarded(holder)).collect();
    plan
}

/// An edit on the side that still has a record which the other side deleted.
#[derive(Clone, Copy)]
pub(super) struct Edit<'a> {
    pub(super) field: &'a FieldName,
    pub(super) value: &'a Value,
    /// The other side does not own the field, so the edit counts against the delete.
    counts: bool,
    /// The rule that the edit would lose by.
    rule: Rule,
}

impl Edit<'_> {
    fn discarded(&self, side: SourceSystem) -> DiscardedValue {
        DiscardedValue {
            field: self.field.clone(),
            side,
            value: self.value.clone(),
            rule: self.rule,
        }
    }
}

impl RecordPlan {
    fn explain(&mut self, edits: &[Edit<'_>]) {
        let record = self.explanation.record;
        for edit in edits {
            let rule = if edit.counts { record } else { edit.rule };
            self.explanation.fields.insert(edit.field.clone(), rule);
        }
    }
}

/// Returns the edits of `holder` since the base. A field without a base counts if it is not null.
pub(super) fn edits<'a>(state: &'a RecordState<'a>, holder: SourceSystem) -> Vec<Edit<'a>> {
    let external_id = &state.policy.external_id.field;
    let fields = &state.holds(holder).fields;
    state
        .mapped()
        .filter(|field| {
            let late = holder == SourceSystem::Salesforce && state.late_writes.contains(field);
            !late && !state.is_overridden_by_automation(field)
        })
        .filter_map(|field| Some((field, fields.get(field)?)))
        .filter(|(field, value)| {
            // The engine fills in external ids: an empty or new one is not a user's edit.
            let base = state.base.get(*field);
            let named = **value != Value::Null && base.is_some();
            base.unwrap_or(&Value::Null) != *value && (*field != external_id || named)
        })
        .map(|(field, value)| {
            let other = Authority::over(field, state.policy).filter(|over| over.side() != holder);
            Edit {
                field,
                value,
                counts: other.is_none(),
                rule: other.map_or(Rule::DeleteBeatsEdit, Authority::rule),
            }
        })
        .collect()
}

fn delete_against_edit(holder: SourceSystem, edits: &[Edit<'_>]) -> FieldConflict {
    let mut edited = Payload::new();
    for edit in edits {
        edited.insert(edit.field.clone(), edit.value.clone());
    }
    let edit = Some(Value::Text(canonical_payload(&edited)));
    let (postgres, salesforce) = match holder {
        SourceSystem::Postgres => (edit, None),
        SourceSystem::Salesforce => (None, edit),
    };
    FieldConflict {
        field: None,
        base: None,
        postgres,
        salesforce,
    }
}

/// Deletes the record on `holder`, the side that still has it.
fn delete(state: &RecordState<'_>, holder: SourceSystem, rule: Rule) -> RecordPlan {
    let mut plan = RecordPlan::because(rule);
    plan.agreement = Agreement::Ends(Confirmation::of(holder));
    *plan.side(holder) = match (holder, state.policy.deletes.mode) {
        (SourceSystem::Postgres, DeleteMode::Soft) => SideWrite::SoftDelete,
        (SourceSystem::Postgres, DeleteMode::Propagate | DeleteMode::Ignore)
        | (
            SourceSystem::Salesforce,
            DeleteMode::Soft | DeleteMode::Propagate | DeleteMode::Ignore,
        ) => SideWrite::Delete,
    };
    plan
}

/// Creates the record on `target` with all values of the other side.
///
/// Nulls are left out of a create in Salesforce, so that its defaults apply; the next observation shows the
/// resulting values.
fn create(state: &RecordState<'_>, target: SourceSystem, rule: Rule) -> RecordPlan {
    let mut plan = RecordPlan::because(rule);
    plan.agreement = Agreement::Begins(Confirmation::of(target));
    let holder = target.other();
    let mut payload = Payload::new();
    for field in state.mapped() {
        let external_id = *field == state.policy.external_id.field;
        let value = match state.holds(holder).fields.get(field) {
            _ if external_id => external_id_value(state),
            Some(value) => value.clone(),
            None => {
                plan.explanation.fields.insert(field.clone(), Rule::NotSeen);
                continue;
            }
        };
        let omitted = value == Value::Null && target == SourceSystem::Salesforce;
        if !omitted || state.base.contains_key(field) {
            plan.advance(field, &value, Confirmation::of(target));
        }
        if !omitted {
            payload.insert(field.clone(), value);
        }
        plan.explanation.fields.insert(field.clone(), rule);
    }
    *plan.side(target) = SideWrite::Create(payload);
    name_on_holder(state, holder, &mut plan);
    plan
}

/// Fills in a missing external id on the side that has the record. If the direction forbids that, the sides do
/// not agree on it.
fn name_on_holder(state: &RecordState<'_>, holder: SourceSystem, plan: &mut RecordPlan) {
    if state.external_id_on(holder).is_some() {
        return;
    }
    let field = &state.policy.external_id.field;
    if state.may_write(holder) {
        let value = external_id_value(state);
        plan.side(holder).set(field, value.clone());
        plan.advance(field, &value, Confirmation::Salesforce);
    } else {
        for (advanced, step) in std::mem::take(&mut plan.base_advance) {
            if advanced != *field {
                plan.base_advance.insert(advanced, step);
            }
        }
    }
}
