//! Person accounts.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

/// An org with person accounts, and the id of their record type.
fn persons() -> (Fixture, String) {
    let text = "[org]\nfeatures = [\"person_accounts\"]\n";
    let mut f = Fixture::of(Org::from_toml(text).unwrap());
    let soql = "SELECT Id FROM RecordType WHERE DeveloperName = 'PersonAccount'";
    let found = f.query(soql)["records"][0]["Id"].clone();
    (f, found.as_str().unwrap().to_owned())
}

fn shown(f: &mut Fixture, object: &str, id: &str) -> Json {
    f.call("GET", &format!("sobjects/{object}/{id}")).to_json()
}

/// Creates a person and returns the ids of the account and of the contact.
fn person(f: &mut Fixture, kind: &str) -> (String, String) {
    let account = f.account(json!({
        "RecordTypeId": kind, "FirstName": "Mei", "LastName": "Ito", "PersonEmail": "mei@ito.example",
    }));
    let contact = shown(f, "Account", &account)["PersonContactId"].clone();
    (account, contact.as_str().unwrap().to_owned())
}

#[test]
fn person_is_an_account_and_a_contact_in_one_transaction() {
    let (mut f, kind) = persons();
    let (account, contact) = person(&mut f, &kind);
    let record = shown(&mut f, "Account", &account);
    assert_eq!(
        (&record["Name"], &record["IsPersonAccount"]),
        (&json!("Mei Ito"), &json!(true))
    );
    let other = shown(&mut f, "Contact", &contact);
    assert_eq!(
        (&other["Name"], &other["Email"], &other["AccountId"]),
        (
            &json!("Mei Ito"),
            &json!("mei@ito.example"),
            &json!(account)
        )
    );
    let events = f.events();
    let seen: Vec<(&str, &str)> = events
        .iter()
        .map(|event| (event.entity.as_str(), event.change_type.as_str()))
        .collect();
    assert_eq!(seen, [("Account", "CREATE"), ("Contact", "CREATE")]);
    assert_eq!(events[0].transaction_key, events[1].transaction_key);
    assert_eq!(
        events[0].fields["Name"],
        json!({"FirstName": "Mei", "LastName": "Ito"})
    );
}

#[test]
fn contact_follows_its_person_and_leaves_with_it() {
    let (mut f, kind) = persons();
    let (account, contact) = person(&mut f, &kind);
    let before = f.events().len();
    let path = format!("sobjects/Account/{account}");
    let fields = json!({"LastName": "Kim", "PersonEmail": null});
    assert_eq!(f.send("PATCH", &path, &fields).status, 204);
    let other = shown(&mut f, "Contact", &contact);
    assert_eq!(
        (&other["Name"], &other["Email"]),
        (&json!("Mei Kim"), &json!(null))
    );
    let events = f.events().split_off(before);
    assert_eq!(events.len(), 2);
    let changed = &events[0].changed_fields;
    assert!(changed.contains(&"Name.LastName".to_owned()), "{changed:?}");
    assert!(!changed.contains(&"Name".to_owned()), "{changed:?}");
    assert_eq!(events[0].fields["Name"], json!({"LastName": "Kim"}));
    assert_eq!(f.call("DELETE", &path).status, 204);
    assert_eq!(
        f.call("GET", &format!("sobjects/Contact/{contact}")).status,
        404
    );
}

#[test]
fn each_kind_of_account_has_its_own_fields() {
    let (mut f, kind) = persons();
    let (account, contact) = person(&mut f, &kind);
    let code = |f: &mut Fixture, method: &str, path: &str, body: Json| {
        let answer = f.send(method, path, &body).to_json();
        answer[0]["errorCode"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let bad = "INVALID_FIELD_FOR_INSERT_UPDATE";
    for (method, path, body, expected) in [
        (
            "PATCH",
            format!("sobjects/Account/{account}"),
            json!({"Name": "x"}),
            bad,
        ),
        (
            "POST",
            "sobjects/Account".to_owned(),
            json!({"Name": "x", "LastName": "y"}),
            bad,
        ),
        (
            "PATCH",
            format!("sobjects/Contact/{contact}"),
            json!({"Title": "x"}),
            bad,
        ),
        (
            "POST",
            "sobjects/Account".to_owned(),
            json!({"RecordTypeId": kind, "FirstName": "x"}),
            "REQUIRED_FIELD_MISSING",
        ),
    ] {
        assert_eq!(
            code(&mut f, method, &path, body.clone()),
            expected,
            "{body}"
        );
    }
    let business = f.account(json!({"Name": "Acme"}));
    let record = shown(&mut f, "Account", &business);
    assert_eq!(record["IsPersonAccount"], json!(false));
    assert_eq!(f.events().last().unwrap().fields["Name"], "Acme");
}
