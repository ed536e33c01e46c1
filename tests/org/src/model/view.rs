//! The org as one user sees it: without the objects, fields and records that are hidden from it.

use std::borrow::Cow;
use std::ops::Deref;

use super::error::SfError;
use super::id::RecordId;
use super::permission::{Action, Permissions};
use super::schema::{Field, FieldNo, Object, ObjectNo};
use super::table::{RowNo, Table};
use super::value::Value;
use super::{Model, no_such_column};
use crate::unconfirmed::switches::MaskedText;

/// The org as one user sees it.
///
/// Its methods hide those of the model with the same names, so that what has a view finds only what
/// the user may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'m> {
    model: &'m Model,
    /// The user and its restrictions; `None` sees everything.
    user: Option<(RecordId, &'m Permissions)>,
}

impl Deref for View<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        self.model
    }
}

impl Model {
    /// Returns the org as the org itself sees it.
    pub(crate) fn whole(&self) -> View<'_> {
        View {
            model: self,
            user: None,
        }
    }

    /// Returns the org as a user sees it.
    pub(crate) fn view(&self, user: RecordId) -> View<'_> {
        let permissions = self.permissions.get(&user);
        View {
            model: self,
            user: permissions.map(|permissions| (user, &**permissions)),
        }
    }
}

impl<'m> View<'m> {
    /// Returns the whole org.
    pub(crate) fn model(self) -> &'m Model {
        self.model
    }

    /// Returns an object.
    pub(crate) fn object(self, no: ObjectNo) -> &'m Object {
        self.model.object(no)
    }

    /// Returns a field.
    pub(crate) fn field(self, object: ObjectNo, no: FieldNo) -> &'m Field {
        self.model.field(object, no)
    }

    /// Returns the records of an object, including hidden ones.
    pub(crate) fn table(self, no: ObjectNo) -> &'m Table {
        self.model.table(no)
    }

    /// Returns whether the user may do this with records of an object, as far as they are shared.
    pub(crate) fn allows(self, object: ObjectNo, action: Action) -> bool {
        let user = self.user;
        user.is_none_or(|(_, permissions)| permissions.allows(object, action))
    }

    /// Returns when what the user sees of an object's schema changed last, or of any object's;
    /// `None` if it is as in the org file.
    pub(crate) fn described_ms(self, object: Option<ObjectNo>) -> Option<i64> {
        let permitted = self.user.map(|(_, permissions)| permissions.since_ms);
        permitted.max(self.model.changed_ms(object))
    }

    /// Returns the object with that name.
    pub(crate) fn find_object(self, name: &str) -> Option<ObjectNo> {
        let found = self.model.schema.find(name);
        found.filter(|no| self.allows(*no, Action::Read))
    }

    /// Returns the object with that name, or Salesforce's error for an unknown object.
    pub(crate) fn object_named(self, name: &str) -> Result<ObjectNo, SfError> {
        self.find_object(name).ok_or_else(SfError::not_found)
    }

    /// Returns whether the user may see a field.
    pub(crate) fn shows(self, object: ObjectNo, field: FieldNo) -> bool {
        let user = self.user;
        user.is_none_or(|(_, permissions)| !permissions.hidden(object).contains(&field))
    }

    /// Returns whether the user may write a field.
    pub(crate) fn writes(self, object: ObjectNo, field: FieldNo) -> bool {
        let user = self.user;
        user.is_none_or(|(_, permissions)| !permissions.read_only(object, field))
    }

    /// Returns the fields of an object.
    pub(crate) fn fields(self, object: ObjectNo) -> impl Iterator<Item = (FieldNo, &'m Field)> {
        let all = self.model.object(object).numbered();
        all.filter(move |(no, _)| self.shows(object, *no))
    }

    /// Returns the field with that name.
    pub(crate) fn find_field(self, object: ObjectNo, name: &str) -> Option<FieldNo> {
        let found = self.model.object(object).find(name);
        found.filter(|no| self.shows(object, *no))
    }

    /// Returns the field with that name, or Salesforce's error for an unknown field.
    pub(crate) fn field_named(self, object: ObjectNo, name: &str) -> Result<FieldNo, SfError> {
        let found = self.find_field(object, name);
        found.ok_or_else(|| no_such_column(name, self.model.object(object)))
    }

    /// Returns the reference field with a relationship name.
    pub(crate) fn find_relationship(self, object: ObjectNo, name: &str) -> Option<FieldNo> {
        let found = self.model.object(object).find_relationship(name);
        found.filter(|no| self.shows(object, *no))
    }

    /// Returns whether a record, deleted or not, is shared with the user.
    pub(crate) fn sees(self, object: ObjectNo, row: RowNo) -> bool {
        if self.model.schema.own_permissions == Some(object) {
            // The permissions of the nth user are the nth record.
            return self.user.is_none_or(|(user, _)| user.number() == Some(row));
        }
        self.allows(object, Action::ViewAll) || self.has_share(object, row, false)
    }

    fn has_share(self, object: ObjectNo, row: RowNo, edit: bool) -> bool {
        let Some((user, permissions)) = self.user else {
            return true;
        };
        let table = self.model.table(object);
        let owner = self.model.object(object).system.owner;
        let owned = owner.is_some_and(|owner| table.get(row, owner).as_id() == Some(user));
        let mut rules = permissions.shared(object).iter();
        let holds =
            |condition: &crate::soql::Criterion| condition.holds(self.model.whole(), object, row);
        permissions.allows(object, Action::Read)
            && (owned || rules.any(|rule| (rule.edit || !edit) && holds(&rule.condition)))
    }

    /// Refuses a write that the user may not do with any record of the object, or not with this
    /// one.
    pub(crate) fn check(
        self,
        object: ObjectNo,
        action: Action,
        row: Option<RowNo>,
    ) -> Result<(), SfError> {
        if action == Action::Create && !self.allows(object, action) {
            let name = &self.object(object).name;
            return Err(SfError::of_record(
                "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
                format!("entity type cannot be inserted: {name}"),
            ));
        }
        let shared = row.is_none_or(|row| {
            self.allows(object, Action::ModifyAll) || self.has_share(object, row, true)
        });
        if self.allows(object, action) && shared {
            return Ok(());
        }
        let message = "insufficient access rights on object id";
        Err(SfError::of_record("INSUFFICIENT_ACCESS_OR_READONLY", message).with_status(403))
    }

    /// Returns the record of an object with an id, including deleted ones.
    pub(crate) fn row_of(self, object: ObjectNo, id: RecordId) -> Option<RowNo> {
        let row = self.model.row_of(object, id);
        row.filter(|row| self.sees(object, *row))
    }

    /// Returns the live record that a reference points to.
    pub(crate) fn live_row(self, id: RecordId) -> Option<(ObjectNo, RowNo)> {
        let found = self.model.live_row(id);
        found.filter(|(object, row)| self.sees(*object, *row))
    }

    /// Returns the object and record of an id, or Salesforce's error for an unknown one.
    pub(crate) fn place_of(self, id: RecordId) -> Result<(ObjectNo, RowNo), SfError> {
        let object = self.model.schema.with_prefix(id.prefix());
        let object = object.ok_or_else(SfError::unknown_id)?;
        let row = self.row_of(object, id).ok_or_else(SfError::unknown_id)?;
        Ok((object, row))
    }

    /// Returns the live records whose `field` has the value given as text.
    pub(crate) fn find_by(self, object: ObjectNo, no: FieldNo, text: &str) -> Vec<RowNo> {
        let mut rows = self.model.find_by(object, no, text);
        rows.retain(|row| self.sees(object, *row));
        rows
    }

    /// Returns a value, masked if the user may not see it plain.
    pub(crate) fn value(self, object: ObjectNo, row: RowNo, no: FieldNo) -> Cow<'m, Value> {
        let value = self.model.table(object).get(row, no);
        self.masked(self.field(object, no), value)
    }

    /// Returns a value of a field, masked if the user may not see it plain.
    pub(crate) fn masked(self, field: &Field, value: &'m Value) -> Cow<'m, Value> {
        let masks = self.user.is_some_and(|(_, permissions)| permissions.masks);
        match (field.mask, value) {
            (Some(mask), Value::Text(text))
                if masks && self.model.switches.masked_text == MaskedText::Masked =>
            {
                Cow::Owned(Value::Text(mask.masked(text).into()))
            }
            _ => Cow::Borrowed(value),
        }
    }
}
