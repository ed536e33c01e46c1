//! Which objects a mapping is written for, with which tables and external ids.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{names, normal};
use super::{GenerateOptions, Pattern, Skipped, TablePattern};
use crate::config::{ObjectSync, similar};
use crate::engine::check::key_problems;
use crate::model::ids::{FieldName, ObjectName, RelationName, TableName};
use crate::model::schema::{FieldSchema, ObjectSchema};
use crate::ports::salesforce::ListedObject;

/// An object that is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The object.
    pub(super) object: ObjectName,
    /// It was named itself, not by a pattern.
    pub(super) named: bool,
    /// The table for it.
    pub(super) table: TableName,
}

/// What is known before any object is described.
pub(super) struct Known<'a> {
    /// All objects that our user sees.
    pub(super) objects: &'a [ListedObject],
    /// The tables of the database.
    pub(super) tables: &'a [TableName],
    /// The objects that are mapped already.
    pub(super) mapped: &'a [ObjectSync],
    /// The schema of new tables.
    pub(super) schema: &'a RelationName,
}

/// Selects objects in the order of their names.
pub(super) fn select(known: &Known<'_>, options: &GenerateOptions) -> (Vec<Chosen>, Vec<Skipped>) {
    let mut skipped = Vec::new();
    // The value: whether it was named itself, and its table if one was asked for.
    let mut wanted: BTreeMap<ObjectName, (bool, Option<TableName>)> = BTreeMap::new();
    for pattern in &options.tables {
        for (object, table) in of_tables(known, pattern, &mut skipped) {
            wanted.insert(object, (pattern.pattern.is_name(), Some(table)));
        }
    }
    for pattern in &options.objects {
        for object in of_objects(known, pattern, &mut skipped) {
            let (named, _) = wanted.entry(object).or_default();
            *named |= pattern.is_name();
        }
    }
    for sync in known.mapped {
        if let Some((named, _)) = wanted.remove(&sync.object) {
            let table = &sync.table;
            skipped.push(Skipped {
                object: sync.object.to_string(),
                why: format!("it is mapped already, to {}.{}", table.schema, table.table),
                fix: None,
                named,
            });
        }
    }
    (with_tables(known, wanted), skipped)
}

/// Gives each object without a table a name for one.
fn with_tables(
    known: &Known<'_>,
    wanted: BTreeMap<ObjectName, (bool, Option<TableName>)>,
) -> Vec<Chosen> {
    let asked = wanted.values().filter_map(|(_, table)| table.as_ref());
    let mapped = known.mapped.iter().map(|sync| &sync.table);
    let taken: BTreeSet<String> = asked
        .chain(mapped)
        .filter(|table| table.schema == *known.schema)
        .map(|table| table.table.to_string())
        .collect();
    let untitled = wanted.iter().filter(|(_, (_, table))| table.is_none());
    let untitled: Vec<&str> = untitled.map(|(object, _)| object.as_str()).collect();
    let names = names(untitled, &taken);
    let chosen = wanted.iter().filter_map(|(object, (named, table))| {
        let named_after = || {
            let table = RelationName::parse(names.get(object.as_str())?).ok()?;
            let schema = known.schema.clone();
            Some(TableName { schema, table })
        };
        Some(Chosen {
            object: object.clone(),
            named: *named,
            table: table.clone().or_else(named_after)?,
        })
    });
    chosen.collect()
}

fn of_objects(known: &Known<'_>, pattern: &Pattern, skipped: &mut Vec<Skipped>) -> Vec<ObjectName> {
    let found: Vec<ObjectName> = known
        .objects
        .iter()
        .filter(|listed| pattern.is_name() || listed.holds_records)
        .filter(|listed| pattern.matches(&listed.name))
        .filter_map(|listed| ObjectName::parse(&listed.name).ok())
        .collect();
    if found.is_empty() {
        let names = known.objects.iter().map(|listed| listed.name.as_str());
        let general = "correct its name, or grant the integration user access";
        let like = similar(&pattern.to_string(), names).filter(|_| pattern.is_name());
        skipped.push(Skipped {
            object: pattern.to_string(),
            why: "the org has no such object, or it is hidden from our user".to_owned(),
            fix: Some(like.map_or_else(
                || general.to_owned(),
                |like| format!("did you mean {like}? Else {general}"),
            )),
            named: true,
        });
    }
    found
}

