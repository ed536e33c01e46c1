//! Queries and describes.

use salesforce_org::RecordId;
use salesforce_org::local::PERSON;
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, error, refused};

#[test]
fn queries_come_in_pages() {
    let mut f = Fixture::new();
    for n in 0..450 {
        f.org
            .insert_as(PERSON, "Account", &json!({"Name": format!("A{n:03}")}))
            .unwrap();
    }
    let request = f.request("GET", "query/?q=SELECT+Name+FROM+Account+ORDER+BY+Name");
    let request = request.header("Sforce-Query-Options", "batchSize=200");
    let mut page = f.org.request(&request).to_json();
    let mut seen = Vec::new();
    loop {
        assert_eq!(page["totalSize"], json!(450));
        seen.extend(
            page["records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["Name"].clone()),
        );
        let Some(next) = page["nextRecordsUrl"].as_str() else {
            break;
        };
        assert_eq!(page["done"], json!(false));
        let next = next.to_owned();
        page = f.call("GET", &next).to_json();
    }
    assert_eq!((page["done"].clone(), seen.len()), (json!(true), 450));
    assert!(seen.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()));
    let wrong = f.call("GET", "query/01g5g0000000zzzAAA-200");
    assert_eq!(
        refused(&wrong),
        error(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    );
    let count = f.query("SELECT COUNT() FROM Account WHERE Name LIKE 'A0%'");
    assert_eq!(
        count,
        json!({"totalSize": 100, "done": true, "records": []})
    );
}

#[test]
fn query_all_shows_the_recycle_bin() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "gone", "External_Id__c": "g"}));
    f.call("DELETE", &format!("sobjects/Account/{id}"));
    let q = "q=SELECT+Id,IsDeleted+FROM+Account+WHERE+External_Id__c='g'";
    assert_eq!(
        f.call("GET", &format!("query?{q}")).to_json()["totalSize"],
        json!(0)
    );
    let all = f.call("GET", &format!("queryAll?{q}")).to_json();
    assert_eq!(
        (&all["records"][0]["Id"], &all["records"][0]["IsDeleted"]),
        (&json!(id), &json!(true))
    );
    let again = f.account(json!({"Name": "back", "External_Id__c": "G"}));
    let error = f
        .org
        .undelete_as(PERSON, RecordId::parse(&id).unwrap())
        .unwrap_err();
    assert_eq!(error.code(), "DUPLICATE_VALUE");
    f.call("DELETE", &format!("sobjects/Account/{again}"));
    f.org
        .undelete_as(PERSON, RecordId::parse(&id).unwrap())
        .unwrap();
    assert_eq!(
        f.call("GET", "sobjects/Account/External_Id__c/g").to_json()["Id"],
        json!(id)
    );
}

#[test]
fn every_field_of_a_describe_has_every_member() {
    let mut f = Fixture::new();
    let json = f.call("GET", "sobjects/account/describe/").to_json();
    let fields = json["fields"].as_array().unwrap();
    let keys = |field: &Json| field.as_object().unwrap().len();
    assert!(
        fields.iter().all(|field| keys(field) == 57),
        "{}",
        keys(&fields[0])
    );
    let external = fields
        .iter()
        .find(|field| field["name"] == "External_Id__c")
        .unwrap();
    for (member, value) in [
        ("externalId", json!(true)),
        ("unique", json!(true)),
        ("caseSensitive", json!(false)),
        ("byteLength", json!(765)),
        ("type", json!("string")),
        ("idLookup", json!(true)),
        ("createable", json!(true)),
        ("nillable", json!(true)),
        ("soapType", json!("xsd:string")),
    ] {
        assert_eq!(external[member], value, "{member}");
    }
    assert_eq!(json["childRelationships"].as_array().unwrap().len(), 2);
    let global = f.call("GET", "sobjects").to_json();
    assert_eq!(
        (
            &global["maxBatchSize"],
            global["sobjects"].as_array().unwrap().len()
        ),
        (&json!(200), 3)
    );
    assert_eq!(
        f.call("GET", "sobjects/Contact").to_json()["objectDescribe"]["keyPrefix"],
        "003"
    );
    assert_eq!(f.call("GET", "sobjects/Nope/describe").status, 404);
}

#[test]
fn a_describe_that_the_caller_knows_is_not_sent_again() {
    let mut f = Fixture::new();
    for path in ["sobjects", "sobjects/Account", "sobjects/Account/describe"] {
        let first = f.call("GET", path);
        let date = first.header("last-modified").unwrap();
        let again = f.request("GET", path).header("If-Modified-Since", date);
        let again = f.org.request(&again);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
}
