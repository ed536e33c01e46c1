//! Org file declarations other than fields: formulas, auto numbers, record types, rules.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, RecordId};
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

const FILE: &str = r#"
[[object]]
name = "Account"
  [[object.field]]
  name = "Shown__c"
  type = "string"
  formula = "Name & ' (' & Parent.Name & ')'"
[[object]]
name = "Invoice__c"
  [[object.record_type]]
  name = "Sales Invoice"
  default = true
  [[object.record_type]]
  name = "Credit"
  developer_name = "Credit_Note"
  [[object.field]]
  name = "Name"
  type = "string"
  auto_number = "INV-{0000}"
  name_field = true
  [[object.field]]
  name = "Count__c"
  type = "int"
  [[object.field]]
  name = "Price__c"
  type = "currency"
  scale = 2
  [[object.field]]
  name = "Total__c"
  type = "currency"
  scale = 2
  formula = "Count__c * Price__c * 1.19"
[[duplicate_rule]]
name = "Same_Mail"
object = "Contact"
fields = ["Email"]
action = "alert"
[[duplicate_rule]]
name = "Same_Name_And_Phone"
object = "Contact"
fields = ["LastName", "Phone"]
action = "block"
"#;

fn fixture() -> Fixture {
    Fixture::of(Org::from_toml(FILE).unwrap())
}

fn shown(f: &mut Fixture, id: &str, fields: &str) -> Json {
    f.call("GET", &format!("sobjects/Account/{id}?fields={fields}"))
        .to_json()
}

#[test]
fn formula_follows_its_parent_without_stamp_or_event() {
    let mut f = fixture();
    let parent = f.account(json!({"Name": "Holding"}));
    let child = f.account(json!({"Name": "Acme", "ParentId": parent}));
    let before = shown(&mut f, &child, "Shown__c,SystemModstamp");
    assert_eq!(before["Shown__c"], "Acme (Holding)");
    f.org.advance_ms(60_000);
    let events = f.events().len();
    f.send(
        "PATCH",
        &format!("sobjects/Account/{parent}"),
        &json!({"Name": "Group"}),
    );
    let after = shown(&mut f, &child, "Shown__c,SystemModstamp");
    assert_eq!(after["Shown__c"], "Acme (Group)");
    assert_eq!(after["SystemModstamp"], before["SystemModstamp"]);
    let events = f.events().split_off(events);
    assert_eq!(events.len(), 1, "only the parent was changed");
    assert!(
        events
            .iter()
            .all(|event| !event.fields.contains_key("Shown__c"))
    );
    let found = f.query("SELECT Id FROM Account WHERE Shown__c = 'acme (group)'");
    assert_eq!(found["totalSize"], json!(1));
    let written = f.send(
        "PATCH",
        &format!("sobjects/Account/{child}"),
        &json!({"Shown__c": "x"}),
    );
    assert_eq!(
        written.to_json()[0]["errorCode"],
        "INVALID_FIELD_FOR_INSERT_UPDATE"
    );
}

#[test]
fn formula_is_rolled_back_with_the_transaction() {
    let mut f = fixture();
    let id = f.account(json!({"Name": "Acme"}));
    let records = json!({"allOrNone": true, "records": [
        {"attributes": {"type": "Account"}, "Id": id, "Name": "Other"},
        {"attributes": {"type": "Account"}, "Name": null},
    ]});
    f.send("PATCH", "composite/sobjects", &records);
    assert_eq!(shown(&mut f, &id, "Shown__c")["Shown__c"], "Acme ()");
}

#[test]
fn multiplication_is_exact_and_null_gives_null() {
    let mut f = fixture();
    let mut made = |fields: Json| {
        let id = f.send("POST", "sobjects/Invoice__c", &fields).to_json()["id"].clone();
        f.call(
            "GET",
            &format!("sobjects/Invoice__c/{}", id.as_str().unwrap()),
        )
        .to_json()
    };
    let first = made(json!({"Count__c": 3, "Price__c": 9.99}));
    assert_eq!(
        (&first["Name"], &first["Total__c"]),
        (&json!("INV-0001"), &json!(35.66))
    );
    let second = made(json!({"Price__c": 9.99}));
    assert_eq!(
        (&second["Name"], &second["Total__c"]),
        (&json!("INV-0002"), &Json::Null)
    );
    assert_eq!(first["RecordTypeId"], second["RecordTypeId"]);
}

#[test]
fn invalid_formulas_are_refused_with_the_field() {
    for formula in [
        "Nope",
        "Name +",
        "Name + 'x'",
        "'open",
        "Parent.Nope",
        "Shown__c & 'x'",
        "Name | Name",
    ] {
        let text = format!(
            "{FILE}\n[[object]]\nname = \"Account\"\n[[object.field]]\nname = \"F__c\"\n\
             type = \"string\"\nformula = \"{formula}\"\n"
        );
        let error = Org::from_toml(&text).unwrap_err().to_string();
        assert!(error.contains("Account.F__c"), "{formula}: {error}");
    }
}

