//! Reads an object's describe into the field types that canonical values depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use http::Method;
use serde::Deserialize;
use serde_json::Value as Json;

use super::rest::{Fetched, RestCall, RestClient};
use crate::model::ids::{FieldName, ObjectName};
use crate::model::schema::{Cascade, FieldSchema, FieldType, ObjectSchema};
use crate::model::type_table::FieldKind;
use crate::model::value::{Decimal, Value};
use crate::ports::salesforce::{
    Disposition, ListedObject, ObjectAccess, Picklist, SalesforceError,
};

/// Caches the describes of objects until an error shows that one is outdated.
#[derive(Default)]
pub(super) struct Schemas {
    known: RwLock<BTreeMap<ObjectName, Arc<ObjectSchema>>>,
}

/// Timeout of a describe, which has a few MB for objects with many picklist values.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(60);

impl Schemas {
    /// Returns the schema of an object, from the org the first time. Fails if the object does not exist
    /// or is hidden, or the org cannot be reached.
    pub(super) async fn get(
        &self,
        rest: &RestClient,
        object: &ObjectName,
    ) -> Result<Arc<ObjectSchema>, SalesforceError> {
        if let Some(schema) = self.cached(object) {
            return Ok(schema);
        }
        let body = describe(rest, object).await?;
        let schema = parse(&body).ok_or_else(|| unreadable(object.as_str()))?;
        let schema = Arc::new(schema);
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.insert(object.clone(), Arc::clone(&schema));
        Ok(schema)
    }

    /// Puts a schema that was described before into the cache.
    pub(super) fn know(&self, schema: &ObjectSchema) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.insert(schema.object.clone(), Arc::new(schema.clone()));
    }

    /// Removes the schema of an object from the cache.
    pub(super) fn forget(&self, object: &ObjectName) {
        let mut known = self.known.write().expect("no holder of this lock panics");
        known.remove(object);
    }

    /// Returns an external id as JSON, a number if the field's type is numeric. Makes no call: a mapped
    /// object is always described before it is written.
    pub(super) fn external_id_json(
        &self,
        object: &ObjectName,
        field: &FieldName,
        external_id: &str,
    ) -> Json {
        let schema = self.cached(object);
        let field_type = schema
            .as_ref()
            .and_then(|schema| schema.fields.get(field))
            .map(|field| &field.field_type);
        let number = field_type
            .filter(|field_type| field_type.is_number())
            .and_then(|_| Decimal::parse(external_id));
        number.map_or_else(
            || Json::from(external_id),
            |number| Value::Number(number).to_json(),
        )
    }

    /// Returns the object that a reference points to, if it is known and the only one.
    pub(super) fn parent_of(
        &self,
        object: &ObjectName,
        reference: &FieldName,
    ) -> Option<ObjectName> {
        let schema = self.cached(object)?;
        let to = schema.fields.get(reference)?.field_type.targets()?;
        to.first().filter(|_| to.len() == 1).cloned()
    }

    fn cached(&self, object: &ObjectName) -> Option<Arc<ObjectSchema>> {
        let known = self.known.read().expect("no holder of this lock panics");
        known.get(object).cloned()
    }
}

/// Describes an object. Fails if it does not exist or is hidden, or the org cannot be reached.
async fn describe(rest: &RestClient, object: &ObjectName) -> Result<Vec<u8>, SalesforceError> {
    let what = format!("the describe of {object}");
    let path = rest.path(&format!("/sobjects/{object}/describe"));
    match rest.fetch(&what, &get(path)).await {
        Ok(body) => Ok(body.to_vec()),
        Err(Fetched::Refused(fault)) if fault.status == Some(404) => {
            Err(no_such_object(what, object))
        }
        Err(other) => Err(other.into_error(&what)),
    }
}

fn get(path: String) -> RestCall {
    RestCall {
        method: Method::GET,
        path,
        body: None,
        headers: Vec::new(),
        deadline: Instant::now() + DESCRIBE_TIMEOUT,
    }
}

fn unreadable(of: &str) -> SalesforceError {
    SalesforceError {
        what: format!("the describe of {of}"),
        status: Some(200),
        code: "unreadable_answer".to_owned(),
        message: "the response is not a describe result".to_owned(),
        disposition: Disposition::RetryLater,
    }
}

