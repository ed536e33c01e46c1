//! Stores and finds the records of one object.
//!
//! A record is a row of values by field number. Its id encodes its row number, so no map from id to
//! row is needed. Rows are never reused: a row whose create was rolled back stays empty.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use smol_str::SmolStr;

use super::id::RecordId;
use super::row::Row;
use super::schema::{FieldNo, Object};
use super::value::Value;

/// Number of a record within its object.
pub(crate) type RowNo = u32;

/// Maximum number of consecutive empty rows in a dump, so that a corrupt number cannot use all
/// memory.
const EMPTY_ROWS_MAX: RowNo = 10_000_000;

/// All records of one object, including deleted ones.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    lookups: Vec<Lookup>,
    children: Vec<Children>,
    by_modstamp: BTreeSet<(i64, RowNo)>,
    live: usize,
}

/// Finds live records by the value of a field.
#[derive(Debug)]
struct Lookup {
    field: FieldNo,
    rows: HashMap<SmolStr, Holders>,
}

/// The live records with one value: a single one, unless values are not unique.
#[derive(Debug)]
enum Holders {
    One(RowNo),
    Many(Vec<RowNo>),
}

/// Finds live records by the record they refer to.
#[derive(Debug)]
struct Children {
    field: FieldNo,
    /// Whether they are deleted with that record.
    cascade: bool,
    rows: HashMap<RecordId, BTreeSet<RowNo>>,
}

impl Table {
    /// Returns an empty table for `object`.
    pub(crate) fn new(object: &Object) -> Self {
        let mut table = Self::default();
        for (no, _) in object.numbered() {
            table.index_field(object, no);
        }
        table
    }

    /// Adds an index for a field, if records can be found by it.
    pub(crate) fn index_field(&mut self, object: &Object, no: FieldNo) {
        self.lookups.retain(|lookup| lookup.field != no);
        self.children.retain(|children| children.field != no);
        let field = object.field(no);
        let mut lookup = Lookup {
            field: no,
            rows: HashMap::new(),
        };
        let mut children = Children {
            field: no,
            cascade: field.cascade_delete,
            rows: HashMap::new(),
        };
        let by_value = field.finds_records();
        // References to users are not: every record has several.
        let clearable = field.createable && field.reference_to.iter().any(|name| name != "User");
        let by_parent =
            field.cascade_delete || field.child_relationship_name.is_some() || clearable;
        if by_value || by_parent {
            for row in self.all().filter(|row| !self.is_deleted(object, *row)) {
                let value = self.get(row, no);
                lookup.add(value.index_key(field), row);
                children.add(value, row);
            }
        }
        self.lookups.extend(by_value.then_some(lookup));
        self.children.extend(by_parent.then_some(children));
    }

    /// Returns the row number of the next record.
    pub(crate) fn next_row(&self) -> RowNo {
        RowNo::try_from(self.rows.len()).expect("an object holds fewer than 2^32 records")
    }

    /// Returns the number of live records.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Adds a live record.
    pub(crate) fn push(&mut self, object: &Object, values: Box<[Value]>) -> RowNo {
        let row = self.next_row();
        if let Value::Datetime(ms) = values[object.system.modstamp.0] {
            self.by_modstamp.insert((ms, row));
        }
        self.rows.push(Row::of(values));
        self.live += 1;
        self.index_row(object, row);
        row
    }

    /// Restores a record, deleted or not, at its row. Rows before it that are missing stay empty.
    pub(crate) fn restore(
        &mut self,
        object: &Object,
        row: RowNo,
        values: Box<[Value]>,
    ) -> Result<(), String> {
        self.skip_to(row)?;
        if let Value::Datetime(ms) = values[object.system.modstamp.0] {
            self.by_modstamp.insert((ms, row));
        }
        self.rows.push(Row::of(values));
        if !self.is_deleted(object, row) {
            self.live += 1;
            self.index_row(object, row);
        }
        Ok(())
    }

    /// Adds a last field to every record, with its default.
    pub(crate) fn widen(&mut self, object: &Object, no: FieldNo) {
        let default = &object.field(no).default;
        for row in self.all().collect::<Vec<_>>() {
            self.set(object, row, no, default.clone());
        }
        self.index_field(object, no);
    }

