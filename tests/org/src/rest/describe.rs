//! Metadata of objects and fields: global describe, basic information, full describe.

use serde_json::{Map, Value as Json, json};

use super::Call;
use super::condition::{Condition, State};
use super::message::Response;
use crate::Org;
use crate::model::error::SfError;
use crate::model::schema::{Field, FieldType, Object};
use crate::model::value::{Value, push_json_text};
use crate::org::START_MS;
use crate::soql;

/// The record type that every object has.
const MASTER_RECORD_TYPE: &str = "012000000000000AAA";

impl Org {
    /// Handles `/sobjects`.
    pub(crate) fn describe_global(&self, call: &Call<'_>) -> Result<Response, SfError> {
        let entries = self.model.schema.objects.iter();
        let objects: Vec<Json> = entries
            .map(|object| Json::Object(object_members(call, object)))
            .collect();
        let body = json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects});
        dated(call, body.to_string())
    }

    /// Handles `GET /sobjects/O`.
    pub(crate) fn describe_basic(
        &self,
        call: &Call<'_>,
        object: &str,
    ) -> Result<Response, SfError> {
        let object = self.model.object(self.model.object_named(object)?);
        let body = json!({"objectDescribe": object_members(call, object), "recentItems": []});
        dated(call, body.to_string())
    }

    /// Handles `GET /sobjects/O/describe`.
    pub(crate) fn describe(&self, call: &Call<'_>, object: &str) -> Result<Response, SfError> {
        let object = self.model.object(self.model.object_named(object)?);
        let mut members = object_members(call, object);
        let fields: Vec<Json> = object
            .fields
            .iter()
            .map(|field| field_members(object, field))
            .collect();
        let more = json!({
            "actionOverrides": [],
            "childRelationships": self.child_relationships(object),
            "compactLayoutable": true,
            "defaultImplementation": null,
            "extendedBy": null,
            "extendsInterfaces": null,
            "fields": fields,
            "implementedBy": null,
            "implementsInterfaces": null,
            "listviewable": null,
            "lookupLayoutable": null,
            "namedLayoutInfos": [],
            "networkScopeFieldName": null,
            "recordTypeInfos": record_type_infos(call, object),
            "searchLayoutable": true,
            "sobjectDescribeOption": "FULL",
            "supportedScopes": [
                {"label": format!("All {}", object.label_plural), "name": "everything"},
                {"label": format!("My {}", object.label_plural), "name": "mine"},
            ],
        });
        if let Json::Object(more) = more {
            members.extend(more);
        }
        if let Some(urls) = members.get_mut("urls").and_then(Json::as_object_mut) {
            urls.extend(interface_urls(&self.base_url, object));
        }
        dated(call, Json::Object(members).to_string())
    }

    fn child_relationships(&self, object: &Object) -> Vec<Json> {
        let mut children = Vec::new();
        for child in &self.model.schema.objects {
            for field in child
                .fields
                .iter()
                .filter(|f| f.reference_to.contains(&object.name))
            {
                children.push(json!({
                    "cascadeDelete": field.cascade_delete,
                    "childSObject": child.name,
                    "deprecatedAndHidden": false,
                    "field": field.name,
                    "junctionIdListNames": [],
                    "junctionReferenceTo": [],
                    "relationshipName": field.child_relationship_name,
                    "restrictedDelete": false,
                }));
            }
        }
        children
    }
}

/// Returns a describe, or 304 if the caller already has it. Schemas date from the start of the org.
fn dated(call: &Call<'_>, body: String) -> Result<Response, SfError> {
    let state = State::dated(START_MS);
    Ok(state.with_validators(match state.check(call)? {
        Condition::NotModified => Response::empty(304),
        Condition::Modified => Response::json(200, body),
    }))
}

