//! Validation rules of an org file, for every kind of write.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, Request};
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

const FILE: &str = r#"
[[object]]
name = "Account"
  [[object.validation_rule]]
  name = "Media_Needs_Phone"
  formula = "ISPICKVAL(Industry, 'Media') && ISBLANK(Phone)"
  message = "A media account needs a phone number."
  field = "phone"
  [[object.validation_rule]]
  name = "Key_Stays"
  formula = "AND(NOT(ISNEW()), ISCHANGED(External_Id__c), PRIORVALUE(External_Id__c) <> '')"
  message = "The key stays."
[[object]]
name = "Contact"
  [[object.validation_rule]]
  name = "No_Contact_Of_Small"
  formula = "Account.NumberOfEmployees < 5 && !ISBLANK(AccountId)"
  message = "The account is too small."
"#;

const PHONE: &str = "A media account needs a phone number.";

fn fixture() -> Fixture {
    Fixture::of(Org::from_toml(FILE).unwrap())
}

/// Returns the code, message and fields of an error.
fn error_of(error: &Json) -> (String, String, Json) {
    let code = error.get("errorCode").or_else(|| error.get("statusCode"));
    let text = |json: Option<&Json>| json.and_then(Json::as_str).unwrap_or_default().to_owned();
    (
        text(code),
        text(error.get("message")),
        error["fields"].clone(),
    )
}

fn refusal(message: &str, fields: Json) -> (String, String, Json) {
    let code = "FIELD_CUSTOM_VALIDATION_EXCEPTION";
    (code.to_owned(), message.to_owned(), fields)
}

#[test]
fn broken_rule_refuses_with_its_message_and_field() {
    let mut f = fixture();
    let wrong = json!({"Name": "x", "Industry": "Media"});
    let answer = f.send("POST", "sobjects/Account", &wrong);
    assert_eq!(answer.status, 400);
    assert_eq!(
        error_of(&answer.to_json()[0]),
        refusal(PHONE, json!(["Phone"]))
    );
    let id =
        f.account(json!({"Name": "x", "Industry": "Media", "Phone": "1", "External_Id__c": "k"}));
    let path = format!("sobjects/Account/{id}");
    let answer = f.send("PATCH", &path, &json!({"Phone": ""}));
    assert_eq!(
        error_of(&answer.to_json()[0]),
        refusal(PHONE, json!(["Phone"]))
    );
    let answer = f.send("PATCH", &path, &json!({"External_Id__c": "other"}));
    assert_eq!(
        error_of(&answer.to_json()[0]),
        refusal("The key stays.", json!([]))
    );
    assert_eq!(
        f.send("PATCH", &path, &json!({"External_Id__c": "k", "Site": "s"}))
            .status,
        204
    );
    assert_eq!(f.events().len(), 2, "a refused write sends no event");
}

#[test]
fn rules_see_the_new_parent() {
    let mut f = fixture();
    let small = f.account(json!({"Name": "small", "NumberOfEmployees": 2}));
    let large = f.account(json!({"Name": "large", "NumberOfEmployees": 20}));
    let contact = |account: &str| json!({"LastName": "Ito", "AccountId": account});
    assert_eq!(
        f.send("POST", "sobjects/Contact", &contact(&small)).status,
        400
    );
    let made = f.send("POST", "sobjects/Contact", &contact(&large));
    assert_eq!(made.status, 201);
    let path = format!(
        "sobjects/Contact/{}",
        made.to_json()["id"].as_str().unwrap()
    );
    let answer = f.send("PATCH", &path, &json!({"AccountId": small}));
    assert_eq!(
        error_of(&answer.to_json()[0]).1,
        "The account is too small."
    );
}

#[test]
fn rules_apply_to_every_kind_of_write() {
    let mut f = fixture();
    let wrong = json!({"attributes": {"type": "Account", "referenceId": "r"}, "Name": "x", "Industry": "Media"});
    let right = json!({"attributes": {"type": "Account"}, "Name": "y"});
    let both = f
        .send(
            "POST",
            "composite/sobjects",
            &json!({"records": [wrong, right]}),
        )
        .to_json();
    assert_eq!(
        error_of(&both[0]["errors"][0]),
        refusal(PHONE, json!(["Phone"]))
    );
    assert_eq!(both[1]["success"], true);
    let upsert = json!({"records": [{"attributes": {"type": "Account"}, "External_Id__c": "u",
        "Name": "x", "Industry": "Media"}]});
    let path = "composite/sobjects/Account/External_Id__c";
    let upserted = f.send("PATCH", path, &upsert).to_json();
    assert_eq!(
        error_of(&upserted[0]["errors"][0]),
        refusal(PHONE, json!(["Phone"]))
    );
    let node = json!({"method": "POST", "url": "/services/data/v62.0/sobjects/Account",
        "referenceId": "a", "body": {"Name": "x", "Industry": "Media"}});
    let graph = json!({"graphs": [{"graphId": "g", "compositeRequest": [node]}]});
    let answer = f.send("POST", "composite/graph", &graph).to_json();
    let body = &answer["graphs"][0]["graphResponse"]["compositeResponse"][0]["body"];
    assert_eq!(error_of(&body[0]), refusal(PHONE, json!(["Phone"])));
    let tree = f.send(
        "POST",
        "composite/tree/Account",
        &json!({"records": [wrong]}),
    );
    assert_eq!(
        error_of(&tree.to_json()["results"][0]["errors"][0]),
        refusal(PHONE, json!(["Phone"]))
    );
    let fields = json!({"Name": "x", "Industry": "Media"});
    let by_hand = f.org.insert_as(PERSON, "Account", &fields).unwrap_err();
    assert_eq!(by_hand.code(), "FIELD_CUSTOM_VALIDATION_EXCEPTION");
    assert_eq!(f.org.count("Account"), 1);
}

