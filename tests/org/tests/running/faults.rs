//! Declared faults of calls and records: what fires, how often, and what remains.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{Delivery, RecordId};
use serde_json::{Value as Json, json};

use crate::stand::{Stand, codes};

const UPSERT: &str = "composite/sobjects/Account/External_Id__c";

fn keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("k-{n}")).collect()
}

/// Returns the statuses of 200 calls under a rule.
fn statuses(rule: Json) -> Vec<u16> {
    let mut stand = Stand::new();
    stand.faults(rule);
    (0..200).map(|_| stand.get("limits").status).collect()
}

#[test]
fn same_seed_fires_on_the_same_calls() {
    let rule = |seed: u64| json!({"action": "status", "probability": 0.3, "seed": seed});
    let (first, again, other) = (statuses(rule(7)), statuses(rule(7)), statuses(rule(8)));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let failed = first.iter().filter(|status| **status == 503).count();
    assert!((30..90).contains(&failed), "{failed} of 200");
}

#[test]
fn probability_fires_at_most_count_times() {
    let failed = |statuses: Vec<u16>| statuses.iter().filter(|status| **status == 503).count();
    let rule = |p: f64| json!({"action": "status", "probability": p, "count": 5});
    assert_eq!(failed(statuses(rule(0.5))), 5);
    assert_eq!(failed(statuses(rule(0.0))), 0);
    assert_eq!(failed(statuses(rule(1.0))), 5);
}

#[test]
fn rule_skips_the_given_number_of_matches() {
    let seen = statuses(json!({"action": "status", "skip": 3, "count": 2}));
    assert_eq!(seen[..6], [200, 200, 200, 503, 503, 200]);
}

#[test]
fn rule_fires_only_for_its_object_and_operation() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "status", "count": 9,
        "match": {"object": "contact", "operation": "create"}}));
    let name = json!({"Name": "a"});
    assert_eq!(stand.call("POST", "sobjects/Account", &name).status, 201);
    assert_eq!(stand.get("query?q=select+Id+from+Contact").status, 200);
    let person = json!({"LastName": "Ito"});
    assert_eq!(stand.call("POST", "sobjects/Contact", &person).status, 503);
    assert_eq!(stand.contacts(&[]).status, 400, "no record, no contact");
    let parent = stand.account("a-1");
    assert_eq!(stand.contacts(&[parent]).status, 503);
}

#[test]
fn request_limit_refuses_calls_until_its_count_is_used() {
    let mut stand = Stand::new();
    stand.faults(json!([{"action": "request_limit", "count": 2},
        {"action": "request_limit", "status": 429, "skip": 2}]));
    let seen: Vec<(u16, Json)> = (0..4)
        .map(|_| stand.get("limits"))
        .map(|answer| (answer.status, answer.to_json()[0]["errorCode"].clone()))
        .collect();
    let limit = json!("REQUEST_LIMIT_EXCEEDED");
    assert_eq!(
        seen,
        [
            (403, limit.clone()),
            (403, limit.clone()),
            (429, limit),
            (200, Json::Null)
        ]
    );
}

#[test]
fn latency_stays_in_its_range() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "delay_ms", "ms": 20, "ms_max": 40, "count": 50}));
    let delays: Vec<u64> = (0..50).map(|_| stand.get("limits").delay_ms).collect();
    assert!(delays.iter().all(|ms| (20..=40).contains(ms)), "{delays:?}");
    assert!(delays.iter().any(|ms| *ms != delays[0]), "{delays:?}");
    assert_eq!(stand.get("limits").delay_ms, 0);
}

#[test]
fn half_failed_collection_keeps_exactly_the_reported_records() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "row_error", "probability": 0.5, "seed": 3}));
    let outcomes = stand.upsert_all(&keys(200));
    let failed = outcomes.iter().filter(|code| !code.is_empty()).count();
    assert!((60..140).contains(&failed), "{failed} of 200 failed");
    for (key, code) in keys(200).iter().zip(&outcomes) {
        let there = stand.get(&format!("sobjects/Account/External_Id__c/{key}"));
        let expected = if code.is_empty() { 200 } else { 404 };
        assert_eq!(there.status, expected, "{key}");
    }
    assert_eq!(stand.report(0)["fired"], failed);
}

