//! simple-salesforce, the client for Python.

use salesforce_org::Org;
use serde_json::json;
use syncline_clients::{Client, Stage};

use crate::accounts;

/// Contacts get an external id that two of them may share.
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
async fn simple_salesforce_logs_in_where_salesforce_does_and_renews_a_dead_session() {
    let stage = Stage::start().await;
    let scenario = "simple_salesforce_login.py";
    let calls = stage.play(Client::SimpleSalesforce, scenario).await;
    // Three that open a session, two refused, one that replaces a dead session.
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
