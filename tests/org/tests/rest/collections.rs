//! sObject Collections.

use salesforce_org::RecordId;
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, error, refused};

#[test]
fn collection_returns_a_result_per_record_in_order() {
    let mut f = Fixture::new();
    let record = |external: &str, name: Json| json!({"attributes": {"type": "Account"}, "External_Id__c": external, "Name": name});
    let body = json!({"records": [
        record("1", json!("one")), record("2", Json::Null), record("3", json!("three")),
        record("3", json!("again")), json!({"attributes": {"type": "Account"}, "Name": "no key"}),
    ]});
    let upsert = "composite/sobjects/Account/External_Id__c";
    let json = f.send("PATCH", upsert, &body).to_json();
    let codes: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["errors"][0]["statusCode"])
        .collect();
    let code = |text: &str| json!(text);
    assert_eq!(
        codes,
        [
            &Json::Null,
            &code("REQUIRED_FIELD_MISSING"),
            &code("DUPLICATE_VALUE"),
            &code("DUPLICATE_VALUE"),
            &code("MISSING_ARGUMENT")
        ]
    );
    assert_eq!(
        (&json[0]["created"], &json[1]["id"]),
        (&json!(true), &Json::Null)
    );
    let id = json[0]["id"].as_str().unwrap().to_owned();

    let update = json!({"records": [
        {"attributes": {"type": "Account"}, "id": id, "Name": "uno"},
        {"attributes": {"type": "Account"}, "Id": "0015g00000000zzAAA", "Name": "none"},
        {"attributes": {"type": "Account"}, "Name": "no id"},
    ]});
    let json = f.send("PATCH", "composite/sobjects", &update).to_json();
    assert_eq!(json[0], json!({"id": id, "success": true, "errors": []}));
    assert_eq!(
        json[1]["errors"][0]["statusCode"],
        "INVALID_CROSS_REFERENCE_KEY"
    );
    assert_eq!(json[2]["errors"][0]["statusCode"], "MISSING_ARGUMENT");

    let got = f.call(
        "GET",
        &format!("composite/sobjects/Account?ids={id},0015g00000000zzAAA&fields=Name"),
    );
    assert_eq!(
        (&got.to_json()[0]["Name"], &got.to_json()[1]),
        (&json!("uno"), &Json::Null)
    );
    let got = f.send(
        "POST",
        "composite/sobjects/Account",
        &json!({"ids": [id], "fields": ["Id"]}),
    );
    assert_eq!(got.to_json()[0]["Id"], json!(id));
    let gone = f
        .call(
            "DELETE",
            &format!("composite/sobjects?ids={id},{id}&allOrNone=false"),
        )
        .to_json();
    assert_eq!(
        (&gone[0]["success"], &gone[1]["errors"][0]["statusCode"]),
        (&json!(true), &json!("ENTITY_IS_DELETED"))
    );
}

#[test]
fn all_or_none_rolls_back_and_reports_it() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "old", "External_Id__c": "k"}));
    let before = f.events().len();
    let body = json!({"allOrNone": true, "records": [
        {"attributes": {"type": "Account"}, "Name": "new"},
        {"attributes": {"type": "Account"}, "External_Id__c": "K", "Name": "duplicate"},
    ]});
    let response = f.send("POST", "composite/sobjects", &body);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.to_json()[0]["errors"][0]["statusCode"],
        "ALL_OR_NONE_OPERATION_ROLLED_BACK"
    );
    assert_eq!(
        response.to_json()[1]["errors"][0]["statusCode"],
        "DUPLICATE_VALUE"
    );
    let update = json!({"allOrNone": true, "records": [
        {"attributes": {"type": "Account"}, "Id": id, "Name": "changed", "External_Id__c": "moved"},
        {"attributes": {"type": "Contact"}, "Id": "0035g0000000000AAA", "LastName": "x"},
    ]});
    f.send("PATCH", "composite/sobjects", &update);
    let id = RecordId::parse(&id).unwrap();
    assert_eq!(f.org.value_of(id, "Name").as_deref(), Some("old"));
    assert_eq!(
        f.call("GET", "sobjects/Account/External_Id__c/k").status,
        200
    );
    assert_eq!(
        f.call("GET", "sobjects/Account/External_Id__c/moved")
            .status,
        404
    );
    assert_eq!((f.org.count("Account"), f.events().len()), (1, before));
}

#[test]
fn invalid_collections_are_refused() {
    let mut f = Fixture::new();
    let record = json!({"attributes": {"type": "Account"}, "Name": "x"});
    let contact = json!({"attributes": {"type": "Contact"}, "LastName": "x"});
    let none = f.send("POST", "composite/sobjects", &json!({"records": []}));
    assert_eq!(
        refused(&none),
        error(
            400,
            "REQUIRED_FIELD_MISSING",
            "At least 1 record is required"
        )
    );
    for records in [
        vec![record.clone(); 201],
        vec![json!({"Name": "no type"})],
        vec![[record.clone(), contact]; 6].concat(),
    ] {
        assert_eq!(
            f.send("POST", "composite/sobjects", &json!({"records": records}))
                .status,
            400
        );
    }
    let wrong = json!({"records": [record, {"attributes": {"type": "Account"}, "Name": "y",
        "NumberOfEmployees": "many"}]});
    let response = f.send("POST", "composite/sobjects", &wrong);
    assert_eq!((response.status, f.org.count("Account")), (400, 0));
    assert_eq!(response.to_json()[0]["errorCode"], "JSON_PARSER_ERROR");
}
