//! Writes: what a transaction does to records, and how it is rolled back.

use std::collections::HashMap;

use super::change::ChangeKind;
use super::draft::{Draft, Purpose};
use super::error::SfError;
use super::schema::{FieldNo, Object, ObjectNo};
use super::stamp;
use super::table::RowNo;
use super::validation::Candidate;
use super::value::Value;
use super::{Actor, Model};

/// The records that one transaction changed, in the order of their first change.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(super) touches: Vec<Touch>,
    /// Changes without a stamp and an event, with the previous values.
    silent: Vec<(ObjectNo, RowNo, FieldNo, Value)>,
    places: HashMap<(ObjectNo, RowNo), usize>,
}

/// The changes of one record in a transaction.
#[derive(Debug)]
pub(super) struct Touch {
    pub(super) object: ObjectNo,
    pub(super) row: RowNo,
    /// The first change.
    pub(super) kind: ChangeKind,
    /// The previous values of the fields, from before their first change.
    pub(super) old: Vec<(FieldNo, Value)>,
    /// The event omits the modification stamp.
    pub(super) hides_stamp: bool,
}

impl Transaction {
    /// Returns the records that the transaction deleted.
    pub(crate) fn deleted(&self) -> Vec<(ObjectNo, RowNo)> {
        let touches = self.touches.iter();
        touches
            .filter(|touch| touch.kind == ChangeKind::Delete)
            .map(|touch| (touch.object, touch.row))
            .collect()
    }

    fn touch(&mut self, object: ObjectNo, row: RowNo, kind: ChangeKind) -> &mut Touch {
        let place = *self.places.entry((object, row)).or_insert_with(|| {
            self.touches.push(Touch {
                object,
                row,
                kind,
                old: Vec::new(),
                hides_stamp: false,
            });
            self.touches.len() - 1
        });
        let touch = &mut self.touches[place];
        touch.kind = touch.kind.followed_by(kind);
        touch
    }

    /// Leaves the stamp of a changed record out of its event, as lead conversion does.
    pub(super) fn hide_stamp(&mut self, object: ObjectNo, row: RowNo) {
        self.touch(object, row, ChangeKind::Update).hides_stamp = true;
    }

    /// Returns the records that the transaction changed.
    pub(crate) fn touched(&self) -> Vec<(ObjectNo, RowNo)> {
        let touches = self.touches.iter().map(|touch| (touch.object, touch.row));
        let silent = self.silent.iter().map(|(object, row, ..)| (*object, *row));
        touches.chain(silent).collect()
    }

    /// Adds the changes of a nested transaction, so that both commit or roll back together.
    pub(crate) fn absorb(&mut self, part: Self) {
        self.silent.extend(part.silent);
        for touch in part.touches {
            let known = self.touch(touch.object, touch.row, touch.kind);
            known.hides_stamp |= touch.hides_stamp;
            for (field, old) in touch.old {
                known.remember(field, old);
            }
        }
    }
}

impl ChangeKind {
    /// Returns the net kind of two changes of one record in one transaction.
    fn followed_by(self, later: Self) -> Self {
        match (self, later) {
            (Self::Update, Self::Delete) => Self::Delete,
            (Self::Delete | Self::Undelete, Self::Undelete | Self::Delete) if self != later => {
                Self::Update
            }
            (first, _) => first,
        }
    }
}

impl Touch {
    fn remember(&mut self, field: FieldNo, old: Value) {
        if self.kind != ChangeKind::Create && !self.old.iter().any(|(known, _)| *known == field) {
            self.old.push((field, old));
        }
    }
}

