//! What Salesforce itself changes in the transaction of a write.

use salesforce_org::{Org, Request};
use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, refused};
use crate::prices::{line, shop};

pub(crate) fn with_features(names: &str) -> Fixture {
    let text = format!("[org]\nfeatures = [{names}]\n");
    Fixture::of(Org::from_toml(&text).unwrap())
}

pub(crate) fn create(f: &mut Fixture, object: &str, fields: Json) -> String {
    let response = f.send("POST", &format!("sobjects/{object}"), &fields);
    assert_eq!(response.status, 201, "{}", response.to_json());
    response.to_json()["id"].as_str().unwrap().to_owned()
}

pub(crate) fn update(f: &mut Fixture, object: &str, id: &str, fields: Json) {
    let response = f.send("PATCH", &format!("sobjects/{object}/{id}"), &fields);
    assert_eq!(response.status, 204, "{}", response.to_json());
}

/// Returns the values of some fields of a record.
pub(crate) fn values(f: &mut Fixture, object: &str, id: &str, fields: &str) -> Vec<Json> {
    let path = format!("sobjects/{object}/{id}?fields={fields}");
    let record = f.call("GET", &path).to_json();
    fields.split(',').map(|name| record[name].clone()).collect()
}

const STAGE: &str = "Probability,ForecastCategory,IsClosed,IsWon,ExpectedRevenue";

pub(crate) fn opportunity(f: &mut Fixture, fields: Json) -> String {
    let mut all = json!({"Name": "Deal", "CloseDate": "2026-06-01", "StageName": "Prospecting"});
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    create(f, "Opportunity", all)
}

#[test]
fn new_stage_sets_what_follows_from_it() {
    let mut f = Fixture::new();
    let id = opportunity(&mut f, json!({"Amount": 200}));
    assert_eq!(
        values(&mut f, "Opportunity", &id, STAGE),
        [
            json!(10.0),
            json!("Pipeline"),
            json!(false),
            json!(false),
            json!(20.0)
        ]
    );
    let before = f.events().len();
    update(
        &mut f,
        "Opportunity",
        &id,
        json!({"StageName": "Closed Won"}),
    );
    assert_eq!(
        values(&mut f, "Opportunity", &id, STAGE),
        [
            json!(100.0),
            json!("Closed"),
            json!(true),
            json!(true),
            json!(200.0)
        ]
    );
    let events = f.events().split_off(before);
    assert_eq!(events.len(), 1, "one transaction, one event");
    for name in [
        "StageName",
        "Probability",
        "IsWon",
        "ExpectedRevenue",
        "ForecastCategoryName",
    ] {
        assert!(
            events[0].changed_fields.iter().any(|known| known == name),
            "{name}"
        );
    }
}

#[test]
fn caller_values_win_over_those_that_follow() {
    let mut f = Fixture::new();
    let id = opportunity(&mut f, json!({"Probability": 35, "Amount": 1000}));
    let shown = "Probability,ExpectedRevenue";
    assert_eq!(
        values(&mut f, "Opportunity", &id, shown),
        [json!(35.0), json!(350.0)]
    );
    // The same stage again is no new stage.
    update(
        &mut f,
        "Opportunity",
        &id,
        json!({"StageName": "Prospecting", "Amount": 100}),
    );
    assert_eq!(
        values(&mut f, "Opportunity", &id, shown),
        [json!(35.0), json!(35.0)]
    );
    let refusal = f.send(
        "PATCH",
        &format!("sobjects/Opportunity/{id}"),
        &json!({"ExpectedRevenue": 1}),
    );
    assert_eq!(
        refusal.to_json()[0]["errorCode"],
        "INVALID_FIELD_FOR_INSERT_UPDATE"
    );
}

const ROLL_UP: &str = r#"
[[object]]
name = "Account"
  [[object.field]]
  name = "Invoiced__c"
  type = "currency"
  scale = 2
  automation = { total = { object = "Invoice__c", reference = "Account__c", function = "sum", field = "Total__c" } }
  [[object.field]]
  name = "Invoices__c"
  type = "double"
  automation = { total = { object = "Invoice__c", reference = "Account__c", function = "count" } }