#[test]
fn row_error_can_select_children_of_one_parent() {
    let mut stand = Stand::new();
    let (first, second) = (stand.account("a-1"), stand.account("a-2"));
    stand.faults(json!([
        {"action": "row_error", "parent": "A-1", "count": 2},
        {"action": "row_error", "parent": second.to_string(), "code": "STORAGE_LIMIT_EXCEEDED"},
    ]));
    let seen = codes(&stand.contacts(&[first, second, first, first]));
    let locked = "UNABLE_TO_LOCK_ROW";
    assert_eq!(seen, [locked, "STORAGE_LIMIT_EXCEEDED", locked, ""]);
}

#[test]
fn fired_rules_are_listed_with_their_places() {
    let mut stand = Stand::new();
    stand.faults(json!([
        {"name": "no limits", "action": "status", "match": {"path_contains": "/limits"}},
        {"action": "row_error", "external_id": "k-1", "match": {"operation": "create"}},
    ]));
    stand.get("limits");
    stand.upsert_all(&keys(3));
    let first = stand.report(0);
    assert_eq!(
        (
            &first["name"],
            &first["action"],
            &first["fired"],
            &first["left"]
        ),
        (&json!("no limits"), &json!("status"), &json!(1), &json!(0))
    );
    assert_eq!(first["where"][0]["what"], "GET /services/data/v62.0/limits");
    assert_eq!(first["where"][0]["at_ms"], stand.org.now_ms());
    assert_eq!(stand.report(1)["where"][0]["what"], "create Account k-1");
}

#[test]
fn rule_fires_only_for_its_ids() {
    let mut stand = Stand::new();
    let (meant, other) = (stand.account("a"), stand.account("b"));
    let rule = json!({"action": "row_error", "count": 9, "match": {"ids": [meant.to_string()]}});
    stand.faults(rule);
    let both = ["a".to_owned(), "b".to_owned()];
    assert_eq!(stand.upsert_all(&both), ["UNABLE_TO_LOCK_ROW", ""]);
    stand.control("DELETE", "faults", &Json::Null);
    let rule = json!({"action": "status", "count": 9, "match": {"ids": [other.to_string()]}});
    stand.faults(rule);
    let read = |id: RecordId| format!("sobjects/Account/{id}");
    assert_eq!(stand.get(&read(meant)).status, 200);
    assert_eq!(stand.get(&read(other)).status, 503);
}

#[test]
fn faults_without_a_rule_are_counted_too() {
    let mut stand = Stand::new();
    let held = stand.account("held");
    stand.control(
        "POST",
        "locks",
        &json!({"id": held.to_string(), "ms": 5_000}),
    );
    stand.upsert("held", &json!({"Name": "x"}));
    stand.control(
        "POST",
        "events/gap",
        &json!({"object": "Account", "next": 1}),
    );
    stand.account("new");
    let stats = stand.control("GET", "stats", &Json::Null).to_json();
    assert_eq!(
        stats["faults_fired"],
        json!({"row_lock": 1, "planned_gap": 1})
    );
}

#[test]
fn deleted_rules_stop_firing_but_stay_listed() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "status", "count": 2}));
    stand.get("limits");
    stand.control("DELETE", "faults", &Json::Null);
    assert_eq!(stand.get("limits").status, 200);
    assert_eq!(stand.report(0)["fired"], 1);
}