impl Model {
    /// Creates a record and returns its row.
    pub(crate) fn create(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        draft: Draft,
    ) -> Result<RowNo, SfError> {
        let no = draft.object;
        let draft = self.before_save(draft, None)?;
        self.check_unique(actor, &draft, None)?;
        let object = self.object(no);
        let mut values: Box<[Value]> = object
            .fields
            .iter()
            .map(|field| field.default.clone())
            .collect();
        for (field, value) in draft.sets {
            values[field.0] = value;
        }
        check_required(object, &values)?;
        let now = self.stamp_ms();
        let system = object.system;
        let row = self.table(no).next_row();
        values[system.id.0] = Value::Id(self.id_of(no, row));
        values[system.is_deleted.0] = Value::Bool(false);
        for field in [system.created_date, system.modified_date, system.modstamp] {
            values[field.0] = Value::Datetime(now);
        }
        for field in [system.created_by, system.modified_by] {
            values[field.0] = Value::Id(actor.user);
        }
        if let Some(owner) = system.owner
            && values[owner.0] == Value::Null
        {
            values[owner.0] = Value::Id(actor.user);
        }
        if let Some(name) = system.person_name {
            values[name.0] = full_name(object, name, |no| &values[no.0]);
        }
        for (field_no, field) in object.numbered() {
            if let Some(pattern) = &field.auto_number {
                values[field_no.0] = Value::Text(auto_number(pattern, row).into());
            }
        }
        let new = |field: FieldNo| &values[field.0];
        self.check_rules(&Candidate {
            object: no,
            new: &new,
            old: None,
        })?;
        let row = self.tables[no.0].push(&self.schema.objects[no.0], values);
        tx.touch(no, row, ChangeKind::Create);
        self.after_save(tx, actor, ((no, row), None), Vec::new())?;
        Ok(row)
    }

    /// Changes a live record.
    pub(crate) fn update(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        row: RowNo,
        draft: Draft,
    ) -> Result<(), SfError> {
        let no = draft.object;
        if self.table(no).is_deleted(self.object(no), row) {
            return Err(SfError::deleted());
        }
        let draft = self.before_save(draft, Some(row))?;
        self.check_unique(actor, &draft, Some(row))?;
        for (field, value) in &draft.sets {
            let field = self.field(no, *field);
            if *value == Value::Null && !field.nillable {
                return Err(required_missing(vec![field.name.clone()]));
            }
        }
        let table = self.table(no);
        let old = |field: FieldNo| table.get(row, field);
        let new = |field: FieldNo| {
            let set = draft.sets.iter().rev().find(|(known, _)| *known == field);
            set.map_or_else(|| old(field), |(_, value)| value)
        };
        self.check_rules(&Candidate {
            object: no,
            new: &new,
            old: Some(&old),
        })?;
        let parents = self.parents_of((no, row));
        let mut changed = Vec::with_capacity(draft.sets.len());
        for (field, value) in draft.sets {
            if *self.table(no).get(row, field) != value {
                changed.push(field);
                self.put(tx, (no, row), field, value);
            }
        }
        self.stamp(tx, actor, (no, row));
        self.after_save(tx, actor, ((no, row), Some(&changed)), parents)
    }

    /// Moves a live record and its dependents to the recycle bin.
    pub(crate) fn delete(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        no: ObjectNo,
        row: RowNo,
    ) -> Result<(), SfError> {
        if self.table(no).is_deleted(self.object(no), row) {
            return Err(SfError::deleted());
        }
        let top = (no, row);
        let mut gone = vec![top];
        let mut waiting = vec![top];
        while let Some((no, row)) = waiting.pop() {
            let id = self.id_of(no, row);
            for (child, _) in self.schema.numbered() {
                waiting.extend(
                    self.table(child)
                        .dependents(id)
                        .into_iter()
                        .map(|r| (child, r)),
                );
            }
            tx.touch(no, row, ChangeKind::Delete);
            let field = self.object(no).system.is_deleted;
            self.put(tx, (no, row), field, Value::Bool(true));
            self.stamp(tx, actor, (no, row));
            if (no, row) != top {
                gone.push((no, row));
            }
        }
        for at in &gone {
            self.clear_lookups(tx, actor, *at);
            self.add_up(tx, actor, *at, Vec::new())?;
        }
        gone.retain(|at| *at != top);
        self.deleted_with.insert(top, gone);
        Ok(())
    }

