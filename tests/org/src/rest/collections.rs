//! sObject Collections: up to 200 records in one call, each with its own result.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::message::Response;
use super::save::{Edit, Key, Saved};
use super::sobjects::{external_field, nodes_of, push_saved};
use super::{Call, push_error};
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::ObjectNo;
use crate::model::transaction::Transaction;
use crate::model::value::push_json_text;
use crate::soql::Writer;
use crate::unconfirmed::{
    ALL_OR_NONE_ROLLBACK_STATUS, TOO_MANY_RECORDS_CODE, TYPE_ERROR_REFUSES_COLLECTION,
};

/// Maximum number of records in a write.
const RECORDS_MAX: usize = 200;

/// Maximum number of ids in a read.
const RETRIEVE_MAX: usize = 2_000;

/// Maximum number of runs of the same type in one call.
const TYPE_RUNS_MAX: usize = 10;

/// The body of a create, update or upsert.
struct Batch {
    records: Vec<Map<String, Json>>,
    all_or_none: bool,
}

type Outcome = Result<Saved, SfError>;

impl Org {
    /// Handles `POST /composite/sobjects`.
    pub(crate) fn create_many(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let batch = read_batch(call)?;
        let mut tx = Transaction::default();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for members in &batch.records {
            let outcome = self.type_of(call, members).and_then(|object| {
                self.save_new(
                    &mut tx,
                    call,
                    Edit {
                        object,
                        members,
                        skip: &[],
                    },
                    None,
                )
            });
            outcomes.push(outcome);
        }
        self.finish(call, tx, outcomes, batch.all_or_none, false)
    }

    /// Handles `PATCH /composite/sobjects`.
    pub(crate) fn update_many(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let batch = read_batch(call)?;
        let repeated = repeated(batch.records.iter().filter_map(|members| id_text(members)));
        let mut tx = Transaction::default();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for members in &batch.records {
            let outcome = self.type_of(call, members).and_then(|object| {
                let text = id_text(members).ok_or_else(|| {
                    SfError::of_record("MISSING_ARGUMENT", "Id not specified in an update call")
                })?;
                if repeated.contains(text) {
                    let message = format!("Duplicate id specified: {text}");
                    return Err(SfError::of_record("DUPLICATE_VALUE", message));
                }
                self.update_one(&mut tx, call, object, members, text)
            });
            outcomes.push(outcome);
        }
        self.finish(call, tx, outcomes, batch.all_or_none, false)
    }

    fn update_one(
        &mut self,
        tx: &mut Transaction,
        call: &mut Call<'_>,
        object: ObjectNo,
        members: &Map<String, Json>,
        id: &str,
    ) -> Outcome {
        let id = RecordId::parse(id).ok_or_else(|| malformed_id(id))?;
        let row = self
            .view(call)
            .row_of(object, id)
            .ok_or_else(SfError::unknown_id)?;
        self.save_row(
            tx,
            call,
            Edit {
                object,
                members,
                skip: &["Id"],
            },
            row,
        )
    }

