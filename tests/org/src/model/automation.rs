//! What Salesforce itself changes in the transaction of a write: values that follow from another
//! value, copied and computed values, totals of children. All of it is declared in the org file.
//!
//! [`Model::before_save`] completes what a caller writes, and [`Model::after_save`] updates other
//! records. Every write of a record passes both.

mod address;
mod person;
mod price;
mod total;

use std::collections::HashSet;

use super::draft::Draft;
use super::error::SfError;
use super::formula::Formula;
use super::id::RecordId;
use super::schema::{FieldNo, ObjectNo};
use super::table::RowNo;
use super::transaction::Transaction;
use super::value::Value;
use super::{Actor, Model, Transform};
pub(crate) use address::{Address, Country, Pair};
pub(crate) use person::{AccountFields, Persons};
pub(crate) use price::Prices;
pub(crate) use total::{Function, Total};

/// The object that says which queue serves which objects.
const QUEUE_OBJECT: &str = "QueueSobject";

/// The automation of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Automation {
    /// Values that follow from the value of another field, in the order of the fields.
    pub(crate) implied: Vec<Implied>,
    /// Values of new records, unless the caller sets them.
    pub(crate) defaults: Vec<Formula>,
    /// Values that are computed at every write and stored.
    pub(crate) computed: Vec<Formula>,
    /// References to the same object that must not form a circle.
    pub(crate) hierarchies: Vec<FieldNo>,
    /// Addresses whose states and countries are chosen from lists.
    pub(crate) addresses: Vec<Address>,
    /// How records of this object hold persons.
    pub(crate) persons: Option<Persons>,
    /// The mark of records that belong to a person account.
    pub(crate) person_mark: Option<FieldNo>,
    /// Totals over the records of this object, kept on their parents.
    pub(crate) totals: Vec<Total>,
}

/// Sets fields when another field gets one of some values.
#[derive(Clone, Debug)]
pub(crate) struct Implied {
    pub(crate) by: FieldNo,
    pub(crate) values: Vec<(String, Vec<(FieldNo, Value)>)>,
}

/// The parents of a record whose totals depend on it.
pub(super) type Parents = Vec<(usize, RecordId)>;

impl Automation {
    /// Returns whether a total of the parent depends on this reference.
    pub(crate) fn adds_up(&self, reference: FieldNo) -> bool {
        self.totals.iter().any(|total| total.reference == reference)
    }
}

impl Model {
    /// Returns what a write really sets: without writes that Salesforce ignores, and with the values
    /// that follow from the others.
    ///
    /// Values that the caller sets are never replaced, except computed ones.
    pub(super) fn before_save(&self, draft: Draft, row: Option<RowNo>) -> Result<Draft, SfError> {
        let mut draft = self.normalised(draft);
        let automation = self.schema.automation(draft.object);
        let no = draft.object;
        if let Some(row) = row {
            draft
                .sets
                .retain(|(field, _)| !self.ignores(no, row, *field));
        }
        self.check_prices(&draft, row)?;
        for field in &automation.hierarchies {
            self.check_hierarchy(&draft, row, *field)?;
        }
        if let Some(persons) = &automation.persons {
            self.complete_person(&mut draft, row, persons)?;
        }
        if let Some(mark) = automation.person_mark {
            self.check_person_contact(&draft, row, mark)?;
        }
        for address in &automation.addresses {
            self.complete_address(&mut draft, row, *address)?;
        }
        self.check_owner(&draft)?;
        for implied in &automation.implied {
            for (field, value) in self.implied_by(implied, &draft, row) {
                if !draft.sets.iter().any(|(known, _)| known == field) {
                    draft.sets.push((*field, value.clone()));
                }
            }
        }
        if row.is_none() {
            for formula in &automation.defaults {
                let field = formula.field();
                if !draft.sets.iter().any(|(known, _)| *known == field) {
                    let value = self.computed_value(formula, &draft, row);
                    draft.sets.push((field, value));
                }
            }
        }
        for formula in &automation.computed {
            let value = self.computed_value(formula, &draft, row);
            draft.put(formula.field(), value);
        }
        Ok(draft)
    }

    /// Runs what follows from a saved record: declared flows, the contact of a person, the price book of
    /// an opportunity, the totals of its parents.
    /// `changed` is `None` for a create, and `before` are its parents before the write.
    pub(super) fn after_save(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (at, changed): ((ObjectNo, RowNo), Option<&[FieldNo]>),
        before: Parents,
    ) -> Result<(), SfError> {
        self.run_flows(tx, at, changed);
        self.save_person_contact(tx, actor, at, changed)?;
        if changed.is_none() {
            self.give_price_book(tx, actor, at);
        }
        self.add_up(tx, actor, at, before)
    }

    /// Recomputes the stored formulas of a record after another part of the platform changed it.
    fn recompute(&mut self, tx: &mut Transaction, (object, row): (ObjectNo, RowNo)) {
        let computed = &self.schema.automation(object).computed;
        let values: Vec<(FieldNo, Value)> = computed
            .iter()
            .map(|formula| (formula.field(), formula.value(self, row)))
            .collect();
        for (field, value) in values {
            if *self.table(object).get(row, field) != value {
                self.put(tx, (object, row), field, value);
            }
        }
    }

