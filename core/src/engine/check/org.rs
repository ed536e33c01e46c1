//! What only the org can answer: filters, masks, change events, counts.

use super::{Finding, Findings, FirstContact, Level, first_contact, similar};
use crate::config::CaptureMode;
use crate::job::error::Error;
use crate::job::tenant::{Tenant, read_fields};
use crate::model::ids::{FieldName, ObjectName};
use crate::model::type_table::FieldKind;
use crate::ports::operator_store::TableFacts;
use crate::ports::salesforce::FilterTrial;
use crate::ports::{MappedObject, SalesforcePort};

/// Returns what the org shows about a mapped object.
pub(super) async fn findings(
    tenant: &Tenant,
    mapped: &MappedObject,
    table: &TableFacts,
) -> Result<Vec<Finding>, Error> {
    let salesforce = &*tenant.salesforce;
    let mut found = Vec::new();
    let filter = try_filter(salesforce, mapped).await?;
    let filter_is_refused = filter.iter().any(|found| found.level == Level::Error);
    found.extend(filter);
    found.extend(look_for_masks(salesforce, mapped).await?);
    found.extend(look_for_events(tenant, mapped).await);
    if !filter_is_refused {
        found.extend(compare_counts(tenant, mapped, table).await?);
    }
    Ok(found)
}

/// Asks the event bus for the object's change events, if they are how its edits arrive.
async fn look_for_events(tenant: &Tenant, mapped: &MappedObject) -> Option<Finding> {
    let object = &mapped.sync.object;
    if tenant.config.capture == CaptureMode::Poll {
        return None;
    }
    let (what, fix) = match tenant.salesforce.change_events(object).await {
        Ok(events) => events.problem(object)?,
        Err(error) => (
            format!("the event bus of the org cannot be reached: {error}"),
            "correct `pubsub_url` in syncline.toml, and allow outgoing connections to its port",
        ),
    };
    Some(Finding {
        level: Level::Error,
        object: Some(object.clone()),
        field: None,
        what,
        fix: fix.to_owned(),
        sql: None,
    })
}

/// Compares how many records of both sides can be recognised, unless both sides are connected already.
async fn compare_counts(
    tenant: &Tenant,
    mapped: &MappedObject,
    table: &TableFacts,
) -> Result<Option<Finding>, Error> {
    let (false, Some(content)) = (table.was_installed, &table.content) else {
        return Ok(None);
    };
    let field = &mapped.sync.external_id.field;
    if !mapped.schema.fields.contains_key(field) {
        return Ok(None);
    }
    let contact = FirstContact::count(tenant, mapped, content).await?;
    let mut findings = Findings::of(&mapped.sync.object);
    if contact.duplicates_records() {
        let problem = contact.problem(&mapped.sync.object);
        findings.error(Some(field), problem, first_contact::FIX);
    }
    Ok(findings.found.pop())
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
        object: Some(sync.object.clone()),
        field: None,
        what,
        fix: fix.to_owned(),
        sql: None,
    }))
}

/// Finds encrypted fields that the engine cannot keep equal: describe does not show whether our user may
/// see them, so the org is asked, and a page of records is read.
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
    let permitted = salesforce.sees_encrypted_text().await?;
    let page = salesforce
        .scan(&sync.object, &encrypted, sync.filter.as_deref(), None)
        .await?;
    let looks_masked = |name: &&FieldName| {
        let mut records = page.records.iter();
        permitted == Some(false) || records.any(|record| record.unreadable.contains_key(*name))
    };
    let masked = encrypted.iter().filter(looks_masked);
    let found = masked.map(|name| mask(&sync.object, name, permitted));
    Ok(found.collect())
}

/// Returns the finding of an encrypted field with values that are masked, or only look so.
fn mask(object: &ObjectName, name: &FieldName, permitted: Option<bool>) -> Finding {
    let (level, what, fix) = match permitted {
        Some(true) => (
            Level::Warning,
            format!(
                "values of the encrypted field {name} look masked, although our user may see it: they are parked"
            ),
            "correct these values in the org, or leave the field out",
        ),
        Some(false) | None => (
            Level::Error,
            format!("the org shows our user only masked values of the encrypted field {name}"),
            "grant the integration user the permission \"View Encrypted Data\", or leave the field out",
        ),
    };
    Finding {
        level,
        object: Some(object.clone()),
        field: Some(name.clone()),
        what,
        fix: fix.to_owned(),
        sql: None,
    }
}

pub(super) async fn unknown_object(tenant: &Tenant, object: &ObjectName) -> Finding {
    // Without the list there is no suggestion.
    let known = tenant.salesforce.objects().await.unwrap_or_default();
    Finding {
        level: Level::Error,
        object: Some(object.clone()),
        field: None,
        what: format!("the org has no object {object}, or it is hidden from our user"),
        fix: similar::fix(
            "correct its name in syncline.toml, or grant the integration user access",
            object.as_str(),
            known.iter().map(|object| object.name.as_str()),
        ),
        sql: None,
    }
}