/// Returns the record types of an object. The master comes last and is the default if no other is.
fn record_type_infos(call: &Call<'_>, object: &Object) -> Vec<Json> {
    let defaulted = object.record_types.iter().any(|kind| kind.default);
    let info = |id: String, names: (&str, &str), default: bool, master: bool| {
        let layout = format!(
            "/services/data/{}/sobjects/{}/describe/layouts/{id}",
            call.version, object.name
        );
        json!({
            "active": true,
            "available": true,
            "defaultRecordTypeMapping": default,
            "developerName": names.1,
            "master": master,
            "name": names.0,
            "recordTypeId": id,
            "urls": {"layout": layout},
        })
    };
    let own = object.record_types.iter();
    let own = own.map(|kind| {
        let names = (kind.name.as_str(), kind.developer_name.as_str());
        info(kind.id.to_string(), names, kind.default, false)
    });
    let master = MASTER_RECORD_TYPE.to_owned();
    own.chain([info(master, ("Master", "Master"), !defaulted, true)])
        .collect()
}

/// Returns the members that every form of describe has for an object.
fn object_members(call: &Call<'_>, object: &Object) -> Map<String, Json> {
    let base = format!("/services/data/{}/sobjects/{}", call.version, object.name);
    let writable = object.writable;
    let members = json!({
        "activateable": false,
        "associateEntityType": null,
        "associateParentEntity": null,
        "createable": writable,
        "custom": object.custom(),
        "customSetting": false,
        "deepCloneable": false,
        "deletable": writable,
        "deprecatedAndHidden": false,
        "feedEnabled": false,
        "hasSubtypes": false,
        "isInterface": false,
        "isSubtype": false,
        "keyPrefix": object.prefix(),
        "label": object.label,
        "labelPlural": object.label_plural,
        "layoutable": true,
        "mergeable": matches!(object.name.as_str(), "Account" | "Contact"),
        "mruEnabled": true,
        "name": object.name,
        "queryable": true,
        "replicateable": true,
        "retrieveable": true,
        "searchable": true,
        "triggerable": true,
        "undeletable": writable,
        "updateable": writable,
        "urls": object_urls(&base),
    });
    match members {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

/// Returns the addresses that every form of describe has for an object.
fn object_urls(base: &str) -> Json {
    json!({
        "approvalLayouts": format!("{base}/describe/approvalLayouts"),
        "compactLayouts": format!("{base}/describe/compactLayouts"),
        "describe": format!("{base}/describe"),
        "layouts": format!("{base}/describe/layouts"),
        "listviews": format!("{base}/listviews"),
        "quickActions": format!("{base}/quickActions"),
        "rowTemplate": format!("{base}/{{ID}}"),
        "sobject": base,
    })
}

/// Returns the addresses of an object in the user interface, which only the full describe has.
fn interface_urls(instance: &str, object: &Object) -> [(String, Json); 3] {
    let prefix = object.prefix();
    [
        ("uiDetailTemplate", format!("{instance}/{{ID}}")),
        ("uiEditTemplate", format!("{instance}/{{ID}}/e")),
        ("uiNewRecord", format!("{instance}/{prefix}/e")),
    ]
    .map(|(name, url)| (name.to_owned(), url.into()))
}

fn soap_type(kind: FieldType) -> &'static str {
    match kind {
        FieldType::Id | FieldType::Reference => "tns:ID",
        FieldType::Boolean => "xsd:boolean",
        FieldType::Int => "xsd:int",
        FieldType::Double | FieldType::Currency | FieldType::Percent => "xsd:double",
        FieldType::Date => "xsd:date",
        FieldType::Datetime => "xsd:dateTime",
        FieldType::Time => "xsd:time",
        FieldType::Address => "urn:address",
        FieldType::String
        | FieldType::Textarea
        | FieldType::Picklist
        | FieldType::Multipicklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::PersonName => "xsd:string",
    }
}

fn extra_type_info(field: &Field) -> Option<&'static str> {
    if field.switchable_name {
        return Some("switchablepersonname");
    }
    let plain = (field.kind == FieldType::Textarea).then_some("plaintextarea");
    if field.kind == FieldType::PersonName {
        Some("personname")
    } else {
        plain
    }
}