/// Returns the tables that match, each with its object.
fn of_tables(
    known: &Known<'_>,
    wanted: &TablePattern,
    skipped: &mut Vec<Skipped>,
) -> Vec<(ObjectName, TableName)> {
    let matches = |table: &&TableName| {
        let whole = format!("{}.{}", table.schema, table.table);
        let bare = table.schema == *known.schema && wanted.pattern.matches(table.table.as_str());
        bare || wanted.pattern.matches(&whole)
    };
    let writable = |table: &&TableName| {
        // The configuration is read without the white space around a name, and up to the first point.
        let whole = format!("{}.{}", table.schema, table.table);
        whole.trim() == whole && !table.schema.as_str().contains('.')
    };
    let tables = known.tables.iter().filter(matches).filter(writable);
    let tables: Vec<&TableName> = tables.collect();
    let mut skip = |object: String, why: &str, fix: String| {
        skipped.push(Skipped {
            object,
            why: why.to_owned(),
            fix: Some(fix),
            named: wanted.pattern.is_name(),
        });
    };
    if tables.is_empty() {
        let fix =
            "correct its name; a table outside the tenant's schema is written as schema.table";
        skip(
            wanted.pattern.to_string(),
            "the database has no such table",
            fix.to_owned(),
        );
    }
    let mut found = Vec::new();
    for table in tables {
        let name = wanted.object.as_deref().unwrap_or(table.table.as_str());
        match object_like(name, known.objects) {
            Some(object) => found.push((object, table.clone())),
            None => {
                let whole = format!("{}.{}", table.schema, table.table);
                let names = known.objects.iter().map(|listed| listed.name.as_str());
                let fix = similar(name, names).map_or_else(
                    || format!("name it: --tables {whole}=OBJECT"),
                    |like| format!("did you mean --tables {whole}={like}?"),
                );
                skip(whole, &format!("the org has no object {name}"), fix);
            }
        }
    }
    found
}

/// Returns the object whose name is like a table's, which may be in the plural; the standard one before a custom one.
fn object_like(name: &str, objects: &[ListedObject]) -> Option<ObjectName> {
    let name = name.to_lowercase();
    let singular = name.strip_suffix('s').map(str::to_owned);
    let of_y = name.strip_suffix("ies").map(|stem| format!("{stem}y"));
    let of_es = name.strip_suffix("es").map(str::to_owned);
    let forms = [Some(name.clone()), of_y, of_es, singular];
    let mut forms = forms.into_iter().flatten();
    let parsed = |listed: &ListedObject| ObjectName::parse(&listed.name).ok();
    forms.find_map(|form| {
        let form = normal(&form);
        let whole = objects.iter().find(|listed| normal(&listed.name) == form);
        let without_suffix = || {
            let mut listed = objects.iter();
            listed.find(|listed| normal(super::names::stem(&listed.name)) == form)
        };
        whole.or_else(without_suffix).and_then(parsed)
    })
}

/// Returns the external id of an object: the field that was asked for, else the only one that can be it.
///
/// Fails with what to do, and never guesses.
pub(super) fn external_id(
    schema: &ObjectSchema,
    named: bool,
    asked: Option<&str>,
) -> Result<FieldName, Skipped> {
    let skipped = |why: String, fix: String| Skipped {
        object: schema.object.to_string(),
        why,
        fix: Some(fix),
        named,
    };
    let problem = |field: &FieldSchema| {
        let problems = key_problems(field).into_iter();
        let (what, fixes): (Vec<String>, Vec<&str>) = problems.unzip();
        (!what.is_empty()).then(|| (what.join(", and "), fixes.join("; ")))
    };
    if let Some(asked) = asked {
        let mut fields = schema.fields.values();
        let field = fields.find(|field| field.name.as_str().eq_ignore_ascii_case(asked));
        let Some(field) = field else {
            let names = schema.fields.keys().map(FieldName::as_str);
            let like = similar(asked, names).map(|like| format!("; did you mean {like}?"));
            let why = format!("it has no field {asked}{}", like.unwrap_or_default());
            return Err(skipped(why, "correct --external-id".to_owned()));
        };
        return match problem(field) {
            Some((why, fix)) => Err(skipped(why, fix)),
            None => Ok(field.name.clone()),
        };
    }
    let marked = schema.fields.values().filter(|field| field.external_id);
    let (able, unable): (Vec<&FieldSchema>, Vec<&FieldSchema>) =
        marked.partition(|field| problem(field).is_none());
    match (able.as_slice(), unable.as_slice()) {
        ([one], _) => Ok(one.name.clone()),
        ([], []) => Err(skipped(
            "it has no external id".to_owned(),
            "create a text field on it in Setup, of 36 characters or more, marked \"External ID\" and \"Unique\", which \
             the integration user may edit"
                .to_owned(),
        )),
        ([], [first, ..]) => {
            let (why, fix) = problem(first).unwrap_or_default();
            Err(skipped(why, fix))
        }
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|field| field.name.as_str()).collect();
            let fix = format!("name one: --external-id {}={}", schema.object, names[0]);
            Err(skipped(format!("it has several external ids: {}", names.join(", ")), fix))
        }
    }
}
