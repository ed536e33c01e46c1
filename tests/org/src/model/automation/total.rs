//! Totals that a record keeps over its children: roll-up summary fields, and standard fields such as
//! the amount of an opportunity with products.

use serde::{Deserialize, Serialize};

use super::Parents;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::number::Number;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::value::Value;
use crate::model::{Actor, Model};

/// One total.
#[derive(Clone, Debug)]
pub(crate) struct Total {
    pub(crate) child: ObjectNo,
    pub(crate) reference: FieldNo,
    pub(crate) parent: ObjectNo,
    /// The field of the parent.
    pub(crate) field: FieldNo,
    pub(crate) function: Function,
    /// The field of the children; `None` if they are only counted.
    pub(crate) of: Option<FieldNo>,
}

/// How a total is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Function {
    Sum,
    Count,
    Min,
    Max,
    /// Whether there is a child.
    Exists,
}

impl Total {
    fn children(&self, model: &Model, parent: RecordId) -> Vec<RowNo> {
        let table = model.table(self.child);
        let rows = table.children_of(self.reference, parent);
        rows.expect("the org file was checked: the reference of a total has an index")
    }

    /// Returns the total of a record, or `None` if the field keeps its value: without children, a field
    /// that callers may write is theirs.
    fn value(&self, model: &Model, parent: RecordId) -> Option<Value> {
        let rows = self.children(model, parent);
        let field = model.field(self.parent, self.field);
        if rows.is_empty() && field.updateable {
            return None;
        }
        let table = model.table(self.child);
        let values = || {
            let values = rows
                .iter()
                .filter_map(|row| Some(table.get(*row, self.of?)));
            values.filter(|value| **value != Value::Null)
        };
        Some(match self.function {
            Function::Exists => Value::Bool(!rows.is_empty()),
            Function::Count => {
                let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
                Number::whole(count).into_value(field)
            }
            Function::Min => values().min().cloned().unwrap_or(Value::Null),
            Function::Max => values().max().cloned().unwrap_or(Value::Null),
            Function::Sum => {
                let mut numbers = values().filter_map(Number::of_value);
                let sum = numbers.try_fold(Number::whole(0), Number::plus);
                sum.map_or(Value::Null, |sum| sum.into_value(field))
            }
        })
    }
}

impl Model {
    /// Returns the parents whose totals depend on a record now.
    pub(in crate::model) fn parents_of(&self, (object, row): (ObjectNo, RowNo)) -> Parents {
        let totals = self.schema.automation(object).totals.iter().enumerate();
        let table = self.table(object);
        let parent = |total: &Total| table.get(row, total.reference).as_id();
        totals
            .filter_map(|(place, total)| Some((place, parent(total)?)))
            .collect()
    }

    /// Updates the totals of the parents that a record has and had, and everything above them.
    pub(in crate::model) fn add_up(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        at: (ObjectNo, RowNo),
        before: Parents,
    ) -> Result<(), SfError> {
        if self.schema.automation(at.0).totals.is_empty() {
            return Ok(());
        }
        let mut parents = before;
        for parent in self.parents_of(at) {
            if !parents.contains(&parent) {
                parents.push(parent);
            }
        }
        for (place, id) in parents {
            let total = self.schema.automation(at.0).totals[place].clone();
            let Some((parent, row)) = self.live_row(id) else {
                continue;
            };
            let Some(value) = total.value(self, id) else {
                continue;
            };
            if *self.table(parent).get(row, total.field) == value {
                continue;
            }
            let above = self.parents_of((parent, row));
            self.put(tx, (parent, row), total.field, value);
            self.recompute(tx, (parent, row));
            self.stamp(tx, actor, (parent, row));
            let changed = [total.field];
            self.after_save(tx, actor, ((parent, row), Some(&changed)), above)?;
        }
        Ok(())
    }
}
