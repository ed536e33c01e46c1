//! Metadata of objects and fields: global describe, basic information, full describe.

use serde_json::{Map, Value as Json, json};

use super::Call;
use super::condition::{Condition, State};
use super::message::Response;
use crate::Org;
use crate::model::error::SfError;
use crate::model::permission::Action;
use crate::model::schema::{Field, FieldNo, FieldType, Object, ObjectNo};
use crate::model::stamp;
use crate::model::value::{Value, push_json_text};
use crate::model::view::View;
use crate::org::START_MS;
use crate::soql;

/// The record type that every object has.
const MASTER_RECORD_TYPE: &str = "012000000000000AAA";

impl Org {
    /// Handles `/sobjects`.
    pub(crate) fn describe_global(&self, call: &Call<'_>) -> Result<Response, SfError> {
        let view = self.view(call);
        let objects: Vec<Json> = view
            .schema
            .numbered()
            .filter(|(no, _)| view.allows(*no, Action::Read))
            .map(|(no, _)| Json::Object(object_members(call, view, no)))
            .collect();
        let body = json!({"encoding": "UTF-8", "maxBatchSize": 200, "sobjects": objects});
        dated(call, view.described_ms(None), body.to_string())
    }

    /// Handles `GET /sobjects/O`.
    pub(crate) fn describe_basic(
        &self,
        call: &Call<'_>,
        object: &str,
    ) -> Result<Response, SfError> {
        let view = self.view(call);
        let no = view.object_named(object)?;
        let body = json!({"objectDescribe": object_members(call, view, no), "recentItems": []});
        dated(call, view.described_ms(Some(no)), body.to_string())
    }

    /// Handles `GET /sobjects/O/describe`.
    pub(crate) fn describe(&self, call: &Call<'_>, object: &str) -> Result<Response, SfError> {
        let view = self.view(call);
        let no = view.object_named(object)?;
        let object = view.object(no);
        let mut members = object_members(call, view, no);
        let fields: Vec<Json> = view
            .fields(no)
            .map(|(field, _)| field_members(view, no, field))
            .collect();
        let more = json!({
            "actionOverrides": [],
            "childRelationships": child_relationships(view, object),
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
        let changed_ms = view.described_ms(Some(no));
        dated(call, changed_ms, Json::Object(members).to_string())
    }
}

/// Returns the references to an object that the caller may see.
fn child_relationships(view: View<'_>, object: &Object) -> Vec<Json> {
    let mut children = Vec::new();
    for (no, child) in view.schema.numbered() {
        if !view.allows(no, Action::Read) {
            continue;
        }
        let refers = |field: &Field| field.reference_to.contains(&object.name);
        for (_, field) in view.fields(no).filter(|(_, field)| refers(field)) {
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

/// Returns a describe, or 304 if the caller already has it. Schemas date from the start of the org, or
/// from their last change: of their fields, or of what the caller may see.
fn dated(call: &Call<'_>, changed_ms: Option<i64>, body: String) -> Result<Response, SfError> {
    let modified_ms = changed_ms.unwrap_or(START_MS);
    let state = State::dated(stamp::floor_to_second(modified_ms));
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
fn object_members(call: &Call<'_>, view: View<'_>, no: ObjectNo) -> Map<String, Json> {
    let object = view.object(no);
    let base = format!("/services/data/{}/sobjects/{}", call.version, object.name);
    let allows = |action: Action| object.writable && view.allows(no, action);
    let members = json!({
        "activateable": false,
        "associateEntityType": null,
        "associateParentEntity": null,
        "createable": allows(Action::Create),
        "custom": object.custom(),
        "customSetting": false,
        "deepCloneable": false,
        "deletable": allows(Action::Delete),
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
        "undeletable": allows(Action::Delete),
        "updateable": allows(Action::Edit),
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
        | FieldType::Encryptedstring
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
    match field.kind {
        FieldType::PersonName => Some("personname"),
        FieldType::Textarea if field.html => Some("richtextarea"),
        FieldType::Textarea => Some("plaintextarea"),
        _ => None,
    }
}

/// Returns the describe members of a field.
fn field_members(view: View<'_>, no: ObjectNo, field_no: FieldNo) -> Json {
    let (object, field) = (view.object(no), view.field(no, field_no));
    let mut members = members_a_to_h(object, field);
    if let (Json::Object(members), Json::Object(rest)) = (&mut members, members_i_to_w(field)) {
        members.extend(rest);
    }
    let writable = object.writable && view.writes(no, field_no);
    let allows = |action: Action| writable && view.allows(no, action);
    members["createable"] = (field.createable && allows(Action::Create)).into();
    members["updateable"] = (field.updateable && allows(Action::Edit)).into();
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
        other => other.push_json(&mut default),
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
        "htmlFormatted": field.html,
    })
}

/// Returns the members from `idLookup` to `writeRequiresMasterRead`.
fn members_i_to_w(field: &Field) -> Json {
    let kind = field.kind;
    let choices = matches!(kind, FieldType::Picklist | FieldType::Multipicklist);
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
        "mask": field.mask.map(|mask| mask.char),
        "maskType": field.mask.map(|mask| mask.kind),
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
        "sortable": soql::sortable(field),
        "type": kind.name(),
        "unique": field.unique,
        "writeRequiresMasterRead": false,
    })
}