    fn computed_value(&self, formula: &Formula, draft: &Draft, row: Option<RowNo>) -> Value {
        let object = self.object(draft.object);
        let own = |no: FieldNo| {
            let set = draft.sets.iter().rev().find(|(known, _)| *known == no);
            match (set, row) {
                (Some((_, value)), _) => value,
                (None, Some(row)) => self.table(draft.object).get(row, no),
                (None, None) => &object.field(no).default,
            }
        };
        formula.value_of(self, &own)
    }

    /// Returns the fields that a changed value sets.
    fn implied_by<'a>(
        &self,
        implied: &'a Implied,
        draft: &Draft,
        row: Option<RowNo>,
    ) -> &'a [(FieldNo, Value)] {
        let set = draft.sets.iter().rev().find(|(no, _)| *no == implied.by);
        let old = row.map(|row| self.table(draft.object).get(row, implied.by));
        let new = match (set, old) {
            (Some((_, new)), old) if old != Some(new) => new,
            (None, None) => &self.field(draft.object, implied.by).default,
            (_, _) => return &[],
        };
        let text = new.as_text().unwrap_or_default();
        let mut values = implied.values.iter();
        let found = values.find(|(value, _)| value.eq_ignore_ascii_case(text));
        found.map_or(&[], |(_, sets)| sets)
    }

    /// Refuses a record that would become its own ancestor.
    fn check_hierarchy(
        &self,
        draft: &Draft,
        row: Option<RowNo>,
        field: FieldNo,
    ) -> Result<(), SfError> {
        let set = draft.sets.iter().rev().find(|(no, _)| *no == field);
        let (Some(row), Some((_, Value::Id(parent)))) = (row, set) else {
            return Ok(());
        };
        let own = self.id_of(draft.object, row);
        let mut seen = HashSet::new();
        let mut at = Some(*parent);
        while let Some(id) = at.filter(|id| seen.insert(*id)) {
            if id == own {
                let name = &self.field(draft.object, field).name;
                let message = format!("attempt to violate hierarchy constraints: [{name}]");
                return Err(SfError::of_field("CIRCULAR_DEPENDENCY", message, name));
            }
            let above = self.row_of(draft.object, id);
            at = above.and_then(|row| self.table(draft.object).get(row, field).as_id());
        }
        Ok(())
    }

    /// Refuses a queue as the owner of a record of an object that it does not serve.
    fn check_owner(&self, draft: &Draft) -> Result<(), SfError> {
        let object = self.object(draft.object);
        let set = draft
            .sets
            .iter()
            .rev()
            .find(|(no, _)| Some(*no) == object.system.owner);
        let Some((_, Value::Id(owner))) = set else {
            return Ok(());
        };
        let Some(served) = self.served_by(*owner) else {
            return Ok(());
        };
        if served.iter().any(|name| *name == object.name) {
            return Ok(());
        }
        let message = "Queue not associated with this SObject type";
        Err(SfError::of_field("INVALID_OPERATION", message, "OwnerId"))
    }

    /// Returns the objects whose records a queue can own, or `None` if the owner is not a queue.
    fn served_by(&self, owner: RecordId) -> Option<Vec<&str>> {
        let object = self.schema.find(QUEUE_OBJECT)?;
        let queue = self.field_named(object, "QueueId").ok()?;
        let served = self.field_named(object, "SobjectType").ok()?;
        let target = self.schema.target(object, queue);
        if owner.prefix() != self.object(target).key_prefix {
            return None;
        }
        let rows = self.table(object).children_of(queue, owner)?;
        let served = |row: RowNo| self.table(object).get(row, served).as_text();
        Some(rows.into_iter().filter_map(served).collect())
    }

    /// Applies the declared changes of values before they are saved.
    fn normalised(&self, mut draft: Draft) -> Draft {
        for rule in self
            .normalisers
            .iter()
            .filter(|rule| rule.object == draft.object)
        {
            for (field, value) in &mut draft.sets {
                if let (Value::Text(text), true) = (&*value, *field == rule.field) {
                    *value = Value::Text(match rule.transform {
                        Transform::Uppercase => text.to_uppercase().into(),
                        Transform::Lowercase => text.to_lowercase().into(),
                    });
                }
            }
        }
        draft
    }

    /// Runs the declared flows.
    fn run_flows(
        &mut self,
        tx: &mut Transaction,
        (no, row): (ObjectNo, RowNo),
        changed: Option<&[FieldNo]>,
    ) {
        let fires = |when: Option<FieldNo>| match (when, changed) {
            (Some(field), Some(changed)) => changed.contains(&field),
            (Some(field), None) => *self.table(no).get(row, field) != Value::Null,
            (None, _) => true,
        };
        let sets: Vec<(FieldNo, Value)> = self
            .flows
            .iter()
            .filter(|flow| flow.object == no && fires(flow.when))
            .flat_map(|flow| flow.sets.clone())
            .collect();
        self.set_by_flow(tx, no, row, sets);
    }

    /// Sets the fields that automation adds to a write.
    pub(crate) fn set_by_flow(
        &mut self,
        tx: &mut Transaction,
        no: ObjectNo,
        row: RowNo,
        sets: Vec<(FieldNo, Value)>,
    ) {
        if sets.is_empty() {
            return;
        }
        for (field, value) in sets {
            self.put(tx, (no, row), field, value);
        }
        self.recompute(tx, (no, row));
    }
}