/// Returns the describe members of a field.
fn field_members(object: &Object, field: &Field) -> Json {
    let mut members = members_a_to_h(object, field);
    if let (Json::Object(members), Json::Object(rest)) =
        (&mut members, members_i_to_w(object, field))
    {
        members.extend(rest);
    }
    members
}

/// Returns the members from `aggregatable` to `htmlFormatted`.
fn members_a_to_h(object: &Object, field: &Field) -> Json {
    let kind = field.kind;
    // An id is ASCII. Other text can have three bytes per character.
    let is_id = matches!(kind, FieldType::Id | FieldType::Reference);
    let byte_length = if is_id {
        field.length
    } else {
        field.length * 3
    };
    let filterable = soql::filterable(field);
    let compound = field
        .part_of
        .as_ref()
        .map(|(parent, _)| object.field(*parent).name.clone());
    let mut default = String::new();
    match &field.default {
        Value::Text(text) => push_json_text(&mut default, text),
        other => other.push_json(field, &mut default),
    }
    let default: Json = serde_json::from_str(&default).unwrap_or_default();
    json!({
        "aggregatable": filterable && kind != FieldType::Boolean,
        "aiPredictionField": false,
        "autoNumber": field.auto_number.is_some(),
        "byteLength": byte_length,
        "calculated": field.calculated(),
        "calculatedFormula": field.formula,
        "cascadeDelete": field.cascade_delete,
        "caseSensitive": field.case_sensitive,
        "compoundFieldName": compound,
        "controllerName": null,
        "createable": field.createable && object.writable,
        "custom": field.custom(),
        "defaultValue": default,
        "defaultValueFormula": null,
        "defaultedOnCreate": field.defaulted_on_create(),
        "dependentPicklist": false,
        "deprecatedAndHidden": false,
        "digits": field.digits,
        "displayLocationInDecimal": false,
        "encrypted": false,
        "externalId": field.external_id,
        "extraTypeInfo": extra_type_info(field),
        "filterable": filterable,
        "filteredLookupInfo": null,
        "formulaTreatNullNumberAsZero": false,
        "groupable": soql::groupable(field),
        "highScaleNumber": false,
        "htmlFormatted": false,
    })
}

/// Returns the members from `idLookup` to `writeRequiresMasterRead`.
fn members_i_to_w(object: &Object, field: &Field) -> Json {
    let kind = field.kind;
    let choices = matches!(kind, FieldType::Picklist | FieldType::Multipicklist);
    let long = kind == FieldType::Textarea && field.length > 255;
    let mut referenced = field.reference_to.clone();
    referenced.sort_unstable();
    let picklist: Vec<Json> = field
        .values
        .iter()
        .filter(|_| choices)
        .map(|value| {
            json!({"active": true, "defaultValue": false, "label": field.label_of(value), "validFor": null,
                   "value": value})
        })
        .collect();
    json!({
        "idLookup": field.id_lookup,
        "inlineHelpText": null,
        "label": field.label,
        "length": field.length,
        "mask": null,
        "maskType": null,
        "name": field.name,
        "nameField": field.name_field,
        "namePointing": false,
        "nillable": field.nillable,
        "permissionable": field.nillable && !field.system(),
        "picklistValues": picklist,
        "polymorphicForeignKey": field.reference_to.len() > 1,
        "precision": field.precision,
        "queryByDistance": false,
        "referenceTargetField": null,
        "referenceTo": referenced,
        "relationshipName": field.relationship_name,
        "relationshipOrder": null,
        "restrictedDelete": false,
        "restrictedPicklist": field.restricted,
        "scale": field.scale,
        "searchPrefilterable": false,
        "soapType": soap_type(kind),
        "sortable": !long && soql::sortable(field),
        "type": kind.name(),
        "unique": field.unique,
        "updateable": field.updateable && object.writable,
        "writeRequiresMasterRead": false,
    })
}
