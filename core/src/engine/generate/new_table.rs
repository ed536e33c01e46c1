//! The mapping of an object whose table does not exist yet.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Parents, Source, Wanted};
use super::names::names;
use super::{Draft, GenerateOptions, Picklists};
use crate::config::Direction;
use crate::model::ids::{ColumnName, FieldName};
use crate::ports::operator_store::{RelationKind, TableFacts};
use crate::store::table_definition::PRIMARY_KEY;
use crate::store::{NewColumn, NewTable};

/// Returns the mapping, with the table and what it will be like.
pub(super) fn draft(source: &Source, parents: &Parents, options: &GenerateOptions) -> Draft {
    let (wanted, left_out) = source.fields(parents);
    let (direction, why) = source.direction(&left_out);
    let named = column_names(source);
    let key = named.get(source.key.as_str()).cloned();
    let key = key.expect("every field has a name");
    let mut columns = vec![source.new_key_column(key.clone())];
    let mut fields = Vec::new();
    for wanted in &wanted {
        let Some(name) = named.get(wanted.field.name.as_str()) else {
            continue;
        };
        columns.push(source.new_column(*wanted, name.clone(), parents, options.picklists));
        let parent = wanted.parent.cloned();
        fields.push((wanted.field.name.clone(), name.clone(), parent));
    }
    let table = NewTable {
        name: source.table.clone(),
        columns,
    };
    Draft {
        sync: source.mapping(direction, key, fields),
        facts: facts(&table),
        new_table: Some(table),
        left_out,
        notes: notes(source, &wanted, direction, why, options.picklists),
        problems: Vec::new(),
        spare_columns: Vec::new(),
    }
}

/// Returns a column name for each field of the object, mapped or not: a column keeps its name when more can be mapped.
fn column_names(source: &Source) -> BTreeMap<&str, ColumnName> {
    let named = names(
        source.schema.fields.keys().map(FieldName::as_str),
        &BTreeSet::from([PRIMARY_KEY.to_owned()]),
    );
    let parsed = named.into_iter().filter_map(|(field, name)| {
        let name = ColumnName::parse(&name).ok()?;
        Some((field, name))
    });
    parsed.collect()
}

/// Returns the table as it will be read once it exists and capture is installed.
fn facts(table: &NewTable) -> TableFacts {
    let columns = table.columns.iter();
    TableFacts {
        kind: RelationKind::Table,
        columns: columns
            .map(|column: &NewColumn| (column.name.clone(), column.facts()))
            .collect(),
        external_id_unique: true,
        triggers_installed: true,
        ..TableFacts::default()
    }
}

/// Returns what a person should know of the mapping.
pub(super) fn notes(
    source: &Source,
    wanted: &[Wanted<'_>],
    direction: Direction,
    why: Option<String>,
    picklists: Picklists,
) -> Vec<String> {
    let named = |is: &dyn Fn(&Wanted<'_>) -> bool| -> Option<String> {
        let names = wanted.iter().filter(|wanted| is(wanted));
        let names: Vec<&str> = names.map(|wanted| wanted.field.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let one_way = why.map(|why| format!("one way, to Postgres: {why}"));
    let no_deletes = direction == Direction::Both && !source.access.deletable;
    let no_deletes = no_deletes.then(|| {
        "deletes of rows are not sent: our user may not delete the object's records".to_owned()
    });
    let formulas = named(&|wanted| wanted.field.calculated).map(|names| {
        format!(
            "computed by Salesforce, so that after each change event the record is read, up to 200 in a call: {names}"
        )
    });
    let open = named(&|wanted| {
        let picklist = source.access.picklists.get(&wanted.field.name);
        picklists == Picklists::Check && picklist.is_some_and(|picklist| !picklist.restricted)
    });
    let open = open.map(|names| {
        format!(
            "no constraint, as these picklists are not restricted and may hold any value: {names}"
        )
    });
    [one_way, no_deletes, formulas, open]
        .into_iter()
        .flatten()
        .collect()
}
