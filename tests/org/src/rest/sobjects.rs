//! Single records by id and by external id.

use super::Call;
use super::condition::{Condition, State};
use super::message::Response;
use super::resource::ExternalKey;
use super::save::{Edit, Key, Saved};
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::table::RowNo;
use crate::model::transaction::Transaction;
use crate::model::view::View;
use crate::soql::{SelectNode, Writer};
use crate::unconfirmed::UNKNOWN_ROW_ID_STATUS;
use crate::unconfirmed::switches::ArchivedById;

/// The first API version in which an upsert that updates answers 200 with a body, and one that
/// creates reports `created`.
const UPSERT_BODY_SINCE: u32 = 46;

impl Org {
    /// Handles `POST /sobjects/O`.
    pub(crate) fn create_row(
        &mut self,
        call: &mut Call<'_>,
        object: &str,
    ) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let members = call.members()?;
        let edit = Edit {
            object,
            members: &members,
            skip: &[],
        };
        let saved =
            self.in_transaction(call, |org, tx, call| org.save_new(tx, call, edit, None))?;
        Ok(self.created(call, object, saved, false))
    }

    /// Handles `GET /sobjects/O/id`.
    pub(crate) fn read_row(
        &self,
        call: &Call<'_>,
        object: &str,
        id: &str,
    ) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let row = self.row_at(call, (object, id), SfError::not_found)?;
        if !self.is_readable(object, row) {
            return Err(SfError::not_found());
        }
        self.show_row(call, object, row)
    }

    /// Returns whether a record can be read by its id.
    pub(crate) fn is_readable(&self, object: ObjectNo, row: RowNo) -> bool {
        let (table, shape) = (self.model.table(object), self.model.object(object));
        match self.model.switches.archived_by_id {
            ArchivedById::NotFound => !table.is_hidden(shape, row),
            ArchivedById::Readable => !table.is_deleted(shape, row),
        }
    }

    /// Handles `PATCH /sobjects/O/id`.
    pub(crate) fn update_row(
        &mut self,
        call: &mut Call<'_>,
        object: &str,
        id: &str,
    ) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let members = call.members()?;
        if let Some(name) = members.keys().find(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(not_in_body(name));
        }
        let row = self.row_at(call, (object, id), unknown_row)?;
        State::of(&self.model, object, row).check(call)?;
        let edit = Edit {
            object,
            members: &members,
            skip: &[],
        };
        self.in_transaction(call, |org, tx, call| org.save_row(tx, call, edit, row))?;
        Ok(Response::empty(204))
    }

    /// Handles `DELETE /sobjects/O/id`.
    pub(crate) fn delete_row(
        &mut self,
        call: &mut Call<'_>,
        object: &str,
        id: &str,
    ) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let row = self.row_at(call, (object, id), unknown_row)?;
        State::of(&self.model, object, row).check(call)?;
        self.in_transaction(call, |org, tx, call| org.save_delete(tx, call, object, row))?;
        Ok(Response::empty(204))
    }

    /// Handles `GET /sobjects/O/Field/value`.
    pub(crate) fn read_by_external_id(
        &self,
        call: &Call<'_>,
        key: &ExternalKey<'_>,
    ) -> Result<Response, SfError> {
        let found = self.key_of(call, key)?;
        let row = self.only_row(call, found)?;
        self.show_row(call, found.object, row)
    }

    /// Handles `PATCH /sobjects/O/Field/value`.
    pub(crate) fn upsert_by_external_id(
        &mut self,
        call: &mut Call<'_>,
        key: &ExternalKey<'_>,
    ) -> Result<Response, SfError> {
        let found = self.key_of(call, key)?;
        let object = found.object;
        let members = call.members()?;
        let own = &self.model.field(object, found.field).name;
        let given =
            |name: &&String| name.eq_ignore_ascii_case("Id") || name.eq_ignore_ascii_case(own);
        if let Some(name) = members.keys().find(given) {
            return Err(not_in_body(name));
        }
        let update_only = call
            .request
            .param("updateOnly")
            .is_some_and(|v| v == "true");
        let by_id = found.field == self.model.object(object).system.id;
        if update_only || by_id {
            self.only_row(call, found)?;
        }
        if let [row] = *self.view(call).find_by(object, found.field, key.value) {
            State::of(&self.model, object, row).check(call)?;
        }
        let edit = Edit {
            object,
            members: &members,
            skip: &[],
        };
        let saved = self.in_transaction(call, |org, tx, call| {
            if by_id {
                let row = org.only_row(call, found)?;
                return org.save_row(tx, call, edit, row);
            }
            org.save_by_key(tx, call, edit, found)
        })?;
        let with_created = call.version_number >= UPSERT_BODY_SINCE;
        Ok(match (saved.created, with_created) {
            (true, _) => self.created(call, object, saved, with_created),
            (false, true) => Response::json(200, saved_json(saved, true)),
            (false, false) => Response::empty(204),
        })
    }

    /// Handles `DELETE /sobjects/O/Field/value`.
    pub(crate) fn delete_by_external_id(
        &mut self,
        call: &mut Call<'_>,
        key: &ExternalKey<'_>,
    ) -> Result<Response, SfError> {
        let found = self.key_of(call, key)?;
        let row = self.only_row(call, found)?;
        State::of(&self.model, found.object, row).check(call)?;
        let object = found.object;
        self.in_transaction(call, |org, tx, call| org.save_delete(tx, call, object, row))?;
        Ok(Response::empty(204))
    }

    /// Runs one write in its own transaction.
    fn in_transaction(
        &mut self,
        call: &mut Call<'_>,
        write: impl FnOnce(&mut Self, &mut Transaction, &mut Call<'_>) -> Result<Saved, SfError>,
    ) -> Result<Saved, SfError> {
        let mut tx = Transaction::default();
        match write(self, &mut tx, call) {
            Ok(saved) => {
                call.conclude(&mut self.model, tx);
                Ok(saved)
            }
            Err(error) => {
                self.model.roll_back(tx);
                Err(error)
            }
        }
    }

    fn created(
        &self,
        call: &Call<'_>,
        object: ObjectNo,
        saved: Saved,
        with_created: bool,
    ) -> Response {
        let url = call.record_url(&self.model.object(object).name, saved.id);
        Response::json(201, saved_json(saved, with_created)).with_header("location", &url)
    }

    /// Returns the record of an id in a path. A deleted record is a different error from an unknown
    /// one.
    fn row_at(
        &self,
        call: &Call<'_>,
        (object, text): (ObjectNo, &str),
        unknown: fn() -> SfError,
    ) -> Result<RowNo, SfError> {
        if !matches!(text.len(), 15 | 18) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(no_external_id(text));
        }
        let id =
            RecordId::parse(text).filter(|id| id.prefix() == self.model.object(object).key_prefix);
        let id = id.ok_or_else(|| SfError::new("MALFORMED_ID", format!("malformed id {text}")))?;
        let row = self.view(call).row_of(object, id).ok_or_else(unknown)?;
        if self
            .model
            .table(object)
            .is_deleted(self.model.object(object), row)
        {
            return Err(SfError::deleted());
        }
        Ok(row)
    }

    /// Resolves the object and field of an external key.
    fn key_of<'a>(&self, call: &Call<'_>, key: &ExternalKey<'a>) -> Result<Key<'a>, SfError> {
        let object = self.view(call).object_named(key.object)?;
        // Salesforce's web server treats such a value as a file name.
        if key.value.ends_with(".inc") {
            return Err(SfError::not_found());
        }
        let field = external_field(self.view(call), object, key.field)?;
        Ok(Key {
            object,
            field,
            value: key.value,
        })
    }

    /// Returns the only live record with this key.
    fn only_row(&self, call: &Call<'_>, key: Key<'_>) -> Result<RowNo, SfError> {
        if key.field == self.model.object(key.object).system.id {
            return self.row_at(call, (key.object, key.value), SfError::not_found);
        }
        match self
            .view(call)
            .find_by(key.object, key.field, key.value)
            .as_slice()
        {
            [row] => Ok(*row),
            [] => Err(SfError::not_found()),
            many => Err(self.ambiguous(call, key.object, many)),
        }
    }

    fn show_row(&self, call: &Call<'_>, object: ObjectNo, row: RowNo) -> Result<Response, SfError> {
        let view = self.view(call);
        let nodes = nodes_of(view, object, call.request.param("fields").as_deref())?;
        let state = State::of(&self.model, object, row);
        if state.check(call)? == Condition::NotModified {
            return Ok(state.with_validators(Response::empty(304)));
        }
        let mut body = String::new();
        Writer::whole(view, &call.version).push_record(&mut body, (object, row), &nodes);
        Ok(state.with_validators(Response::json(200, body)))
    }
}