    /// Handles `PATCH /composite/sobjects/O/Field`.
    pub(crate) fn upsert_many(
        &mut self,
        call: &mut Call<'_>,
        object: &str,
        field: &str,
    ) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let field = external_field(self.view(call), object, field)?;
        let name = self.model.field(object, field).name.clone();
        let by_id = field == self.model.object(object).system.id;
        let batch = read_batch(call)?;
        let keys: Vec<Option<String>> = batch
            .records
            .iter()
            .map(|members| key_text(members, &name))
            .collect();
        let lower = |key: &String| key.to_lowercase();
        let repeated = repeated(keys.iter().flatten().map(lower));
        let mut tx = Transaction::default();
        let mut outcomes = Vec::with_capacity(batch.records.len());
        for (members, key) in batch.records.iter().zip(&keys) {
            let outcome = self.type_of(call, members).and_then(|named| {
                if named != object {
                    let message = "All records of an upsert have the type of its resource";
                    return Err(SfError::of_record("INVALID_TYPE", message));
                }
                let edit = Edit {
                    object,
                    members,
                    skip: &[&name],
                };
                match key {
                    None if by_id => self.save_new(&mut tx, call, edit, None),
                    None => {
                        let message = format!("{name} not specified");
                        Err(SfError::of_record("MISSING_ARGUMENT", message))
                    }
                    Some(key) if repeated.contains(&key.to_lowercase()) => {
                        let message = format!("Duplicate external id specified: {key}");
                        Err(SfError::of_record("DUPLICATE_VALUE", message))
                    }
                    Some(key) if by_id => self.update_one(&mut tx, call, object, members, key),
                    Some(key) => {
                        let key = Key {
                            object,
                            field,
                            value: key,
                        };
                        self.save_by_key(&mut tx, call, edit, key)
                    }
                }
            });
            outcomes.push(outcome);
        }
        self.finish(call, tx, outcomes, batch.all_or_none, true)
    }

    /// Handles `DELETE /composite/sobjects?ids=…`.
    pub(crate) fn delete_many(&mut self, call: &mut Call<'_>) -> Result<Response, SfError> {
        let ids = call.request.param("ids").unwrap_or_default();
        let ids: Vec<&str> = ids
            .split(',')
            .map(str::trim)
            .filter(|id| !id.is_empty())
            .collect();
        check_count(ids.len(), RECORDS_MAX)?;
        let all_or_none = call.request.param("allOrNone").is_some_and(|v| v == "true");
        let mut tx = Transaction::default();
        let mut outcomes = Vec::with_capacity(ids.len());
        for text in ids {
            let outcome = RecordId::parse(text)
                .ok_or_else(|| malformed_id(text))
                .and_then(|id| self.view(call).place_of(id))
                .and_then(|(object, row)| self.save_delete(&mut tx, call, object, row));
            outcomes.push(outcome);
        }
        self.finish(call, tx, outcomes, all_or_none, false)
    }

    /// Handles `GET` and `POST /composite/sobjects/O`.
    pub(crate) fn retrieve_many(&self, call: &Call<'_>, object: &str) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let (ids, fields) = if call.method == "POST" {
            let members = call.members()?;
            let texts = |name: &str| -> Option<Vec<String>> {
                let items = members.get(name)?.as_array()?.iter();
                Some(items.filter_map(Json::as_str).map(str::to_owned).collect())
            };
            (
                texts("ids").unwrap_or_default(),
                texts("fields").map(|f| f.join(",")),
            )
        } else {
            let ids = call.request.param("ids").unwrap_or_default();
            (
                ids.split(',').map(|id| id.trim().to_owned()).collect(),
                call.request.param("fields"),
            )
        };
        check_count(ids.len(), RETRIEVE_MAX)?;
        let fields = fields.filter(|fields| !fields.is_empty()).ok_or_else(|| {
            SfError::new("REQUIRED_FIELD_MISSING", "The fields parameter is required")
        })?;
        let view = self.view(call);
        let nodes = nodes_of(view, object, Some(&fields))?;
        let mut body = String::from("[");
        for (place, id) in ids.iter().enumerate() {
            if place > 0 {
                body.push(',');
            }
            let row = RecordId::parse(id).and_then(|id| view.row_of(object, id));
            match row.filter(|row| self.is_readable(object, *row)) {
                Some(row) => {
                    Writer::whole(view, &call.version).push_record(
                        &mut body,
                        (object, row),
                        &nodes,
                    );
                }
                None => body.push_str("null"),
            }
        }
        body.push(']');
        Ok(Response::json(200, body))
    }

    fn type_of(&self, call: &Call<'_>, members: &Map<String, Json>) -> Result<ObjectNo, SfError> {
        let name = type_name(members).unwrap_or_default();
        self.view(call).find_object(name).ok_or_else(|| {
            let message = format!("sObject type '{name}' is not supported.");
            SfError::of_record("INVALID_TYPE", message)
        })
    }

    /// Commits what succeeded, or nothing, and returns a result for each record.
    fn finish(
        &mut self,
        call: &mut Call<'_>,
        tx: Transaction,
        outcomes: Vec<Outcome>,
        all_or_none: bool,
        with_created: bool,
    ) -> Result<Response, SfError> {
        let type_error = outcomes.iter().find_map(|outcome| {
            outcome
                .as_ref()
                .err()
                .filter(|error| error.code() == "JSON_PARSER_ERROR")
        });
        if let Some(error) = type_error.filter(|_| TYPE_ERROR_REFUSES_COLLECTION) {
            let error = error.clone();
            self.model.roll_back(tx);
            return Err(error);
        }
        let rolled_back = all_or_none && outcomes.iter().any(Result::is_err);
        if rolled_back {
            self.model.roll_back(tx);
        } else {
            call.conclude(&mut self.model, tx);
        }
        let mut body = String::with_capacity(outcomes.len() * 64);
        body.push('[');
        for (place, outcome) in outcomes.iter().enumerate() {
            if place > 0 {
                body.push(',');
            }
            match outcome {
                Ok(_) if rolled_back => push_failure(&mut body, &rolled_back_error()),
                Ok(saved) => push_saved(&mut body, *saved, with_created),
                Err(error) => push_failure(&mut body, error),
            }
        }
        body.push(']');
        Ok(Response::json(
            if rolled_back {
                ALL_OR_NONE_ROLLBACK_STATUS
            } else {
                200
            },
            body,
        ))
    }
}

