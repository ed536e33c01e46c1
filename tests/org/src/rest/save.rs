//! Saves one record, for a single call or a collection.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::{Call, duplicates};
use crate::Org;
use crate::faults::Writing;
use crate::model::Model;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::permission::Action;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::value::{Misfit, Value};

/// The result of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) id: RecordId,
    pub(crate) created: bool,
}

/// A record identified by the value of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) field: FieldNo,
    pub(crate) value: &'a str,
}

/// A record and the members to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) members: &'a Map<String, Json>,
    /// Members that the caller has already handled.
    pub(crate) skip: &'a [&'a str],
}

impl Org {
    /// Creates one record.
    pub(crate) fn save_new(
        &mut self,
        tx: &mut Transaction,
        call: &Call<'_>,
        edit: Edit<'_>,
        key: Option<(FieldNo, Value)>,
    ) -> Result<Saved, SfError> {
        let (model, view) = (&self.model, self.view(call));
        check_object_writable(model, edit.object)?;
        view.check(edit.object, Action::Create, None)?;
        let mut draft = Draft::read(view, edit.object, Purpose::Create, edit.members, edit.skip)?;
        draft.sets.extend(key);
        if let Some((field, owner)) = self.assigned_owner(call, edit.object) {
            draft.put(field, owner);
        }
        let rules = &self.file.duplicate_rules;
        duplicates::check(model, rules, (call, edit), &draft, None)?;
        let writing = Writing {
            operation: "create",
            draft: &draft,
            row: None,
        };
        let flows = self.row_faults(writing)?;
        let row = self.model.create(tx, &call.actor, draft)?;
        self.model.set_by_flow(tx, edit.object, row, flows);
        Ok(Saved {
            id: self.model.id_of(edit.object, row),
            created: true,
        })
    }

    /// Returns the owner field and the owner from an assignment rule for new records, unless the
    /// caller sends `Sforce-Auto-Assign: FALSE`.
    fn assigned_owner(&self, call: &Call<'_>, object: ObjectNo) -> Option<(FieldNo, Value)> {
        let auto_assign = call.request.get("sforce-auto-assign").unwrap_or("TRUE");
        let shape = self.model.object(object);
        let mut rules = self.file.assignment_rules.iter();
        let rule = rules.find(|rule| rule.object == shape.name)?;
        let queue = || self.queue_named(&rule.owner);
        let assigned = self.user_named(&rule.owner).or_else(queue)?;
        let owner = shape.system.owner?;
        (!auto_assign.eq_ignore_ascii_case("false")).then_some((owner, Value::Id(assigned)))
    }

    /// Changes one record.
    pub(crate) fn save_row(
        &mut self,
        tx: &mut Transaction,
        call: &Call<'_>,
        edit: Edit<'_>,
        row: RowNo,
    ) -> Result<Saved, SfError> {
        let (model, view) = (&self.model, self.view(call));
        check_object_writable(model, edit.object)?;
        if model
            .table(edit.object)
            .is_deleted(model.object(edit.object), row)
        {
            return Err(SfError::deleted());
        }
        view.check(edit.object, Action::Edit, Some(row))?;
        let draft = Draft::read(view, edit.object, Purpose::Update, edit.members, edit.skip)?;
        let rules = &self.file.duplicate_rules;
        duplicates::check(model, rules, (call, edit), &draft, Some(row))?;
        let writing = Writing {
            operation: "update",
            draft: &draft,
            row: Some(row),
        };
        let flows = self.row_faults(writing)?;
        self.model.update(tx, &call.actor, row, draft)?;
        self.model.set_by_flow(tx, edit.object, row, flows);
        Ok(Saved {
            id: self.model.id_of(edit.object, row),
            created: false,
        })
    }

    /// Creates or updates the record with this key.
    pub(crate) fn save_by_key(
        &mut self,
        tx: &mut Transaction,
        call: &Call<'_>,
        edit: Edit<'_>,
        key: Key<'_>,
    ) -> Result<Saved, SfError> {
        match self
            .view(call)
            .find_by(key.object, key.field, key.value)
            .as_slice()
        {
            [] => {
                let field = self.model.field(key.object, key.field);
                let value = match self.model.read_text(field, key.value.trim()) {
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

    /// Returns the error for a key that several records have.
    pub(crate) fn ambiguous(&self, call: &Call<'_>, object: ObjectNo, rows: &[RowNo]) -> SfError {
        let name = &self.model.object(object).name;
        let url = |row: &RowNo| call.record_url(name, self.model.id_of(object, *row));
        SfError::ambiguous(rows.iter().map(url).collect())
    }

    /// Deletes one record.
    pub(crate) fn save_delete(
        &mut self,
        tx: &mut Transaction,
        call: &Call<'_>,
        object: ObjectNo,
        row: RowNo,
    ) -> Result<Saved, SfError> {
        check_object_writable(&self.model, object)?;
        self.view(call).check(object, Action::Delete, Some(row))?;
        let draft = Draft {
            object,
            purpose: Purpose::Update,
            sets: Vec::new(),
        };
        let writing = Writing {
            operation: "delete",
            draft: &draft,
            row: Some(row),
        };
        self.row_faults(writing)?;
        self.model.delete(tx, &call.actor, object, row)?;
        Ok(Saved {
            id: self.model.id_of(object, row),
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