/// Returns the fields that a `fields` parameter selects; all fields without one.
pub(crate) fn nodes_of(
    view: View<'_>,
    object: ObjectNo,
    fields: Option<&str>,
) -> Result<Vec<SelectNode>, SfError> {
    let Some(fields) = fields else {
        let all = view.fields(object);
        return Ok(all.map(|(no, _)| SelectNode::Field(no)).collect());
    };
    let names = fields
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| view.field_named(object, name).map(SelectNode::Field))
        .collect()
}

/// Returns the field with that name, if records can be found by it.
pub(crate) fn external_field(
    view: View<'_>,
    object: ObjectNo,
    name: &str,
) -> Result<FieldNo, SfError> {
    let found = view.find_field(object, name).filter(|no| {
        let field = view.field(object, *no);
        field.external_id || field.id_lookup
    });
    found.ok_or_else(|| no_external_id(name))
}

/// Returns the body of a successful save.
fn saved_json(saved: Saved, with_created: bool) -> String {
    let mut body = String::new();
    push_saved(&mut body, saved, with_created);
    body
}

/// Appends a successful save. `with_created` adds whether the record is new.
pub(crate) fn push_saved(out: &mut String, saved: Saved, with_created: bool) {
    out.push_str(&format!(
        r#"{{"id":"{}","success":true,"errors":[]"#,
        saved.id
    ));
    if with_created {
        out.push_str(&format!(r#","created":{}"#, saved.created));
    }
    out.push('}');
}

fn not_in_body(name: &str) -> SfError {
    let message = format!("The {name} field should not be specified in the sobject data.");
    SfError::of_field("INVALID_FIELD", message, name)
}

fn no_external_id(name: &str) -> SfError {
    let message = format!("Provided external ID field does not exist or is not accessible: {name}");
    SfError::new("NOT_FOUND", message)
}

fn unknown_row() -> SfError {
    SfError::unknown_id().with_status(UNKNOWN_ROW_ID_STATUS)
}
