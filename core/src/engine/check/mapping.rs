//! Compares a mapping with the object's describe and the columns of its table.

use super::table::check_table;
use super::{Finding, Findings, similar};
use crate::config::{Direction, FieldSync, ObjectSync, Owner};
use crate::model::column::{ColumnKind, ColumnType};
use crate::model::ids::{ColumnName, FieldName};
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};
use crate::ports::operator_store::{ColumnFacts, RelationKind, TableFacts};
use crate::store::table_definition::{self, Index, NewColumn};

/// Returns the mismatches between a mapping, its object and its table.
pub fn check_object(sync: &ObjectSync, schema: &ObjectSchema, table: &TableFacts) -> Vec<Finding> {
    let mut findings = Findings::of(&sync.object);
    check_external_id(sync, schema, table, &mut findings);
    check_table(sync, table, &mut findings);
    for (name, field) in &sync.fields {
        check_field(sync, schema, table, (name, field), &mut findings);
    }
    check_required_fields(sync, schema, &mut findings);
    check_required_columns(sync, table, &mut findings);
    findings.found
}

fn check_external_id(
    sync: &ObjectSync,
    schema: &ObjectSchema,
    table: &TableFacts,
    findings: &mut Findings<'_>,
) {
    let name = &sync.external_id.field;
    let Some(field) = schema.fields.get(name) else {
        findings.error(
            Some(name),
            format!("the external id field {name} does not exist in the org"),
            &similar::fix(
                "create a text field marked \"External ID\" and \"Unique\", or correct the name",
                name.as_str(),
                schema.fields.keys().map(FieldName::as_str),
            ),
        );
        return;
    };
    for (what, fix) in key_problems(field) {
        findings.error(Some(name), what, fix);
    }
    let columns_known = !table.columns.is_empty();
    if columns_known
        && !table.external_id_unique
        && table.columns.contains_key(&sync.external_id.column)
    {
        findings.error(
            Some(name),
            format!("column {} has no unique index", sync.external_id.column),
            match table.kind {
                RelationKind::Partitioned => {
                    "create a unique index on that column in every partition, and make sure that no external id \
                     is in two partitions: a partitioned table has no unique index without its partition key"
                }
                RelationKind::Missing | RelationKind::Table | RelationKind::Other => {
                    "create a unique index on exactly that column"
                }
            },
        );
        if table.kind == RelationKind::Table {
            let column = &sync.external_id.column;
            findings.with_sql(table_definition::unique_index(&sync.table, column));
        }
    }
    for (one, other) in &table.duplicate_keys {
        findings.error(
            Some(name),
            format!("the external ids {one:?} and {other:?} are equal for Salesforce, which ignores case and spaces"),
            "change or delete one of them",
        );
    }
    check_own_numbers(sync, table, findings);
    // A record without an external id gets one before its row is inserted, so the column may refuse null.
    check_column((sync, table), &sync.external_id.column, field, findings);
}

/// Returns what keeps a field from being an external id of the mapping, each with its fix.
pub(in crate::engine) fn key_problems(field: &FieldSchema) -> Vec<(String, &'static str)> {
    let name = &field.name;
    let mut problems = Vec::new();
    if !field.external_id {
        problems.push((
            format!("{name} is not marked as an external id"),
            "tick \"External ID\" on the field in Setup",
        ));
    }
    if !field.unique {
        problems.push((
            format!("{name} is not unique: two records could have the same external id"),
            "tick \"Unique\" on the field in Setup",
        ));
    }
    if !(field.createable && field.updateable) {
        problems.push((
            format!("our user may not write {name}"),
            "grant the integration user edit access to the field",
        ));
    }
    problems
}

/// Checks that rows can become records: Salesforce refuses a record without a required field.
fn check_required_fields(sync: &ObjectSync, schema: &ObjectSchema, findings: &mut Findings<'_>) {
    if sync.direction == Direction::ToPostgres {
        return;
    }
    for (name, field) in &schema.fields {
        let is_mapped = sync.fields.contains_key(name) || *name == sync.external_id.field;
        if field.is_required() && !is_mapped {
            findings.error(
                Some(name),
                format!(
                    "{name} is required in Salesforce but not mapped: rows cannot be created there"
                ),
                "map the field, give it a default in Setup, or set direction = \"to_postgres\"",
            );
        }
    }
}

