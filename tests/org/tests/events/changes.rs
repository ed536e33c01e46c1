//! Change events of one transaction: one for each record, shared if the changes are equal.

use salesforce_org::Position;
use serde_json::json;

use crate::stage::{Stage, kinds, steps};

#[test]
fn equal_changes_in_one_transaction_share_one_event() {
    let mut stage = Stage::merging();
    let ids: Vec<String> = (0..150).map(|n| stage.account(&format!("A{n}"))).collect();
    let start = stage.now();
    stage.update_together("Account", &ids, &json!({"Industry": "Apparel"}));
    let events = stage.since(&start);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].record_ids, ids);
    assert_eq!(
        events[0].changed_fields,
        ["Industry", "LastModifiedDate", "LastModifiedById"]
    );
    assert_eq!(events[0].fields["Industry"], "Apparel");
}

#[test]
fn different_changes_keep_their_own_event_and_order() {
    let mut stage = Stage::merging();
    let ids: Vec<String> = (0..3).map(|n| stage.account(&format!("A{n}"))).collect();
    stage.update(&ids[1], json!({"Industry": "Apparel"}));
    let start = stage.now();
    stage.update_together("Account", &ids, &json!({"Industry": "Apparel"}));
    let events = stage.since(&start);
    let seen: Vec<_> = events
        .iter()
        .map(|e| (e.sequence_number, e.record_ids.len()))
        .collect();
    assert_eq!(seen, [(1, 2), (2, 1)]);
    assert!(!events[1].changed_fields.contains(&"Industry".to_owned()));
    assert_eq!(events[0].transaction_key, events[1].transaction_key);
}

#[test]
fn equal_changes_in_two_transactions_are_two_events() {
    let mut stage = Stage::new();
    let ids = [stage.account("a"), stage.account("b")];
    let start = stage.now();
    for id in &ids {
        stage.update(id, json!({"Rating": "Hot"}));
    }
    let events = stage.since(&start);
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].transaction_key, events[1].transaction_key);
    assert!(events[0].commit_number < events[1].commit_number);
}

#[test]
fn deletes_share_one_event_creates_do_not() {
    let mut stage = Stage::merging();
    let start = stage.now();
    let record = json!({"attributes": {"type": "Account"}, "Name": "same"});
    let made = stage.call(
        "POST",
        "composite/sobjects",
        &json!({"records": [record.clone(), record]}),
    );
    let made = made.to_json();
    let ids: Vec<&str> = (0..2).map(|n| made[n]["id"].as_str().unwrap()).collect();
    let path = format!("composite/sobjects?ids={}", ids.join(","));
    stage.call("DELETE", &path, &json!(null));
    let events = stage.since(&start);
    assert_eq!(kinds(&events), ["CREATE", "CREATE", "DELETE"]);
    assert_eq!(events[2].record_ids, ids);
    assert!(events[2].fields.is_empty());
}

#[test]
fn trigger_changes_are_part_of_the_record_event() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let rule = json!({"object": "Account", "when_field_changes": "Phone",
                      "set": {"Rating": "Hot", "BillingCity": "Lyon"}});
    stage.control("flow", &rule);
    let start = stage.now();
    stage.update(&id, json!({"Phone": "1"}));
    let events = stage.since(&start);
    assert_eq!(events.len(), 1);
    let named = [
        "Phone",
        "Rating",
        "LastModifiedDate",
        "LastModifiedById",
        "BillingAddress.City",
    ];
    let mut changed = events[0].changed_fields.clone();
    changed.retain(|name| name != "LastModifiedById");
    assert!(
        changed.iter().all(|name| named.contains(&name.as_str())),
        "{changed:?}"
    );
    assert_eq!(events[0].fields["BillingAddress"], json!({"City": "Lyon"}));
}

#[test]
fn small_change_of_a_long_text_is_a_diff() {
    let mut stage = Stage::new();
    let lines: Vec<String> = (0..40)
        .map(|n| format!("line {n} of a description of some length"))
        .collect();
    let old = lines.join("\n");
    let id = stage.insert("Account", json!({"Name": "a", "Description": old}));
    let start = stage.now();
    stage.update(
        &id,
        json!({"Description": old.replace("line 3 of", "line three of"), "Phone": "1"}),
    );
    let event = stage.since(&start).remove(0);
    assert_eq!(event.diff_fields, ["Description"]);
    assert!(event.changed_fields.contains(&"Description".to_owned()));
    let diff = event.fields["Description"].as_str().unwrap();
    assert!(
        diff.starts_with("--- \n+++ ") && diff.contains("\n@@ -4,1 +4,1 @@\n-line 3 of"),
        "{diff}"
    );
    assert!(diff.len() < old.len());

    let start = stage.now();
    stage.update(&id, json!({"Description": "short"}));
    let event = stage.since(&start).remove(0);
    assert!(event.diff_fields.is_empty());
    assert_eq!(event.fields["Description"], "short");
}

#[test]
fn only_updates_have_diffs() {
    let mut stage = Stage::new();
    let text = "x\n".repeat(900);
    let id = stage.insert("Account", json!({"Name": "a", "Description": text.trim()}));
    stage.delete(&id);
    stage
        .org
        .undelete_as(salesforce_org::local::PERSON, crate::stage::id_of(&id))
        .unwrap();
    let events = stage.since(&Position::Earliest);
    assert_eq!(kinds(&events), ["CREATE", "DELETE", "UNDELETE"]);
    assert!(events.iter().all(|event| event.diff_fields.is_empty()));
    assert_eq!(events[2].fields["Description"], text.trim());
}

#[test]
fn update_and_delete_in_one_call_send_the_delete() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let start = stage.now();
    let url = format!("/services/data/v62.0/sobjects/Account/{id}");
    let body = json!({"allOrNone": true, "collateSubrequests": false, "compositeRequest": [
        {"method": "PATCH", "url": url, "referenceId": "one", "body": {"Phone": "1"}},
        {"method": "DELETE", "url": url, "referenceId": "two"},
    ]});
    assert_eq!(stage.call("POST", "composite", &body).status, 200);
    assert_eq!(steps(&stage.since(&start)), [("Account", "DELETE")]);
}