/// Returns an object's schema, and what our user may do with it.
pub(super) async fn with_access(
    rest: &RestClient,
    object: &ObjectName,
) -> Result<(ObjectSchema, ObjectAccess), SalesforceError> {
    let body = describe(rest, object).await?;
    let both = parse(&body).zip(parse_access(&body));
    both.ok_or_else(|| unreadable(object.as_str()))
}

fn parse_access(body: &[u8]) -> Option<ObjectAccess> {
    let described: DescribedAccess = serde_json::from_slice(body).ok()?;
    let picklists = described.fields.into_iter().filter_map(|field| {
        let values = field.picklist_values.into_iter();
        let values: BTreeSet<String> = values
            .filter(|value| value.active)
            .map(|value| value.value)
            .collect();
        let picklist = Picklist {
            values,
            several: FieldKind::described(&field.kind, false) == FieldKind::MultiPicklist,
            restricted: field.restricted_picklist,
        };
        let name = FieldName::parse(&field.name).ok()?;
        (!picklist.values.is_empty()).then_some((name, picklist))
    });
    Some(ObjectAccess {
        createable: described.createable,
        updateable: described.updateable,
        deletable: described.deletable,
        picklists: picklists.collect(),
    })
}

/// Returns all objects that our user sees.
pub(super) async fn objects(rest: &RestClient) -> Result<Vec<ListedObject>, SalesforceError> {
    let what = "the list of objects";
    let body = rest.fetch(what, &get(rest.path("/sobjects"))).await;
    let body = body.map_err(|error| error.into_error(what))?;
    let all: DescribedOrg = serde_json::from_slice(&body).map_err(|_| unreadable("the org"))?;
    let listed = all.sobjects.into_iter().map(|object| ListedObject {
        holds_records: object.holds_records(),
        name: object.name,
    });
    Ok(listed.collect())
}

/// Returns the schema of a field. Fails, naming the field, if the object does not have it.
pub(super) fn field_of<'a>(
    schema: &'a ObjectSchema,
    field: &FieldName,
) -> Result<&'a FieldSchema, SalesforceError> {
    schema.fields.get(field).ok_or_else(|| SalesforceError {
        what: format!("reading {}", schema.object),
        status: None,
        code: "INVALID_FIELD".to_owned(),
        message: format!(
            "{} has no field {field}, or it is hidden from this user",
            schema.object
        ),
        disposition: Disposition::Park,
    })
}

fn no_such_object(what: String, object: &ObjectName) -> SalesforceError {
    SalesforceError {
        what,
        status: Some(404),
        code: "NOT_FOUND".to_owned(),
        message: format!("the org has no object {object}, or it is hidden from this user"),
        disposition: Disposition::Park,
    }
}

fn parse(body: &[u8]) -> Option<ObjectSchema> {
    let described: DescribedObject = serde_json::from_slice(body).ok()?;
    let fields = described
        .fields
        .into_iter()
        .filter_map(DescribedField::into_schema)
        .map(|field| (field.name.clone(), field))
        .collect();
    let children = described.child_relationships.into_iter();
    Some(ObjectSchema {
        object: ObjectName::parse(&described.name).ok()?,
        key_prefix: described.key_prefix.unwrap_or_default(),
        fields,
        cascades: children.filter_map(DescribedChild::cascade).collect(),
    })
}

