//! Events that report a change without its content.

use serde_json::json;

use crate::stage::{Stage, kinds};

#[test]
fn declared_gap_has_only_kind_and_ids() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let start = stage.now();
    for kind in ["GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE"] {
        stage.control(
            "events/gap",
            &json!({"object": "Account", "kind": kind, "ids": [id]}),
        );
    }
    stage.control(
        "events/gap",
        &json!({"object": "Account", "kind": "GAP_OVERFLOW"}),
    );
    stage.control(
        "events/gap",
        &json!({"object": "Account", "kind": "UPDATE"}),
    );
    let events = stage.since(&start);
    assert_eq!(
        kinds(&events),
        [
            "GAP_CREATE",
            "GAP_UPDATE",
            "GAP_DELETE",
            "GAP_UNDELETE",
            "GAP_OVERFLOW",
            "UPDATE"
        ]
    );
    assert!(
        events[..4]
            .iter()
            .all(|event| event.record_ids == [id.clone()])
    );
    assert_eq!(events[4].record_ids, ["000000000000000AAA"]);
    assert_eq!(events[5].record_ids, ["001*"]);
    assert!(
        events
            .iter()
            .all(|e| e.fields.is_empty() && e.changed_fields.is_empty())
    );
}

#[test]
fn planned_gap_replaces_the_next_event() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let start = stage.now();
    stage.control("events/gap", &json!({"object": "Account", "next": 1}));
    stage.update(&id, json!({"Phone": "1"}));
    stage.update(&id, json!({"Phone": "2"}));
    let events = stage.since(&start);
    assert_eq!(kinds(&events), ["GAP_UPDATE", "UPDATE"]);
    assert_eq!(events[0].record_ids, std::slice::from_ref(&id));
    assert!(!events[0].transaction_key.is_empty());
    assert_eq!(
        stage
            .org
            .value_of(crate::stage::id_of(&id), "Phone")
            .unwrap(),
        "2"
    );
}

#[test]
fn oversized_events_become_gaps() {
    let mut stage = Stage::new();
    stage.control("events/limits", &json!({"event_bytes": 2_000}));
    let start = stage.now();
    stage.account("small");
    stage.insert(
        "Account",
        json!({"Name": "large", "Description": "x".repeat(3_000)}),
    );
    assert_eq!(kinds(&stage.since(&start)), ["CREATE", "GAP_CREATE"]);
}

#[test]
fn oversized_transaction_overflows_once_per_object() {
    let mut stage = Stage::new();
    stage.control("events/limits", &json!({"changes_per_transaction": 3}));
    let account = stage.account("a");
    for n in 0..3 {
        stage.insert(
            "Contact",
            json!({"LastName": format!("c{n}"), "AccountId": account}),
        );
        stage.insert(
            "Opportunity",
            json!({"Name": "o", "AccountId": account,
            "StageName": "Prospecting", "CloseDate": "2026-06-01"}),
        );
    }
    let start = stage.now();
    stage.delete(&account);
    let events = stage.since(&start);
    let named: usize = events
        .iter()
        .filter(|event| event.change_type == "DELETE")
        .map(|event| event.record_ids.len())
        .sum();
    assert_eq!(named, 3, "the first changes have events of their own");
    let overflown: Vec<&str> = events
        .iter()
        .filter(|event| event.change_type == "GAP_OVERFLOW")
        .map(|event| event.entity.as_str())
        .collect();
    let mut once = overflown.clone();
    once.sort_unstable();
    once.dedup();
    assert!(
        !overflown.is_empty() && once.len() == overflown.len(),
        "{overflown:?}"
    );
    assert!(
        events
            .iter()
            .all(|event| event.transaction_key == events[0].transaction_key)
    );
    assert!(
        events
            .windows(2)
            .all(|w| w[0].sequence_number < w[1].sequence_number)
    );
}

#[test]
fn every_changed_field_counts_towards_the_overflow() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    stage.control("events/limits", &json!({"changes_per_transaction": 4}));
    let start = stage.now();
    stage.update(&id, json!({"Phone": "1"}));
    stage.update(
        &id,
        json!({"Phone": "2", "Fax": "2", "Site": "2", "Rating": "Hot"}),
    );
    assert_eq!(kinds(&stage.since(&start)), ["UPDATE", "GAP_OVERFLOW"]);
}

#[test]
fn database_changes_send_a_gap_or_no_event() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let start = stage.now();
    stage.control("database", &json!({"id": id, "fields": {"Phone": "1"}}));
    stage.control(
        "database",
        &json!({"id": id, "fields": {"Phone": "2"}, "gap_event": false}),
    );
    let events = stage.since(&start);
    assert_eq!(kinds(&events), ["GAP_UPDATE"]);
    assert_eq!(events[0].record_ids, std::slice::from_ref(&id));
    assert_eq!(
        stage
            .org
            .value_of(crate::stage::id_of(&id), "Phone")
            .unwrap(),
        "2"
    );
}

#[test]
fn invalid_control_calls_are_refused_with_a_reason() {
    let mut stage = Stage::new();
    for (path, body, reason) in [
        (
            "events/gap",
            json!({"object": "Nope", "next": 1}),
            "NOT_FOUND",
        ),
        (
            "events/gap",
            json!({"object": "Account", "kind": "SNAP"}),
            "unknown variant",
        ),
        (
            "database",
            json!({"id": "x", "fields": {}}),
            "x is not a record id",
        ),
        ("pubsub/refusals", json!({"code": "no.such"}), "no.such"),
        ("permissions", json!({"user": "unknown"}), "no such user"),
        ("relays/nope", json!({}), "nope"),
    ] {
        let answer = stage.order(path, &body);
        assert_eq!(answer.status, 400, "{path}");
        let seen = answer.to_json()["error"].as_str().unwrap().to_owned();
        assert!(seen.contains(reason), "{path}: {seen}");
    }
    assert_eq!(stage.order("no/such/order", &json!({})).status, 404);
}