[[object]]
name = "Invoice__c"
  [[object.field]]
  name = "Account__c"
  type = "reference"
  reference_to = ["Account"]
  child_relationship_name = "Invoices__r"
  [[object.field]]
  name = "Total__c"
  type = "currency"
  scale = 2
"#;

#[test]
fn roll_up_moves_the_stamp_of_its_parent_but_is_in_no_event() {
    let mut f = Fixture::of(Org::from_toml(ROLL_UP).unwrap());
    let (old, new) = (
        f.account(json!({"Name": "A"})),
        f.account(json!({"Name": "B"})),
    );
    let invoice = create(
        &mut f,
        "Invoice__c",
        json!({"Account__c": old, "Total__c": 5.5}),
    );
    let shown = "Invoiced__c,Invoices__c";
    assert_eq!(
        values(&mut f, "Account", &old, shown),
        [json!(5.5), json!(1.0)]
    );
    f.org.advance_ms(9_000);
    let before = f.events().len();
    update(&mut f, "Invoice__c", &invoice, json!({"Account__c": new}));
    assert_eq!(
        values(&mut f, "Account", &old, shown),
        [json!(0.0), json!(0.0)]
    );
    assert_eq!(
        values(&mut f, "Account", &new, shown),
        [json!(5.5), json!(1.0)]
    );
    for id in [&old, &new] {
        let stamp = values(&mut f, "Account", id, "SystemModstamp");
        assert_eq!(stamp, [json!("2026-05-01T09:30:09.000+0000")]);
    }
    let events = f.events().split_off(before);
    let of_accounts = events.iter().filter(|event| event.entity == "Account");
    for event in of_accounts {
        assert_eq!(event.changed_fields, ["LastModifiedDate"]);
    }
    let describe = f.call("GET", "sobjects/Account/describe").to_json();
    let fields = describe["fields"].as_array().unwrap();
    let field = fields.iter().find(|field| field["name"] == "Invoiced__c");
    assert_eq!(field.unwrap()["calculated"], json!(true));
}

#[test]
fn merged_parent_takes_over_the_totals_of_its_children() {
    let mut f = Fixture::of(Org::from_toml(ROLL_UP).unwrap());
    let (kept, lost) = (
        f.account(json!({"Name": "A"})),
        f.account(json!({"Name": "B"})),
    );
    for (account, total) in [(&kept, 1), (&lost, 2)] {
        let fields = json!({"Account__c": account, "Total__c": total});
        create(&mut f, "Invoice__c", fields);
    }
    let order = json!({
        "user": salesforce_org::local::PERSON, "master": kept, "merged": [lost],
    });
    let merge = Request::new("POST", "/_org/merge").json(&order);
    assert_eq!(f.org.request(&merge).status, 200);
    assert_eq!(
        values(&mut f, "Account", &kept, "Invoiced__c,Invoices__c"),
        [json!(3.0), json!(2.0)]
    );
}

#[test]
fn record_with_a_total_is_locked_by_its_children() {
    let mut f = Fixture::of(Org::from_toml(ROLL_UP).unwrap());
    let account = f.account(json!({"Name": "A"}));
    let invoice = create(
        &mut f,
        "Invoice__c",
        json!({"Account__c": account, "Total__c": 1}),
    );
    let lock = Request::new("POST", "/_org/locks").json(&json!({"id": account, "ms": 1_000}));
    assert_eq!(f.org.request(&lock).status, 200);
    let path = format!("sobjects/Invoice__c/{invoice}");
    let refusal = f.send("PATCH", &path, &json!({"Total__c": 2}));
    assert_eq!(refusal.to_json()[0]["errorCode"], "UNABLE_TO_LOCK_ROW");
}

