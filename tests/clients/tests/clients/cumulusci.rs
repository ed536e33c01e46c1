//! CumulusCI, the automation of Salesforce.org.

use serde_json::json;
use syncline_clients::{Client, Stage};

#[tokio::test]
#[ignore = "the client is large: make clients"]
async fn cumulusci_loads_upserts_extracts_and_deletes() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::CumulusCi, "cumulusci.py").await;
    let soql = "SELECT External_Id__c, Name, Industry FROM Account ORDER BY External_Id__c";
    assert_eq!(
        stage.records(soql),
        [
            json!({"External_Id__c": "cci-1", "Name": "First again", "Industry": "Energy"}),
            json!({"External_Id__c": "cci-2", "Name": "Second, \"quoted\"", "Industry": null}),
            json!({"External_Id__c": "cci-3", "Name": "Third", "Industry": null}),
        ]
    );
    let soql = "SELECT LastName, Account.External_Id__c, IsDeleted FROM Contact ORDER BY LastName";
    let contacts = stage.records_and_deleted(soql);
    let shown = contacts.iter().map(|one| {
        let parent = one["Account"]["External_Id__c"].as_str().unwrap();
        (
            one["LastName"].as_str().unwrap(),
            parent,
            one["IsDeleted"] == true,
        )
    });
    let expected = [("Ito", "cci-1", false), ("Kim", "cci-2", true)];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(calls.made("PATCH /composite/sobjects/{object}/{field}"), 2);
    // The contacts of both loads, and the extracted ones.
    assert_eq!(calls.made("POST /async/job"), 3);
    assert_eq!(calls.made("DELETE /composite/sobjects"), 1);
}
