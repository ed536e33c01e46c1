//! The planner's parsers: configuration, outbox rows, what the control plane stored, names and numbers.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use syncline::config::{Config, ConfigError, FenceRef, SecretRef};
use syncline::model::canonical;
use syncline::model::change::{OutboxRow, validate_outbox};
use syncline::model::cursor::SourceCursor;
use syncline::model::generate;
use syncline::model::hash::canonical_json;
use syncline::model::ids::{
    ColumnName, FieldName, ObjectName, RelationName, SalesforceId, TableName, TenantId,
};
use syncline::model::key::{KeyForm, SyncKey};
use syncline::model::link::{AutomationOverride, RemoteState};
use syncline::model::schema::{FieldType, ObjectSchema};
use syncline::model::value::{Decimal, Payload};
use syncline::model::{ChangeEnvelope, Side};
use syncline::planner::Mapping;
use syncline::{ObjectSync, RecordFacts};

use crate::json::{assert_is_short, assert_quotes_nothing, document};
use crate::stand::account;

/// A configuration is one that can be written again, or each mistake names line, key and fix and no secret.
pub(crate) fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Config::parse(text) {
        Ok(config) => {
            for tenant in config.tenants.values() {
                for object in &tenant.objects {
                    assert_written_again(object);
                }
            }
            assert_eq!(Config::parse(text), Ok(config));
        }
        Err(error) => check_mistakes(text, &error),
    }
}

fn check_mistakes(text: &str, error: &ConfigError) {
    assert!(!error.mistakes.is_empty(), "a refusal without a mistake");
    let lines = 1 + text.matches('\n').count();
    for mistake in &error.mistakes {
        assert!((1..=lines).contains(&mistake.line), "{mistake}");
        assert!(!mistake.path.is_empty(), "{mistake}");
        assert!(
            !mistake.problem.is_empty() && !mistake.fix.is_empty(),
            "{mistake}"
        );
        assert_is_short(&mistake.problem);
        assert_is_short(&mistake.fix);
    }
    let shown = error.to_string();
    for secret in secrets(text) {
        assert!(!shown.contains(&secret), "a mistake quotes a secret");
    }
}

/// Returns the values of keys that should be addresses of secrets, if they stand nowhere else.
fn secrets(text: &str) -> Vec<String> {
    const CHARACTERS_MIN: usize = 8;
    let Ok(toml::Value::Table(file)) = text.parse::<toml::Table>().map(toml::Value::Table) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for tenant in tables(file.get("tenant")) {
        for (section, key) in [("salesforce", "secret"), ("postgres", "url")] {
            let value = tenant.get(section).and_then(|part| part.get(key));
            found.extend(value.and_then(toml::Value::as_str).map(str::to_owned));
        }
    }
    found.retain(|secret| {
        secret.chars().count() >= CHARACTERS_MIN && text.matches(secret.as_str()).count() == 1
    });
    found
}

fn tables(named: Option<&toml::Value>) -> Vec<&toml::Table> {
    let named = named.and_then(toml::Value::as_table);
    let named = named.into_iter().flat_map(|named| named.values());
    named.filter_map(toml::Value::as_table).collect()
}

/// What an application wrote into the outbox is a valid change or refused with a reason; a value of it is one that a
/// column gives back, or is refused without being quoted.
pub(crate) fn outbox(bytes: &[u8]) {
    let Some(row) = document(bytes) else { return };
    let text = |key: &str| row.get(key).and_then(Json::as_str);
    let parts = OutboxRow {
        outbox_id: row
            .get("outbox_id")
            .and_then(Json::as_i64)
            .unwrap_or_default(),
        tenant: text("tenant").unwrap_or_default(),
        object: text("object").unwrap_or_default(),
        operation: text("operation").unwrap_or_default(),
        external_id: text("external_id"),
        local_key: row.get("local_key").filter(|key| !key.is_null()),
        tombstone: row
            .get("tombstone")
            .and_then(Json::as_bool)
            .unwrap_or_default(),
        cursor: text("cursor"),
    };
    match validate_outbox(&parts) {
        Ok(valid) => {
            assert_eq!(valid.tenant.as_str(), parts.tenant);
            assert_eq!(valid.object.as_str(), parts.object);
            assert_eq!(valid.cursor.to_string().parse(), Ok(valid.cursor.clone()));
            if let Some(key) = parts.local_key {
                check_generated(&valid.tenant, key);
            }
        }
        Err(refusal) => {
            assert!(refusal.code().starts_with("outbox_"));
            assert_is_short(&refusal.to_string());
        }
    }
    for form in [
        KeyForm::CaseFolded,
        KeyForm::CaseSensitive,
        KeyForm::Numeric,
    ] {
        if let Some(Ok(key)) = parts.external_id.map(|key| form.canonical(key)) {
            assert_eq!(
                form.canonical(&key).as_deref(),
                Ok(key.as_str()),
                "{form:?}"
            );
        }
    }
    for (name, field) in &account().fields {
        let changed = row
            .get("changed")
            .and_then(|changed| changed.get(name.as_str()));
        if let Some(changed) = changed {
            check_column(&field.field_type, changed);
        }
    }
}

