//! The Salesforce CLI, and its plugin sfdmu.

use serde_json::{Value as Json, json};
use syncline_clients::{Client, Stage};

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn cli_logs_in_and_works_on_single_records() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::SalesforceCli, "records.mjs").await;
    let soql = "SELECT External_Id__c, Name, Industry, NumberOfEmployees, Description, IsDeleted \
                FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "sf-1", "Name": "Acme Corp", "Industry": "Media", "NumberOfEmployees": 7, "Description": "by a plain call", "IsDeleted": false}),
            json!({"External_Id__c": "sf-2", "Name": "Gone", "Industry": null, "NumberOfEmployees": null, "Description": null, "IsDeleted": true}),
        ]
    );
    assert_eq!(calls.made("GET /limits"), 1);
    assert_eq!(calls.made("PATCH /sobjects/{object}/{id}"), 2);
    assert_eq!(calls.made("DELETE /sobjects/{object}/{id}"), 1);
}

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn cli_loads_and_exports_in_bulk() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::SalesforceCli, "bulk.mjs").await;
    let soql =
        "SELECT External_Id__c, Name, Industry, IsDeleted FROM Account ORDER BY External_Id__c";
    let row = |key: &str, name: &str, industry: Json, deleted: bool| json!({"External_Id__c": key, "Name": name, "Industry": industry, "IsDeleted": deleted});
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            row("b-1", "One again", Json::Null, false),
            row("b-2", "Two, \"quoted\"", json!("Retail"), false),
            row("b-3", "Three", json!("Energy"), true),
            row("b-4", "Four", json!("Media"), false),
            row("b-5", "Later", Json::Null, false),
        ]
    );
    assert_eq!(calls.made("POST /jobs/ingest"), 5);
    assert_eq!(calls.made("POST /jobs/query"), 1);
}

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn cli_imports_the_trees_that_it_exports() {
    let stage = Stage::start().await;
    stage.play(Client::SalesforceCli, "tree.mjs").await;
    let named = |object: &str, field: &str| {
        let soql = format!("SELECT {field} FROM {object} ORDER BY {field}");
        let found = stage.records(&soql);
        let name = |one: &Json| one[field].as_str().unwrap().to_owned();
        found.iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(named("Account", "Name"), ["Elm", "Elm", "Oak", "Oak"]);
    assert_eq!(
        named("Contact", "LastName"),
        ["Leaf", "Leaf", "Root", "Root"]
    );
    let parents = stage.records("SELECT Id FROM Contact WHERE Account.Name = 'Oak'");
    assert_eq!(parents.len(), 4);
}

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn sfdmu_moves_files_to_the_org_and_back() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Sfdmu, "sfdmu.mjs").await;
    let soql = "SELECT External_Id__c, Name, Industry FROM Account ORDER BY External_Id__c";
    let row = |key: &str, name: &str, industry: Json| json!({"External_Id__c": key, "Name": name, "Industry": industry});
    assert_eq!(
        stage.records(soql),
        [
            row("m-1", "Moved, one", json!("Energy")),
            row("m-2", "Moved two", json!("Retail")),
            row("m-3", "Moved three", Json::Null),
            row("m-4", "Moved four", Json::Null),
        ]
    );
    let contacts =
        stage.records("SELECT LastName, Account.External_Id__c FROM Contact ORDER BY LastName");
    let parents: Vec<_> = contacts
        .iter()
        .map(|one| &one["Account"]["External_Id__c"])
        .collect();
    assert_eq!(parents, ["m-1", "m-4", "m-3"]);
    // Accounts and contacts by each API; contacts and accounts that change are separate jobs.
    assert_eq!(calls.made("POST /composite/sobjects"), 2);
    assert_eq!(calls.made("POST /async/job"), 3);
    assert_eq!(calls.made("POST /jobs/ingest"), 3);
}
