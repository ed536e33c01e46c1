//! What a user may see and write: objects, fields, records.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{Org, RecordId, Request};
use serde_json::{Value as Json, json};

use crate::road::{Caller, READINGS, ROADS, Reading, Road};

const ORG: &str = r#"
[[object]]
name = "Item__c"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true
  [[object.field]]
  name = "Note__c"
  type = "string"
  [[object.field]]
  name = "Card__c"
  type = "encryptedstring"
  mask = "creditCard"
  mask_char = "x"
  [[object.field]]
  name = "Other__c"
  type = "reference"
  reference_to = ["Item__c"]
  child_relationship_name = "Items"
"#;

fn restrict(caller: &mut Caller, restrictions: Json) {
    let mut order = restrictions;
    order["user"] = INTEGRATION_USER.into();
    caller.control("permissions", &order);
}

/// Creates a record by hand, as a user without restrictions.
fn foreign(caller: &mut Caller, fields: Json) -> String {
    let id = caller.org.insert_as(PERSON, "Item__c", &fields).unwrap();
    id.to_string()
}

fn refused(code: &str) -> Result<String, String> {
    Err(code.to_owned())
}

fn described(caller: &mut Caller, name: &str) -> Option<Json> {
    let answer = caller.call("GET", "sobjects/Item__c/describe", None);
    let described = answer.to_json();
    let fields = described["fields"].as_array().unwrap();
    fields.iter().find(|field| field["name"] == name).cloned()
}

#[test]
fn hidden_field_does_not_exist_for_its_user() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Note__c": "x"}));
    restrict(&mut caller, json!({"hidden_fields": ["Item__c.Note__c"]}));
    assert_eq!(described(&mut caller, "Note__c"), None);
    for reading in READINGS.into_iter().filter(|r| *r != Reading::Event) {
        let read = caller.read(reading, "Item__c", &id, "Note__c");
        assert_eq!(read, Err("INVALID_FIELD".to_owned()), "{reading:?}");
    }
    for soql in [
        "SELECT Id FROM Item__c WHERE Note__c = 'x'",
        "SELECT Id FROM Item__c ORDER BY Note__c",
        "SELECT Other__r.Note__c FROM Item__c",
        "SELECT COUNT(Note__c) FROM Item__c",
    ] {
        assert_eq!(caller.query(soql).status, 400, "{soql}");
    }
    let whole = caller.call("GET", &format!("sobjects/Item__c/{id}"), None);
    assert_eq!(whole.to_json().get("Note__c"), None);
    let all = caller.query("SELECT FIELDS(ALL) FROM Item__c LIMIT 1");
    assert_eq!(all.to_json()["records"][0].get("Note__c"), None);
    for road in ROADS {
        let created = caller.create(road, "Item__c", &json!({"Note__c": "y"}));
        let code = match road {
            // A bulk job fails as a whole for an unknown column.
            Road::Bulk | Road::BulkOne => "InvalidBatch : Field name not found : Note__c",
            _ => "INVALID_FIELD",
        };
        assert_eq!(created, refused(code), "{road:?}");
    }
}

#[test]
fn read_only_field_refuses_the_record_by_every_road() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Note__c": "x", "Key__c": "a"}));
    restrict(
        &mut caller,
        json!({"read_only_fields": ["Item__c.Note__c"]}),
    );
    let field = described(&mut caller, "Note__c").unwrap();
    let writable = (&field["createable"], &field["updateable"]);
    assert_eq!(writable, (&json!(false), &json!(false)));
    for road in ROADS {
        let fields = json!({"Note__c": "y"});
        let code = "INVALID_FIELD_FOR_INSERT_UPDATE";
        let created = caller.create(road, "Item__c", &fields);
        assert_eq!(created, refused(code), "{road:?}");
        let updated = caller.update(road, "Item__c", (&id, "a"), &fields);
        assert_eq!(updated, refused(code), "{road:?}");
    }
    let read = caller.read(Reading::Query, "Item__c", &id, "Note__c");
    assert_eq!(read, Ok(json!("x")));
}

