//! A record that only one side holds: new here, or deleted there.

use crate::config::{DeleteMode, DeleteOnEdit};
use crate::model::SourceSystem;
use crate::model::hash::canonical_json;
use crate::model::ids::FieldName;
use crate::model::link::Presence;
use crate::model::value::{Payload, Value};

use super::super::field::Authority;
use super::{
    Agreement, Confirmation, FieldConflict, Overruled, RecordPlan, RecordState, Rule, SideWrite,
    external_id_value,
};

/// Decides about a record that only `holder` holds.
pub(super) fn plan_half(state: &RecordState<'_>, holder: SourceSystem) -> RecordPlan {
    let lacking = holder.other();
    match (state.agreed, state.holds(lacking).presence, lacking) {
        (false, _, _) if !state.may_write(lacking) => RecordPlan::because(Rule::DirectionForbids),
        (false, _, SourceSystem::Salesforce) => create(state, lacking, Rule::CreatedInPostgres),
        (false, _, SourceSystem::Postgres) => create(state, lacking, Rule::CreatedInSalesforce),
        // Salesforce was never seen in this org epoch: lacking the record is no delete.
        (true, Presence::Unseen, SourceSystem::Salesforce) => RecordPlan::because(Rule::NotSeen),
        (true, _, _) => plan_deleted(state, holder),
    }
}

/// Decides about a record that `holder` still holds and the other side deleted.
fn plan_deleted(state: &RecordState<'_>, holder: SourceSystem) -> RecordPlan {
    let deleter = holder.other();
    match state.policy.deletes.mode {
        DeleteMode::Ignore => return RecordPlan::because(Rule::DeletesIgnored),
        DeleteMode::Propagate | DeleteMode::Soft => {}
    }
    if !state.may_write(holder) {
        return create(state, deleter, Rule::DirectionForbids);
    }
    let edited = edited_fields(state, holder);
    if edited.is_empty() {
        return delete(
            state,
            holder,
            match deleter {
                SourceSystem::Postgres => Rule::DeletedInPostgres,
                SourceSystem::Salesforce => Rule::DeletedInSalesforce,
            },
        );
    }
    let mut plan = match state.policy.deletes.on_edit {
        DeleteOnEdit::EditWins => return create(state, deleter, Rule::EditBeatsDelete),
        DeleteOnEdit::DeleteWins => RecordPlan {
            overruled: edited
                .iter()
                .map(|(field, value)| Overruled {
                    field: field.clone(),
                    side: holder,
                    value: value.clone(),
                    rule: Rule::DeleteBeatsEdit,
                })
                .collect(),
            ..delete(state, holder, Rule::DeleteBeatsEdit)
        },
        DeleteOnEdit::Manual => RecordPlan {
            conflicts: vec![delete_against_edit(holder, &edited)],
            ..RecordPlan::because(Rule::DeleteAgainstEdit)
        },
    };
    let rule = plan.explanation.record;
    plan.explanation.fields = edited.into_keys().map(|field| (field, rule)).collect();
    plan
}

/// Returns what `holder` edited since the base, as far as its word counts there. A field that was
/// never agreed on counts if it holds something.
fn edited_fields(state: &RecordState<'_>, holder: SourceSystem) -> Payload {
    let counts = |field: &FieldName| {
        Authority::over(field, state.policy).is_none_or(|authority| authority.side() == holder)
            && !state.is_contested(field)
            && !(holder == SourceSystem::Salesforce && state.late_effects.contains(field))
    };
    state
        .mapped()
        .filter(|field| counts(field))
        .filter_map(|field| Some((field, state.holds(holder).fields.get(field)?)))
        .filter(|(field, value)| *value != state.base.get(*field).unwrap_or(&Value::Null))
        .filter(|(field, value)| {
            // The external id is filled in by us; where it is empty nobody edited it, and a record
            // that only carries its own name was not edited either.
            *field != &state.policy.external_id.field
                || (**value != Value::Null && state.base.contains_key(*field))
        })
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

fn delete_against_edit(holder: SourceSystem, edited: &Payload) -> FieldConflict {
    let object = edited
        .iter()
        .map(|(field, value)| (field.to_string(), value.to_json()))
        .collect();
    let edit = Some(Value::Text(canonical_json(&serde_json::Value::Object(
        object,
    ))));
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

/// Deletes the record on `holder`, the side that still holds it.
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

/// Creates the record on `target` with everything the other side holds.
///
/// Nulls are left out of a create in Salesforce, so that its defaults can fill them; what they
/// become is learned from the next sighting.
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

/// Fills in the external id on the side that holds the record, where it lacks it. Where the
/// direction forbids that, the sides do not agree on it.
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
        plan.base_advance.remove(field);
    }
}