#[test]
fn account_cannot_become_its_own_ancestor() {
    let mut f = Fixture::new();
    let top = f.account(json!({"Name": "Top"}));
    let middle = f.account(json!({"Name": "Middle", "ParentId": top}));
    let low = f.account(json!({"Name": "Low", "ParentId": middle}));
    for parent in [&top, &low] {
        let path = format!("sobjects/Account/{top}");
        let refusal = f.send("PATCH", &path, &json!({"ParentId": parent}));
        assert_eq!(
            refusal.to_json(),
            json!([{
                "errorCode": "CIRCULAR_DEPENDENCY",
                "message": "attempt to violate hierarchy constraints: [ParentId]",
                "fields": ["ParentId"],
            }])
        );
    }
    update(&mut f, "Account", &low, json!({"ParentId": top}));
}

#[test]
fn archived_record_leaves_queries_without_a_delete() {
    let mut f = with_features("\"activities\"");
    let account = f.account(json!({"Name": "Acme"}));
    let contact = create(&mut f, "Contact", json!({"LastName": "Ito"}));
    let task =
        json!({"Subject": "Call", "WhatId": account, "WhoId": contact, "Status": "Completed"});
    let task = create(&mut f, "Task", task);
    let found = f.query("SELECT Id, IsClosed, Who.Name, What.Name FROM Task");
    let record = &found["records"][0];
    assert_eq!(
        (
            &record["IsClosed"],
            &record["Who"]["Name"],
            &record["What"]["Name"]
        ),
        (&json!(true), &json!("Ito"), &json!("Acme"))
    );
    let events = f.events().len();
    let archive = Request::new("POST", "/_org/archive").json(&json!({"ids": [task]}));
    assert_eq!(f.org.request(&archive).status, 200);
    assert_eq!(f.query("SELECT Id FROM Task")["totalSize"], 0);
    let q = "SELECT+Id,IsDeleted,IsArchived+FROM+Task";
    let all = f.call("GET", &format!("queryAll?q={q}")).to_json();
    let record = &all["records"][0];
    assert_eq!(
        (&record["IsDeleted"], &record["IsArchived"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(f.events().len(), events);
    let window = "start=2026-05-01T09:00:00Z&end=2026-05-01T10:00:00Z";
    let deleted = f.call("GET", &format!("sobjects/Task/deleted?{window}"));
    assert_eq!(deleted.to_json()["deletedRecords"], json!([]));
    let path = format!("sobjects/Task/{task}");
    assert_eq!(f.call("GET", &path).status, 404);
    let switch = json!({"archived_by_id": "readable"});
    f.org
        .request(&Request::new("POST", "/_org/unconfirmed").json(&switch));
    assert_eq!(f.call("GET", &path).status, 200);
}

const QUEUES: &str = r#"
[org]
features = ["queues"]
[[queue]]
name = "New leads"
objects = ["Lead"]
[[assignment_rule]]
object = "Lead"
owner = "New leads"
"#;

#[test]
fn queue_owns_only_records_of_its_objects() {
    let mut f = Fixture::of(Org::from_toml(QUEUES).unwrap());
    let found = f.query("SELECT Id FROM Group WHERE Type = 'Queue'");
    let queue = found["records"][0]["Id"].clone();
    let lead = create(
        &mut f,
        "Lead",
        json!({"LastName": "Ito", "Company": "Acme"}),
    );
    assert_eq!(values(&mut f, "Lead", &lead, "OwnerId")[0], queue);
    let case = json!({"Subject": "Broken", "OwnerId": queue});
    assert_eq!(
        refused(&f.send("POST", "sobjects/Case", &case)).1[0]["errorCode"],
        "INVALID_OPERATION"
    );
    let account = json!({"Name": "Acme", "OwnerId": queue});
    assert_eq!(f.send("POST", "sobjects/Account", &account).status, 400);
    let describe = f.call("GET", "sobjects/Lead/describe").to_json();
    let fields = describe["fields"].as_array().unwrap();
    let owner = fields.iter().find(|field| field["name"] == "OwnerId");
    assert_eq!(owner.unwrap()["referenceTo"], json!(["Group", "User"]));
}

#[test]
fn every_record_has_one_of_the_currencies_of_the_org() {
    let text = "[org]\ncurrencies = [\"EUR\", \"USD\"]\n";
    let mut f = Fixture::of(Org::from_toml(text).unwrap());
    let id = f.account(json!({"Name": "A"}));
    let name = "CurrencyIsoCode";
    assert_eq!(values(&mut f, "Account", &id, name), [json!("EUR")]);
    update(&mut f, "Account", &id, json!({name: "USD"}));
    assert_eq!(values(&mut f, "Account", &id, name), [json!("USD")]);
    let unknown = json!({"Name": "B", name: "XAU"});
    assert_eq!(
        f.send("POST", "sobjects/Account", &unknown).to_json()[0]["errorCode"],
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"
    );
    let mut other = Fixture::new();
    let found = other.query("SELECT CurrencyIsoCode FROM Account");
    assert_eq!(found[0]["errorCode"], "INVALID_FIELD");
}

const COUNTRIES: &str = r#"
[[country]]
code = "US"
name = "United States"
states = { CA = "California", NY = "New York" }
[[country]]
code = "DE"
name = "Germany"
states = { BY = "Bavaria" }
"#;

#[test]
fn state_and_country_are_validated_together() {
    let mut f = Fixture::of(Org::from_toml(COUNTRIES).unwrap());
    let id = f.account(
        json!({"Name": "A", "BillingCountry": "united states", "BillingState": "California"}),
    );
    let shown = "BillingCountryCode,BillingCountry,BillingStateCode,BillingState";
    assert_eq!(
        values(&mut f, "Account", &id, shown),
        [
            json!("US"),
            json!("United States"),
            json!("CA"),
            json!("California")
        ]
    );
    update(&mut f, "Account", &id, json!({"BillingStateCode": "NY"}));
    assert_eq!(
        values(&mut f, "Account", &id, "BillingState"),
        [json!("New York")]
    );
    for fields in [
        json!({"BillingState": "Bavaria"}),
        json!({"BillingCountry": "Atlantis"}),
        json!({"BillingCountryCode": "DE"}),
        json!({"BillingCountry": null}),
        json!({"ShippingState": "California"}),
    ] {
        let path = format!("sobjects/Account/{id}");
        let refusal = f.send("PATCH", &path, &fields).to_json();
        assert_eq!(
            refusal[0]["errorCode"], "FIELD_INTEGRITY_EXCEPTION",
            "{fields}"
        );
    }
    update(
        &mut f,
        "Account",
        &id,
        json!({"BillingCountryCode": "DE", "BillingState": "bavaria"}),
    );
    assert_eq!(
        values(&mut f, "Account", &id, shown),
        [json!("DE"), json!("Germany"), json!("BY"), json!("Bavaria")]
    );
    update(
        &mut f,
        "Account",
        &id,
        json!({"BillingCountry": null, "BillingState": null}),
    );
    assert_eq!(
        values(&mut f, "Account", &id, shown),
        [json!(null), json!(null), json!(null), json!(null)]
    );
}

#[test]
fn automation_and_its_records_survive_a_dump() {
    let (mut f, entry) = shop();
    let deal = opportunity(&mut f, json!({}));
    line(&mut f, &deal, &entry, 2);
    let mut dump = Vec::new();
    f.org.dump(&mut dump).unwrap();
    let mut other = with_features("\"products\"");
    other.org.restore(&mut dump.as_slice()).unwrap();
    other.token = f.token.clone();
    update(&mut other, "Opportunity", &deal, json!({"Amount": 1}));
    line(&mut other, &deal, &entry, 1);
    assert_eq!(
        values(&mut other, "Opportunity", &deal, "Amount"),
        [json!(60.0)]
    );
    let organization = "SELECT Id, Name FROM Organization";
    assert_eq!(
        f.query(organization)["records"],
        other.query(organization)["records"]
    );
}

#[test]
fn unknown_feature_is_refused_with_the_known_ones() {
    let error = Org::from_toml("[org]\nfeatures = [\"quotes\"]").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("quotes") && text.contains("products"),
        "{text}"
    );
}
