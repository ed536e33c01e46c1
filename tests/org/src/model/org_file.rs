//! Reads an org file: its users, apps, objects and fields.

mod automation;
mod compound;
mod field;
mod merge;
mod platform;
mod rules;

use std::collections::HashMap;
use std::env;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::automation::Prices;
use super::event_file::{ChannelEntry, ManagedEntry, PlatformEventEntry, RelayEntry};
use super::formula::Formula;
use super::id::RecordId;
use super::permission::Restrictions;
use super::schema::{
    Field, FieldNo, FieldType, ORGANIZATION, Object, PERSON_MARK, RECORD_TYPE_FIELD, RecordType,
    Schema, SystemFields,
};
use super::value::Value;
use crate::rest::duplicates::DuplicateRule;
use crate::unconfirmed::switches::{self, Switches};
pub(crate) use field::{FieldEntry, build_field};
use field::{label_of, ordered_fields};
use platform::CountryEntry;
pub(crate) use platform::QueueEntry;
pub(crate) use rules::ValidationEntry;

/// Key prefix of record types.
const RECORD_TYPE_PREFIX: [u8; 3] = *b"012";

/// Why an org file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OrgFileError {
    /// The text is not TOML of the documented form.
    #[error("the org file cannot be read: {0}")]
    Form(#[from] toml::de::Error),
    /// The file contradicts itself. The text names the object and field.
    #[error("the org file is invalid: {0}")]
    Content(String),
}

/// The contents of an org file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrgFile {
    #[serde(default)]
    pub(crate) org: OrgEntry,
    #[serde(default, rename = "user")]
    pub(crate) users: Vec<UserEntry>,
    #[serde(default, rename = "app")]
    pub(crate) apps: Vec<AppEntry>,
    #[serde(default, rename = "object")]
    objects: Vec<ObjectEntry>,
    #[serde(default, rename = "platform_event")]
    pub(crate) platform_events: Vec<PlatformEventEntry>,
    #[serde(default, rename = "channel")]
    pub(crate) channels: Vec<ChannelEntry>,
    #[serde(default, rename = "managed_subscription")]
    pub(crate) managed_subscriptions: Vec<ManagedEntry>,
    #[serde(default, rename = "event_relay")]
    pub(crate) event_relays: Vec<RelayEntry>,
    #[serde(default, rename = "duplicate_rule")]
    pub(crate) duplicate_rules: Vec<DuplicateRule>,
    #[serde(default, rename = "assignment_rule")]
    pub(crate) assignment_rules: Vec<AssignmentRule>,
    #[serde(default, rename = "queue")]
    pub(crate) queues: Vec<QueueEntry>,
    #[serde(default, rename = "country")]
    countries: Vec<CountryEntry>,
}

/// Settings of the org itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrgEntry {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    /// The values of the Organization record.
    pub(crate) is_sandbox: Option<bool>,
    pub(crate) instance_name: Option<String>,
    pub(crate) organization_type: Option<String>,
    pub(crate) daily_api_requests: Option<u64>,
    pub(crate) session_idle_minutes: Option<i64>,
    /// Maximum number of entries that the two-hourly purge leaves in the delete log.
    pub(crate) delete_log_max: Option<usize>,
    pub(crate) daily_event_deliveries: Option<u64>,
    pub(crate) subscriptions_max: Option<usize>,
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// The switches of unconfirmed behaviour that the org sets.
    #[serde(default)]
    pub(crate) unconfirmed: Map<String, Json>,
    /// Parts of Salesforce that the org has, each with its objects, fields and automation.
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// The currencies of an org with several; the first is the corporate one.
    #[serde(default)]
    pub(crate) currencies: Vec<String>,
}

/// A user, either a person or an integration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserEntry {
    pub(crate) username: String,
    pub(crate) last_name: String,
    pub(crate) first_name: Option<String>,
    pub(crate) email: Option<String>,
    /// Password for the password grant and SOAP login. Without it these logins are refused.
    pub(crate) password: Option<String>,
    /// Token that a caller outside the trusted networks appends to the password; accepted but not
    /// required.
    pub(crate) security_token: Option<String>,
    #[serde(default)]
    pub(crate) permissions: Restrictions,
}

/// A refresh token that is valid from the start.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefreshEntry {
    pub(crate) token: String,
    pub(crate) user: String,
}

