//! sObject trees: new records with new children, saved as a whole or not at all.

use std::collections::HashSet;

use serde_json::{Map, Value as Json, json};

use super::Call;
use super::composite::malformed;
use super::message::Response;
use super::push_error;
use super::save::Edit;
use crate::Org;
use crate::model::error::SfError;
use crate::model::schema::{FieldNo, ObjectNo};
use crate::model::transaction::Transaction;
use crate::model::value::{Value, push_json_text};
use crate::unconfirmed::{COMPOSITE_LIMIT_CODE, COMPOSITE_REFERENCE_CODE};

/// Maximum number of records in a request, including children.
const RECORDS_MAX: usize = 200;

/// Maximum number of levels.
const LEVELS_MAX: usize = 5;

/// Maximum number of record types in a request.
const TYPES_MAX: usize = 5;

/// A record to create, before its children.
struct Leaf {
    object: ObjectNo,
    reference: String,
    members: Map<String, Json>,
    /// Members that hold children instead of fields.
    children: Vec<String>,
    /// The reference to the parent, and the parent's index.
    parent: Option<(FieldNo, usize)>,
}

impl Org {
    /// Handles `POST /composite/tree/O`.
    pub(super) fn trees(&mut self, call: &mut Call<'_>, object: &str) -> Result<Response, SfError> {
        let object = self.view(call).object_named(object)?;
        let body = call.members()?;
        let mut leaves = Vec::new();
        self.read_leaves(&mut leaves, (object, None), body.get("records"), 1)?;
        check_whole(&leaves)?;
        let mut tx = Transaction::default();
        let mut ids = Vec::with_capacity(leaves.len());
        let mut errors = String::new();
        for leaf in &leaves {
            let key = leaf.parent.map(|(field, parent)| {
                let id = ids.get(parent).copied().flatten();
                (field, id.map_or(Value::Null, Value::Id))
            });
            let skip: Vec<&str> = leaf.children.iter().map(String::as_str).collect();
            let edit = Edit {
                object: leaf.object,
                members: &leaf.members,
                skip: &skip,
            };
            match self.save_new(&mut tx, call, edit, key) {
                Ok(saved) => ids.push(Some(saved.id)),
                Err(error) => {
                    ids.push(None);
                    push_refused(&mut errors, &leaf.reference, &error);
                }
            }
        }
        if errors.is_empty() {
            call.conclude(&mut self.model, tx);
            let shown = leaves.iter().zip(&ids);
            let results: Vec<Json> = shown
                .map(|(leaf, id)| {
                    json!({"referenceId": leaf.reference, "id": id.map(|id| id.to_string())})
                })
                .collect();
            let body = json!({"hasErrors": false, "results": results});
            return Ok(Response::json(201, body.to_string()));
        }
        self.model.roll_back(tx);
        let body = format!("{{\"hasErrors\":true,\"results\":[{errors}]}}");
        Ok(Response::json(400, body))
    }

    /// Reads the records of one level, each followed by its children.
    fn read_leaves(
        &self,
        leaves: &mut Vec<Leaf>,
        (object, parent): (ObjectNo, Option<(FieldNo, usize)>),
        records: Option<&Json>,
        level: usize,
    ) -> Result<(), SfError> {
        let Some(Json::Array(records)) = records else {
            return Err(malformed("records is required and is an array"));
        };
        if level > LEVELS_MAX {
            return Err(too_much(format!("A tree has at most {LEVELS_MAX} levels")));
        }
        for record in records {
            let Json::Object(members) = record else {
                return Err(malformed("A record is a JSON object"));
            };
            let attribute = |name: &str| record.get("attributes")?.get(name)?.as_str();
            let (Some(kind), Some(reference)) = (attribute("type"), attribute("referenceId"))
            else {
                return Err(malformed(
                    "A record needs attributes with type and referenceId",
                ));
            };
            if self.model.schema.find(kind) != Some(object) {
                let message = format!("{kind} is not the type of record that belongs here");
                return Err(SfError::new("INVALID_TYPE", message));
            }
            let found = |name: &String| self.model.schema.child_relationship(object, name);
            let children: Vec<(String, (ObjectNo, FieldNo))> = members
                .keys()
                .filter_map(|name| Some((name.clone(), found(name)?)))
                .collect();
            let place = leaves.len();
            leaves.push(Leaf {
                object,
                reference: reference.to_owned(),
                members: members.clone(),
                children: children.iter().map(|(name, _)| name.clone()).collect(),
                parent,
            });
            for (name, (child, link)) in children {
                let records = members.get(&name).and_then(|json| json.get("records"));
                self.read_leaves(leaves, (child, Some((link, place))), records, level + 1)?;
            }
        }
        Ok(())
    }
}

fn too_much(message: String) -> SfError {
    SfError::new(COMPOSITE_LIMIT_CODE, message).with_status(400)
}

fn check_whole(leaves: &[Leaf]) -> Result<(), SfError> {
    if leaves.is_empty() {
        return Err(malformed("records has no record"));
    }
    if leaves.len() > RECORDS_MAX {
        return Err(too_much(format!(
            "A request has at most {RECORDS_MAX} records"
        )));
    }
    let types: HashSet<ObjectNo> = leaves.iter().map(|leaf| leaf.object).collect();
    if types.len() > TYPES_MAX {
        return Err(too_much(format!(
            "A request has at most {TYPES_MAX} types of records"
        )));
    }
    let mut known = HashSet::new();
    match leaves.iter().find(|leaf| !known.insert(&leaf.reference)) {
        Some(twice) => {
            let message = format!(
                "Duplicate ReferenceId provided in the request: {}",
                twice.reference
            );
            Err(SfError::new(COMPOSITE_REFERENCE_CODE, message).with_status(400))
        }
        None => Ok(()),
    }
}

fn push_refused(out: &mut String, reference: &str, error: &SfError) {
    out.push_str(if out.is_empty() {
        "{\"referenceId\":"
    } else {
        ",{\"referenceId\":"
    });
    push_json_text(out, reference);
    out.push_str(",\"errors\":[");
    push_error(out, error, "statusCode");
    out.push_str("]}");
}