    /// Leaves rows empty, so that the next record gets this row.
    pub(crate) fn skip_to(&mut self, row: RowNo) -> Result<(), String> {
        let next = self.next_row();
        if row < next {
            return Err(format!(
                "row {row} comes after row {}",
                next.saturating_sub(1)
            ));
        }
        if row - next > EMPTY_ROWS_MAX {
            return Err(format!("row {row} comes too far after row {next}"));
        }
        self.rows.resize_with(row as usize, Row::default);
        Ok(())
    }

    /// Empties a row, as if its record had never existed.
    pub(crate) fn purge(&mut self, object: &Object, row: RowNo) {
        if !self.is_deleted(object, row) {
            self.unindex_row(object, row);
            self.live -= 1;
        }
        if let Value::Datetime(ms) = self.rows[row as usize][object.system.modstamp.0] {
            self.by_modstamp.remove(&(ms, row));
        }
        self.rows[row as usize] = Row::default();
    }

    /// Returns the values of a record, if it exists.
    pub(crate) fn row(&self, row: RowNo) -> Option<&Row> {
        self.rows
            .get(row as usize)
            .filter(|values| !values.is_empty())
    }

    /// Returns one value of a record. A permanently deleted record has none.
    pub(crate) fn get(&self, row: RowNo, field: FieldNo) -> &Value {
        self.rows[row as usize].get(field)
    }

    /// Returns whether an existing record is in the recycle bin.
    pub(crate) fn is_deleted(&self, object: &Object, row: RowNo) -> bool {
        *self.get(row, object.system.is_deleted) == Value::Bool(true)
    }

    /// Returns whether an existing record is in no query, but in queryAll.
    pub(crate) fn is_hidden(&self, object: &Object, row: RowNo) -> bool {
        let archived = object.system.is_archived;
        self.is_deleted(object, row)
            || archived.is_some_and(|field| *self.get(row, field) == Value::Bool(true))
    }

    /// Sets a value and returns the previous one.
    pub(crate) fn set(&mut self, object: &Object, row: RowNo, field: FieldNo, new: Value) -> Value {
        if field == object.system.is_deleted {
            return self.set_deleted(object, row, new);
        }
        let old = self.rows[row as usize].set(field, new);
        if field == object.system.modstamp {
            self.move_modstamp(row, &old, field);
        } else if self.is_indexed(field) && !self.is_deleted(object, row) {
            self.move_value(object, row, field, &old);
        }
        old
    }

    fn set_deleted(&mut self, object: &Object, row: RowNo, new: Value) -> Value {
        let deleted = object.system.is_deleted;
        if self.rows[row as usize][deleted.0] == new {
            return new;
        }
        if new == Value::Bool(true) {
            self.unindex_row(object, row);
            self.live -= 1;
            self.rows[row as usize].set(deleted, new)
        } else {
            let old = self.rows[row as usize].set(deleted, new);
            self.live += 1;
            self.index_row(object, row);
            old
        }
    }

    fn move_modstamp(&mut self, row: RowNo, old: &Value, field: FieldNo) {
        if let Value::Datetime(ms) = old {
            self.by_modstamp.remove(&(*ms, row));
        }
        if let Value::Datetime(ms) = self.rows[row as usize][field.0] {
            self.by_modstamp.insert((ms, row));
        }
    }

    fn is_indexed(&self, field: FieldNo) -> bool {
        self.lookups.iter().any(|lookup| lookup.field == field)
            || self.children.iter().any(|children| children.field == field)
    }

    fn move_value(&mut self, object: &Object, row: RowNo, field: FieldNo, old: &Value) {
        let new = &self.rows[row as usize][field.0];
        for lookup in self
            .lookups
            .iter_mut()
            .filter(|lookup| lookup.field == field)
        {
            lookup.remove(old.index_key(object.field(field)), row);
            lookup.add(new.index_key(object.field(field)), row);
        }
        for children in self
            .children
            .iter_mut()
            .filter(|children| children.field == field)
        {
            children.remove(old, row);
            children.add(new, row);
        }
    }