/// A connected app.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppEntry {
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<String>,
    pub(crate) run_as: Option<String>,
    #[serde(default)]
    pub(crate) users: Vec<String>,
    pub(crate) public_key: Option<String>,
    #[serde(default, rename = "refresh_token")]
    pub(crate) refresh_tokens: Vec<RefreshEntry>,
    /// Whether each use of a refresh token replaces it with a new one.
    #[serde(default)]
    pub(crate) rotate_refresh_tokens: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectEntry {
    name: String,
    label: Option<String>,
    label_plural: Option<String>,
    key_prefix: Option<String>,
    owned: Option<bool>,
    writable: Option<bool>,
    change_events: Option<bool>,
    /// Whether queues can own the records.
    #[serde(default)]
    queues: bool,
    #[serde(default, rename = "record_type")]
    record_types: Vec<RecordTypeEntry>,
    #[serde(default, rename = "validation_rule")]
    validation_rules: Vec<ValidationEntry>,
    #[serde(default, rename = "field")]
    fields: Vec<FieldEntry>,
}

/// A record type, as declared.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordTypeEntry {
    name: String,
    developer_name: Option<String>,
    #[serde(default)]
    default: bool,
    /// Whether it is for person accounts.
    #[serde(default)]
    person: bool,
}

/// Assigns new records of an object to a user, unless the caller disables it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentRule {
    pub(crate) object: String,
    pub(crate) owner: String,
}

impl OrgFile {
    /// Returns the switches of unconfirmed behaviour: those of the file, then the environment's.
    pub(crate) fn switches(&self) -> Result<Switches, OrgFileError> {
        Switches::named(env::var(switches::VARIABLE).ok().as_deref())
            .and_then(|side| side.with(&self.org.unconfirmed))
            .map_err(content)
    }

    /// Builds the schema, or returns the first contradiction.
    pub(crate) fn schema(&self) -> Result<Schema, OrgFileError> {
        let mut objects = Vec::with_capacity(self.objects.len());
        let mut record_types = 0;
        let mut prefixes = HashMap::new();
        for (number, entry) in self.objects.iter().enumerate() {
            let entry = &self.with_platform_fields(entry);
            let mut object = build_object(entry, number)?;
            add_record_types(&mut object, entry, &mut record_types);
            if object.name == ORGANIZATION {
                object.only_id = self.org.id.as_deref().and_then(RecordId::parse);
            }
            if let Some(other) = prefixes.insert(object.key_prefix, object.name.clone()) {
                return Err(content(format!(
                    "{} and {other} share a key prefix",
                    object.name
                )));
            }
            objects.push(object);
        }
        for object in &objects {
            for target in object.fields.iter().flat_map(|field| &field.reference_to) {
                if !objects.iter().any(|known| known.name == *target) {
                    return Err(content(format!(
                        "{} refers to unknown {target}",
                        object.name
                    )));
                }
            }
        }
        let mut schema = Schema::new(objects);
        schema.formulas = formulas(&schema)?;
        schema.validation_rules = self.validation_rules(&schema)?;
        schema.automation = self.automation(&schema)?;
        schema.prices = Prices::find(&schema);
        schema.countries = self.countries();
        schema.ignored_writes = self.ignored_writes(&schema)?;
        Ok(schema)
    }
}

/// Adds the record types of an object. Their ids are numbered over all objects.
fn add_record_types(object: &mut Object, entry: &ObjectEntry, count: &mut u32) {
    for kind in &entry.record_types {
        let developer_name = kind.developer_name.clone();
        object.record_types.push(RecordType {
            id: RecordId::numbered(RECORD_TYPE_PREFIX, *count),
            name: kind.name.clone(),
            developer_name: developer_name.unwrap_or_else(|| kind.name.replace(' ', "_")),
            default: kind.default,
            person: kind.person,
        });
        *count += 1;
    }
    let default = object.record_types.iter().find(|kind| kind.default);
    if let (Some(kind), Some(no)) = (default, object.find(RECORD_TYPE_FIELD)) {
        object.fields[no.0].default = Value::Id(kind.id);
    }
}

fn formulas(schema: &Schema) -> Result<Vec<Formula>, OrgFileError> {
    let mut formulas = Vec::new();
    for (no, object) in schema.numbered() {
        for (field_no, field) in object.numbered() {
            if let Some(text) = &field.formula {
                let formula = Formula::parse(schema, (no, field_no), text)
                    .map_err(|why| content(format!("{}.{}: {why}", object.name, field.name)))?;
                formulas.push(formula);
            }
        }
    }
    Ok(formulas)
}

fn content(text: String) -> OrgFileError {
    OrgFileError::Content(text)
}

fn key_prefix(entry: &ObjectEntry, number: usize) -> Result<[u8; 3], OrgFileError> {
    let prefix = entry
        .key_prefix
        .clone()
        .unwrap_or_else(|| format!("a{number:02}"));
    prefix
        .as_bytes()
        .try_into()
        .ok()
        .filter(|bytes: &[u8; 3]| bytes.iter().all(u8::is_ascii_alphanumeric))
        .ok_or_else(|| content(format!("{}: key_prefix needs three characters", entry.name)))
}

