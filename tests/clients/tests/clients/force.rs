//! The crate force.

use serde_json::json;
use syncline_clients::{Client, Stage};

use crate::accounts;

#[tokio::test]
async fn force_logs_in_both_ways() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Force, "login").await;
    assert_eq!(calls.made("GET /query"), 2);
}

#[tokio::test]
async fn force_writes_and_reads_single_records() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Force, "records").await;
    let upserted = stage.records("SELECT External_Id__c, Site FROM Account ORDER BY Site");
    assert_eq!(
        upserted,
        [
            json!({"External_Id__c": "a b/é", "Site": "1"}),
            json!({"External_Id__c": "50%+1", "Site": "2"}),
            json!({"External_Id__c": "it's", "Site": "3"}),
            json!({"External_Id__c": "~.-_", "Site": "4"}),
            json!({"External_Id__c": "rs-2", "Site": "old"}),
        ]
    );
    assert_eq!(calls.made("PATCH /sobjects/{object}/{field}/{value}"), 12);
}

#[tokio::test]
async fn force_reads_every_page_of_a_query_once() {
    let stage = accounts::numbered().await;
    let calls = stage.play(Client::Force, "query").await;
    assert_eq!(calls.made("GET /query/{locator}"), 3);
}

#[tokio::test]
async fn force_loads_and_queries_with_bulk_api_2() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Force, "bulk").await;
    let soql =
        "SELECT External_Id__c, Name, Industry, IsDeleted FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "b-1", "Name": "One again", "Industry": null, "IsDeleted": false}),
            json!({"External_Id__c": "b-2", "Name": "Two", "Industry": null, "IsDeleted": false}),
            json!({"External_Id__c": "b-4", "Name": "Four", "Industry": null, "IsDeleted": true}),
        ]
    );
    assert_eq!(calls.made("POST /jobs/ingest"), 7);
}
