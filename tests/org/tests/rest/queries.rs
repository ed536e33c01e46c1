//! Queries and describes.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, RecordId};
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

fn accounts(f: &mut Fixture, count: usize) {
    for n in 0..count {
        let fields = json!({"Name": format!("A{n:03}")});
        f.org.insert_as(PERSON, "Account", &fields).unwrap();
    }
}

/// Opens a query of several pages and returns the URL of the second one.
fn second_page(f: &mut Fixture) -> String {
    let request = f.request("GET", "queryAll?q=SELECT+Id+FROM+Account");
    let request = request.header("Sforce-Query-Options", "batchSize=200");
    let next = f.org.request(&request).to_json()["nextRecordsUrl"].clone();
    next.as_str().unwrap().to_owned()
}

#[test]
fn locators_live_two_days_after_their_last_use() {
    const DAY_MS: i64 = 86_400_000;
    let kind = "[org]\nunconfirmed = { query_locator_life = \"two_days\" }\n";
    let mut f = Fixture::of(Org::from_toml(kind).unwrap());
    accounts(&mut f, 201);
    let next = second_page(&mut f);
    for (ms, status) in [(2 * DAY_MS, 200), (2 * DAY_MS, 200), (2 * DAY_MS + 1, 400)] {
        f.org.advance_ms(ms);
        f.token = f
            .org
            .open_session(salesforce_org::local::INTEGRATION_USER)
            .unwrap();
        assert_eq!(f.call("GET", &next).status, status, "{ms}");
    }
}

#[test]
fn eleventh_open_query_closes_the_first() {
    let mut f = Fixture::new();
    accounts(&mut f, 201);
    let pages: Vec<String> = (0..11).map(|_| second_page(&mut f)).collect();
    let first = f.call("GET", &pages[0]);
    assert_eq!(first.to_json()[0]["errorCode"], "INVALID_QUERY_LOCATOR");
    assert_eq!(f.call("GET", &pages[1]).status, 200);
    f.token = f.org.open_session(PERSON).unwrap();
    assert_eq!(
        f.call("GET", &pages[1]).status,
        400,
        "another user's locator"
    );
}

#[test]
fn groups_are_aggregate_results() {
    let mut f = Fixture::new();
    accounts(&mut f, 3);
    let json = f.query("SELECT Name, COUNT(Id), MAX(CreatedDate) newest FROM Account GROUP BY Name ORDER BY Name LIMIT 1");
    assert_eq!(
        json,
        json!({"totalSize": 1, "done": true, "records": [{"attributes": {"type": "AggregateResult"},
            "Name": "A000", "expr0": 1, "newest": "2026-05-01T09:30:00.000+0000"}]})
    );
    let json = f.query("SELECT COUNT(Id) FROM Account");
    assert_eq!(
        (&json["totalSize"], &json["records"][0]["expr0"]),
        (&json!(1), &json!(3))
    );
    for n in 0..2_000 {
        f.org
            .insert_as(PERSON, "Account", &json!({"Name": format!("B{n}")}))
            .unwrap();
    }
    let many = f.query("SELECT Name FROM Account GROUP BY Name");
    assert_eq!(many[0]["errorCode"], "EXCEEDED_ID_LIMIT");
}

#[test]
fn query_all_includes_deleted_records() {
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
fn every_described_field_has_every_member() {
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
    assert_eq!(json["childRelationships"].as_array().unwrap().len(), 5);
    let global = f.call("GET", "sobjects").to_json();
    assert_eq!(
        (
            &global["maxBatchSize"],
            global["sobjects"].as_array().unwrap().len()
        ),
        (&json!(200), 8)
    );
    assert_eq!(
        f.call("GET", "sobjects/Contact").to_json()["objectDescribe"]["keyPrefix"],
        "003"
    );
    assert_eq!(f.call("GET", "sobjects/Nope/describe").status, 404);
}

#[test]
fn known_describe_is_not_sent_again() {
    let mut f = Fixture::new();
    for path in ["sobjects", "sobjects/Account", "sobjects/Account/describe"] {
        let first = f.call("GET", path);
        let date = first.header("last-modified").unwrap();
        let again = f.request("GET", path).header("If-Modified-Since", date);
        let again = f.org.request(&again);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
}