fn push_failure(out: &mut String, error: &SfError) {
    out.push_str("{\"success\":false,\"errors\":[");
    push_error(out, error, "statusCode");
    out.push_str("]}");
}

fn rolled_back_error() -> SfError {
    SfError::of_record(
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "Record rolled back because not all records were valid and the request was using \
         AllOrNone header",
    )
}

fn malformed_id(text: &str) -> SfError {
    let mut shown = String::new();
    push_json_text(&mut shown, text);
    SfError::of_record(
        "MALFORMED_ID",
        format!("malformed id {}", shown.trim_matches('"')),
    )
}

fn type_name(members: &Map<String, Json>) -> Option<&str> {
    members.get("attributes")?.get("type")?.as_str()
}

fn id_text(members: &Map<String, Json>) -> Option<&str> {
    ["Id", "id", "ID"]
        .iter()
        .find_map(|name| members.get(*name))?
        .as_str()
}

/// Returns the trimmed key of a record, or `None` if it is missing, null or empty.
fn key_text(members: &Map<String, Json>, field: &str) -> Option<String> {
    let json = members
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(field))?
        .1;
    let text = match json {
        Json::String(text) => text.trim().to_owned(),
        Json::Number(number) => number.to_string(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// Returns the items that occur more than once.
fn repeated<T: std::hash::Hash + Eq + Clone>(items: impl Iterator<Item = T>) -> HashSet<T> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .map(|(item, _)| item)
        .collect()
}

fn check_count(count: usize, max: usize) -> Result<(), SfError> {
    if count == 0 {
        let message = "At least 1 record is required";
        return Err(SfError::new("REQUIRED_FIELD_MISSING", message));
    }
    if count > max {
        let message =
            format!("record limit reached. cannot submit more than {max} records into this call");
        return Err(SfError::new(TOO_MANY_RECORDS_CODE, message));
    }
    Ok(())
}

fn read_batch(call: &Call<'_>) -> Result<Batch, SfError> {
    let mut body = call.members()?;
    let all_or_none = body
        .get("allOrNone")
        .and_then(Json::as_bool)
        .unwrap_or(false);
    let records = match body.remove("records") {
        Some(Json::Array(records)) => records,
        _ => Vec::new(),
    };
    check_count(records.len(), RECORDS_MAX)?;
    let mut read = Vec::with_capacity(records.len());
    for record in records {
        match record {
            Json::Object(members) if type_name(&members).is_some() => read.push(members),
            _ => {
                let message = "The records need the member attributes with a type";
                return Err(SfError::new("INVALID_INPUT", message));
            }
        }
    }
    let changes = read
        .windows(2)
        .filter(|pair| type_name(&pair[0]) != type_name(&pair[1]));
    if changes.count() + 1 > TYPE_RUNS_MAX {
        let message = "The request has more than 10 runs of records of one type";
        return Err(SfError::new("LIMIT_EXCEEDED", message).with_status(400));
    }
    Ok(Batch {
        records: read,
        all_or_none,
    })
}
