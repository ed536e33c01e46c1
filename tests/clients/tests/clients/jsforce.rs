//! jsforce, the client for Node.

use serde_json::json;
use syncline_clients::{Client, Stage};

use crate::accounts;

#[tokio::test]
async fn jsforce_logs_in_and_renews_an_expired_session() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_login.mjs").await;
    assert_eq!(calls.made("POST /services/oauth2/token"), 6);
}

#[tokio::test]
async fn jsforce_writes_and_reads_single_records() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_records.mjs").await;
    let accounts = stage.records_and_deleted(
        "SELECT Name, External_Id__c, BillingCity, Industry, IsDeleted FROM Account ORDER BY Name",
    );
    assert_eq!(
        accounts,
        [
            json!({"Name": "Acme", "External_Id__c": "js-1", "BillingCity": "Lyon", "Industry": null, "IsDeleted": false}),
            json!({"Name": "Borg AG", "External_Id__c": "js 2 é", "BillingCity": null, "Industry": null, "IsDeleted": true}),
        ]
    );
    assert_eq!(calls.made("PATCH /sobjects/{object}/{field}/{value}"), 2);
    assert_eq!(calls.made("PATCH /sobjects/{object}/{id}"), 1);
    assert_eq!(calls.made("DELETE /sobjects/{object}/{id}"), 2);
}

#[tokio::test]
async fn jsforce_writes_collections_two_hundred_at_a_time() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_collections.mjs").await;
    assert_eq!(calls.made("POST /composite/sobjects"), 4);
    assert_eq!(calls.made("PATCH /composite/sobjects"), 1);
    assert_eq!(calls.made("PATCH /composite/sobjects/{object}/{field}"), 1);
    assert_eq!(calls.made("DELETE /composite/sobjects"), 2);
    let count = |soql: &str| stage.records(soql).len();
    assert_eq!(count("SELECT Id FROM Account"), 250 + 2 - 2);
    assert_eq!(count("SELECT Id FROM Account WHERE Name = 'Innocent'"), 0);
    assert_eq!(count("SELECT Id FROM Account WHERE Industry = 'Energy'"), 1);
}

#[tokio::test]
async fn jsforce_reads_every_page_of_a_query_once() {
    let stage = accounts::numbered().await;
    let calls = stage.play(Client::Jsforce, "jsforce_query.mjs").await;
    assert_eq!(calls.made("GET /queryAll"), 1);
    // Three by hand, two by autoFetch, one by a stream, one with an unknown locator.
    assert_eq!(calls.made("GET /query/{locator}"), 7);
}

#[tokio::test]
async fn jsforce_reads_describe_and_limits() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_describe.mjs").await;
    assert_eq!(calls.made("GET /sobjects"), 1);
    // The list of versions needs no session and is not counted.
    assert_eq!(calls.made("GET /services/data"), 1);
}

#[tokio::test]
async fn jsforce_loads_and_queries_with_bulk_api_1() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_bulk.mjs").await;
    let soql = "SELECT External_Id__c, Name, IsDeleted FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "o-1", "Name": "One again", "IsDeleted": false}),
            json!({"External_Id__c": "o-2", "Name": "Two", "IsDeleted": true}),
            json!({"External_Id__c": "o-4", "Name": "Four", "IsDeleted": false}),
        ]
    );
    assert_eq!(calls.made("POST /async/job"), 7);
    assert_eq!(calls.made("POST /async/job/{id}/batch"), 7);
}

#[tokio::test]
async fn jsforce_loads_and_queries_with_bulk_api_2() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Jsforce, "jsforce_bulk2.mjs").await;
    let soql = "SELECT External_Id__c, Industry, IsDeleted FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "b-1", "Industry": "Media", "IsDeleted": false}),
            json!({"External_Id__c": "b-2", "Industry": null, "IsDeleted": false}),
            json!({"External_Id__c": "b-4", "Industry": null, "IsDeleted": true}),
        ]
    );
    assert_eq!(calls.made("POST /jobs/ingest"), 6);
    assert_eq!(calls.made("PUT /jobs/ingest/{id}/batches"), 5);
    assert_eq!(calls.made("GET /jobs/query/{id}/results"), 1);
}
