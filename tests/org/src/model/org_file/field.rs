//! The fields of an org file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::automation::FieldAutomation;
use super::{ObjectEntry, OrgFileError, content};
use crate::model::mask::{Mask, MaskChar, MaskType};
use crate::model::schema::{Field, FieldType, RECORD_TYPE_FIELD};
use crate::model::value::Value;

/// A field, as declared.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldEntry {
    pub(super) name: String,
    pub(super) label: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: FieldType,
    pub(super) length: Option<u32>,
    pub(super) precision: Option<u32>,
    pub(super) scale: Option<u32>,
    pub(super) digits: Option<u32>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default)]
    pub(super) unique: bool,
    #[serde(default)]
    pub(super) external_id: bool,
    #[serde(default)]
    pub(super) id_lookup: bool,
    #[serde(default)]
    pub(super) case_sensitive: bool,
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) restricted: bool,
    #[serde(default)]
    pub(super) reference_to: Vec<String>,
    pub(super) relationship_name: Option<String>,
    pub(super) child_relationship_name: Option<String>,
    #[serde(default)]
    pub(super) cascade_delete: bool,
    pub(super) createable: Option<bool>,
    pub(super) updateable: Option<bool>,
    pub(super) default: Option<toml::Value>,
    #[serde(default)]
    pub(super) name_field: bool,
    #[serde(default)]
    pub(super) switchable_name: bool,
    pub(super) compound: Option<String>,
    pub(super) formula: Option<String>,
    pub(super) auto_number: Option<String>,
    /// Whether a textarea holds rich text.
    #[serde(default)]
    pub(super) html: bool,
    pub(super) mask: Option<MaskType>,
    pub(super) mask_char: Option<MaskChar>,
    /// A condition on the record while which writes of the field are accepted and ignored.
    pub(super) ignored_while: Option<String>,
    #[serde(default)]
    pub(super) automation: FieldAutomation,
}

/// Sorts the fields of an object in the order of describe and change events.
pub(super) fn ordered_fields(entry: &ObjectEntry, custom: bool) -> Vec<FieldEntry> {
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
pub(super) fn plain(name: &str, kind: FieldType) -> FieldEntry {
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
        html: false,
        mask: None,
        mask_char: None,
        ignored_while: None,
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

pub(super) fn label_of(name: &str) -> String {
    name.strip_suffix("__c").unwrap_or(name).replace('_', " ")
}

/// Length of a text field without a declared length.
fn length_of(kind: FieldType) -> u32 {
    match kind {
        FieldType::Id | FieldType::Reference => 18,
        FieldType::String | FieldType::Textarea | FieldType::Url | FieldType::Picklist => 255,
        FieldType::Encryptedstring => 175,
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
    check_kind(entry, &at)?;
    let length = entry.length.unwrap_or_else(|| length_of(kind));
    let roll_up = entry.name.ends_with("__c") && entry.automation.total.is_some();
    let computed = entry.formula.is_some() || entry.auto_number.is_some() || roll_up;
    let writable = !kind.is_compound() && !computed;
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
        html: entry.html,
        mask: (kind == FieldType::Encryptedstring).then(|| Mask {
            kind: entry.mask.unwrap_or_default(),
            char: entry.mask_char.unwrap_or_default(),
        }),
        formula: entry.formula.clone(),
        auto_number: entry.auto_number.clone(),
        roll_up,
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

/// Checks that the settings of an entry fit its type.
fn check_kind(entry: &FieldEntry, at: &str) -> Result<(), OrgFileError> {
    let kind = entry.kind;
    if kind == FieldType::Reference && entry.reference_to.is_empty() {
        return Err(content(format!("{at}: a reference needs reference_to")));
    }
    if entry.html && kind != FieldType::Textarea {
        return Err(content(format!("{at}: html is for a textarea")));
    }
    if entry.auto_number.is_some() && kind != FieldType::String {
        return Err(content(format!("{at}: an auto number must be a string")));
    }
    Ok(())
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

pub(super) fn default_value(field: &Field, toml: &toml::Value) -> Option<Value> {
    let text = match toml {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Value::from_text(field, &text).ok()
}