/// Checks that records can become rows: Postgres refuses a row without a value for such a column.
fn check_required_columns(sync: &ObjectSync, table: &TableFacts, findings: &mut Findings<'_>) {
    if sync.direction == Direction::ToSalesforce {
        return;
    }
    let mapped = mapped_columns(sync);
    for (name, column) in &table.columns {
        let is_required = column.not_null && !column.has_default && !column.generated;
        if is_required && !mapped.contains(&name) {
            findings.error(
                None,
                format!("column {name} refuses null, has no default and is not mapped: records cannot become rows"),
                "map the column, give it a default, allow null in it, or set direction = \"to_salesforce\"",
            );
            if let Some(sql) = table_definition::need_no_value(&sync.table, name, column) {
                findings.with_sql(sql);
            }
        }
    }
}

/// Returns the columns that the mapping names.
fn mapped_columns(sync: &ObjectSync) -> Vec<&ColumnName> {
    let fields = sync.fields.values().map(|field| &field.column);
    fields
        .chain([&sync.external_id.column])
        .chain(&sync.deletes.column)
        .collect()
}

fn check_field(
    sync: &ObjectSync,
    schema: &ObjectSchema,
    table: &TableFacts,
    (name, mapping): (&FieldName, &FieldSync),
    findings: &mut Findings<'_>,
) {
    let Some(field) = schema.fields.get(name) else {
        findings.error(
            Some(name),
            format!("{name} does not exist in the org or is hidden from our user"),
            &similar::fix(
                "correct the name, or grant read access to the field",
                name.as_str(),
                schema.fields.keys().map(FieldName::as_str),
            ),
        );
        return;
    };
    if let Some((what, fix)) = unmappable(&field.field_type) {
        findings.error(Some(name), what, fix);
        return;
    }
    if let (Some(parent), Some(to)) = (&mapping.references, field.field_type.targets())
        && !to.contains(parent)
    {
        findings.error(
            Some(name),
            format!("{name} does not point to {parent}"),
            "name one of the objects that the lookup may point to",
        );
    }
    if mapping.references.is_some() && field.field_type.targets().is_none() {
        findings.error(
            Some(name),
            format!("{name} is not a lookup"),
            "remove `references` from the field",
        );
    }
    check_writeable(sync, field, mapping.owner, findings);
    check_column((sync, table), &mapping.column, field, findings);
    check_null((sync, table), &mapping.column, field, findings);
    if let Some(rows) = table
        .content
        .as_ref()
        .and_then(|content| content.too_long.get(name))
    {
        findings.warning(
            Some(name),
            format!(
                "{rows} rows have a longer text in {} than {name} holds: they are parked",
                mapping.column
            ),
            "shorten the texts or widen the field",
        );
    }
    check_empty_rows((name, mapping), sync, table, findings);
}

/// Returns why no column can hold fields of this type, and what to do; `None` if one can.
pub(in crate::engine) fn unmappable(field_type: &FieldType) -> Option<(String, &'static str)> {
    let FieldType::Unsupported { name } = field_type else {
        return None;
    };
    let fix = match name.as_str() {
        "address" | "location" => {
            "map its parts, which are fields too, such as BillingCity or Place__Latitude__s"
        }
        _ => "leave it out",
    };
    Some((format!("fields of type {name} cannot be mapped"), fix))
}

/// Finds rows that cannot become records, because they lack a value that Salesforce requires.
fn check_empty_rows(
    (name, mapping): (&FieldName, &FieldSync),
    sync: &ObjectSync,
    table: &TableFacts,
    findings: &mut Findings<'_>,
) {
    let content = table.content.as_ref();
    let Some(rows) = content.and_then(|content| content.empty_required.get(name)) else {
        return;
    };
    if sync.direction != Direction::ToPostgres && mapping.owner != Owner::Salesforce {
        findings.warning(
            Some(name),
            format!(
                "{rows} rows have no value in {}, which {name} requires: they are parked",
                mapping.column
            ),
            "fill the column, or give it a default that the table requires",
        );
    }
}