    fn index_row(&mut self, object: &Object, row: RowNo) {
        let values = &self.rows[row as usize];
        for lookup in &mut self.lookups {
            lookup.add(
                values[lookup.field.0].index_key(object.field(lookup.field)),
                row,
            );
        }
        for children in &mut self.children {
            children.add(&values[children.field.0], row);
        }
    }

    fn unindex_row(&mut self, object: &Object, row: RowNo) {
        let values = &self.rows[row as usize];
        for lookup in &mut self.lookups {
            lookup.remove(
                values[lookup.field.0].index_key(object.field(lookup.field)),
                row,
            );
        }
        for children in &mut self.children {
            children.remove(&values[children.field.0], row);
        }
    }

    /// Returns the live records whose `field` has that key, or `None` if the field has no index.
    pub(crate) fn find(&self, field: FieldNo, key: &str) -> Option<&[RowNo]> {
        let lookup = self.lookups.iter().find(|lookup| lookup.field == field)?;
        Some(lookup.rows.get(key).map_or(&[], Holders::as_slice))
    }

    /// Returns the live records that refer to `parent` and are deleted with it.
    pub(crate) fn dependents(&self, parent: RecordId) -> Vec<RowNo> {
        let of = |children: &Children| children.rows.get(&parent).cloned().unwrap_or_default();
        let cascading = self.children.iter().filter(|children| children.cascade);
        cascading.flat_map(of).collect()
    }

    /// Returns the live records whose `field` refers to `parent`, in order of creation, or `None`
    /// if the field has no index.
    pub(crate) fn children_of(&self, field: FieldNo, parent: RecordId) -> Option<Vec<RowNo>> {
        let children = self
            .children
            .iter()
            .find(|children| children.field == field)?;
        let rows = children.rows.get(&parent);
        Some(
            rows.map(|rows| rows.iter().copied().collect())
                .unwrap_or_default(),
        )
    }

    /// Returns all records, including deleted ones, in order of creation.
    pub(crate) fn all(&self) -> impl Iterator<Item = RowNo> {
        let rows = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, values)| !values.is_empty());
        rows.map(|(row, _)| RowNo::try_from(row).expect("row numbers fit"))
    }

    /// Returns the records stamped at `from_ms` or later, including deleted ones, oldest first.
    pub(crate) fn since(&self, from_ms: i64) -> impl Iterator<Item = RowNo> {
        self.by_modstamp.range((from_ms, 0)..).map(|(_, row)| *row)
    }
}

impl Holders {
    fn as_slice(&self) -> &[RowNo] {
        match self {
            Self::One(row) => std::slice::from_ref(row),
            Self::Many(rows) => rows,
        }
    }

    fn with(self, row: RowNo) -> Self {
        match self {
            Self::One(first) => Self::Many(vec![first.min(row), first.max(row)]),
            Self::Many(mut rows) => {
                // Keeps the order of creation, whatever the order in which records got the value.
                rows.insert(rows.partition_point(|other| *other < row), row);
                Self::Many(rows)
            }
        }
    }
}

impl Lookup {
    fn add(&mut self, key: Option<SmolStr>, row: RowNo) {
        let Some(key) = key else { return };
        match self.rows.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Holders::One(row));
            }
            Entry::Occupied(mut place) => {
                let before = std::mem::replace(place.get_mut(), Holders::One(row));
                place.insert(before.with(row));
            }
        }
    }

    fn remove(&mut self, key: Option<SmolStr>, row: RowNo) {
        let Some(key) = key else { return };
        match self.rows.get_mut(&key) {
            Some(Holders::Many(rows)) if rows.len() > 1 => rows.retain(|other| *other != row),
            Some(holders) if holders.as_slice() == [row] => {
                self.rows.remove(&key);
            }
            Some(_) | None => {}
        }
    }
}

impl Children {
    fn add(&mut self, parent: &Value, row: RowNo) {
        if let Value::Id(id) = parent {
            self.rows.entry(*id).or_default().insert(row);
        }
    }

    fn remove(&mut self, parent: &Value, row: RowNo) {
        let Value::Id(id) = parent else { return };
        if let Some(rows) = self.rows.get_mut(id) {
            rows.remove(&row);
        }
    }
}
