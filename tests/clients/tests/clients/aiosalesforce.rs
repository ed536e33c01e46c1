//! aiosalesforce, an asynchronous client for Python.

use serde_json::{Value as Json, json};
use syncline_clients::{Client, Stage};

use crate::accounts;

#[tokio::test]
async fn aiosalesforce_logs_in_and_works_one_by_one_or_together() {
    let stage = accounts::numbered().await;
    let scenario = "aiosalesforce_records.py";
    let calls = stage.play(Client::AioSalesforce, scenario).await;
    // Two open a session, two are refused; the SOAP login is another resource.
    assert_eq!(calls.made("POST /services/oauth2/token"), 4);
    assert_eq!(calls.made("POST /services/Soap"), 2);
    // Three pages each of query and queryAll.
    assert_eq!(calls.made("GET /query/{locator}"), 2 + 2);
    let soql = "SELECT External_Id__c, Name, Industry, Description, IsDeleted FROM Account \
                WHERE External_Id__c != null ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "aio-1", "Name": "Acme", "Industry": "Media", "Description": "batch", "IsDeleted": false}),
            json!({"External_Id__c": "aio-2", "Name": "Borg", "Industry": null, "Description": null, "IsDeleted": true}),
            json!({"External_Id__c": "aio-3", "Name": "Three", "Industry": null, "Description": null, "IsDeleted": false}),
            json!({"External_Id__c": "aio-4", "Name": "Parent", "Industry": null, "Description": null, "IsDeleted": false}),
        ]
    );
    let contacts = stage.records("SELECT LastName, Account.Name FROM Contact ORDER BY LastName");
    let parents: Vec<_> = contacts.iter().map(|one| &one["Account"]["Name"]).collect();
    assert_eq!(parents, ["Acme", "Parent"]);
    let undone = stage.records_and_deleted("SELECT Id FROM Account WHERE Name = 'Undone'");
    assert_eq!(undone, [] as [Json; 0]);
}

#[tokio::test]
async fn aiosalesforce_loads_with_bulk_api_2() {
    let stage = Stage::start().await;
    let scenario = "aiosalesforce_bulk.py";
    let calls = stage.play(Client::AioSalesforce, scenario).await;
    assert_eq!(calls.made("POST /jobs/ingest"), 5);
    let soql = "SELECT External_Id__c, Name, AnnualRevenue, IsDeleted FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"External_Id__c": "b-0", "Name": "Bulk 0", "AnnualRevenue": null, "IsDeleted": false}),
            json!({"External_Id__c": "b-1", "Name": "Renamed", "AnnualRevenue": 1.0, "IsDeleted": false}),
            json!({"External_Id__c": "b-2", "Name": "Bulk 2", "AnnualRevenue": 2.0, "IsDeleted": true}),
            json!({"External_Id__c": "b-9", "Name": "New", "AnnualRevenue": null, "IsDeleted": false}),
        ]
    );
    let text = stage.records("SELECT External_Id__c, Description FROM Account");
    let text = text.iter().find(|one| one["External_Id__c"] == "b-0");
    assert_eq!(text.unwrap()["Description"], "two\nlines, \"quoted\"");
}
