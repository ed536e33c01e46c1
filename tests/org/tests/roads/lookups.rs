//! Optional lookups to a deleted record.

use salesforce_org::{Org, RecordId, local};
use serde_json::{Value as Json, json};

use crate::road::{Caller, Reading, Road};

const ORG: &str = r#"
[[object]]
name = "Item__c"
  [[object.field]]
  name = "Key__c"
  type = "string"
  external_id = true
  unique = true
  [[object.field]]
  name = "Other__c"
  type = "reference"
  reference_to = ["Item__c"]
"#;

/// Returns two records, the second with a lookup to the first.
fn pair(caller: &mut Caller) -> (String, String) {
    let parent = caller.create(Road::Row, "Item__c", &json!({})).unwrap();
    let fields = json!({ "Other__c": parent });
    let child = caller.create(Road::Row, "Item__c", &fields).unwrap();
    (parent, child)
}

fn lookup(caller: &mut Caller, child: &str) -> Json {
    let read = caller.read(Reading::Query, "Item__c", child, "Other__c");
    read.unwrap()
}

fn delete(caller: &mut Caller, id: &str) {
    let answer = caller.call("DELETE", &format!("sobjects/Item__c/{id}"), None);
    assert_eq!(answer.status, 204);
}

#[test]
fn deleted_parent_clears_optional_lookups_without_event() {
    let mut caller = Caller::new(ORG);
    let (parent, child) = pair(&mut caller);
    let stamp = caller.read(Reading::Row, "Item__c", &child, "SystemModstamp");
    caller.org.advance_ms(5_000);
    let before = caller.events().len();
    delete(&mut caller, &parent);
    assert_eq!(lookup(&mut caller, &child), Json::Null);
    let after = caller.read(Reading::Row, "Item__c", &child, "SystemModstamp");
    assert_eq!(after, stamp);
    let kinds: Vec<String> = caller
        .events()
        .drain(before..)
        .map(|e| e.change_type)
        .collect();
    assert_eq!(kinds, ["DELETE"]);
}

#[test]
fn cleared_lookup_can_send_an_event() {
    let mut caller = Caller::new(ORG);
    caller.control("unconfirmed", &json!({"cleared_lookups": "with_event"}));
    let (parent, child) = pair(&mut caller);
    delete(&mut caller, &parent);
    let last = caller.events().pop().unwrap();
    assert_eq!(
        (last.change_type.as_str(), &last.record_ids),
        ("UPDATE", &vec![child])
    );
    assert_eq!(last.nulled_fields, ["Other__c"]);
}

#[test]
fn undelete_restores_lookups_that_are_still_empty() {
    let mut caller = Caller::new(ORG);
    let (parent, child) = pair(&mut caller);
    let moved = caller.create(Road::Row, "Item__c", &json!({"Other__c": parent}));
    let moved = moved.unwrap();
    delete(&mut caller, &parent);
    let change = json!({ "Other__c": child });
    let at = (moved.as_str(), "k3");
    caller.update(Road::Row, "Item__c", at, &change).unwrap();
    // The dump knows which lookups the delete cleared.
    let mut text = Vec::new();
    caller.org.dump(&mut text).unwrap();
    caller.org = Org::from_toml(ORG).unwrap();
    caller.org.restore(&mut &text[..]).unwrap();
    let id = RecordId::parse(&parent).unwrap();
    caller.org.undelete_as(local::PERSON, id).unwrap();
    assert_eq!(lookup(&mut caller, &child), json!(parent));
    assert_eq!(lookup(&mut caller, &moved), json!(child));
}

#[test]
fn failed_call_that_deletes_keeps_the_lookups() {
    let mut caller = Caller::new(ORG);
    let (parent, child) = pair(&mut caller);
    let url = |id: &str| format!("/services/data/v62.0/sobjects/Item__c/{id}");
    let part =
        |id: &str, name: &str| json!({"method": "DELETE", "url": url(id), "referenceId": name});
    let body = json!({"allOrNone": true, "compositeRequest": [
        part(&parent, "a"), part("a0000000000zzzz", "b"),
    ]});
    let answer = caller.call("POST", "composite", Some(&body)).to_json();
    let statuses: Vec<_> = answer["compositeResponse"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(statuses[0]["httpStatusCode"], 400);
    assert_eq!(lookup(&mut caller, &child), json!(parent));
}
