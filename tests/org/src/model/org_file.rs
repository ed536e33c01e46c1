//! Reads an org file: its users, apps, objects and fields.

mod automation;
mod compound;
mod merge;
mod platform;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::env;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::event_file::{ChannelEntry, ManagedEntry, PlatformEventEntry, RelayEntry};
use super::formula::Formula;
use super::id::RecordId;
use super::schema::{
    Field, FieldNo, FieldType, ORGANIZATION, Object, PERSON_MARK, RECORD_TYPE_FIELD, RecordType,
    Schema, SystemFields,
};
use super::value::Value;
use crate::rest::duplicates::DuplicateRule;
use crate::unconfirmed::switches::{self, Switches};
use automation::FieldAutomation;
use platform::CountryEntry;
pub(crate) use platform::QueueEntry;
use rules::ValidationEntry;

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
    /// Objects for which the user lacks "View All Records" of change events.
    #[serde(default)]
    pub(crate) cannot_view_all: Vec<String>,
    /// Fields hidden from the user's change events, as `Object.Field`.
    #[serde(default)]
    pub(crate) hidden_fields: Vec<String>,
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

/// A field, as declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldEntry {
    name: String,
    label: Option<String>,
    #[serde(rename = "type")]
    kind: FieldType,
    length: Option<u32>,
    precision: Option<u32>,
    scale: Option<u32>,
    digits: Option<u32>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    id_lookup: bool,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    restricted: bool,
    #[serde(default)]
    reference_to: Vec<String>,
    relationship_name: Option<String>,
    child_relationship_name: Option<String>,
    #[serde(default)]
    cascade_delete: bool,
    createable: Option<bool>,
    updateable: Option<bool>,
    default: Option<toml::Value>,
    #[serde(default)]
    name_field: bool,
    #[serde(default)]
    switchable_name: bool,
    compound: Option<String>,
    formula: Option<String>,
    auto_number: Option<String>,
    #[serde(default)]
    automation: FieldAutomation,
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
        schema.countries = self.countries();
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