/// A generated id depends on the content of the key alone.
fn check_generated(tenant: &TenantId, key: &Json) {
    let name = |text| RelationName::parse(text).expect("it is a name");
    let table = TableName {
        schema: name("public"),
        table: name("accounts"),
    };
    let generated = generate::for_postgres(tenant, &table, key);
    let again = document(canonical_json(key).as_bytes()).expect("canonical JSON is JSON");
    assert_eq!(generate::for_postgres(tenant, &table, &again), generated);
}

/// Every decimal of so many digits is the shortest one of its double.
const DIGITS_KEPT: usize = 15;

/// What a column is given back equal, and an error quotes nothing.
fn check_column(field: &FieldType, json: &Json) {
    match canonical::from_postgres(field, json) {
        Ok(value) => {
            // The nearest double may have a digit more than the field has room for.
            if field.is_number() && value.to_json().to_string().len() > DIGITS_KEPT {
                return;
            }
            let written = canonical::to_postgres_json(field, &value);
            assert_eq!(
                canonical::from_postgres(field, &written),
                Ok(value),
                "{field:?}"
            );
        }
        Err(error) => assert_quotes_nothing(&error.to_string(), json, &[]),
    }
    match canonical::from_salesforce_json(field, json) {
        Ok(value) => {
            let again = canonical::from_salesforce_json(field, &value.to_json());
            assert_eq!(again, Ok(value), "{field:?}");
        }
        Err(error) => assert_quotes_nothing(&error.to_string(), json, &[]),
    }
}

/// What the control plane stored is read and written again equal; facts can be planned whatever they say.
pub(crate) fn stored(bytes: &[u8]) {
    stored_as::<RemoteState>(bytes);
    stored_as::<Payload>(bytes);
    stored_as::<BTreeMap<FieldName, AutomationOverride>>(bytes);
    stored_as::<ObjectSchema>(bytes);
    stored_as::<ObjectSync>(bytes);
    stored_as::<ChangeEnvelope>(bytes);
    if let Some(facts) = stored_as::<RecordFacts<FieldName>>(bytes) {
        let plan = facts.clone().plan(&rules());
        assert_eq!(facts.plan(&rules()), plan);
    }
}

fn stored_as<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let stored: T = serde_json::from_slice(bytes).ok()?;
    assert_written_again(&stored);
    Some(stored)
}

fn assert_written_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(one: &T) {
    let text = serde_json::to_string(one).expect("it is JSON");
    let again: T = serde_json::from_str(&text).expect("what is written can be read");
    assert_eq!(&again, one);
}

fn rules() -> Mapping {
    thread_local! {
        static RULES: Mapping = {
            let config = include_str!("../../corpus/config/both_ways.toml");
            let mut config = Config::parse(config).expect("it is a configuration");
            let tenant = config.tenants.pop_first().expect("it has a tenant").1;
            Mapping::new(tenant.objects.into_iter().next().expect("it has an object"))
        };
    }
    RULES.with(Mapping::clone)
}

/// A name, an id, a number, a time or a position has one form: what is written again is equal.
pub(crate) fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(id) = SalesforceId::parse(text) {
        assert_eq!(id.as_str().len(), 18);
        assert_eq!(SalesforceId::parse(id.as_str()).as_ref(), Ok(&id));
        assert_eq!(SalesforceId::parse(&id.as_str()[..15]), Ok(id));
    }
    if let Ok(cursor) = text.parse::<SourceCursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }
    if let Some(number) = Decimal::parse(text) {
        assert_eq!(Decimal::parse(number.as_str()).as_ref(), Some(&number));
        if let Some(double) = number.nearest_double() {
            assert_eq!(double.nearest_double(), Some(double.clone()));
        }
    }
    for parsed in [
        TenantId::parse(text).map(String::from),
        ObjectName::parse(text).map(String::from),
        FieldName::parse(text).map(String::from),
        ColumnName::parse(text).map(String::from),
        SyncKey::new("acme", "Account", text)
            .map_or_else(|_| Ok(text.to_owned()), |key| Ok(key.external_id)),
    ] {
        match parsed {
            Ok(name) => assert_eq!(name, text),
            Err(error) => assert_is_short(&error.to_string()),
        }
    }
    if let Some(secret) = SecretRef::parse(text) {
        assert_eq!(secret.to_string(), text);
    }
    if let Some(fence) = FenceRef::parse(text) {
        assert_eq!(fence.to_string(), text);
    }
    assert!(text.parse::<Side>().is_err() || ["salesforce", "postgres"].contains(&text));
    let json = Json::from(text);
    for field in account().fields.values() {
        check_column(&field.field_type, &json);
    }
}