#[test]
fn object_without_access_does_not_exist_for_its_user() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({}));
    restrict(&mut caller, json!({"no_access": ["Item__c"]}));
    let global = caller.call("GET", "sobjects", None).to_json();
    let objects = global["sobjects"].as_array().unwrap();
    assert!(objects.iter().all(|object| object["name"] != "Item__c"));
    let describe = caller.call("GET", "sobjects/Item__c/describe", None);
    assert_eq!(describe.status, 404);
    for (reading, code) in [
        (Reading::Row, "NOT_FOUND"),
        (Reading::Retrieve, "NOT_FOUND"),
        (Reading::Query, "INVALID_TYPE"),
        (Reading::BulkQuery, "INVALID_TYPE"),
    ] {
        let read = caller.read(reading, "Item__c", &id, "Id");
        assert_eq!(read, Err(code.to_owned()), "{reading:?}");
    }
    for (road, code) in [
        (Road::Row, "NOT_FOUND"),
        (Road::ExternalId, "NOT_FOUND"),
        (Road::Composite, "NOT_FOUND"),
        (Road::Collection, "INVALID_TYPE"),
        (Road::Bulk, "INVALIDJOB"),
        (Road::BulkOne, "InvalidJob"),
    ] {
        let created = caller.create(road, "Item__c", &json!({}));
        assert_eq!(created, refused(code), "{road:?}");
    }
}

#[test]
fn missing_object_permissions_refuse_writes() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Key__c": "a"}));
    let order = json!({"cannot_create": ["Item__c"], "cannot_edit": ["Item__c"],
        "cannot_delete": ["Item__c"]});
    restrict(&mut caller, order);
    let describe = caller.call("GET", "sobjects/Item__c/describe", None);
    let describe = describe.to_json();
    for member in ["createable", "updateable", "deletable"] {
        assert_eq!(describe[member], json!(false), "{member}");
    }
    for road in ROADS {
        let created = caller.create(road, "Item__c", &json!({}));
        let code = "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY";
        assert_eq!(created, refused(code), "{road:?}");
        let change = json!({"Note__c": "y"});
        let updated = caller.update(road, "Item__c", (&id, "a"), &change);
        assert_eq!(
            updated,
            refused("INSUFFICIENT_ACCESS_OR_READONLY"),
            "{road:?}"
        );
    }
    let deleted = caller.call("DELETE", &format!("sobjects/Item__c/{id}"), None);
    assert_eq!(deleted.status, 403);
    assert_eq!(caller.org.count("Item__c"), 1);
}

#[test]
fn record_that_leaves_the_sharing_vanishes_without_a_delete() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Note__c": "shared", "Key__c": "a"}));
    let rule = json!({"object": "Item__c", "where": "Note__c = 'shared'", "edit": true});
    restrict(
        &mut caller,
        json!({"cannot_view_all": ["Item__c"], "sharing": [rule]}),
    );
    let at = (id.as_str(), "a");
    let change = json!({"Note__c": "shared"});
    for road in ROADS {
        assert!(
            caller.update(road, "Item__c", at, &change).is_ok(),
            "{road:?}"
        );
    }
    let events = caller.events().len();
    let fields = json!({"Note__c": "private"});
    let named = RecordId::parse(&id).unwrap();
    caller.org.update_as(PERSON, named, &fields).unwrap();

    let row = caller.read(Reading::Row, "Item__c", &id, "Id");
    assert_eq!(row, Err("NOT_FOUND".to_owned()));
    for reading in [Reading::Retrieve, Reading::Query, Reading::BulkQuery] {
        let read = caller.read(reading, "Item__c", &id, "Id");
        assert_eq!(read, Ok(Json::Null), "{reading:?}");
    }
    let gone = |path: &str| format!("sobjects/Item__c/{path}/?start={START}&end={END}");
    const START: &str = "2026-05-01T00:00:00Z";
    const END: &str = "2026-05-02T00:00:00Z";
    let updated = caller.call("GET", &gone("updated"), None).to_json();
    assert_eq!(updated["ids"], json!([]));
    let deleted = caller.call("GET", &gone("deleted"), None).to_json();
    assert_eq!(deleted["deletedRecords"], json!([]));
    let all = caller.call("GET", "queryAll?q=SELECT+Id+FROM+Item__c", None);
    assert_eq!(all.to_json()["totalSize"], 0);
    for road in ROADS {
        let answer = caller.update(road, "Item__c", at, &json!({"Note__c": "y"}));
        let code = match road {
            // The upsert finds no record, and its insert the hidden one.
            Road::ExternalId => "DUPLICATE_VALUE",
            _ => "INVALID_CROSS_REFERENCE_KEY",
        };
        assert_eq!(answer, refused(code), "{road:?}");
    }
    // The only event is the user's edit.
    let kinds: Vec<String> = caller
        .events()
        .drain(events..)
        .map(|e| e.change_type)
        .collect();
    assert_eq!(kinds, ["UPDATE"]);
    assert_eq!(caller.org.count("Item__c"), 1);
}

