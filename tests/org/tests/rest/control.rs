//! The control endpoints.

use salesforce_org::local::PERSON;
use salesforce_org::{Delivery, Org, Request};
use serde_json::json;

use crate::fixture::Fixture;

#[test]
fn declared_faults_fire_by_count_and_are_counted() {
    let mut f = Fixture::new();
    let faults = json!([
        {"action": "status", "status": 503, "match": {"method": "GET", "path_contains": "/limits"}},
        {"action": "drop_before", "match": {"path_contains": "/sobjects/Account/External"}},
        {"action": "drop_after", "match": {"method": "POST", "path_contains": "/sobjects/Account"}},
        {"action": "row_error", "external_id": "p", "count": 1},
        {"action": "expire_token", "match": {"path_contains": "/sobjects/User"}},
        {"action": "delay_ms", "ms": 7, "match": {"path_contains": "/query"}},
    ]);
    assert_eq!(
        f.org
            .request(&Request::new("POST", "/_org/faults").json(&faults))
            .status,
        200
    );
    assert_eq!(f.call("GET", "limits").status, 503);
    assert_eq!(f.call("GET", "limits").status, 200);
    let before = f.send(
        "PATCH",
        "sobjects/Account/External_Id__c/x",
        &json!({"Name": "x"}),
    );
    assert_eq!(
        (before.delivery, f.org.count("Account")),
        (Delivery::Dropped, 0)
    );
    let after = f.send("POST", "sobjects/Account", &json!({"Name": "x"}));
    assert_eq!(
        (after.delivery, f.org.count("Account")),
        (Delivery::Dropped, 1)
    );
    let records = json!({"records": [
        {"attributes": {"type": "Account"}, "Name": "p", "External_Id__c": "P"},
        {"attributes": {"type": "Account"}, "Name": "q", "External_Id__c": "q"},
    ]});
    let path = "composite/sobjects/Account/External_Id__c";
    let first = f.send("PATCH", path, &records).to_json();
    assert_eq!(first[0]["errors"][0]["statusCode"], "UNABLE_TO_LOCK_ROW");
    assert_eq!(first[1]["success"], json!(true));
    assert_eq!(
        f.send("PATCH", path, &records).to_json()[0]["success"],
        json!(true)
    );
    assert_eq!(f.call("GET", "query?q=SELECT+Id+FROM+User").delay_ms, 7);
    assert_eq!(f.call("GET", "sobjects/User").status, 401);
    let stats = f.org.request(&Request::new("GET", "/_org/stats")).to_json();
    assert_eq!(
        stats["faults_fired"],
        json!({"status": 1, "drop_before": 1, "drop_after": 1, "row_error": 1, "expire_token": 1,
               "delay_ms": 1})
    );
    assert_eq!(stats["calls"]["GET /limits"], json!(1));
}

#[test]
fn reset_empties_the_org_and_keeps_its_clock() {
    let mut f = Fixture::new();
    f.account(json!({"Name": "a"}));
    let clock = Request::new("POST", "/_org/clock").json(&json!({"set_ms": 1_800_000_000_000_i64}));
    assert_eq!(
        f.org.request(&clock).to_json(),
        json!({"now_ms": 1_800_000_000_000_i64})
    );
    assert_eq!(
        f.org.request(&Request::new("POST", "/_org/reset")).status,
        200
    );
    assert_eq!(
        (f.org.count("Account"), f.org.now_ms()),
        (0, 1_800_000_000_000)
    );
    assert_eq!(f.call("GET", "limits").status, 401);
    f.token = f.org.open_session(PERSON).unwrap();
    f.account(json!({"Name": "b"}));
    assert_eq!(f.events().len(), 1);
}

fn switches(org: &mut Org) -> serde_json::Value {
    org.request(&Request::new("GET", "/_org/unconfirmed"))
        .to_json()
}

#[test]
fn org_file_and_control_endpoint_set_single_switches() {
    let mut org = Org::from_toml("[org]\nunconfirmed = { email = \"as_sent\" }").unwrap();
    let changes = json!({"merged_events": "always"});
    let request = Request::new("POST", "/_org/unconfirmed").json(&changes);
    assert_eq!(org.request(&request).status, 200);
    let mut expected = switches(&mut Org::default());
    expected["email"] = "as_sent".into();
    expected["merged_events"] = "always".into();
    assert_eq!(switches(&mut org), expected);

    let refused = Org::from_toml("[org]\nunconfirmed = { mail = \"as_sent\" }").unwrap_err();
    assert!(refused.to_string().contains("mail"), "{refused}");
}

#[test]
fn restored_org_has_the_switches_of_the_dumped_one() {
    let mut dumped = Org::default();
    let request = Request::new("POST", "/_org/unconfirmed").json(&json!({"email": "as_sent"}));
    dumped.request(&request);
    let mut text = Vec::new();
    dumped.dump(&mut text).unwrap();
    let mut org = Org::default();
    org.restore(&mut &text[..]).unwrap();
    assert_eq!(switches(&mut org), switches(&mut dumped));
}
