//! Checks that a mapping matches both live sides, before the engine runs. Each finding names its fix.
//!
//! [`check_object`] is pure: it compares the mapping with the object's describe and with the table's
//! definition. Filters are tried in the org itself.

use std::sync::Arc;

use serde::Serialize;

use crate::config::{Direction, FieldSync, ObjectSync, Owner};
use crate::model::column::ColumnKind;
use crate::model::ids::{ColumnName, FieldName, ObjectName, OrgEpoch, TenantId};
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};
use crate::model::type_table::FieldKind;

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
            findings.extend(look_for_masks(&*tenant.salesforce, &mapped).await?);
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

/// Reads a page of records if encrypted fields are mapped: describe does not show whether our user may see
/// them.
async fn look_for_masks(
    salesforce: &dyn SalesforcePort,
    mapped: &MappedObject,
) -> Result<Vec<Finding>, Error> {
    let sync = &mapped.sync;
    let encrypted: Vec<FieldName> = sync
        .fields
        .keys()
        .filter(|name| {
            let described = mapped.schema.fields.get(*name);
            described.is_some_and(|field| field.field_type.kind() == FieldKind::EncryptedText)
        })
        .cloned()
        .collect();
    if encrypted.is_empty() {
        return Ok(Vec::new());
    }
    let page = salesforce
        .scan(&sync.object, &encrypted, sync.filter.as_deref(), None)
        .await?;
    let is_masked = |name: &&FieldName| {
        let mut records = page.records.iter();
        records.any(|record| record.unreadable.contains_key(*name))
    };
    let masked = encrypted.iter().filter(is_masked).map(|name| Finding {
        level: Level::Error,
        object: sync.object.clone(),
        field: Some(name.clone()),
        what: format!("the org shows our user only masked values of the encrypted field {name}"),
        fix: "grant the integration user the permission \"View Encrypted Data\", or leave the field out"
            .to_owned(),
    });
    Ok(masked.collect())
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
    if refuses_null(field, facts) {
        findings.warning(
            Some(name),
            format!("column {column} refuses null, {name} may be empty: such records are parked"),
            "allow null in the column",
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
        return;
    }
    check_length(column, field, facts, findings);
    check_digits(column, field, facts, findings);
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
