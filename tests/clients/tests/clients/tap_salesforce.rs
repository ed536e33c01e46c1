//! tap-salesforce, the Singer tap.

use salesforce_org::Org;
use salesforce_org::local::PERSON;
use serde_json::json;
use syncline_clients::{Client, Stage};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn tap_discovers_every_object_and_field() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::TapSalesforce, "tap_discover.py").await;
    assert_eq!(calls.made("GET /sobjects"), 2);
    // It reads the limit of bulk batches to check that Bulk is allowed.
    assert_eq!(calls.made("GET /limits"), 1);
}

#[tokio::test]
async fn tap_syncs_by_rest_and_continues_from_its_bookmark() {
    let stage = Stage::start().await;
    stage.with_org(two_accounts);
    let calls = stage.play(Client::TapSalesforce, "tap_sync.py REST").await;
    assert_eq!(calls.made("GET /queryAll"), 4);
}

#[tokio::test]
async fn tap_syncs_by_bulk_and_continues_from_its_bookmark() {
    let stage = Stage::start().await;
    stage.with_org(two_accounts);
    let calls = stage.play(Client::TapSalesforce, "tap_sync.py BULK").await;
    assert_eq!(calls.made("GET /queryAll"), 0);
    assert_eq!(calls.made("POST /async/job"), 4);
    assert_eq!(calls.made("GET /async/job/{id}/batch/{id}/result/{id}"), 4);
}

/// Creates one live account, and one deleted an hour before.
pub(crate) fn two_accounts(org: &mut Org) {
    let now_ms = org.now_ms();
    org.set_now_ms(now_ms - HOUR_MS);
    let gone = org.insert_as(PERSON, "Account", &json!({"Name": "Gone"}));
    org.delete_as(PERSON, gone.unwrap()).unwrap();
    org.set_now_ms(now_ms);
    let fields = json!({
        "Name": "Acme, \"first\"",
        "Description": "Two lines\nof text; ünit",
        "AnnualRevenue": 1234.5,
        "NumberOfEmployees": 7,
        "Active__c": true,
        "Opened__c": "2026-05-01",
    });
    org.insert_as(PERSON, "Account", &fields).unwrap();
}