    /// Restores a record from the recycle bin, with the dependents deleted together with it.
    pub(crate) fn undelete(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        no: ObjectNo,
        row: RowNo,
    ) -> Result<(), SfError> {
        let object = self.object(no);
        if !self.table(no).is_deleted(object, row) {
            return Err(SfError::of_record(
                "UNDELETE_FAILED",
                "Entity is not in the recycle bin",
            ));
        }
        self.restore_row(tx, actor, (no, row))?;
        for (child, row) in self.deleted_with.remove(&(no, row)).unwrap_or_default() {
            // A child that was restored or purged in the meantime stays as it is.
            if self.table(child).row(row).is_some()
                && self.table(child).is_deleted(self.object(child), row)
            {
                self.restore_row(tx, actor, (child, row))?;
            }
        }
        Ok(())
    }

    fn restore_row(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        (no, row): (ObjectNo, RowNo),
    ) -> Result<(), SfError> {
        let object = self.object(no);
        let values = self.table(no).row(row).ok_or_else(SfError::unknown_id)?;
        let sets = object
            .numbered()
            .filter(|(_, field)| field.unique)
            .map(|(field, _)| (field, values[field.0].clone()))
            .collect();
        let draft = Draft {
            object: no,
            purpose: Purpose::Update,
            sets,
        };
        self.check_unique(actor, &draft, Some(row))?;
        let field = object.system.is_deleted;
        tx.touch(no, row, ChangeKind::Undelete);
        self.put(tx, (no, row), field, Value::Bool(false));
        self.stamp(tx, actor, (no, row));
        self.restore_lookups(tx, actor, (no, row));
        self.add_up(tx, actor, (no, row), Vec::new())
    }

    /// Rolls a transaction back.
    pub(crate) fn roll_back(&mut self, tx: Transaction) {
        let touched = tx.touched();
        for (no, row, field, old) in tx.silent.into_iter().rev() {
            self.tables[no.0].set(&self.schema.objects[no.0], row, field, old);
        }
        for touch in tx.touches.into_iter().rev() {
            let object = &self.schema.objects[touch.object.0];
            let table = &mut self.tables[touch.object.0];
            if touch.kind == ChangeKind::Create {
                table.purge(object, touch.row);
                continue;
            }
            for (field, old) in touch.old.into_iter().rev() {
                table.set(object, touch.row, field, old);
            }
        }
        self.recalculate(&touched);
    }

    /// Updates the delete log to match the recycle bin.
    pub(super) fn note_deletions(&mut self, tx: &Transaction) {
        let now_ms = stamp::floor_to_second(self.now_ms);
        for touch in &tx.touches {
            let id = self.id_of(touch.object, touch.row);
            match touch.kind {
                ChangeKind::Delete => self.deletions.note(id, now_ms),
                ChangeKind::Undelete => self.deletions.forget(id),
                ChangeKind::Create
                | ChangeKind::Update
                | ChangeKind::GapCreate
                | ChangeKind::GapUpdate
                | ChangeKind::GapDelete
                | ChangeKind::GapUndelete
                | ChangeKind::GapOverflow => {}
            }
        }
    }

    /// Sets one value, remembers the previous one, and keeps a full name in step with its parts.
    pub(super) fn put(
        &mut self,
        tx: &mut Transaction,
        at: (ObjectNo, RowNo),
        field: FieldNo,
        new: Value,
    ) {
        let (no, row) = at;
        let object = &self.schema.objects[no.0];
        let table = &mut self.tables[no.0];
        let old = table.set(object, row, field, new);
        tx.touch(no, row, ChangeKind::Update).remember(field, old);
        if let Some(name) = object.system.person_name
            && object.field(name).parts.contains(&field)
        {
            let full = full_name(object, name, |part| table.get(row, part));
            let old = table.set(object, row, name, full);
            tx.touch(no, row, ChangeKind::Update).remember(name, old);
        }
    }

