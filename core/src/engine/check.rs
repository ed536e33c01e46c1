//! Checks that a mapping matches both live sides, before the engine runs. Each finding names its fix.
//!
//! [`check_object`] is pure: it compares the mapping with the object's describe and with the table's
//! definition. Filters are tried in the org itself.

use std::sync::Arc;

use serde::Serialize;

use crate::config::{Direction, FieldSync, ObjectSync, Owner};
use crate::model::ids::{ColumnName, FieldName, ObjectName, OrgEpoch, TenantId};
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};

use super::SyncEngine;
use crate::job::error::Error;
use crate::job::tenant::read_fields;
use crate::ports::operator_store::{ColumnFacts, TableFacts};
use crate::ports::salesforce::FilterTrial;
use crate::ports::{MappedObject, SalesforcePort};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Records would be lost or parked: correct it before the engine runs.
    Error,
    /// Some records may be parked, or some edits undone.
    Warning,
}

/// One mismatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The object.
    pub object: ObjectName,
    /// The field that causes it, if there is one.
    pub field: Option<FieldName>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl SyncEngine {
    /// Checks the tenant's mapping against both live sides. Fails if a side cannot be reached.
    pub async fn check(&self, tenant: &TenantId) -> Result<Vec<Finding>, Error> {
        let tenant = self
            .shared()
            .tenants
            .get(tenant)
            .ok_or_else(|| Error::UnknownTenant(tenant.clone()))?;
        let identity = tenant.salesforce.identity().await?;
        let mut findings = Vec::new();
        for sync in &tenant.config.objects {
            let schema = match tenant.salesforce.describe(&sync.object).await {
                Ok(schema) => schema,
                Err(error) if error.status == Some(404) => {
                    findings.push(unknown_object(&sync.object));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mapped = MappedObject {
                tenant: tenant.config.tenant.clone(),
                sync: Arc::new(sync.clone()),
                schema: Arc::new(schema),
                organization_id: identity.organization_id.clone(),
                org_epoch: OrgEpoch(0),
                config_hash: Arc::from(tenant.config.config_hash.as_str()),
            };
            let table = tenant.store.table_facts(&mapped).await?;
            findings.extend(check_object(sync, &mapped.schema, &table));
            findings.extend(try_filter(&*tenant.salesforce, &mapped).await?);
        }
        findings.sort_by(|one, other| {
            (one.level, &one.object, &one.field).cmp(&(other.level, &other.object, &other.field))
        });
        Ok(findings)
    }
}

/// Tries the object's filter in the org: only the org can evaluate it.
async fn try_filter(
    salesforce: &dyn SalesforcePort,
    mapped: &MappedObject,
) -> Result<Option<Finding>, Error> {
    let sync = &mapped.sync;
    let Some(filter) = &sync.filter else {
        return Ok(None);
    };
    let mut fields = read_fields(sync);
    fields.retain(|field| mapped.schema.fields.contains_key(field));
    let trial = salesforce.try_filter(&sync.object, &fields, filter).await?;
    let (level, what, fix) = match trial {
        FilterTrial::MatchesRecords => return Ok(None),
        FilterTrial::MatchesNothing => (
            Level::Warning,
            "no record in the org matches the filter".to_owned(),
            "ignore this if the org is still empty; else correct the values in `where`",
        ),
        FilterTrial::Refused { message } => (
            Level::Error,
            format!("the org refuses the filter: {message}"),
            "correct `where` in syncline.toml: it is a SOQL condition, without the word WHERE",
        ),
    };
    Ok(Some(Finding {
        level,
        object: sync.object.clone(),
        field: None,
        what,
        fix: fix.to_owned(),
    }))
}

fn unknown_object(object: &ObjectName) -> Finding {
    Finding {
        level: Level::Error,
        object: object.clone(),
        field: None,
        what: format!("the org has no object {object}, or it is hidden from our user"),
        fix: "correct its name in syncline.toml, or grant the integration user access".to_owned(),
    }
}

/// Returns the mismatches between a mapping, its object and its table.
pub fn check_object(sync: &ObjectSync, schema: &ObjectSchema, table: &TableFacts) -> Vec<Finding> {
    let mut findings = Findings {
        object: &sync.object,
        found: Vec::new(),
    };
    check_external_id(sync, schema, table, &mut findings);
    check_table(sync, table, &mut findings);
    for (name, field) in &sync.fields {
        check_field(sync, schema, table, (name, field), &mut findings);
    }
    findings.found
}

/// Findings about one object, in order.
struct Findings<'a> {
    object: &'a ObjectName,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, level: Level, field: Option<&FieldName>, what: String, fix: &str) {
        self.found.push(Finding {
            level,
            object: self.object.clone(),
            field: field.cloned(),
            what,
            fix: fix.to_owned(),
        });
    }

    fn error(&mut self, field: Option<&FieldName>, what: String, fix: &str) {
        self.add(Level::Error, field, what, fix);
    }

    fn warning(&mut self, field: Option<&FieldName>, what: String, fix: &str) {
        self.add(Level::Warning, field, what, fix);
    }
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
            "create a text field marked \"External ID\" and \"Unique\", or correct the name",
        );
        return;
    };
    if !field.external_id {
        findings.error(
            Some(name),
            format!("{name} is not marked as an external id"),
            "tick \"External ID\" on the field in Setup",
        );
    }
    if !field.unique {
        findings.error(
            Some(name),
            format!("{name} is not unique: two records could have the same external id"),
            "tick \"Unique\" on the field in Setup",
        );
    }
    if !(field.createable && field.updateable) {
        findings.error(
            Some(name),
            format!("our user may not write {name}"),
            "grant the integration user edit access to the field",
        );
    }
    let columns_known = !table.columns.is_empty();
    if columns_known
        && !table.external_id_unique
        && table.columns.contains_key(&sync.external_id.column)
    {
        findings.error(
            Some(name),
            format!("column {} has no unique index", sync.external_id.column),
            "create a unique index on exactly that column",
        );
    }
    for (one, other) in &table.duplicate_keys {
        findings.error(
            Some(name),
            format!("the external ids {one:?} and {other:?} are equal for Salesforce, which ignores case and spaces"),
            "change or delete one of them",
        );
    }
    check_column(&sync.external_id.column, name, field, table, findings);
}