#[test]
fn records_shared_for_reading_refuse_writes() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Key__c": "a"}));
    restrict(&mut caller, json!({"cannot_modify_all": ["Item__c"]}));
    for road in ROADS {
        let change = json!({"Note__c": "y"});
        let updated = caller.update(road, "Item__c", (&id, "a"), &change);
        assert_eq!(
            updated,
            refused("INSUFFICIENT_ACCESS_OR_READONLY"),
            "{road:?}"
        );
    }
    let own = caller.create(Road::Row, "Item__c", &json!({})).unwrap();
    let change = json!({"Note__c": "y"});
    assert!(
        caller
            .update(Road::Row, "Item__c", (&own, ""), &change)
            .is_ok()
    );
}

#[test]
fn hidden_parents_and_children_are_missing() {
    let mut caller = Caller::new(ORG);
    let parent = foreign(&mut caller, json!({"Note__c": "p"}));
    let child = foreign(&mut caller, json!({"Note__c": "c", "Other__c": parent}));
    let rule = |note: &str| json!({"object": "Item__c", "where": format!("Note__c = '{note}'")});
    restrict(
        &mut caller,
        json!({"cannot_view_all": ["Item__c"], "sharing": [rule("c")]}),
    );
    let found = caller
        .query("SELECT Other__c, Other__r.Note__c FROM Item__c")
        .to_json();
    assert_eq!(found["records"][0]["Other__c"], json!(parent));
    assert_eq!(found["records"][0]["Other__r"], Json::Null);
    // A write cannot refer to it.
    let fields = json!({ "Other__c": parent });
    for road in ROADS {
        let created = caller.create(road, "Item__c", &fields);
        let code = "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY";
        assert_eq!(created, refused(code), "{road:?}");
    }
    restrict(
        &mut caller,
        json!({"cannot_view_all": ["Item__c"], "sharing": [rule("p")]}),
    );
    let soql = "SELECT Id, (SELECT Id FROM Items) FROM Item__c WHERE Note__c = 'p'";
    assert_eq!(
        caller.query(soql).to_json()["records"][0]["Items"],
        Json::Null
    );
    let _ = child;
}

#[test]
fn encrypted_text_is_masked_for_users_without_the_permission() {
    let mut caller = Caller::new(ORG);
    let id = foreign(&mut caller, json!({"Card__c": "4111-1111"}));
    let readings = || READINGS.into_iter().filter(|r| *r != Reading::Event);
    for reading in readings() {
        let read = caller.read(reading, "Item__c", &id, "Card__c");
        assert_eq!(read, Ok(json!("XXXX-1111")), "{reading:?}");
    }
    let field = described(&mut caller, "Card__c").unwrap();
    assert_eq!(
        (&field["maskType"], &field["mask"]),
        (&json!("creditCard"), &json!("x"))
    );
    caller.control("unconfirmed", &json!({"masked_text": "plain"}));
    for reading in readings() {
        let read = caller.read(reading, "Item__c", &id, "Card__c");
        assert_eq!(read, Ok(json!("4111-1111")), "{reading:?}");
    }
    caller.control("unconfirmed", &json!({"masked_text": "masked"}));
    let granted = |caller: &mut Caller| {
        let found = caller.query("SELECT PermissionsViewEncryptedData FROM UserPermissionAccess");
        let found = found.to_json();
        assert_eq!(found["totalSize"], 1);
        found["records"][0]["PermissionsViewEncryptedData"].clone()
    };
    assert_eq!(granted(&mut caller), json!(false));
    restrict(&mut caller, json!({"view_encrypted_data": true}));
    let read = caller.read(Reading::Query, "Item__c", &id, "Card__c");
    assert_eq!(read, Ok(json!("4111-1111")));
    assert_eq!(granted(&mut caller), json!(true));
}