#[test]
fn rules_that_cannot_fire_are_refused_with_a_reason() {
    let mut stand = Stand::new();
    for (rule, reason) in [
        (json!({"action": "status", "probability": 2}), "probability"),
        (json!({"action": "status", "status": 99}), "status"),
        (json!({"action": "delay_ms"}), "ms"),
        (
            json!({"action": "delay_ms", "ms": 5, "ms_max": 4}),
            "ms_max",
        ),
        (json!({"action": "flow"}), "set"),
        (json!({"action": "user_edit", "set": {}}), "user"),
        (json!({"action": "user_edit", "user": PERSON}), "set"),
        (json!({"action": "rain"}), "rain"),
        (json!({"action": "status", "cuont": 1}), "cuont"),
        (json!({"match": {}}), "action"),
        (
            json!({"action": "status", "ms": 5}),
            "a rule with action status does not use ms",
        ),
        (
            json!({"action": "expire_replay", "match": {"object": "Account"}}),
            "to subscriptions, which are selected by topic, not by object",
        ),
        (
            json!({"action": "row_error", "match": {"operation": "query"}}),
            "records have no operation query, only create, update, delete",
        ),
        (
            json!({"action": "missing_events", "match": {"method": "GET"}}),
            "to events, which are selected by object, operation, ids, topic, not by method",
        ),
        (
            json!({"action": "status", "match": {"object": "Accout"}}),
            "there is no object Accout",
        ),
        (
            json!({"action": "stream_reset", "match": {"topic": "/data/Nope"}}),
            "there is no topic /data/Nope",
        ),
        (
            json!({"action": "status", "match": {"operation": "login", "object": "Account"}}),
            "login has neither ids nor an object",
        ),
        (
            json!({"action": "status", "match": {"ids": ["nonsense"]}}),
            "nonsense is not a record id",
        ),
        (
            json!({"action": "user_edit", "user": "unknown@x", "set": {}}),
            "there is no user unknown@x",
        ),
        (json!(7), "invalid type"),
    ] {
        let answer = stand.control("POST", "faults", &rule);
        let text = answer.to_json()["error"].to_string();
        assert_eq!(answer.status, 400, "{rule}");
        assert!(text.contains(reason), "{rule}: {text}");
    }
    assert_eq!(stand.get("limits").status, 200);
}

#[test]
fn late_commit_has_a_stamp_before_the_watermark() {
    let mut stand = Stand::new();
    stand.account("early");
    stand.org.advance_ms(30_000);
    let watermark = stand.account("seen");
    let watermark = stand.value(watermark, "SystemModstamp");
    stand.org.advance_ms(10_000);
    stand.faults(json!({"action": "late_visible", "ms": 20_000}));
    let late = stand.account("late");
    let after = format!("query?q=select+Id+from+Account+where+SystemModstamp+>+{watermark}")
        .replace("+0000", "Z");
    assert_eq!(stand.get(&after).to_json()["totalSize"], 0, "{after}");
    assert!(stand.value(late, "SystemModstamp") < watermark);
    let event = stand.events().pop().unwrap();
    assert_eq!(event.commit_timestamp, stand.org.now_ms() / 1_000 * 1_000);
}

#[test]
fn late_commit_never_moves_a_stamp_back() {
    let mut stand = Stand::new();
    let id = stand.account("a");
    let before = stand.value(id, "SystemModstamp");
    stand.faults(json!({"action": "late_visible", "ms": 60_000}));
    stand.upsert("a", &json!({"Industry": "Media"}));
    assert_eq!(stand.value(id, "Industry"), "Media");
    assert_eq!(stand.value(id, "SystemModstamp"), before);
}

#[test]
fn tied_stamps_give_many_writes_one_stamp() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "tie_stamps", "ms": 600_000, "count": 3}));
    let stamp = |stand: &mut Stand, key: &str| {
        let id = stand.account(key);
        stand.org.advance_ms(180_000);
        stand.value(id, "SystemModstamp")
    };
    let stamps: Vec<String> = ["a", "b", "c"].map(|key| stamp(&mut stand, key)).into();
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "{stamps:?}");
    assert_ne!(stamp(&mut stand, "d"), stamps[0], "the rule is used up");
}

#[test]
fn flow_changes_fields_in_the_callers_transaction() {
    let mut stand = Stand::new();
    let id = stand.account("a");
    stand.faults(json!({"action": "flow", "set": {"Industry": "Energy"},
        "match": {"object": "Account", "operation": "update"}}));
    stand.upsert("a", &json!({"Name": "b"}));
    assert_eq!(stand.value(id, "Industry"), "Energy");
    let events = stand.events();
    assert_eq!(events.len(), 2, "one event for the update and its flow");
    let event = &events[1];
    assert!(event.change_origin.ends_with(";client=ours"));
    for field in ["Name", "Industry"] {
        assert!(
            event.changed_fields.iter().any(|name| name == field),
            "{field}"
        );
    }
    assert_eq!(stand.report(0)["where"][0]["what"], "update Account a");
}