#[test]
fn record_types_are_described_defaulted_and_checked() {
    let mut f = fixture();
    let describe = f.call("GET", "sobjects/Invoice__c/describe").to_json();
    let infos: Vec<_> = describe["recordTypeInfos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| {
            (
                info["developerName"].as_str().unwrap(),
                info["defaultRecordTypeMapping"] == json!(true),
            )
        })
        .collect();
    assert_eq!(
        infos,
        [
            ("Sales_Invoice", true),
            ("Credit_Note", false),
            ("Master", false)
        ]
    );
    let credit = describe["recordTypeInfos"][1]["recordTypeId"].clone();
    let made = f.send(
        "POST",
        "sobjects/Invoice__c",
        &json!({"RecordTypeId": credit}),
    );
    assert_eq!(made.status, 201, "{}", made.to_json());
    let found = f.query("SELECT Id FROM Invoice__c WHERE RecordType.DeveloperName = 'Credit_Note'");
    assert_eq!(found["totalSize"], json!(1));
    let wrong = f.send(
        "POST",
        "sobjects/Invoice__c",
        &json!({"RecordTypeId": "0125g0000000009AAA"}),
    );
    assert_eq!(
        wrong.to_json()[0]["errorCode"],
        "INVALID_CROSS_REFERENCE_KEY"
    );
    let types =
        f.query("SELECT Name FROM RecordType WHERE SobjectType = 'Invoice__c' ORDER BY Name");
    assert_eq!(types["records"][0]["Name"], "Credit");
    let field = describe["fields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["name"] == "Total__c");
    assert_eq!(field.unwrap()["calculated"], json!(true));
}

#[test]
fn duplicates_are_reported_and_saved_only_on_request() {
    let mut f = fixture();
    let contact = json!({"LastName": "Ito", "Email": "I@x.io", "Phone": "1"});
    f.send("POST", "sobjects/Contact", &contact);
    let again = json!({"LastName": "Sato", "Email": "i@X.io"});
    let refused = f.send("POST", "sobjects/Contact", &again);
    let error = &refused.to_json()[0];
    assert_eq!(
        (refused.status, &error["errorCode"]),
        (400, &json!("DUPLICATES_DETECTED"))
    );
    let result = &error["duplicateResult"];
    assert_eq!(
        (&result["allowSave"], &result["duplicateRule"]),
        (&json!(true), &json!("Same_Mail"))
    );
    assert_eq!(
        result["matchResults"][0]["matchRecords"][0]["record"]["attributes"]["type"],
        "Contact"
    );
    let mut with = |header: &str, version: &str, body: &Json| {
        let request = f
            .request(
                "POST",
                &format!("/services/data/{version}/sobjects/Contact"),
            )
            .header("Sforce-Duplicate-Rule-Header", header)
            .json(body);
        f.org.request(&request).status
    };
    assert_eq!(with("allowSave=false", "v62.0", &again), 400);
    assert_eq!(
        with("allowSave=true", "v51.0", &again),
        400,
        "older versions do not read it"
    );
    assert_eq!(
        with("allowSave=true; includeRecordDetails=true", "v62.0", &again),
        201
    );
    let blocked = json!({"LastName": "ITO", "Phone": "1"});
    assert_eq!(
        with("allowSave=true", "v62.0", &blocked),
        400,
        "a blocking rule ignores the header"
    );
    let records =
        json!({"records": [{"attributes": {"type": "Contact"}, "LastName": "Ito", "Phone": "1"}]});
    let json = f.send("POST", "composite/sobjects", &records).to_json();
    assert_eq!(json[0]["errors"][0]["statusCode"], "DUPLICATES_DETECTED");
}

#[test]
fn assignment_rule_sets_the_owner_unless_disabled() {
    let file = "[[assignment_rule]]\nobject = \"Account\"\nowner = \"kim@acme.example\"\n";
    let mut f = Fixture::of(Org::from_toml(file).unwrap());
    let given = f.account(json!({"Name": "a"}));
    let request = f
        .request("POST", "sobjects/Account")
        .header("Sforce-Auto-Assign", "FALSE");
    let kept = f
        .org
        .request(&request.json(&json!({"Name": "b"})))
        .to_json();
    let owner = |f: &Fixture, id: &str| f.org.value_of(RecordId::parse(id).unwrap(), "OwnerId");
    let kim = f.query(&format!("SELECT Id FROM User WHERE Username = '{PERSON}'"));
    let kim = kim["records"][0]["Id"].as_str().map(str::to_owned);
    assert_eq!(owner(&f, &given), kim);
    assert_ne!(owner(&f, kept["id"].as_str().unwrap()), kim);
}