#[test]
fn permissions_of_the_org_file_survive_a_restore() {
    let text = format!(
        "{ORG}
        [[user]]
        username = \"eve@acme.example\"
        last_name = \"Eve\"
        permissions = {{ hidden_fields = [\"Item__c.Note__c\"] }}"
    );
    let mut caller = Caller::new(&text);
    restrict(&mut caller, json!({"no_access": ["Lead"]}));
    let mut dump = Vec::new();
    caller.org.dump(&mut dump).unwrap();
    caller.org = Org::from_toml(&text).unwrap();
    caller.org.restore(&mut &dump[..]).unwrap();
    assert_eq!(caller.query("SELECT Id FROM Lead").status, 400);
    caller.token = caller.org.open_session("eve@acme.example").unwrap();
    assert_eq!(described(&mut caller, "Note__c"), None);

    let wrong = text.replace("Item__c.Note__c\"] }", "Item__c.Nope__c\"] }");
    let refusal = Org::from_toml(&wrong).unwrap_err().to_string();
    assert!(refusal.contains("eve@acme.example") && refusal.contains("Nope__c"));
}

#[test]
fn conditional_describe_answers_after_changed_permissions() {
    let mut caller = Caller::new(ORG);
    let paths = ["sobjects", "sobjects/Item__c", "sobjects/Item__c/describe"];
    let status = |caller: &mut Caller, path: &str, since: &str| {
        let target = format!("/services/data/v62.0/{path}");
        let request = Request::new("GET", &target).bearer(&caller.token);
        caller
            .org
            .request(&request.header("If-Modified-Since", since))
    };
    let started = "Fri, 01 May 2026 09:30:00 GMT";
    caller.org.advance_ms(5_000);
    for path in paths {
        assert_eq!(status(&mut caller, path, started).status, 304, "{path}");
    }
    restrict(&mut caller, json!({"hidden_fields": ["Item__c.Note__c"]}));
    caller.org.advance_ms(5_000);
    for path in paths {
        let answer = status(&mut caller, path, started);
        assert_eq!(answer.status, 200, "{path}");
        let changed = answer.header("last-modified").unwrap().to_owned();
        assert_eq!(changed, "Fri, 01 May 2026 09:30:05 GMT");
        assert_eq!(status(&mut caller, path, &changed).status, 304, "{path}");
    }
    let field = json!({"name": "Later__c", "type": "int"});
    caller.control("schema", &json!({"object": "Item__c", "add_field": field}));
    let restricted = "Fri, 01 May 2026 09:30:05 GMT";
    for (path, expected) in [
        (paths[0], 200),
        (paths[2], 200),
        ("sobjects/Account/describe", 304),
    ] {
        assert_eq!(
            status(&mut caller, path, restricted).status,
            expected,
            "{path}"
        );
    }
}

#[test]
fn deletes_outside_the_sharing_are_not_listed() {
    let mut caller = Caller::new(ORG);
    let shared = foreign(&mut caller, json!({"Note__c": "x"}));
    let other = foreign(&mut caller, json!({"Note__c": "y"}));
    for id in [&shared, &other] {
        let id = RecordId::parse(id).unwrap();
        caller.org.delete_as(PERSON, id).unwrap();
    }
    caller.org.advance_ms(120_000);
    let listed = |caller: &mut Caller| {
        let window = "start=2026-05-01T09:29:00Z&end=2026-05-01T09:32:00Z";
        let answer = caller.call("GET", &format!("sobjects/Item__c/deleted?{window}"), None);
        let deleted = answer.to_json()["deletedRecords"].clone();
        let deleted = deleted.as_array().unwrap().clone();
        let ids = deleted
            .iter()
            .map(|record| record["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut caller), [shared.clone(), other.clone()]);
    let sharing = json!([{"object": "Item__c", "where": "Note__c = 'x'"}]);
    restrict(
        &mut caller,
        json!({"cannot_view_all": ["Item__c"], "sharing": sharing}),
    );
    assert_eq!(listed(&mut caller), [shared]);
}
