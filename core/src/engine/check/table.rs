//! Checks a mapped table: that it can be read, written and captured, and that its lookups point to parents.

use std::collections::BTreeMap;

use super::{Finding, Findings, similar};
use crate::config::{FieldSync, ObjectSync};
use crate::model::column::ColumnKind;
use crate::model::ids::{ColumnName, FieldName, ObjectName};
use crate::model::schema::ObjectSchema;
use crate::ports::operator_store::{RelationKind, TableFacts};

pub(super) fn check_table(sync: &ObjectSync, table: &TableFacts, findings: &mut Findings<'_>) {
    let name = format!("{}.{}", sync.table.schema, sync.table.table);
    match table.kind {
        RelationKind::Table | RelationKind::Partitioned => {}
        RelationKind::Missing => {
            findings.error(
                None,
                format!("the table {name} does not exist"),
                &similar::fix(
                    "create it, or correct its name",
                    &name,
                    table.other_tables.iter().map(String::as_str),
                ),
            );
            return;
        }
        RelationKind::Other => {
            findings.error(
                None,
                format!(
                    "{name} is not a table: changes of a view or a foreign table cannot be captured"
                ),
                "map the table behind it",
            );
            return;
        }
    }
    for grant in &table.missing_grants {
        findings.error(
            None,
            format!("our role lacks {} on {}", grant.privilege, grant.place),
            &format!("run: {}", grant.grant),
        );
    }
    if let Some(fix) = &table.hidden_rows_fix {
        findings.error(
            None,
            format!("row security of {name} hides rows from our role; nothing would be synchronised, since a hidden row would count as deleted"),
            fix,
        );
    }
    if let Some(problem) = &table.other_table {
        findings.error(
            None,
            format!("{name} {problem}; nothing is written before that is decided: rows that it lacks would count as deleted"),
            &format!(
                "if {} shall be synchronised with it from now on, run `syncline install`: what it lacks is then created, \
                 not deleted",
                sync.object
            ),
        );
    }
    if !table.triggers_installed {
        findings.warning(
            None,
            format!("the capture triggers of {name} are not installed"),
            &match &table.other_owner {
                None => "run `syncline install`".to_owned(),
                Some(owner) => format!(
                    "run `syncline install` with the URL of a role that may act as its owner, {owner}: only that \
                     command needs it"
                ),
            },
        );
    }
    if let Some(column) = &sync.deletes.column {
        check_soft_delete_column(column, &name, table, findings);
    }
}

/// Checks the soft-delete column, which is set to the time for `deletes` and for `on_filter_exit`.
fn check_soft_delete_column(
    column: &ColumnName,
    table_name: &str,
    table: &TableFacts,
    findings: &mut Findings<'_>,
) {
    const MOMENTS: [ColumnKind; 3] = [
        ColumnKind::Timestamptz,
        ColumnKind::Timestamp,
        ColumnKind::Date,
    ];
    match table.columns.get(column) {
        None => findings.error(
            None,
            format!("the soft-delete column {column} does not exist in {table_name}"),
            "add a timestamptz column of that name",
        ),
        Some(facts) if facts.generated || !MOMENTS.contains(&facts.column_type.kind) => findings
            .error(
                None,
                format!(
                    "the soft-delete column {column} of {table_name} cannot be set to the time"
                ),
                "make it an ordinary column of type timestamptz",
            ),
        Some(facts) if facts.not_null => findings.error(
            None,
            format!("the soft-delete column {column} of {table_name} refuses null: every row would count as deleted"),
            "allow null in the column",
        ),
        Some(_) => {}
    }
}

/// Returns the mapped object that a lookup points to.
pub(super) fn parent_of<'a>(
    field: &FieldSync,
    objects: &'a [ObjectSync],
) -> Option<&'a ObjectSync> {
    let parent = field.references.as_ref()?;
    objects.iter().find(|sync| sync.object == *parent)
}

/// Returns lookups whose column does not hold external ids of the parent. A column with the parent's local key
/// would link records to wrong parents wherever the parents' external ids look like local keys.
pub fn check_lookups(
    sync: &ObjectSync,
    objects: &[ObjectSync],
    schema: &ObjectSchema,
    tables: &BTreeMap<ObjectName, TableFacts>,
) -> Vec<Finding> {
    let mut findings = Findings::of(&sync.object);
    let Some(table) = tables.get(&sync.object) else {
        return Vec::new();
    };
    for (name, field) in &sync.fields {
        match parent_of(field, objects) {
            Some(parent) => check_lookup((name, field), table, parent, tables, &mut findings),
            None => check_raw_lookup((name, field), (schema, objects), &mut findings),
        }
    }
    findings.found
}

/// Finds a lookup without `references`, whose column holds ids of Salesforce, although its parent is mapped.
fn check_raw_lookup(
    (name, field): (&FieldName, &FieldSync),
    (schema, objects): (&ObjectSchema, &[ObjectSync]),
    findings: &mut Findings<'_>,
) {
    let described = schema.fields.get(name);
    let targets = described.and_then(|described| described.field_type.targets());
    let mut mapped = objects.iter();
    let parent = mapped.find(|sync| targets.is_some_and(|to| to.contains(&sync.object)));
    if let (None, Some(parent)) = (&field.references, parent) {
        let parent = &parent.object;
        findings.warning(
            Some(name),
            format!(
                "{name} points to {parent}, which is mapped, but has no `references`: column {} holds the ids that \
                 Salesforce gives its records, which another org or a restored record does not have",
                field.column
            ),
            &format!("add references = \"{parent}\" to the field, and let the column hold external ids"),
        );
    }
}

/// Checks one lookup; the first finding explains the others.
fn check_lookup(
    (name, field): (&FieldName, &FieldSync),
    table: &TableFacts,
    parent: &ObjectSync,
    tables: &BTreeMap<ObjectName, TableFacts>,
    findings: &mut Findings<'_>,
) {
    let column = &field.column;
    let key = &parent.external_id.column;
    let expected = format!(
        "{}.{key}, the external id of {}",
        parent.table.table, parent.object
    );
    let fix = format!("map a column that holds values of {expected}");
    let key_of_other = table.foreign_keys.iter().find(|(from, to, referenced)| {
        from == column && (to != &parent.table || referenced != key)
    });
    if let Some((_, to, referenced)) = key_of_other {
        findings.error(
            Some(name),
            format!(
                "column {column} references {}.{referenced}, not {expected}: records would get wrong parents",
                to.table
            ),
            &fix,
        );
        return;
    }
    let type_in = |table: Option<&TableFacts>, column: &ColumnName| {
        let facts = table?.columns.get(column)?;
        Some(facts.column_type.clone())
    };
    let types = type_in(Some(table), column).zip(type_in(tables.get(&parent.object), key));
    if let Some((own, theirs)) = types
        && own.kind != theirs.kind
        && !(own.is_text() && theirs.is_text())
    {
        findings.error(
            Some(name),
            format!(
                "column {column} is of type {}, but {expected}, is of type {}",
                own.name, theirs.name
            ),
            &fix,
        );
        return;
    }
    if table.strange_lookups.contains(column) {
        findings.error(
            Some(name),
            format!("column {column} has values, but none of them is in {expected}"),
            &fix,
        );
    }
}