#[test]
fn bulk_row_that_breaks_a_rule_fails_alone() {
    let mut f = fixture();
    let job = json!({"object": "Account", "operation": "insert"});
    let id = f.send("POST", "jobs/ingest", &job).to_json()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("jobs/ingest/{id}");
    let upload = f.request("PUT", &format!("{path}/batches"));
    f.org
        .request(&upload.body("text/csv", "Name,Industry\nx,Media\ny,Energy\n"));
    f.send("PATCH", &path, &json!({"state": "UploadComplete"}));
    f.org.advance_ms(60_000);
    let failed = f.call("GET", &format!("{path}/failedResults"));
    let failed = String::from_utf8(failed.body).unwrap();
    let error = format!("FIELD_CUSTOM_VALIDATION_EXCEPTION:{PHONE}:Phone --");
    assert!(failed.contains(&error), "{failed}");
    assert_eq!(f.org.count("Account"), 1);
}

#[test]
fn formulas_compare_compatible_values() {
    for (formula, name, wrong) in [
        ("LEN(Name) > 3", "abcd", true),
        ("LEN(Name) > 3", "abc", false),
        ("BEGINS(Name, 'a') && CONTAINS(Name, 'c')", "abc", true),
        ("Name = 'ABC'", "abc", false),
        ("NumberOfEmployees = 0", "blank counts as zero", true),
        ("AnnualRevenue >= 0.5 || FALSE", "x", false),
        ("Active__c", "x", false),
        ("NOT(Active__c = TRUE)", "x", true),
        ("Opened__c > TODAY()", "a blank date is not later", false),
        ("OwnerId = CreatedById", "x", true),
        ("(ISNEW() || ISCHANGED(Name)) && Name != ''", "x", true),
    ] {
        let rule = format!(
            "[[object]]\nname = \"Account\"\n[[object.validation_rule]]\nname = \"R\"\n\
             message = \"no\"\nformula = \"{formula}\""
        );
        let mut org = Org::from_toml(&rule).unwrap();
        let saved = org.insert_as(PERSON, "Account", &json!({"Name": name}));
        assert_eq!(saved.is_err(), wrong, "{formula}: {name}");
    }
}

#[test]
fn invalid_rule_formula_refuses_the_org_file() {
    for (formula, words) in [
        ("Nope__c = 1", "Nope__c is not a field"),
        ("Name", "true or false"),
        ("Name = 1", "Text and Number cannot be compared"),
        ("LEN(AnnualRevenue) > 1", "LEN needs a text"),
        ("ISCHANGED(Parent.Name)", "a field of the record itself"),
        ("REGEX(Name, 'x')", "unknown function REGEX"),
        ("AND(ISNEW()", "expected )"),
        ("ISNEW() x", "after the formula"),
        ("", "is not a field"),
    ] {
        let rule = format!(
            "[[object]]\nname = \"Account\"\n[[object.validation_rule]]\nname = \"R\"\n\
             message = \"no\"\nformula = \"{formula}\""
        );
        let error = Org::from_toml(&rule).unwrap_err().to_string();
        assert!(
            error.contains("Account.R") && error.contains(words),
            "{formula}: {error}"
        );
    }
    let deep = format!("{}ISNEW(){}", "(".repeat(200), ")".repeat(200));
    let rule = format!(
        "[[object]]\nname = \"Account\"\n[[object.validation_rule]]\nname = \"R\"\nmessage = \"no\"\nformula = \"{deep}\""
    );
    assert!(
        Org::from_toml(&rule)
            .unwrap_err()
            .to_string()
            .contains("too deeply")
    );
}

#[test]
fn rules_do_not_apply_to_deletes() {
    let mut f = fixture();
    let id = f.account(json!({"Name": "x"}));
    let target = format!("/services/data/v62.0/sobjects/Account/{id}");
    let answer = f
        .org
        .request(&Request::new("DELETE", &target).bearer(&f.token));
    assert_eq!(answer.status, 204);
}

#[test]
fn rule_is_added_replaced_and_removed_while_the_org_runs() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a"}));
    let mut order = |change: Json| {
        let mut order = json!({"object": "Account"});
        order
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        f.org
            .request(&Request::new("POST", "/_org/schema").json(&order))
            .status
    };
    let rule = |formula: &str| json!({"add_validation_rule": {"name": "Phone", "formula": formula, "message": PHONE, "field": "Phone"}});
    assert_eq!(order(rule("FALSE")), 200);
    assert_eq!(order(rule("ISBLANK(Phone)")), 200);
    assert_eq!(order(rule("ISBLANK(")), 400);
    let path = format!("sobjects/Account/{id}");
    let answer = f.send("PATCH", &path, &json!({"Name": "b"}));
    assert_eq!(
        error_of(&answer.to_json()[0]),
        refusal(PHONE, json!(["Phone"]))
    );

    let mut remove = |name: &str| {
        let order = json!({"object": "Account", "remove_validation_rule": name});
        f.org
            .request(&Request::new("POST", "/_org/schema").json(&order))
            .status
    };
    assert_eq!((remove("Other"), remove("Phone")), (400, 200));
    assert_eq!(f.send("PATCH", &path, &json!({"Name": "b"})).status, 204);
}