fn build_object(entry: &ObjectEntry, number: usize) -> Result<Object, OrgFileError> {
    let custom = entry.name.ends_with("__c");
    let label = entry.label.clone().unwrap_or_else(|| label_of(&entry.name));
    let key_prefix = key_prefix(entry, number)?;
    let entries = ordered_fields(entry, custom);
    let mut fields: Vec<Field> = Vec::with_capacity(entries.len());
    let mut by_name = HashMap::new();
    for (no, field) in entries.iter().enumerate() {
        let lower = field.name.to_ascii_lowercase();
        by_name.insert(field.name.clone(), FieldNo(no));
        if by_name
            .insert(lower, FieldNo(no))
            .is_some_and(|other| other != FieldNo(no))
        {
            return Err(content(format!(
                "{}.{} is declared twice",
                entry.name, field.name
            )));
        }
        fields.push(build_field(field, &entry.name)?);
    }
    compound::link_parts(&mut fields, &entries, &by_name, &entry.name)?;
    let by_relationship = fields
        .iter()
        .enumerate()
        .filter_map(|(no, f)| Some((f.relationship_name.as_ref()?, FieldNo(no))))
        .map(|(name, no)| (name.to_ascii_lowercase(), no))
        .collect();
    let at = |name: &str| by_name[name];
    Ok(Object {
        name: entry.name.clone(),
        label_plural: entry
            .label_plural
            .clone()
            .unwrap_or_else(|| format!("{label}s")),
        label,
        key_prefix,
        writable: entry.writable.unwrap_or(true),
        change_events: entry.change_events.unwrap_or(true),
        is_selected: true,
        system: SystemFields {
            id: at("Id"),
            is_deleted: at("IsDeleted"),
            created_date: at("CreatedDate"),
            created_by: at("CreatedById"),
            modified_date: at("LastModifiedDate"),
            modified_by: at("LastModifiedById"),
            modstamp: at("SystemModstamp"),
            is_archived: by_name.get("IsArchived").copied(),
            is_person: by_name.get(PERSON_MARK).copied(),
            owner: by_name.get("OwnerId").copied(),
            person_name: fields
                .iter()
                .position(|field| field.kind == FieldType::PersonName)
                .map(FieldNo),
        },
        only_id: None,
        record_types: Vec::new(),
        fields,
        by_name,
        by_relationship,
    })
}

#[cfg(test)]
mod tests {
    use super::OrgFile;

    #[test]
    fn built_in_org_has_the_main_objects() {
        let schema = OrgFile::built_in().schema().unwrap();
        for name in ["Account", "contact", "USER"] {
            assert!(schema.find(name).is_some(), "{name}");
        }
        let account = schema.object(schema.find("Account").unwrap());
        let external = account.field(account.find("external_id__c").unwrap());
        assert!(external.external_id && external.unique && !external.case_sensitive);
    }

    #[test]
    fn org_file_adds_objects_and_fields() {
        let text = r#"
            [[object]]
            name = "Account"
              [[object.field]]
              name = "Region__c"
              type = "string"
            [[object]]
            name = "Invoice__c"
              [[object.field]]
              name = "Account__c"
              type = "reference"
              reference_to = ["Account"]
        "#;
        let schema = OrgFile::parse(text).unwrap().schema().unwrap();
        let account = schema.object(schema.find("Account").unwrap());
        assert!(account.find("Region__c").is_some() && account.find("Name").is_some());
        let invoice = schema.object(schema.find("Invoice__c").unwrap());
        assert!(invoice.find_relationship("account__r").is_some());
        assert_eq!(invoice.event_name(), "Invoice__ChangeEvent");
    }

    #[test]
    fn invalid_org_files_are_refused_with_the_name() {
        for (text, named) in [
            ("[[object]]\nname = \"X__c\"\nkey_prefix = \"a\"", "X__c"),
            (
                "[[object]]\nname = \"X__c\"\n[[object.field]]\nname = \"Y__c\"\ntype = \"reference\"",
                "X__c.Y__c",
            ),
            (
                "[[object]]\nname = \"X__c\"\n[[object.field]]\nname = \"Y__c\"\ntype = \"double\"\nscale = 19",
                "X__c.Y__c",
            ),
        ] {
            let error = OrgFile::parse(text)
                .unwrap()
                .schema()
                .unwrap_err()
                .to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(OrgFile::parse("[[objekt]]").is_err());
    }
}