#[test]
fn failing_flow_fails_only_its_record() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "flow", "set": {"Nonsense__c": 1}}));
    let seen = stand.upsert_all(&keys(2));
    assert_eq!(seen, ["CANNOT_EXECUTE_FLOW_TRIGGER", ""]);
    assert_eq!(
        stand.org.count("Account"),
        1,
        "the failed record is not kept"
    );
    assert_eq!(stand.events().len(), 1);
}

/// Returns an account that was read, and declares a user edit at `when` of its next write.
fn with_user_edit(when: &str, edit: Json) -> (Stand, RecordId) {
    let mut stand = Stand::new();
    let id = stand.account("a");
    stand.org.advance_ms(5_000);
    let mut rule = json!({"action": "user_edit", "user": PERSON, "when": when,
        "match": {"method": "PATCH"}});
    for (name, value) in edit.as_object().unwrap() {
        rule[name] = value.clone();
    }
    stand.faults(rule);
    (stand, id)
}

#[test]
fn user_edit_between_read_and_write_fails_the_precondition() {
    let (mut stand, id) = with_user_edit("before_work", json!({"set": {"Industry": "Media"}}));
    let path = format!("/services/data/v62.0/sobjects/Account/{id}");
    let token = stand.org.open_session(INTEGRATION_USER).unwrap();
    let request = salesforce_org::Request::new("PATCH", &path)
        .bearer(&token)
        .header(
            "If-Unmodified-Since",
            &http_date(stand.org.now_ms() - 3_000),
        )
        .json(&json!({"Industry": "Energy"}));
    assert_eq!(stand.org.request(&request).status, 412);
    assert_eq!(stand.value(id, "Industry"), "Media");
}

#[test]
fn user_edit_after_the_commit_wins() {
    let (mut stand, id) = with_user_edit("before_answer", json!({"set": {"Industry": "Media"}}));
    let answer = stand.upsert("a", &json!({"Industry": "Energy"}));
    assert_eq!(answer.status, 200);
    assert_eq!(stand.value(id, "Industry"), "Media");
    let events = stand.events();
    let seen: Vec<(&Json, &str)> = events[1..]
        .iter()
        .map(|event| (&event.fields["Industry"], event.change_origin.as_str()))
        .collect();
    let ours = "com/salesforce/api/rest/62.0;client=ours";
    assert_eq!(seen, [(&json!("Energy"), ours), (&json!("Media"), "")]);
}

#[test]
fn user_edit_can_delete_the_record_before_the_write() {
    let (mut stand, id) = with_user_edit("before_work", json!({"edit": "delete"}));
    let path = format!("sobjects/Account/{id}");
    let answer = stand.call("PATCH", &path, &json!({"Industry": "Energy"}));
    assert_eq!(answer.status, 404);
    assert_eq!(answer.to_json()[0]["errorCode"], "ENTITY_IS_DELETED");
}

#[test]
fn user_edit_finds_a_collection_record_by_external_id() {
    let mut stand = Stand::new();
    stand.faults(
        json!({"action": "user_edit", "user": PERSON, "when": "before_answer",
        "external_id": "k-2", "set": {"Industry": "Media"}}),
    );
    assert_eq!(stand.upsert_all(&keys(2)), ["", ""], "no user edit yet");
    assert_eq!(stand.report(0)["fired"], 0);
    stand.upsert_all(&keys(4));
    let rest = "query?q=select+External_Id__c+from+Account+where+Industry='Media'";
    let found = stand.get(rest).to_json();
    assert_eq!(found["records"][0]["External_Id__c"], "k-2", "{found}");
    assert_eq!(found["totalSize"], 1);
}

#[test]
fn refused_user_edits_are_listed() {
    let (mut stand, _) = with_user_edit("before_work", json!({"set": {"Nonsense__c": 1}}));
    assert_eq!(stand.upsert("a", &json!({"Industry": "Media"})).status, 200);
    let what = stand.report(0)["where"][0]["what"].to_string();
    assert!(
        what.contains("refused") && what.contains("Nonsense__c"),
        "{what}"
    );
}