    /// Sets one value without a stamp and an event.
    pub(super) fn put_silently(
        &mut self,
        tx: &mut Transaction,
        (no, row): (ObjectNo, RowNo),
        field: FieldNo,
        new: Value,
    ) {
        let old = self.tables[no.0].set(&self.schema.objects[no.0], row, field, new);
        tx.silent.push((no, row, field, old));
    }

    /// Sets the modification stamp and user of a record.
    pub(super) fn stamp(&mut self, tx: &mut Transaction, actor: &Actor, at: (ObjectNo, RowNo)) {
        let system = self.object(at.0).system;
        let mut now = self.stamp_ms();
        // This transaction may have started before the last one ended and waited for its lock. The
        // stamp never goes back.
        if let Value::Datetime(before) = self.table(at.0).get(at.1, system.modstamp)
            && self.late_ms > 0
        {
            now = now.max(*before);
        }
        let now = Value::Datetime(now);
        self.put(tx, at, system.modified_date, now.clone());
        self.put(tx, at, system.modstamp, now);
        self.put(tx, at, system.modified_by, Value::Id(actor.user));
    }

    fn check_unique(
        &self,
        actor: &Actor,
        draft: &Draft,
        own: Option<RowNo>,
    ) -> Result<(), SfError> {
        let object = self.object(draft.object);
        for (no, value) in &draft.sets {
            let field = object.field(*no);
            let Some(key) = field.unique.then(|| value.index_key(field)).flatten() else {
                continue;
            };
            let holders = self.table(draft.object).find(*no, &key).unwrap_or_default();
            if let Some(other) = holders.iter().find(|row| Some(**row) != own) {
                // A user learns nothing about a record that it may not see.
                let (name, id) = if self.view(actor.user).sees(draft.object, *other) {
                    let id = self.id_of(draft.object, *other).short().to_owned();
                    (field.name.as_str(), id)
                } else {
                    ("<unknown>", "<unknown>".to_owned())
                };
                let message = format!(
                    "duplicate value found: {name} duplicates value on record with id: {id}"
                );
                return Err(SfError::of_record("DUPLICATE_VALUE", message));
            }
        }
        Ok(())
    }
}

/// Formats the number of a record as in `INV-{0000}`: counted from 1, padded with zeros.
fn auto_number(pattern: &str, row: RowNo) -> String {
    let number = u64::from(row) + 1;
    let Some((before, rest)) = pattern.split_once('{') else {
        return format!("{pattern}{number}");
    };
    let (digits, after) = rest.split_once('}').unwrap_or((rest, ""));
    format!("{before}{number:0width$}{after}", width = digits.len())
}

fn check_required(object: &Object, values: &[Value]) -> Result<(), SfError> {
    let missing: Vec<String> = object
        .numbered()
        .filter(|(no, field)| !field.nillable && field.createable && values[no.0] == Value::Null)
        .filter(|(_, field)| !field.defaulted_on_create())
        .map(|(_, field)| field.name.clone())
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(required_missing(missing))
    }
}

pub(super) fn required_missing(fields: Vec<String>) -> SfError {
    let message = format!("Required fields are missing: [{}]", fields.join(", "));
    SfError::of_record("REQUIRED_FIELD_MISSING", message).with_fields(fields)
}

/// Returns first and last name separated by a space, as full names show them.
fn full_name<'a>(object: &Object, name: FieldNo, get: impl Fn(FieldNo) -> &'a Value) -> Value {
    let part = |wanted: &str| {
        let named = |no: &&FieldNo| object.field(**no).name == wanted;
        let no = object.field(name).parts.iter().find(named)?;
        get(*no).as_text().map(str::to_owned)
    };
    let parts: Vec<String> = [part("FirstName"), part("LastName")]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() {
        Value::Null
    } else {
        Value::Text(parts.join(" ").into())
    }
}
