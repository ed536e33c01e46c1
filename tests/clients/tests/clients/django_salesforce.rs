//! django-salesforce, a database backend for Django.

use serde_json::{Value as Json, json};
use syncline_clients::{Client, Stage};

use crate::accounts;

#[tokio::test]
async fn django_reads_and_writes_through_its_models() {
    let stage = accounts::numbered().await;
    let scenario = "django_salesforce.py password";
    let calls = stage.play(Client::DjangoSalesforce, scenario).await;
    assert_eq!(calls.made("POST /services/oauth2/token"), 1);
    assert_eq!(calls.made("GET /query/{locator}"), 2);
    let soql = "SELECT Name, Industry, AnnualRevenue, NumberOfEmployees, Active__c, Opened__c, IsDeleted \
                FROM Account WHERE External_Id__c = 'dj-1'";
    assert_eq!(
        stage.records_and_deleted(soql),
        [
            json!({"Name": "O'Hara & \"Söhne\"", "Industry": "Media", "AnnualRevenue": null, "NumberOfEmployees": 8, "Active__c": true, "Opened__c": "2026-05-01", "IsDeleted": true})
        ]
    );
    let contacts = stage.records_and_deleted("SELECT IsDeleted FROM Contact");
    assert_eq!(contacts, vec![json!({"IsDeleted": true}); 3]);
}

#[tokio::test]
async fn django_logs_in_by_every_flow() {
    let stage = Stage::start().await;
    stage.with_org(|org| {
        let fields = json!({"Name": "Account 0000"});
        org.insert_as(salesforce_org::local::PERSON, "Account", &fields)
            .unwrap();
    });
    for (login, grants, soap) in [("soap", 0, 1), ("credentials", 1, 0), ("refresh", 1, 0)] {
        let scenario = format!("django_salesforce.py {login}");
        let calls = stage.play(Client::DjangoSalesforce, &scenario).await;
        assert_eq!(calls.made("POST /services/oauth2/token"), grants, "{login}");
        assert_eq!(calls.made("POST /services/Soap"), soap, "{login}");
    }
    let changed: [Json; 0] = [];
    assert_eq!(stage.records("SELECT Id FROM Contact"), changed);
}
