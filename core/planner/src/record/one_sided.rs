//! Plans a record that only one side has: new on this side, or deleted on the other.

use crate::config::{DeleteMode, DeleteOnEdit};
use crate::model::Side;
use crate::model::fields::{FieldId, FieldMap};
use crate::model::hash::canonical_payload;
use crate::model::link::Presence;
use crate::model::value::{Payload, Value};

use super::super::facts::{BySide, OverwrittenValue, RecordFacts};
use super::super::field::Authority;
use super::super::mapping::Mapping;
use super::{
    Agreement, Confirmation, DiscardedValue, FieldConflict, Record, RecordPlan, Rule, SideWrite,
    external_id_value, plan_fields,
};

/// Plans a record that only `holder` has.
pub(super) fn plan_one_sided(record: Record<'_>, holder: Side) -> RecordPlan {
    let lacking = holder.other();
    match (record.facts.has_agreed(), record.presence(lacking), lacking) {
        (false, _, _) if !record.may_write(lacking) => RecordPlan::because(Rule::DirectionForbids),
        (false, _, Side::Salesforce) => create(record, lacking, Rule::CreatedInPostgres),
        (false, _, Side::Postgres) => create(record, lacking, Rule::CreatedInSalesforce),
        // Salesforce was never seen in this org epoch: lacking the record is no delete.
        (true, Presence::Unseen, Side::Salesforce) => RecordPlan::because(Rule::NotSeen),
        (true, _, _) => plan_deleted(record, holder),
    }
}

/// Plans a record that `holder` still has and the other side deleted.
fn plan_deleted(record: Record<'_>, holder: Side) -> RecordPlan {
    let deleter = holder.other();
    match record.rules().deletes.mode {
        DeleteMode::Ignore => return RecordPlan::because(Rule::DeletesIgnored),
        DeleteMode::Propagate | DeleteMode::Soft => {}
    }
    if !record.may_write(holder) {
        return create(record, deleter, Rule::DirectionForbids);
    }
    let edits = edits(record, holder);
    let (weighed, unweighed): (Vec<Edit<'_>>, Vec<Edit<'_>>) =
        edits.iter().partition(|edit| edit.counts);
    let rule = match (weighed.is_empty(), deleter, record.rules().deletes.on_edit) {
        (true, Side::Postgres, _) => Rule::DeletedInPostgres,
        (true, Side::Salesforce, _) => Rule::DeletedInSalesforce,
        (false, _, DeleteOnEdit::DeleteWins) => Rule::DeleteBeatsEdit,
        (false, _, DeleteOnEdit::EditWins) => {
            return create(record, deleter, Rule::EditBeatsDelete);
        }
        (false, _, DeleteOnEdit::Manual) => {
            let mut plan = RecordPlan::because(Rule::DeleteAgainstEdit);
            plan.conflicts = vec![delete_against_edit(record, holder, &weighed)];
            plan.explain(&weighed);
            return plan;
        }
    };
    let mut plan = delete(record, holder, rule);
    plan.explain(&weighed);
    plan.explain(&unweighed);
    plan.discarded = edits.iter().map(|edit| edit.discarded(holder)).collect();
    plan
}

/// An edit on the side that still has a record which the other side deleted.
#[derive(Clone, Copy)]
pub(super) struct Edit<'a> {
    pub(super) field: FieldId,
    value: &'a Value,
    /// The other side does not own the field, so the edit counts against the delete.
    counts: bool,
    /// The rule that the edit would lose by.
    pub(super) rule: Rule,
}

impl Edit<'_> {
    pub(super) fn discarded(&self, side: Side) -> DiscardedValue {
        DiscardedValue {
            field: self.field,
            side,
            value: self.value.clone(),
            rule: self.rule,
            edited: BySide::default(),
        }
    }
}

impl RecordPlan {
    fn explain(&mut self, edits: &[Edit<'_>]) {
        let record = self.explanation.record;
        for edit in edits {
            let rule = if edit.counts { record } else { edit.rule };
            self.explanation.fields.insert(edit.field, rule);
        }
    }
}

/// Returns the edits of `holder` since the base. A field without a base counts if it is not null.
pub(super) fn edits(record: Record<'_>, holder: Side) -> Vec<Edit<'_>> {
    record
        .mapping
        .fields()
        .filter(|field| holder == Side::Postgres || !record.facts.late_writes.contains(field))
        .filter_map(|field| {
            let edit = overwritten(record, holder, field);
            let base = edit.map_or_else(|| record.base(field), |edit| edit.base.as_ref());
            let held = record.value(holder, field)?;
            Some((field, edit.map_or(held, |edit| &edit.value), base))
        })
        .filter(|(field, value, base)| {
            // The engine fills in external ids: an empty or new one is not a user's edit.
            let named = **value != Value::Null && base.is_some();
            base.unwrap_or(&Value::Null) != *value && (*field != Mapping::EXTERNAL_ID || named)
        })
        .map(|(field, value, _)| {
            let authority = record.mapping.authority(field);
            let other = authority.filter(|over| over.side() != holder);
            Edit {
                field,
                value,
                counts: other.is_none(),
                rule: other.map_or(Rule::DeleteBeatsEdit, Authority::rule),
            }
        })
        .collect()
}

/// Returns the edit that a write of ours replaced on the side that holds the record.
fn overwritten<'a>(
    record: Record<'a>,
    holder: Side,
    field: FieldId,
) -> Option<&'a OverwrittenValue> {
    match holder {
        // The external id names the record that is created.
        Side::Salesforce if field == Mapping::EXTERNAL_ID => None,
        Side::Salesforce => record.overwritten(field),
        Side::Postgres => None,
    }
}