fn build_object(entry: &ObjectEntry, number: usize) -> Result<Object, OrgFileError> {
    let custom = entry.name.ends_with("__c");
    let label = entry.label.clone().unwrap_or_else(|| label_of(&entry.name));
    let prefix = entry
        .key_prefix
        .clone()
        .unwrap_or_else(|| format!("a{number:02}"));
    let key_prefix = prefix
        .as_bytes()
        .try_into()
        .ok()
        .filter(|bytes: &[u8; 3]| bytes.iter().all(u8::is_ascii_alphanumeric))
        .ok_or_else(|| content(format!("{}: key_prefix needs three characters", entry.name)))?;
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

/// Sorts the fields of an object in the order of describe and change events.
fn ordered_fields(entry: &ObjectEntry, custom: bool) -> Vec<FieldEntry> {
    let owned = entry.owned.unwrap_or(true);
    let mut owners = vec!["User".to_owned()];
    owners.extend(entry.queues.then(|| "Group".to_owned()));
    let owner = || FieldEntry {
        reference_to: owners.clone(),
        createable: Some(true),
        updateable: Some(true),
        ..user("OwnerId")
    };
    let mut fields = vec![plain("Id", FieldType::Id)];
    if custom && owned {
        fields.push(owner());
    }
    fields.push(plain("IsDeleted", FieldType::Boolean));
    if custom && !entry.fields.iter().any(|field| field.name == "Name") {
        fields.push(FieldEntry {
            length: Some(80),
            required: false,
            name_field: true,
            createable: None,
            updateable: None,
            ..plain("Name", FieldType::String)
        });
    }
    let (own, standard): (Vec<_>, Vec<_>) = entry
        .fields
        .iter()
        .cloned()
        .partition(|field| field.name.ends_with("__c"));
    fields.extend(standard);
    if !entry.record_types.is_empty() {
        fields.push(FieldEntry {
            label: Some("Record Type ID".to_owned()),
            required: false,
            reference_to: vec!["RecordType".to_owned()],
            relationship_name: Some("RecordType".to_owned()),
            createable: Some(true),
            updateable: Some(true),
            ..plain(RECORD_TYPE_FIELD, FieldType::Reference)
        });
    }
    if !custom && owned {
        fields.push(owner());
    }
    fields.extend([
        plain("CreatedDate", FieldType::Datetime),
        user("CreatedById"),
        plain("LastModifiedDate", FieldType::Datetime),
        user("LastModifiedById"),
        plain("SystemModstamp", FieldType::Datetime),
    ]);
    fields.extend(own);
    fields
}

/// Returns the entry of a field that only the org writes.
fn plain(name: &str, kind: FieldType) -> FieldEntry {
    FieldEntry {
        name: name.to_owned(),
        label: Some(system_label(name)),
        kind,
        length: None,
        precision: None,
        scale: None,
        digits: None,
        required: true,
        unique: false,
        external_id: false,
        id_lookup: kind == FieldType::Id,
        case_sensitive: false,
        values: Vec::new(),
        labels: BTreeMap::new(),
        restricted: false,
        reference_to: Vec::new(),
        relationship_name: None,
        child_relationship_name: None,
        cascade_delete: false,
        createable: Some(false),
        updateable: Some(false),
        default: None,
        name_field: false,
        switchable_name: false,
        compound: None,
        formula: None,
        auto_number: None,
        automation: FieldAutomation::default(),
    }
}

fn user(name: &str) -> FieldEntry {
    FieldEntry {
        reference_to: vec!["User".to_owned()],
        relationship_name: name.strip_suffix("Id").map(str::to_owned),
        ..plain(name, FieldType::Reference)
    }
}

fn system_label(name: &str) -> String {
    match name {
        "Id" => "Record ID",
        "IsDeleted" => "Deleted",
        "OwnerId" => "Owner ID",
        "CreatedDate" => "Created Date",
        "CreatedById" => "Created By ID",
        "LastModifiedDate" => "Last Modified Date",
        "LastModifiedById" => "Last Modified By ID",
        "SystemModstamp" => "System Modstamp",
        other => other,
    }
    .to_owned()
}

fn label_of(name: &str) -> String {
    name.strip_suffix("__c").unwrap_or(name).replace('_', " ")
}

/// Length of a text field without a declared length.
fn length_of(kind: FieldType) -> u32 {
    match kind {
        FieldType::Id | FieldType::Reference => 18,
        FieldType::String | FieldType::Textarea | FieldType::Url | FieldType::Picklist => 255,
        FieldType::Phone => 40,
        FieldType::Multipicklist => 4099,
        FieldType::Email => 80,
        FieldType::PersonName => 121,
        FieldType::Boolean
        | FieldType::Int
        | FieldType::Double
        | FieldType::Currency
        | FieldType::Percent
        | FieldType::Date
        | FieldType::Datetime
        | FieldType::Time
        | FieldType::Address => 0,
    }
}

/// Returns the field of an entry, or what is wrong with it.
pub(crate) fn build_field(entry: &FieldEntry, object: &str) -> Result<Field, OrgFileError> {
    let at = format!("{object}.{}", entry.name);
    let kind = entry.kind;
    let decimal = matches!(
        kind,
        FieldType::Double | FieldType::Currency | FieldType::Percent
    );
    let precision = entry.precision.unwrap_or(if decimal { 18 } else { 0 });
    let scale = entry.scale.unwrap_or(0);
    if precision > 18 || scale > precision {
        return Err(content(format!(
            "{at}: precision must be at most 18 and scale at most the precision"
        )));
    }
    if kind == FieldType::Reference && entry.reference_to.is_empty() {
        return Err(content(format!("{at}: a reference needs reference_to")));
    }
    let length = entry.length.unwrap_or_else(|| length_of(kind));
    let roll_up = entry.name.ends_with("__c") && entry.automation.total.is_some();
    let computed = entry.formula.is_some() || entry.auto_number.is_some() || roll_up;
    let writable = !kind.is_compound() && !computed;
    if entry.auto_number.is_some() && kind != FieldType::String {
        return Err(content(format!("{at}: an auto number must be a string")));
    }
    let mut field = Field {
        name: entry.name.clone(),
        label: entry.label.clone().unwrap_or_else(|| label_of(&entry.name)),
        kind,
        length,
        precision,
        scale,
        digits: entry
            .digits
            .unwrap_or(if kind == FieldType::Int { 9 } else { 0 }),
        nillable: !entry.required && kind != FieldType::Boolean && kind != FieldType::Id,
        unique: entry.unique,
        external_id: entry.external_id,
        id_lookup: entry.id_lookup || entry.external_id,
        case_sensitive: entry.case_sensitive,
        values: entry.values.clone(),
        labels: entry.labels.clone(),
        restricted: entry.restricted,
        reference_to: entry.reference_to.clone(),
        relationship_name: relationship_of(entry),
        child_relationship_name: entry.child_relationship_name.clone(),
        cascade_delete: entry.cascade_delete,
        createable: writable && entry.createable.unwrap_or(true),
        updateable: writable && entry.updateable.unwrap_or(true),
        default: Value::Null,
        formula: entry.formula.clone(),
        roll_up,
        auto_number: entry.auto_number.clone(),
        name_field: entry.name_field || kind == FieldType::PersonName,
        switchable_name: entry.switchable_name,
        part_of: None,
        parts: Vec::new(),
    };
    field.default = match (&entry.default, kind) {
        (None, FieldType::Boolean) => Value::Bool(false),
        (None, _) => Value::Null,
        (Some(toml), _) => default_value(&field, toml)
            .ok_or_else(|| content(format!("{at}: the default does not fit the field")))?,
    };
    Ok(field)
}

/// `Foo__c` becomes `Foo__r`, unless the file names the relationship.
fn relationship_of(entry: &FieldEntry) -> Option<String> {
    if entry.kind != FieldType::Reference {
        return None;
    }
    let by_rule = || match entry.name.strip_suffix("__c") {
        Some(stem) => Some(format!("{stem}__r")),
        None => entry.name.strip_suffix("Id").map(str::to_owned),
    };
    entry.relationship_name.clone().or_else(by_rule)
}

fn default_value(field: &Field, toml: &toml::Value) -> Option<Value> {
    let text = match toml {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Value::from_text(field, &text).ok()
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