#[test]
fn commit_with_a_lost_answer_is_a_commit() {
    let mut stand = Stand::new();
    stand.faults(json!({"action": "drop_after", "match": {"object": "Account"}}));
    let lost = stand.upsert("a", &json!({"Name": "a"}));
    assert_eq!(lost.delivery, Delivery::Dropped);
    assert_eq!((stand.org.count("Account"), stand.events().len()), (1, 1));
    let again = stand.upsert("a", &json!({"Name": "a"}));
    assert_eq!((again.status, stand.org.count("Account")), (200, 1));
}

#[test]
fn locked_parent_refuses_children_until_the_lock_expires() {
    let mut stand = Stand::new();
    let (held, free) = (stand.account("held"), stand.account("free"));
    let order = json!({"id": held.to_string(), "ms": 5_000});
    assert_eq!(stand.control("POST", "locks", &order).status, 200);
    let refused = stand.contacts(&[held, free]);
    assert_eq!(codes(&refused), ["UNABLE_TO_LOCK_ROW", ""]);
    let message = refused.to_json()[0]["errors"][0]["message"].to_string();
    assert!(message.contains(&held.to_string()), "{message}");
    assert_eq!(stand.upsert("held", &json!({"Name": "x"})).status, 400);
    stand.org.advance_ms(4_000);
    assert_eq!(codes(&stand.contacts(&[held])), ["UNABLE_TO_LOCK_ROW"]);
    stand.org.advance_ms(1_000);
    assert_eq!(codes(&stand.contacts(&[held])), [""]);
    assert_eq!(stand.upsert("held", &json!({"Name": "x"})).status, 200);
}

#[test]
fn parent_lock_applies_only_to_its_own_children() {
    let mut stand = Stand::new();
    let (held, free) = (stand.account("held"), stand.account("free"));
    let made = stand.contacts(&[held, free]).to_json();
    let child = |n: usize| made[n]["id"].as_str().unwrap().to_owned();
    stand.control(
        "POST",
        "locks",
        &json!({"id": held.to_string(), "ms": 5_000}),
    );
    let mut edit = |id: String, fields: Json| {
        let path = format!("sobjects/Contact/{id}");
        stand.call("PATCH", &path, &fields).status
    };
    assert_eq!(edit(child(1), json!({"Title": "Dr"})), 204);
    assert_eq!(edit(child(1), json!({"AccountId": held.to_string()})), 400);
    assert_eq!(edit(child(0), json!({"AccountId": free.to_string()})), 400);
    stand.control("DELETE", "locks", &Json::Null);
    let path = format!("sobjects/Contact/{}", child(0));
    let moved = json!({"AccountId": free.to_string()});
    assert_eq!(stand.call("PATCH", &path, &moved).status, 204);
}

#[test]
fn lock_needs_a_record() {
    let mut stand = Stand::new();
    for id in ["nonsense", "0015g00000ZZZZZAAA"] {
        let order = json!({"id": id, "ms": 1});
        assert_eq!(stand.control("POST", "locks", &order).status, 400);
    }
}

#[test]
fn contending_call_keeps_locks_until_its_answer_is_sent() {
    let mut stand = Stand::new();
    let (shared, other) = (stand.account("shared"), stand.account("other"));
    stand.faults(json!({"action": "contend", "count": 3}));
    let first = stand.contacts(&[shared]);
    assert_eq!(codes(&first), [""]);
    let second = stand.contacts(&[shared, other]);
    assert_eq!(codes(&second), ["UNABLE_TO_LOCK_ROW", ""]);
    stand.org.answered(&first);
    let third = stand.contacts(&[shared]);
    assert_eq!(codes(&third), [""]);
    stand.org.answered(&second);
    assert_eq!(codes(&stand.contacts(&[shared])), ["UNABLE_TO_LOCK_ROW"]);
    stand.org.answered(&third);
    assert_eq!(codes(&stand.contacts(&[shared, other])), ["", ""]);
    assert_eq!(
        stand.call("PATCH", UPSERT, &json!({"records": []})).status,
        400
    );
}

/// Formats a time as in HTTP headers.
fn http_date(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).unwrap();
    time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
