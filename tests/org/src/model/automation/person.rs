//! Person accounts: an account and a contact that are one record. Callers write the account, and the
//! contact follows in the same transaction.

use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::transaction::{Transaction, required_missing};
use crate::model::value::Value;
use crate::model::{Actor, Model};
use crate::unconfirmed::PERSON_CONTACT_CODE;

/// How the accounts of an org hold persons.
#[derive(Clone, Debug)]
pub(crate) struct Persons {
    /// The record types of persons.
    pub(crate) record_types: Vec<RecordId>,
    pub(crate) account: AccountFields,
    pub(crate) contact: ObjectNo,
    /// The contact's reference to the account, and its mark as a person's.
    pub(crate) parent: FieldNo,
    pub(crate) mark: FieldNo,
    /// Fields of the account, and the fields of the contact that have the same value.
    pub(crate) mirrored: Vec<(FieldNo, FieldNo)>,
}

/// The fields of an account that is a person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccountFields {
    pub(crate) record_type: FieldNo,
    pub(crate) name: FieldNo,
    pub(crate) first_name: FieldNo,
    pub(crate) last_name: FieldNo,
    pub(crate) mark: FieldNo,
    pub(crate) contact: FieldNo,
}

impl Model {
    /// Completes the write of an account, or refuses fields that its kind does not have.
    pub(super) fn complete_person(
        &self,
        draft: &mut Draft,
        row: Option<RowNo>,
        persons: &Persons,
    ) -> Result<(), SfError> {
        let fields = persons.account;
        let set = |no: FieldNo| draft.sets.iter().rev().find(|(known, _)| *known == no);
        let value = |no: FieldNo| match (set(no), row) {
            (Some((_, value)), _) => value.clone(),
            (None, Some(row)) => self.table(draft.object).get(row, no).clone(),
            (None, None) => self.field(draft.object, no).default.clone(),
        };
        let is_person = match row {
            Some(_) => value(fields.mark) == Value::Bool(true),
            None => {
                let kind = value(fields.record_type).as_id();
                kind.is_some_and(|kind| persons.record_types.contains(&kind))
            }
        };
        let mirrored = persons.mirrored.iter().map(|(no, _)| *no);
        let wrong = if is_person {
            set(fields.name).map(|_| fields.name)
        } else {
            let given = |no: &FieldNo| set(*no).is_some_and(|(_, value)| *value != Value::Null);
            mirrored.clone().find(given)
        };
        if let Some(no) = wrong {
            return Err(self.bad_name(draft.object, no));
        }
        if !is_person {
            return Ok(());
        }
        let (first, last) = (value(fields.first_name), value(fields.last_name));
        let Some(last) = last.as_text() else {
            let name = self.field(draft.object, fields.last_name).name.clone();
            return Err(required_missing(vec![name]));
        };
        let full = match first.as_text() {
            Some(first) => format!("{first} {last}"),
            None => last.to_owned(),
        };
        draft.put(fields.name, Value::Text(full.into()));
        if row.is_none() {
            draft.put(fields.mark, Value::Bool(true));
        }
        Ok(())
    }

    /// Refuses a direct write of a person's contact.
    pub(super) fn check_person_contact(
        &self,
        draft: &Draft,
        row: Option<RowNo>,
        mark: FieldNo,
    ) -> Result<(), SfError> {
        let marked = row.map(|row| self.table(draft.object).get(row, mark));
        if marked != Some(&Value::Bool(true)) {
            return Ok(());
        }
        let message = "the contact of a person account is changed through its account";
        Err(SfError::of_record(PERSON_CONTACT_CODE, message))
    }

    /// Creates or changes the contact of an account that was saved.
    pub(super) fn save_person_contact(
        &mut self,
        tx: &mut Transaction,
        actor: &Actor,
        at: (ObjectNo, RowNo),
        changed: Option<&[FieldNo]>,
    ) -> Result<(), SfError> {
        let Some(persons) = self.schema.automation(at.0).persons.clone() else {
            return Ok(());
        };
        let fields = persons.account;
        if *self.table(at.0).get(at.1, fields.mark) != Value::Bool(true) {
            return Ok(());
        }
        let value = |model: &Self, no: FieldNo| model.table(at.0).get(at.1, no).clone();
        let mirrored = persons.mirrored.iter();
        let Some(changed) = changed else {
            let mut sets: Vec<(FieldNo, Value)> = mirrored
                .map(|(from, to)| (*to, value(self, *from)))
                .collect();
            sets.push((persons.parent, Value::Id(self.id_of(at.0, at.1))));
            sets.push((persons.mark, Value::Bool(true)));
            let draft = Draft {
                object: persons.contact,
                purpose: Purpose::Create,
                sets,
            };
            let contact = self.create(tx, actor, draft)?;
            let id = self.id_of(persons.contact, contact);
            self.put(tx, at, fields.contact, Value::Id(id));
            return Ok(());
        };
        let sets: Vec<(FieldNo, Value)> = mirrored
            .filter(|(from, _)| changed.contains(from))
            .map(|(from, to)| (*to, value(self, *from)))
            .collect();
        let contact = value(self, fields.contact).as_id();
        let Some(contact) = contact.and_then(|id| self.live_row(id)) else {
            return Ok(());
        };
        if sets.is_empty() {
            return Ok(());
        }
        for (field, value) in sets {
            self.put(tx, contact, field, value);
        }
        self.stamp(tx, actor, contact);
        Ok(())
    }

    fn bad_name(&self, object: ObjectNo, no: FieldNo) -> SfError {
        let name = &self.field(object, no).name;
        let object = &self.object(object).name;
        let message = format!("{object}: bad field names on insert/update call: {name}");
        SfError::of_field("INVALID_FIELD_FOR_INSERT_UPDATE", message, name)
    }
}