fn check_table(sync: &ObjectSync, table: &TableFacts, findings: &mut Findings<'_>) {
    let name = format!("{}.{}", sync.table.schema, sync.table.table);
    if table.columns.is_empty() {
        findings.error(
            None,
            format!("the table {name} does not exist or cannot be read"),
            "create it, correct its name, or grant our role access",
        );
        return;
    }
    if let Some(fix) = &table.hidden_rows_fix {
        findings.error(
            None,
            format!("row security of {name} hides rows from our role; nothing would be synchronised, since a hidden row would count as deleted"),
            fix,
        );
    }
    if !table.triggers_installed {
        findings.warning(
            None,
            format!("the capture triggers of {name} are not installed"),
            "run `syncline install`",
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
    const MOMENTS: [&str; 3] = ["timestamptz", "timestamp", "date"];
    match table.columns.get(column) {
        None => findings.error(
            None,
            format!("the soft-delete column {column} does not exist in {table_name}"),
            "add a timestamptz column of that name",
        ),
        Some(facts) if facts.generated || !MOMENTS.contains(&facts.type_name.as_str()) => findings
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
            "correct the name, or grant read access to the field",
        );
        return;
    };
    if let FieldType::Unsupported { name: type_name } = &field.field_type {
        findings.error(
            Some(name),
            format!("fields of type {type_name} cannot be mapped"),
            "map its parts instead, or leave it out",
        );
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
    check_column(&mapping.column, name, field, table, findings);
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
            format!("{name} cannot be updated in Salesforce: edits in Postgres are undone"),
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
    column: &ColumnName,
    name: &FieldName,
    field: &FieldSchema,
    table: &TableFacts,
    findings: &mut Findings<'_>,
) {
    if table.columns.is_empty() {
        return;
    }
    let Some(facts) = table.columns.get(column) else {
        findings.error(
            Some(name),
            format!("column {column} does not exist"),
            "add it, or correct its name in syncline.toml",
        );
        return;
    };
    if facts.generated {
        findings.error(
            Some(name),
            format!("column {column} is computed by Postgres and cannot be written"),
            "map an ordinary column",
        );
    }
    if facts.not_null && field.nillable && !field.field_type.is_boolean() {
        findings.warning(
            Some(name),
            format!("column {column} refuses null, {name} may be empty: such records are parked"),
            "allow null in the column",
        );
    }
    if !kind_fits(&field.field_type, &facts.type_name) {
        findings.error(
            Some(name),
            format!(
                "column {column} of type {} cannot hold {name}",
                facts.type_name
            ),
            column_advice(&field.field_type),
        );
        return;
    }
    check_room(column, name, field, facts, findings);
}

/// Checks that each side has room for the longest values of the other.
fn check_room(
    column: &ColumnName,
    name: &FieldName,
    field: &FieldSchema,
    facts: &ColumnFacts,
    findings: &mut Findings<'_>,
) {
    if let Some(length) = field.field_type.length() {
        match facts.length {
            Some(held) if held < length => findings.warning(
                Some(name),
                format!("column {column} holds {held} characters, {name} {length}: longer values are parked"),
                "widen the column",
            ),
            Some(held) if held > length => findings.warning(
                Some(name),
                format!("column {column} holds {held} characters, {name} only {length}: longer values are parked"),
                "narrow the column or widen the field",
            ),
            Some(_) | None => {}
        }
    }
    if let FieldType::Decimal { scale, .. } = &field.field_type {
        let whole = matches!(facts.type_name.as_str(), "int2" | "int4" | "int8");
        let held = if whole { Some(0) } else { facts.scale };
        match held {
                Some(held) if held < *scale => findings.error(
                    Some(name),
                    format!("column {column} keeps {held} digits after the point, {name} {scale}: Postgres would round"),
                    "use numeric with at least the field's scale",
                ),
                Some(held) if held > *scale => findings.warning(
                    Some(name),
                    format!("column {column} keeps {held} digits after the point, {name} only {scale}: finer values are parked"),
                    "use the field's scale in the column",
                ),
                Some(_) | None => {}
            }
    }
}

/// Returns whether a column of this type can hold the field. Other types (domains, enums) are treated as
/// text.
fn kind_fits(field: &FieldType, type_name: &str) -> bool {
    const NUMBERS: [&str; 6] = ["numeric", "int2", "int4", "int8", "float4", "float8"];
    const TIMES: [&str; 5] = ["date", "timestamptz", "timestamp", "time", "timetz"];
    let is_number = NUMBERS.contains(&type_name);
    let is_time = TIMES.contains(&type_name);
    let is_other = ["bool", "json", "jsonb", "bytea", "uuid"].contains(&type_name);
    match field {
        FieldType::Boolean => type_name == "bool",
        FieldType::Integer | FieldType::Decimal { .. } => is_number,
        FieldType::Date => type_name == "date",
        FieldType::DateTime => type_name == "timestamptz" || type_name == "timestamp",
        FieldType::Time => type_name == "time",
        FieldType::Text { .. } | FieldType::MultiPicklist | FieldType::Reference { .. } => {
            !(is_time || is_other) || type_name == "uuid"
        }
        FieldType::Id => !(is_number || is_time || is_other),
        FieldType::Unsupported { .. } => false,
    }
}

fn column_advice(field: &FieldType) -> &'static str {
    match field {
        FieldType::Boolean => "use a boolean column",
        FieldType::Integer => "use an integer, bigint or numeric column",
        FieldType::Decimal { .. } => "use a numeric column",
        FieldType::Date => "use a date column",
        FieldType::DateTime => "use a timestamptz column",
        FieldType::Time => "use a time column",
        FieldType::Text { .. }
        | FieldType::MultiPicklist
        | FieldType::Reference { .. }
        | FieldType::Id
        | FieldType::Unsupported { .. } => "use a text column",
    }
}
