//! Converts the JSON of one record into values to write, or into Salesforce's error.

use serde_json::{Map, Value as Json};

use super::error::SfError;
use super::id::RecordId;
use super::no_such_column;
use super::schema::{Field, FieldNo, Object, ObjectNo, RECORD_TYPE_FIELD};
use super::value::{Misfit, Value};
use super::view::View;

/// The kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Create,
    Update,
}

/// The values of one write.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) object: ObjectNo,
    pub(crate) purpose: Purpose,
    pub(crate) sets: Vec<(FieldNo, Value)>,
}

impl Draft {
    /// Reads the members of a record, without those in `skip`.
    pub(crate) fn read(
        view: View<'_>,
        object: ObjectNo,
        purpose: Purpose,
        members: &Map<String, Json>,
        skip: &[&str],
    ) -> Result<Self, SfError> {
        let mut draft = Self {
            object,
            purpose,
            sets: Vec::with_capacity(members.len()),
        };
        for (name, json) in members {
            if name == "attributes" || skip.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                continue;
            }
            draft.read_member(view, name, json)?;
        }
        Ok(draft)
    }

    fn read_member(&mut self, view: View<'_>, name: &str, json: &Json) -> Result<(), SfError> {
        let object = view.object(self.object);
        let Some(no) = view.find_field(self.object, name) else {
            let no = view
                .find_relationship(self.object, name)
                .ok_or_else(|| no_such_column(name, object))?;
            self.check_writable(view, no)?;
            let value = parent_by_external_id(view, object.field(no), json)?;
            self.put(no, value);
            return Ok(());
        };
        let field = object.field(no);
        if no == object.system.id && self.purpose == Purpose::Create {
            return Err(SfError::of_field(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                "cannot specify Id in an insert call",
                "Id",
            ));
        }
        self.check_writable(view, no)?;
        let value = view
            .read_value(field, json)
            .map_err(|misfit| match misfit {
                Misfit::Refused(error) => error,
                Misfit::Type { expected, text } => type_error(expected, &text),
            })?;
        if let Value::Id(id) = &value {
            check_reference(view, object, field, *id)?;
        }
        self.put(no, value);
        Ok(())
    }

    /// Sets a value and replaces an earlier one.
    pub(crate) fn put(&mut self, no: FieldNo, value: Value) {
        self.sets.retain(|(known, _)| *known != no);
        self.sets.push((no, value));
    }

    fn check_writable(&self, view: View<'_>, no: FieldNo) -> Result<(), SfError> {
        let field = view.field(self.object, no);
        let allowed = match self.purpose {
            Purpose::Create => field.createable,
            Purpose::Update => field.updateable,
        };
        if allowed && view.writes(self.object, no) {
            return Ok(());
        }
        let message = format!(
            "Unable to create/update fields: {}. Please check the security settings of this field \
             and verify that it is read/write for your profile or permission set.",
            field.name
        );
        Err(SfError::of_field(
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            message,
            &field.name,
        ))
    }
}

/// Returns the error for JSON of the wrong type. The caller adds its position in the text.
fn type_error(expected: &str, text: &str) -> SfError {
    let message = format!(
        "Cannot deserialize instance of {expected} from {text} or request may be missing a \
         required field"
    );
    SfError::new("JSON_PARSER_ERROR", message)
}

fn check_reference(
    view: View<'_>,
    object: &Object,
    field: &Field,
    id: RecordId,
) -> Result<(), SfError> {
    let target = view
        .schema
        .with_prefix(id.prefix())
        .map(|no| view.object(no));
    if !target.is_some_and(|target| field.reference_to.contains(&target.name)) {
        let message = format!("{} ID: id value of incorrect type: {id}", field.name);
        return Err(SfError::of_field("MALFORMED_ID", message, &field.name));
    }
    if field.name == RECORD_TYPE_FIELD && !object.record_types.iter().any(|kind| kind.id == id) {
        let message = format!("Record Type ID: this ID value isn't valid for the user: {id}");
        return Err(SfError::of_field(
            "INVALID_CROSS_REFERENCE_KEY",
            message,
            &field.name,
        ));
    }
    let of_field = |error: SfError| error.with_fields(vec![field.name.clone()]);
    if view.model().live_row(id).is_none() {
        return Err(of_field(SfError::unknown_id()));
    }
    if view.live_row(id).is_none() {
        let message = format!(
            "insufficient access rights on cross-reference id: {}",
            id.short()
        );
        let code = "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY";
        return Err(of_field(SfError::of_record(code, message)));
    }
    Ok(())
}

/// Returns the id of the parent that `{"Ext__c": "x"}` refers to.
fn parent_by_external_id(view: View<'_>, field: &Field, json: &Json) -> Result<Value, SfError> {
    let members = match json {
        Json::Null => return Ok(Value::Null),
        Json::Object(members) => members,
        Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            return Err(type_error("reference", "VALUE_STRING"));
        }
    };
    let named = members
        .get("attributes")
        .and_then(|a| a.get("type"))
        .and_then(Json::as_str);
    let wanted = named.unwrap_or(&field.reference_to[0]);
    let target = view.find_object(wanted).ok_or_else(SfError::not_found)?;
    let object = view.object(target);
    let mut keys = members.iter().filter(|(name, _)| *name != "attributes");
    let (Some((name, key)), None) = (keys.next(), keys.next()) else {
        return Err(SfError::of_record(
            "INVALID_FIELD",
            "A relationship needs exactly one external ID field",
        ));
    };
    let by = view.field_named(target, name)?;
    let usable = object.field(by).finds_records() || by == object.system.id;
    if !usable {
        let message = format!(
            "{name} is not an external ID or indexed field on sobject of type {}",
            object.name
        );
        return Err(SfError::of_record("INVALID_FIELD", message));
    }
    let text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    if by == object.system.id {
        let id = RecordId::parse(&text).filter(|id| view.live_row(*id).is_some());
        return id.map(Value::Id).ok_or_else(SfError::unknown_id);
    }
    match view.find_by(target, by, &text).as_slice() {
        [row] => Ok(Value::Id(view.id_of(target, *row))),
        [] => Err(SfError::of_record(
            "INVALID_FIELD",
            format!(
                "Foreign key external ID: {text} not found for field {} in entity {}",
                object.field(by).name,
                object.name
            ),
        )),
        many => {
            let ids: Vec<_> = many
                .iter()
                .map(|r| view.id_of(target, *r).to_string())
                .collect();
            let message = format!(
                "More than one record found for external id field: [{}]",
                ids.join(", ")
            );
            Err(SfError::of_record("DUPLICATE_EXTERNAL_ID", message))
        }
    }
}
