//! The write to the row, and what it left there.

use crate::model::fields::{FieldId, FieldMap};
use crate::model::value::{Payload, Value};
use crate::observe::sides::{is_soft_deleted, row_content, wire_columns};
use crate::planner::record::{Confirmation, RecordPlan, SideWrite};
use crate::ports::apply_store::{PlannedPostgres, PlannedRecord, PostgresSettlement};
use crate::ports::record::{ObservedRecord, PostgresRow};

use super::ObjectPlanner;

impl ObjectPlanner<'_> {
    /// Returns the plan's write to the row, in wire form.
    pub(super) fn row_write(
        &self,
        observed: &ObservedRecord,
        plan: &RecordPlan,
    ) -> Option<PlannedPostgres> {
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

    /// Compares the values that were written with the row after its triggers ran.
    pub(super) fn settled_row(
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

fn is_blank(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Boolean(false))
}
