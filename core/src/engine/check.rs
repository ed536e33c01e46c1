//! Checks that a mapping matches both live sides, before the engine runs. Each finding names its fix.
//!
//! [`check_object`] and [`check_lookups`] are pure: they compare the mapping with the object's describe and with
//! the table. What only the org can answer, `org` asks.

mod access;
mod database;
mod first_contact;
mod mapping;
mod org;
pub(super) mod similar;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::config::ObjectSync;
use crate::model::ids::{FieldName, ObjectName, OrgEpoch, SalesforceId, TenantId};
use crate::model::schema::ObjectSchema;

use super::SyncEngine;
use crate::job::error::Error;
use crate::job::tenant::Tenant;
use crate::ports::MappedObject;
use crate::ports::operator_store::{Parent, TableFacts};
pub(super) use first_contact::FirstContact;

pub use access::check_access;
pub use first_contact::FIX as FIRST_CONTACT_FIX;
pub use mapping::check_object;
pub(super) use mapping::{key_problems, unmappable};
pub use table::check_lookups;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Records would be lost or parked: correct it before the engine runs.
    Error,
    /// Some records may be parked, or some edits undone.
    Warning,
    /// Worth knowing; nothing is wrong.
    Note,
}

/// One mismatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The object; absent if it concerns the tenant.
    pub object: Option<ObjectName>,
    /// The field that causes it, if there is one.
    pub field: Option<FieldName>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// The statement that does it, where the database alone is to be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
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
        tenant.store.require_usable_database().await?;
        let mut findings = control_plane_findings(tenant).await?;
        // Without these privileges the state cannot be read.
        if findings.is_empty() {
            findings.extend(database::findings(tenant).await?);
        }
        let mut tables: BTreeMap<ObjectName, TableFacts> = BTreeMap::new();
        let mut schemas = BTreeMap::new();
        for sync in &tenant.config.objects {
            let described = tenant.salesforce.describe_with_access(&sync.object).await;
            let (schema, access) = match described {
                Ok(described) => described,
                Err(error) if error.status == Some(404) => {
                    findings.push(org::unknown_object(tenant, &sync.object).await);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mapped = mapped_object(tenant, &identity.organization_id, sync, schema);
            let parents = parents_of(sync, &tenant.config.objects);
            let table = tenant.store.table_facts(&mapped, &parents).await?;
            findings.extend(check_object(sync, &mapped.schema, &table));
            findings.extend(org::findings(tenant, &mapped, &table).await?);
            findings.extend(check_access(sync, &access, &table));
            tables.insert(sync.object.clone(), table);
            schemas.insert(sync.object.clone(), mapped.schema);
        }
        for sync in &tenant.config.objects {
            if let Some(schema) = schemas.get(&sync.object) {
                findings.extend(check_lookups(sync, &tenant.config.objects, schema, &tables));
            }
        }
        findings.sort_by(|one, other| {
            (one.level, &one.object, &one.field).cmp(&(other.level, &other.object, &other.field))
        });
        Ok(findings)
    }
}

impl SyncEngine {
    /// Checks, before capture is installed on an object for the first time, that most records of both sides
    /// can be recognised by the other side.
    ///
    /// Fails with [`Error::FirstContact`] if they would be created a second time: nothing is undone more
    /// slowly than duplicates.
    pub async fn check_first_contact(&self, tenant: &TenantId) -> Result<(), Error> {
        let job = self.job(tenant).await?;
        let captured = job.store().captured_objects(tenant).await?;
        let mapped_objects = job.mapped_objects().iter();
        let mut problems = Vec::new();
        // Reads every row of a table, so not where capture was installed before.
        for mapped in mapped_objects.filter(|mapped| !captured.contains_key(&mapped.sync.object)) {
            let table = job.store().table_facts(mapped, &[]).await?;
            let Some(content) = &table.content else {
                continue;
            };
            let contact = FirstContact::count(job.tenant, mapped, content).await?;
            if contact.duplicates_records() {
                problems.push(contact.problem(&mapped.sync.object));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::FirstContact { problems }),
        }
    }
}

/// Returns the privileges that our role lacks on the control plane. They concern every object.
async fn control_plane_findings(tenant: &Tenant) -> Result<Vec<Finding>, Error> {
    let missing = tenant.store.control_plane_grants().await?;
    let findings = missing.into_iter().map(|missing| Finding {
        level: Level::Error,
        object: None,
        field: None,
        what: format!("our role lacks {} on {}", missing.privilege, missing.place),
        fix: format!("run: {}", missing.grant),
        sql: None,
    });
    Ok(findings.collect())
}

/// Returns an object as it is mapped, for questions to the store that concern its table alone.
pub(super) fn mapped_object(
    tenant: &Tenant,
    organization: &SalesforceId,
    sync: &ObjectSync,
    schema: ObjectSchema,
) -> MappedObject {
    MappedObject {
        tenant: tenant.config.tenant.clone(),
        sync: Arc::new(sync.clone()),
        configured: Arc::new(sync.clone()),
        schema: Arc::new(schema),
        organization_id: organization.clone(),
        org_epoch: OrgEpoch(0),
        config_hash: Arc::from(tenant.config.config_hash.as_str()),
        tables: Arc::default(),
    }
}

/// Returns where each lookup of the object takes its values from, as far as its parent is mapped.
pub(super) fn parents_of(sync: &ObjectSync, objects: &[ObjectSync]) -> Vec<Parent> {
    let lookups = sync.fields.values();
    lookups
        .filter_map(|field| {
            let parent = table::parent_of(field, objects)?;
            Some(Parent {
                column: field.column.clone(),
                table: parent.table.clone(),
                external_id: parent.external_id.column.clone(),
            })
        })
        .collect()
}

/// Findings about one object, in order.
struct Findings<'a> {
    object: &'a ObjectName,
    found: Vec<Finding>,
}

impl<'a> Findings<'a> {
    fn of(object: &'a ObjectName) -> Self {
        Self {
            object,
            found: Vec::new(),
        }
    }

    fn add(&mut self, level: Level, field: Option<&FieldName>, what: String, fix: &str) {
        self.found.push(Finding {
            level,
            object: Some(self.object.clone()),
            field: field.cloned(),
            what,
            fix: fix.to_owned(),
            sql: None,
        });
    }

    /// Adds the statement that mends what was found last.
    fn with_sql(&mut self, sql: String) {
        if let Some(last) = self.found.last_mut() {
            last.sql = Some(sql);
        }
    }

    fn error(&mut self, field: Option<&FieldName>, what: String, fix: &str) {
        self.add(Level::Error, field, what, fix);
    }

    fn warning(&mut self, field: Option<&FieldName>, what: String, fix: &str) {
        self.add(Level::Warning, field, what, fix);
    }
}