#[derive(Deserialize)]
struct DescribedOrg {
    sobjects: Vec<DescribedName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedName {
    name: String,
    #[serde(default)]
    queryable: bool,
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    custom_setting: bool,
    #[serde(default)]
    deprecated_and_hidden: bool,
    /// What it is to another object: its history, sharing, feed or change event.
    #[serde(default)]
    associate_entity_type: Option<String>,
}

impl DescribedName {
    fn holds_records(&self) -> bool {
        let is_set_up = self.custom_setting || self.deprecated_and_hidden;
        self.queryable && self.createable && !is_set_up && self.associate_entity_type.is_none()
    }
}

#[derive(Deserialize)]
struct DescribedAccess {
    createable: bool,
    updateable: bool,
    deletable: bool,
    fields: Vec<DescribedPicklist>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedPicklist {
    name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    restricted_picklist: bool,
    #[serde(default)]
    picklist_values: Vec<DescribedChoice>,
}

#[derive(Deserialize)]
struct DescribedChoice {
    value: String,
    active: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedObject {
    name: String,
    key_prefix: Option<String>,
    fields: Vec<DescribedField>,
    #[serde(default)]
    child_relationships: Vec<DescribedChild>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedChild {
    #[serde(rename = "childSObject")]
    object: String,
    field: String,
    #[serde(default)]
    cascade_delete: bool,
}

impl DescribedChild {
    fn cascade(self) -> Option<Cascade> {
        let object = ObjectName::parse(&self.object).ok()?;
        let field = FieldName::parse(&self.field).ok()?;
        self.cascade_delete.then_some(Cascade { object, field })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribedField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    precision: u32,
    #[serde(default)]
    scale: u32,
    #[serde(default)]
    reference_to: Vec<String>,
    #[serde(default)]
    relationship_name: Option<String>,
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    updateable: bool,
    #[serde(default)]
    nillable: bool,
    #[serde(default)]
    defaulted_on_create: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    auto_number: bool,
    #[serde(default)]
    html_formatted: bool,
}

impl DescribedField {
    fn into_schema(self) -> Option<FieldSchema> {
        Some(FieldSchema {
            name: FieldName::parse(&self.name).ok()?,
            field_type: self.field_type(),
            createable: self.createable,
            updateable: self.updateable,
            nillable: self.nillable,
            defaulted_on_create: self.defaulted_on_create,
            external_id: self.external_id,
            unique: self.unique,
            case_sensitive: self.case_sensitive,
            calculated: self.calculated || self.auto_number,
            was_updateable: self.updateable,
        })
    }

    fn field_type(&self) -> FieldType {
        let length = self.length;
        match FieldKind::described(&self.kind, self.html_formatted) {
            FieldKind::Text => FieldType::Text { length },
            FieldKind::Email => FieldType::Email { length },
            FieldKind::RichText => FieldType::RichText { length },
            FieldKind::EncryptedText => FieldType::EncryptedText { length },
            FieldKind::MultiPicklist => FieldType::MultiPicklist,
            FieldKind::Reference => FieldType::Reference {
                to: self
                    .reference_to
                    .iter()
                    .filter_map(|object| ObjectName::parse(object).ok())
                    .collect(),
                relationship: self.relationship_name.clone(),
            },
            FieldKind::Id => FieldType::Id,
            FieldKind::Boolean => FieldType::Boolean,
            FieldKind::Integer => FieldType::Integer,
            FieldKind::Decimal => FieldType::Decimal {
                precision: self.precision,
                scale: self.scale,
            },
            FieldKind::Date => FieldType::Date,
            FieldKind::DateTime => FieldType::DateTime,
            FieldKind::Time => FieldType::Time,
            FieldKind::Unsupported => FieldType::Unsupported {
                name: self.kind.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describe_is_read_into_field_types() {
        let body = br#"{"name":"Account","keyPrefix":"001","label":"Account","fields":[
            {"name":"Id","type":"id","length":18},
            {"name":"Name","type":"string","length":255,"createable":true,"updateable":true},
            {"name":"ParentId","type":"reference","referenceTo":["Account"],
             "relationshipName":"Parent"},
            {"name":"AnnualRevenue","type":"currency","precision":18,"scale":2,"nillable":true},
            {"name":"Number__c","type":"string","autoNumber":true},
            {"name":"BillingAddress","type":"address"}]}"#;
        let schema = parse(body).unwrap();
        let field_type = |name| {
            let field = FieldName::parse(name).unwrap();
            schema.fields[&field].field_type.clone()
        };
        assert_eq!(schema.key_prefix, "001");
        assert_eq!(field_type("Name"), FieldType::Text { length: 255 });
        assert_eq!(
            field_type("ParentId"),
            FieldType::Reference {
                to: vec![ObjectName::parse("Account").unwrap()],
                relationship: Some("Parent".to_owned()),
            }
        );
        assert_eq!(
            field_type("AnnualRevenue"),
            FieldType::Decimal {
                precision: 18,
                scale: 2
            }
        );
        assert_eq!(
            field_type("BillingAddress"),
            FieldType::Unsupported {
                name: "address".to_owned()
            }
        );
        assert!(schema.fields[&FieldName::parse("Number__c").unwrap()].calculated);
    }

    #[test]
    fn error_names_the_missing_field() {
        let schema = parse(br#"{"name":"Account","keyPrefix":"001","fields":[]}"#).unwrap();
        let error = field_of(&schema, &FieldName::parse("Foo__c").unwrap()).unwrap_err();
        assert!(error.message.contains("Account has no field Foo__c"));
    }
}
