//! simple-salesforce, the client for Python.

use salesforce_org::Org;
use serde_json::{Value as Json, json};
use syncline_clients::{Client, Stage};

use crate::accounts;

/// Adds an external id to contacts that need not be unique.
const SHARED_KEY: &str = r#"
[[object]]
name = "Contact"
  [[object.field]]
  name = "Legacy_Id__c"
  type = "string"
  length = 40
  external_id = true
"#;

#[tokio::test]
async fn simple_salesforce_logs_in_and_renews_an_expired_session() {
    let stage = Stage::start().await;
    let scenario = "simple_salesforce_login.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    // Three open a session, two are refused, one replaces an expired session.
    assert_eq!(calls.made("POST /services/oauth2/token"), 6);
}

#[tokio::test]
async fn simple_salesforce_writes_and_reads_single_records() {
    let stage = Stage::of(Org::from_toml(SHARED_KEY).unwrap()).await;
    let scenario = "simple_salesforce_records.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    let soql =
        "SELECT Name, External_Id__c, BillingCity, Site, IsDeleted FROM Account ORDER BY Name";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"Name": "Acme", "External_Id__c": "py-1", "BillingCity": "Lyon", "Site": null, "IsDeleted": true}),
            json!({"Name": "Borg AG", "External_Id__c": "py 2 é", "BillingCity": null, "Site": "a", "IsDeleted": false}),
        ]
    );
    let twins = stage.records("SELECT FirstName FROM Contact WHERE Legacy_Id__c = 'twin'");
    let unnamed = json!({"FirstName": null});
    assert_eq!(twins, [unnamed.clone(), unnamed], "300 writes nothing");
    assert_eq!(calls.made("PATCH /sobjects/{object}/{field}/{value}"), 6);
}

#[tokio::test]
async fn simple_salesforce_reads_every_page_of_a_query_once() {
    let stage = accounts::numbered().await;
    let scenario = "simple_salesforce_query.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    // Two by hand, two by query_all, two by query_all_iter.
    assert_eq!(calls.made("GET /query/{locator}"), 6);
    let children = stage.records("SELECT Account.Name FROM Contact");
    assert_eq!(children[0]["Account"]["Name"], "Parent");
}

#[tokio::test]
async fn simple_salesforce_loads_and_queries_with_bulk_api_1() {
    let stage = Stage::start().await;
    stage.allow_hard_delete();
    let scenario = "simple_salesforce_bulk.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    let soql = "SELECT External_Id__c, Name, IsDeleted FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "o-0", "Name": "Account 0", "IsDeleted": false}),
            json!({"External_Id__c": "o-1", "Name": "Detailed", "IsDeleted": false}),
            json!({"External_Id__c": "o-2", "Name": "Account 2", "IsDeleted": true}),
            json!({"External_Id__c": "o-new", "Name": "New", "IsDeleted": false}),
        ]
    );
    // Seven loads, one of them in three batches, and three queries.
    assert_eq!(calls.made("POST /async/job"), 10);
    assert_eq!(calls.made("POST /async/job/{id}/batch"), 12);
}

#[tokio::test]
async fn simple_salesforce_loads_hard_deletes_and_queries_with_bulk_api_2() {
    let stage = Stage::start().await;
    stage.allow_hard_delete();
    let scenario = "simple_salesforce_bulk2.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    let soql = "SELECT External_Id__c, Description, IsDeleted FROM Account WHERE External_Id__c LIKE 'k-%' ORDER BY External_Id__c";
    let found = stage.records_and_deleted(soql);
    let keys: Vec<_> = found.iter().map(|one| &one["External_Id__c"]).collect();
    assert_eq!(
        keys,
        ["k-0", "k-1", "k-2", "k-3", "k-new"],
        "k-4 is gone for good"
    );
    let deleted: Vec<_> = found.iter().map(|one| one["IsDeleted"] == true).collect();
    assert_eq!(deleted, [false, false, true, true, false]);
    assert_eq!(found[0]["Description"], Json::Null, "#N/A clears");
    assert_eq!(
        stage
            .records("SELECT Id FROM Account WHERE Name LIKE 'Split%'")
            .len(),
        4
    );
    assert_eq!(calls.made("GET /jobs/query/{id}/results"), 2 + 1 + 1);
}