/// Finds an external id column that numbers its rows by itself.
fn check_own_numbers(sync: &ObjectSync, table: &TableFacts, findings: &mut Findings<'_>) {
    let column = &sync.external_id.column;
    let Some(facts) = table.columns.get(column) else {
        return;
    };
    let is_whole = matches!(
        facts.column_type.kind,
        ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint
    );
    if is_whole
        && facts.has_default
        && !facts.generated
        && sync.direction != Direction::ToSalesforce
    {
        findings.warning(
            Some(&sync.external_id.field),
            format!(
                "column {column} numbers rows by itself and does not know the numbers that come from Salesforce: an \
                 insert of your application fails with a duplicate key, or its row is taken for the record that has \
                 the number"
            ),
            "let only one side create records, or use an external id that both sides draw at random, such as a uuid",
        );
    }
}

fn check_writeable(
    sync: &ObjectSync,
    field: &FieldSchema,
    owner: Owner,
    findings: &mut Findings<'_>,
) {
    if field.updateable || sync.direction == Direction::ToPostgres {
        return;
    }
    let name = &field.name;
    match owner {
        Owner::Salesforce => {}
        Owner::Shared => findings.warning(
            Some(name),
            format!(
                "{name} cannot be updated in Salesforce: edits in Postgres {}",
                match field.became_read_only() {
                    true => "wait until it can be again",
                    false => "are undone",
                }
            ),
            "set owner = \"salesforce\" for it, or grant edit access",
        ),
        Owner::Postgres => findings.error(
            Some(name),
            format!("{name} is owned by Postgres but cannot be updated in Salesforce"),
            "set owner = \"salesforce\" for it, or grant edit access",
        ),
    }
}

fn check_column(
    (sync, table): (&ObjectSync, &TableFacts),
    column: &ColumnName,
    field: &FieldSchema,
    findings: &mut Findings<'_>,
) {
    let name = &field.name;
    if table.columns.is_empty() {
        return;
    }
    let Some(facts) = table.columns.get(column) else {
        findings.error(
            Some(name),
            format!("column {column} does not exist"),
            &similar::fix(
                "add it, or correct its name in syncline.toml",
                column.as_str(),
                table.columns.keys().map(ColumnName::as_str),
            ),
        );
        if let Some(sql) = add_column(sync, column, field) {
            findings.with_sql(sql);
        }
        return;
    };
    if facts.generated {
        findings.error(
            Some(name),
            format!("column {column} is computed by Postgres and cannot be written"),
            "map an ordinary column",
        );
    }
    if !facts.column_type.fits(&field.field_type) {
        findings.error(
            Some(name),
            format!(
                "column {column} of type {} cannot hold {name}",
                facts.column_type.name
            ),
            &column_advice(&field.field_type),
        );
        if let Some(sql) = change_type(sync, column, field) {
            findings.with_sql(sql);
        }
        return;
    }
    let known = findings.found.len();
    check_length(column, field, facts, findings);
    check_digits(column, field, facts, findings);
    if findings.found.len() > known
        && let Some(sql) = change_type(sync, column, field)
    {
        findings.with_sql(sql);
    }
}

/// Returns the statement that adds a column for a field. A lookup's column has the type of the parent's, which is not
/// known here.
fn add_column(sync: &ObjectSync, column: &ColumnName, field: &FieldSchema) -> Option<String> {
    let is_key = field.name == sync.external_id.field;
    let is_lookup = field.field_type.targets().is_some();
    let column_type = ColumnType::for_field(&field.field_type).filter(|_| !is_lookup)?;
    let column = NewColumn {
        name: column.clone(),
        column_type,
        not_null: false,
        index: if is_key { Index::Unique } else { Index::None },
        choices: None,
    };
    Some(table_definition::add_column(&sync.table, &column))
}

