//! The mapping of an object whose table exists: columns are found by their names.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Parents, Source, Wanted};
use super::names::{names, normal, snake_case, stem};
use super::new_table::notes;
use super::{Draft, GenerateOptions, LeftOut, SpareColumn};
use crate::config::{Direction, similar};
use crate::model::ids::{ColumnName, FieldName};
use crate::ports::operator_store::{ColumnFacts, TableFacts};
use crate::store::table_definition::add_column;

/// Returns the column of the external id: the one with a name like the field's, else one to add. It is never guessed
/// from what a column holds.
pub(super) fn key_column(key: &FieldName, table: &TableFacts) -> Option<ColumnName> {
    let found = find(key.as_str(), &[exact, like], table, &BTreeSet::new());
    let added = || ColumnName::parse(&snake_case(stem(key.as_str()))).ok();
    found.ok().or_else(added)
}

/// Returns the mapping by names. Whether the columns fit is not looked at.
pub(super) fn draft(
    source: &Source,
    key: ColumnName,
    table: TableFacts,
    parents: &Parents,
    options: &GenerateOptions,
) -> Draft {
    let (wanted, mut left_out) = source.fields(parents);
    let (columns, unmatched) = match_columns(&wanted, &key, &table);
    let is_used =
        |column: &&ColumnName| **column == key || columns.values().any(|one| one == *column);
    let is_local =
        |facts: &ColumnFacts| facts.in_primary_key && (facts.has_default || facts.generated);
    let spare = table.columns.iter().filter(|(_, facts)| !is_local(facts));
    let spare = spare.map(|(name, _)| name).filter(|name| !is_used(name));
    let spare: Vec<&ColumnName> = spare.collect();
    let new_names = new_names(&unmatched, &table);
    for (wanted, why) in &unmatched {
        let name = new_names.get(wanted.field.name.as_str());
        let sql = name.map(|name| {
            let mut column = source.new_column(*wanted, name.clone(), parents, options.picklists);
            // The rows that exist have no value yet.
            column.not_null &= column.has_default();
            add_column(&source.table, &column)
        });
        left_out.push(LeftOut {
            field: wanted.field.name.clone(),
            why: why.clone(),
            sql,
        });
    }
    left_out.sort_by(|one, other| one.field.cmp(&other.field));
    let mapped: Vec<Wanted<'_>> = wanted
        .into_iter()
        .filter(|wanted| columns.contains_key(&wanted.field.name))
        .collect();
    let direction = match source.access.createable && source.access.updateable {
        true => Direction::Both,
        false => Direction::ToPostgres,
    };
    let (_, why) = source.direction(&[]);
    let fields = mapped.iter().filter_map(|wanted| {
        let column = columns.get(&wanted.field.name)?.clone();
        Some((wanted.field.name.clone(), column, wanted.parent.cloned()))
    });
    let spare_columns = spare_columns(&spare, &unmatched);
    Draft {
        sync: source.mapping(direction, key, fields),
        notes: notes(source, &mapped, direction, why, options.picklists),
        facts: table,
        new_table: None,
        left_out,
        problems: Vec::new(),
        spare_columns,
    }
}

/// Returns names for the columns that could be added.
fn new_names<'a>(
    unmatched: &[(Wanted<'a>, String)],
    table: &TableFacts,
) -> BTreeMap<&'a str, ColumnName> {
    let fields = unmatched
        .iter()
        .map(|(wanted, _)| wanted.field.name.as_str());
    let taken = table.columns.keys().map(ColumnName::to_string).collect();
    let named = names(fields, &taken).into_iter();
    let parsed = named.filter_map(|(field, name)| Some((field, ColumnName::parse(&name).ok()?)));
    parsed.collect()
}

/// Returns the columns that no field has, each with the field that may have been meant.
fn spare_columns(spare: &[&ColumnName], unmatched: &[(Wanted<'_>, String)]) -> Vec<SpareColumn> {
    let columns = spare.iter().map(|column| {
        let fields = unmatched
            .iter()
            .map(|(wanted, _)| stem(wanted.field.name.as_str()));
        SpareColumn {
            column: (*column).clone(),
            like: similar(&column.as_str().replace('_', ""), fields).map(str::to_owned),
        }
    });
    columns.collect()
}

/// How the name of a column can be that of a field; the surest first.
type Rule = fn(field: &str, column: &str) -> bool;

fn exact(field: &str, column: &str) -> bool {
    column == snake_case(stem(field))
}

fn like(field: &str, column: &str) -> bool {
    let column = normal(column);
    column == normal(stem(field)) || column == normal(field)
}

/// `parent_external_id` or `parent` for `ParentId`.
fn of_lookup(field: &str, column: &str) -> bool {
    let (field, column) = (normal(stem(field)), normal(column));
    let base = field.strip_suffix("id").unwrap_or(&field);
    let ends = ["", "id", "externalid"];
    ends.iter().any(|end| column == format!("{base}{end}"))
}

/// Gives each field the column with its name. Sure matches come first, and no column is given twice.
fn match_columns<'a>(
    wanted: &[Wanted<'a>],
    key: &ColumnName,
    table: &TableFacts,
) -> (BTreeMap<FieldName, ColumnName>, Vec<(Wanted<'a>, String)>) {
    let mut taken = BTreeSet::from([key.clone()]);
    let mut columns = BTreeMap::new();
    let rules: [(Rule, bool); 3] = [(exact, false), (like, false), (of_lookup, true)];
    for (rule, lookups_only) in rules {
        for wanted in wanted {
            let name = &wanted.field.name;
            let applies = !lookups_only || wanted.parent.is_some();
            if columns.contains_key(name) || !applies {
                continue;
            }
            if let Ok(column) = find(name.as_str(), &[rule], table, &taken) {
                taken.insert(column.clone());
                columns.insert(name.clone(), column);
            }
        }
    }
    let unmatched = wanted
        .iter()
        .filter(|wanted| !columns.contains_key(&wanted.field.name));
    let unmatched = unmatched.map(|wanted| {
        let name = wanted.field.name.as_str();
        let why = match find(name, &[exact, like], table, &taken) {
            Err(several) if several.len() > 1 => {
                format!("several columns have its name: {}", several.join(", "))
            }
            Ok(_) | Err(_) => "the table has no column of its name".to_owned(),
        };
        (*wanted, why)
    });
    let unmatched = unmatched.collect();
    (columns, unmatched)
}

/// Returns the one column that the first rule with a match finds. Fails with the columns if they are not one.
fn find(
    field: &str,
    rules: &[Rule],
    table: &TableFacts,
    taken: &BTreeSet<ColumnName>,
) -> Result<ColumnName, Vec<String>> {
    for rule in rules {
        // The configuration is read without the white space around a name.
        let free = table
            .columns
            .keys()
            .filter(|column| !taken.contains(*column) && column.as_str().trim() == column.as_str());
        let found: Vec<&ColumnName> = free.filter(|column| rule(field, column.as_str())).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).clone()),
            several => return Err(several.iter().map(ToString::to_string).collect()),
        }
    }
    Err(Vec::new())
}
