//! References to a record: found, moved by a merge, cleared by a delete, restored by an undelete.

use super::id::RecordId;
use super::schema::{Field, FieldNo, MASTER_RECORD, ObjectNo};
use super::table::RowNo;
use super::transaction::Transaction;
use super::value::Value;
use super::{Actor, Model};
use crate::unconfirmed::switches::ClearedLookups;

/// A reference field of a record.
pub(super) type Lookup = (ObjectNo, RowNo, FieldNo);

impl Model {
    /// Returns every reference of a live record to this one.
    pub(super) fn referring(&self, object: ObjectNo, id: RecordId) -> Vec<Lookup> {
        let name = &self.object(object).name;
        let mut found = Vec::new();
        for (child, of) in self.schema.numbered() {
            let table = self.table(child);
            let refers =
                |field: &Field| field.reference_to.contains(name) && field.name != MASTER_RECORD;
            for (no, _) in of.numbered().filter(|(_, field)| refers(field)) {
                let rows = table.children_of(no, id).unwrap_or_else(|| {
                    let held = |row: &RowNo| {
                        table.get(*row, no).as_id() == Some(id) && !table.is_deleted(of, *row)
                    };
                    table.all().filter(held).collect()
                });
                found.extend(rows.into_iter().map(|row| (child, row, no)));
            }
        }
        found
    }

    /// Clears the optional lookups to a record that was just deleted.
    pub(super) fn clear_lookups(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (no, row): (ObjectNo, RowNo),
    ) {
        let mut lookups = self.referring(no, self.id_of(no, row));
        lookups.retain(|(child, _, field)| {
            let field = self.field(*child, *field);
            field.nillable && !field.cascade_delete && !field.system()
        });
        for lookup in &lookups {
            self.set_lookup(tx, actor, *lookup, Value::Null);
        }
        self.cleared_with.insert((no, row), lookups);
    }

    /// Restores the lookups that a delete cleared, without those that have another value by now.
    pub(super) fn restore_lookups(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (no, row): (ObjectNo, RowNo),
    ) {
        let id = self.id_of(no, row);
        for lookup in self.cleared_with.remove(&(no, row)).unwrap_or_default() {
            let (child, row, field) = lookup;
            let record = self.table(child).row(row);
            if record.is_some_and(|record| *record.get(field) == Value::Null) {
                self.set_lookup(tx, actor, lookup, Value::Id(id));
            }
        }
    }

    fn set_lookup(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (child, row, field): Lookup,
        value: Value,
    ) {
        match self.switches.cleared_lookups {
            ClearedLookups::WithoutEvent => self.put_silently(tx, (child, row), field, value),
            ClearedLookups::WithEvent => {
                self.put(tx, (child, row), field, value);
                self.stamp(tx, actor, (child, row));
            }
        }
    }
}
