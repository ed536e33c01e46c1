//! One record of a write, wherever it comes from: a single call or a collection.

use serde_json::{Map, Value as Json};

use super::Call;
use crate::Org;
use crate::faults::RowFault;
use crate::model::Model;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::value::{Misfit, Value};

/// What a save did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) id: RecordId,
    pub(crate) created: bool,
}

/// A record named by one of its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) field: FieldNo,
    pub(crate) value: &'a str,
}

/// A record and the members to write to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) members: &'a Map<String, Json>,
    /// Members that the caller has dealt with.
    pub(crate) skip: &'a [&'a str],
}

impl Org {
    /// Creates one record.
    pub(crate) fn save_new(
        &mut self,
        tx: &mut Transaction,
        call: &mut Call<'_>,
        edit: Edit<'_>,
        key: Option<(FieldNo, Value)>,
    ) -> Result<Saved, SfError> {
        let model = &mut self.model;
        check_object_writable(model, edit.object)?;
        let mut draft = Draft::read(model, edit.object, Purpose::Create, edit.members, edit.skip)?;
        draft.sets.extend(key);
        row_fault(model, &mut call.row_faults, &draft, None)?;
        let row = model.create(tx, &call.actor, draft)?;
        Ok(Saved {
            id: model.id_of(edit.object, row),
            created: true,
        })
    }

    /// Changes one record.
    pub(crate) fn save_row(
        &mut self,
        tx: &mut Transaction,
        call: &mut Call<'_>,
        edit: Edit<'_>,
        row: RowNo,
    ) -> Result<Saved, SfError> {
        let model = &mut self.model;
        check_object_writable(model, edit.object)?;
        if model
            .table(edit.object)
            .is_deleted(model.object(edit.object), row)
        {
            return Err(SfError::deleted());
        }
        let draft = Draft::read(model, edit.object, Purpose::Update, edit.members, edit.skip)?;
        row_fault(model, &mut call.row_faults, &draft, Some(row))?;
        model.update(tx, &call.actor, row, draft)?;
        Ok(Saved {
            id: model.id_of(edit.object, row),
            created: false,
        })
    }

    /// Creates or changes the record that has this key.
    pub(crate) fn save_by_key(
        &mut self,
        tx: &mut Transaction,
        call: &mut Call<'_>,
        edit: Edit<'_>,
        key: Key<'_>,
    ) -> Result<Saved, SfError> {
        match self
            .model
            .find_by(key.object, key.field, key.value)
            .as_slice()
        {
            [] => {
                let field = self.model.field(key.object, key.field);
                let value = match Value::from_text(field, key.value.trim()) {
                    Ok(value) => value,
                    Err(Misfit::Refused(error)) => return Err(error),
                    Err(Misfit::Type { .. }) => return Err(SfError::not_found()),
                };
                self.save_new(tx, call, edit, Some((key.field, value)))
            }
            [row] => self.save_row(tx, call, edit, *row),
            many => Err(self.ambiguous(call, key.object, many)),
        }
    }

    /// Returns the refusal of a key that several records have.
    pub(crate) fn ambiguous(&self, call: &Call<'_>, object: ObjectNo, rows: &[RowNo]) -> SfError {
        let name = &self.model.object(object).name;
        let url = |row: &RowNo| call.record_url(name, self.model.id_of(object, *row));
        SfError::ambiguous(rows.iter().map(url).collect())
    }

    /// Deletes one record.
    pub(crate) fn save_delete(
        &mut self,
        tx: &mut Transaction,
        call: &mut Call<'_>,
        object: ObjectNo,
        row: RowNo,
    ) -> Result<Saved, SfError> {
        let model = &mut self.model;
        check_object_writable(model, object)?;
        let draft = Draft {
            object,
            purpose: Purpose::Update,
            sets: Vec::new(),
        };
        row_fault(model, &mut call.row_faults, &draft, Some(row))?;
        model.delete(tx, &call.actor, object, row)?;
        Ok(Saved {
            id: model.id_of(object, row),
            created: false,
        })
    }
}

fn check_object_writable(model: &Model, object: ObjectNo) -> Result<(), SfError> {
    let object = model.object(object);
    if object.writable {
        return Ok(());
    }
    let message = format!(
        "entity type {} does not support this operation",
        object.name
    );
    Err(SfError::of_record(
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY",
        message,
    ))
}

/// Refuses the record if a declared fault waits for it.
fn row_fault(
    model: &Model,
    faults: &mut [RowFault],
    draft: &Draft,
    row: Option<RowNo>,
) -> Result<(), SfError> {
    if faults.is_empty() {
        return Ok(());
    }
    let object = model.object(draft.object);
    let held = |no: FieldNo| match draft.sets.iter().find(|(set, _)| *set == no) {
        Some((_, value)) => Some(value),
        None => row.map(|row| model.table(draft.object).get(row, no)),
    };
    let keys: Vec<&str> = object
        .numbered()
        .filter(|(_, field)| field.external_id)
        .filter_map(|(no, _)| held(no)?.as_text())
        .collect();
    match faults.iter_mut().find(|fault| fault.waits_for(&keys)) {
        Some(fault) => Err(fault.strike()),
        None => Ok(()),
    }
}
