//! Reports invalid combinations in the configuration.

use std::collections::BTreeMap;

use crate::model::Side;
use crate::model::ids::ObjectName;

use super::read::{Reader, Section, below};
use super::{ConflictPolicy, DeleteMode, Direction, ObjectSync, OnFilterExit, Seed};

/// Reports invalid combinations within one object.
pub(super) fn check_object(
    reader: &mut Reader<'_>,
    path: &str,
    section: Section<'_>,
    object: &ObjectSync,
) {
    check_fields(reader, path, section, object);
    check_direction(reader, path, section, object);
    check_deletes(reader, path, section, object);
    let lanes = object.lanes;
    if lanes.bulk_min_batch_size < lanes.rest_max_batch_size {
        let at = section.place("lanes");
        let problem = "bulk_min is below rest_max";
        let fix = "raise bulk_min or lower rest_max";
        reader.mistake(at, &below(path, "lanes"), problem, fix);
    }
}

/// Reports invalid combinations of the objects of one tenant. `declared` are all objects in the file,
/// including those with mistakes.
pub(super) fn check_objects(
    reader: &mut Reader<'_>,
    path: &str,
    declared: &[&str],
    objects: &[(Section<'_>, ObjectSync)],
) {
    let mut tables = Taken::default();
    let mut names = Taken::default();
    for (section, object) in objects {
        let path = below(path, object.object.as_str());
        if names
            .take(case_folded(object.object.as_str()), "")
            .is_some()
        {
            let fix = "keep one of its two sections";
            reader.mistake(section.place("object"), &path, "it is mapped twice", fix);
        }
        if tables.take(format!("{:?}", object.table), "").is_some() {
            let fix = "give each object its own table";
            let at = section.place("table");
            reader.mistake(
                at,
                &below(&path, "table"),
                "another object is mapped to it",
                fix,
            );
        }
    }
    for (section, object) in objects {
        let path = below(path, object.object.as_str());
        for (name, part) in section.named("fields") {
            let Some(parent) = part.text("references") else {
                continue;
            };
            if !declared
                .iter()
                .any(|object| case_folded(object) == case_folded(parent.text))
            {
                let path = below(&below(&below(&path, "fields"), name.text), "references");
                let problem = format!("{} is not mapped", parent.text);
                let fix = format!("map {} too, or remove the reference", parent.text);
                reader.mistake(parent.at, &path, problem, fix);
            }
        }
    }
}

/// Returns the objects with parents before children, otherwise in order. Objects in a circle of
/// references keep their order.
pub(super) fn parents_first(mut waiting: Vec<ObjectSync>) -> Vec<ObjectSync> {
    let mut ordered: Vec<ObjectSync> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let waits = |name: &ObjectName| waiting.iter().any(|object| object.object == *name);
        let free = |object: &ObjectSync| {
            object
                .fields
                .values()
                .filter_map(|field| field.references.as_ref())
                .all(|parent| *parent == object.object || !waits(parent))
        };
        let next = waiting.iter().position(free).unwrap_or(0);
        ordered.push(waiting.remove(next));
    }
    ordered
}

/// Names that are in use, and by what.
#[derive(Default)]
struct Taken(BTreeMap<String, String>);

impl Taken {
    /// Uses a name, and returns its earlier user, if there is one.
    fn take(&mut self, name: String, by: &str) -> Option<String> {
        self.0.insert(name, by.to_owned())
    }
}

fn check_fields(reader: &mut Reader<'_>, path: &str, section: Section<'_>, object: &ObjectSync) {
    let path = below(path, "fields");
    let external_id = &object.external_id;
    let mut names = Taken::default();
    let mut columns = Taken::default();
    names.take(case_folded(external_id.field.as_str()), "");
    columns.take(external_id.column.to_string(), external_id.field.as_str());
    if let Some(column) = &object.deletes.column
        && columns
            .take(column.to_string(), "the time of a soft delete")
            .is_some()
    {
        let at = section.place("deletes");
        let problem = format!("column {column} already holds the external id");
        reader.mistake(at, &path, problem, "give soft deletes their own column");
    }
    for (name, part) in section.named("fields") {
        let path = below(&path, name.text);
        if case_folded(name.text) == case_folded(external_id.field.as_str()) {
            let fix = "remove it: the external id is always mapped";
            reader.mistake(name.at, &path, "it is the external id", fix);
        } else if names.take(case_folded(name.text), "").is_some() {
            let problem = "it is mapped twice: Salesforce ignores the case of field names";
            reader.mistake(name.at, &path, problem, "keep one of the two");
        }
        let Some(column) = part.text("column") else {
            continue;
        };
        if let Some(other) = columns.take(column.text.to_owned(), name.text) {
            let problem = format!("column {} already holds {other}", column.text);
            let path = below(&path, "column");
            reader.mistake(column.at, &path, problem, "give each field its own column");
        }
    }
}

fn check_direction(reader: &mut Reader<'_>, path: &str, section: Section<'_>, object: &ObjectSync) {
    let source = match object.direction {
        Direction::Both => return,
        Direction::ToPostgres => Side::Salesforce,
        Direction::ToSalesforce => Side::Postgres,
    };
    let fix = "remove it, or write direction = \"both\"";
    for (name, part) in section.named("fields") {
        if let Some(owner) = part.text("owner") {
            let path = below(&below(&below(path, "fields"), name.text), "owner");
            let problem = "with changes in one direction every field belongs to its source";
            reader.mistake(owner.at, &path, problem, fix);
        }
    }
    let loses = match object.seed {
        Seed::Refuse => false,
        Seed::Salesforce => source == Side::Postgres,
        Seed::Postgres => source == Side::Salesforce,
    };
    if loses {
        let problem = "values cannot start on the side that changes do not come from";
        reader.mistake(section.place("seed"), &below(path, "seed"), problem, fix);
    }
    let loses = match object.conflicts {
        ConflictPolicy::ManualReview
        | ConflictPolicy::FieldOwnership
        | ConflictPolicy::LastWriterWins => false,
        ConflictPolicy::SalesforceWins => source == Side::Postgres,
        ConflictPolicy::PostgresWins => source == Side::Salesforce,
    };
    if loses {
        let problem = "the side that changes do not come from cannot win";
        let at = section.place("conflicts");
        reader.mistake(at, &below(path, "conflicts"), problem, fix);
    }
}

fn check_deletes(reader: &mut Reader<'_>, path: &str, section: Section<'_>, object: &ObjectSync) {
    let deletes = section.place("deletes");
    let at_deletes = below(path, "deletes");
    let soft = object.deletes.mode == DeleteMode::Soft;
    let fills = soft || object.on_filter_exit == OnFilterExit::SoftDelete;
    match (&object.deletes.column, fills) {
        (None, true) => {
            let path = below(&at_deletes, "column");
            let problem = "a soft delete needs a column to fill";
            reader.mistake(
                deletes,
                &path,
                problem,
                "add column = \"deleted_at\" to deletes",
            );
        }
        (Some(_), false) => {
            let path = below(&at_deletes, "column");
            let fix = "remove it, or write mode = \"soft\"";
            reader.mistake(deletes, &path, "nothing fills it", fix);
        }
        (Some(_), true) | (None, false) => {}
    }
    if object.deletes.max_per_day() < object.deletes.max_per_hour() {
        let path = below(&at_deletes, "max_per_day");
        let problem = "it is below max_per_hour";
        let fix = "raise max_per_day or lower max_per_hour";
        reader.mistake(deletes, &path, problem, fix);
    }
    let to_salesforce = object.direction == Direction::ToSalesforce;
    if soft && to_salesforce {
        let path = below(&at_deletes, "mode");
        let problem = "no delete reaches Postgres in this direction";
        reader.mistake(
            deletes,
            &path,
            problem,
            "write mode = \"propagate\" or \"ignore\"",
        );
    }
    let on_filter_exit = section.place("on_filter_exit");
    let at_on_filter_exit = below(path, "on_filter_exit");
    match (object.on_filter_exit, &object.filter) {
        (OnFilterExit::Keep, _) => {}
        (OnFilterExit::SoftDelete | OnFilterExit::Delete, None) => {
            let problem = "without a filter no record can leave it";
            reader.mistake(
                on_filter_exit,
                &at_on_filter_exit,
                problem,
                "add where, or remove on_filter_exit",
            );
        }
        (OnFilterExit::SoftDelete | OnFilterExit::Delete, Some(_)) if to_salesforce => {
            let problem = "nothing is deleted in Postgres in this direction";
            reader.mistake(on_filter_exit, &at_on_filter_exit, problem, "remove it");
        }
        (OnFilterExit::SoftDelete | OnFilterExit::Delete, Some(_)) => {}
    }
}

fn case_folded(name: &str) -> String {
    name.to_ascii_lowercase()
}