fn delete_against_edit(record: Record<'_>, holder: Side, edits: &[Edit<'_>]) -> FieldConflict {
    let edited: Payload = edits
        .iter()
        .map(|edit| (record.mapping.name(edit.field).clone(), edit.value.clone()))
        .collect();
    let edit = Some(Value::Text(canonical_payload(&edited)));
    let (postgres, salesforce) = match holder {
        Side::Postgres => (edit, None),
        Side::Salesforce => (None, edit),
    };
    FieldConflict {
        field: None,
        base: None,
        postgres,
        salesforce,
    }
}

/// Deletes the record on `holder`, the side that still has it.
fn delete(record: Record<'_>, holder: Side, rule: Rule) -> RecordPlan {
    let mut plan = RecordPlan::because(rule);
    plan.agreement = Agreement::Ends(Confirmation::of(holder));
    *plan.side(holder) = match (holder, record.rules().deletes.mode) {
        (Side::Postgres, DeleteMode::Soft) => SideWrite::SoftDelete,
        (Side::Postgres, DeleteMode::Propagate | DeleteMode::Ignore)
        | (Side::Salesforce, DeleteMode::Soft | DeleteMode::Propagate | DeleteMode::Ignore) => {
            SideWrite::Delete
        }
    };
    plan
}

/// Creates the record on `target` with all values of the other side.
///
/// Nulls are left out of a create in Salesforce, so that its defaults apply; the next observation shows the
/// resulting values.
fn create(record: Record<'_>, target: Side, rule: Rule) -> RecordPlan {
    if let (Side::Postgres, Some(marked), Some(_)) =
        (target, &record.facts.soft_deleted, &record.facts.base)
    {
        return unmark(record, marked, rule);
    }
    let mut plan = RecordPlan::because(rule);
    plan.agreement = Agreement::Begins(Confirmation::of(target));
    let holder = target.other();
    let mut values = FieldMap::with_capacity(record.mapping.fields().len());
    for field in record.mapping.fields() {
        let value = match record.value(holder, field) {
            _ if field == Mapping::EXTERNAL_ID => external_id_value(record),
            Some(value) => overwritten(record, holder, field)
                .map_or(value, |edit| &edit.value)
                .clone(),
            None => {
                plan.explanation.fields.insert(field, Rule::NotSeen);
                continue;
            }
        };
        let omitted = value == Value::Null && target == Side::Salesforce;
        let mut after = Confirmation::of(target);
        if overwritten(record, holder, field).is_some() {
            plan.side(holder).set(field, value.clone());
            after = Confirmation::of(holder);
        }
        if !omitted || record.base(field).is_some() {
            plan.advance(field, &value, after);
        }
        if !omitted {
            values.insert(field, value);
        }
        plan.explanation.fields.insert(field, rule);
    }
    *plan.side(target) = SideWrite::Create(values);
    name_on_holder(record, holder, &mut plan);
    plan
}

/// Removes the mark from a row that is marked as deleted. It may have been edited since: its fields are merged with
/// those of the record, from the base before the delete.
fn unmark(record: Record<'_>, marked: &FieldMap<FieldId, Value>, rule: Rule) -> RecordPlan {
    let facts = RecordFacts {
        postgres: Some(marked.clone()),
        ..record.facts.clone()
    };
    let mut plan = plan_fields(Record {
        facts: &facts,
        ..record
    });
    let values = plan.to_postgres.fields().cloned().unwrap_or_default();
    plan.to_postgres = SideWrite::Create(values);
    plan.agreement = Agreement::Begins(Confirmation::Postgres);
    if plan.conflicts.is_empty() {
        plan.explanation.record = rule;
    }
    plan
}

/// Fills in a missing external id on the side that has the record. If the direction forbids that, the sides do
/// not agree on it.
fn name_on_holder(record: Record<'_>, holder: Side, plan: &mut RecordPlan) {
    if record.external_id_on(holder).is_some() {
        return;
    }
    let field = Mapping::EXTERNAL_ID;
    if record.may_write(holder) {
        let value = external_id_value(record);
        plan.side(holder).set(field, value.clone());
        plan.advance(field, &value, Confirmation::Salesforce);
    } else {
        plan.base_advance.retain(|advanced, _| *advanced != field);
    }
}