/// Returns the statement that gives a column the type of a new one for its field.
fn change_type(sync: &ObjectSync, column: &ColumnName, field: &FieldSchema) -> Option<String> {
    let is_lookup = field.field_type.targets().is_some();
    let to = ColumnType::for_field(&field.field_type).filter(|_| !is_lookup)?;
    Some(table_definition::change_type(&sync.table, column, &to))
}

/// Checks that an empty field can be written to the column.
fn check_null(
    (sync, table): (&ObjectSync, &TableFacts),
    column: &ColumnName,
    field: &FieldSchema,
    findings: &mut Findings<'_>,
) {
    let name = &field.name;
    let facts = table.columns.get(column);
    if facts.is_some_and(|facts| refuses_null(field, facts)) {
        findings.warning(
            Some(name),
            format!("column {column} refuses null, {name} may be empty: such records are parked"),
            "allow null in the column",
        );
        findings.with_sql(table_definition::allow_null(&sync.table, column));
    }
}

/// Null is written as empty text where the column is a text, and as false where the field is a checkbox.
fn refuses_null(field: &FieldSchema, facts: &ColumnFacts) -> bool {
    let has_empty = facts.column_type.is_text() || facts.column_type.kind == ColumnKind::TextArray;
    facts.not_null && field.nillable && !field.field_type.is_boolean() && !has_empty
}

/// Checks that each side has room for the texts of the other.
fn check_length(
    column: &ColumnName,
    field: &FieldSchema,
    facts: &ColumnFacts,
    findings: &mut Findings<'_>,
) {
    let name = &field.name;
    let (Some(length), Some(held)) = (field.field_type.length(), facts.column_type.length) else {
        return;
    };
    if held < length {
        findings.warning(
            Some(name),
            format!(
                "column {column} holds {held} characters, {name} {length}: longer values are parked"
            ),
            "widen the column",
        );
    }
    if held > length {
        findings.warning(
            Some(name),
            format!("column {column} holds {held} characters, {name} only {length}: longer values are parked"),
            "narrow the column or widen the field",
        );
    }
}

/// Checks that the column keeps the digits of the field. Salesforce keeps every digit that the API sent,
/// whatever the field's scale; the values of a formula usually have more.
fn check_digits(
    column: &ColumnName,
    field: &FieldSchema,
    facts: &ColumnFacts,
    findings: &mut Findings<'_>,
) {
    let name = &field.name;
    let parked = "values with more are parked";
    match (&field.field_type, facts.column_type.digits) {
        (FieldType::Decimal { scale, .. }, Some(kept)) if kept < *scale => findings.error(
            Some(name),
            format!("column {column} keeps {kept} digits after the point, {name} {scale}: {parked}"),
            "use numeric with at least the field's scale",
        ),
        (FieldType::Decimal { .. }, Some(kept)) if field.calculated => findings.warning(
            Some(name),
            format!("column {column} keeps {kept} digits after the point, the formula {name} any number: {parked}"),
            "use numeric without a scale, or round in the formula",
        ),
        (FieldType::Time, Some(kept)) if kept < TIME_DIGITS => findings.warning(
            Some(name),
            format!("column {column} keeps {kept} digits of a second, {name} {TIME_DIGITS}: {parked}"),
            "use time without a precision",
        ),
        (_, _) if facts.column_type.kind == ColumnKind::Real && field.field_type.is_number() => {
            findings.warning(
                Some(name),
                format!("column {column} of type real keeps six digits: {parked}"),
                "use numeric or double precision",
            );
        }
        (_, _) => {}
    }
}

/// Digits of a second that a time of day has in Salesforce.
const TIME_DIGITS: u32 = 3;

fn column_advice(field: &FieldType) -> String {
    let kinds: Vec<&str> = field
        .kind()
        .row()
        .columns
        .iter()
        .map(|kind| kind.into())
        .collect();
    match kinds.first() {
        Some(best) => {
            format!("use a column of type {best}; docs/type-table.md lists the types that fit")
        }
        None => "leave the field out".to_owned(),
    }
}
