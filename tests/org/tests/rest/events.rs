//! The change events of writes.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, RecordId, Request};
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

#[test]
fn update_event_has_changed_fields_and_user() {
    let mut f = Fixture::new();
    let id = f.account(json!({"Name": "a", "Phone": "1", "BillingCity": "Lyon"}));
    f.org.advance_ms(5_000);
    let path = format!("sobjects/Account/{id}");
    f.send(
        "PATCH",
        &path,
        &json!({"Phone": null, "BillingCity": "Nice", "Name": "a"}),
    );
    f.org
        .update_as(
            PERSON,
            RecordId::parse(&id).unwrap(),
            &json!({"Phone": null}),
        )
        .unwrap();
    f.call("DELETE", &path);
    f.org
        .undelete_as(PERSON, RecordId::parse(&id).unwrap())
        .unwrap();
    let events = f.events();
    let kinds: Vec<_> = events.iter().map(|e| e.change_type.as_str()).collect();
    assert_eq!(kinds, ["CREATE", "UPDATE", "UPDATE", "DELETE", "UNDELETE"]);
    assert_eq!(
        events[0].change_origin,
        "com/salesforce/api/rest/62.0;client=syncline"
    );
    assert!(events[0].changed_fields.is_empty() && events[0].fields["Name"] == "a");
    assert_eq!(
        events[1].changed_fields,
        ["Phone", "LastModifiedDate", "BillingAddress.City"]
    );
    assert_eq!(events[1].nulled_fields, ["Phone"]);
    assert_eq!(events[1].fields["BillingAddress"], json!({"City": "Nice"}));
    assert_eq!(
        events[1].fields.len(),
        2,
        "unchanged fields are null: {:?}",
        events[1].fields
    );
    assert_eq!(
        events[2].changed_fields,
        ["LastModifiedDate", "LastModifiedById"]
    );
    assert_eq!(events[2].change_origin, "");
    assert!(events[3].fields.is_empty() && events[4].fields["Name"] == "a");
    assert!(
        events
            .windows(2)
            .all(|w| w[0].commit_number < w[1].commit_number)
    );
    assert!(
        events
            .iter()
            .all(|e| e.commit_timestamp % 1000 == 0 && e.record_ids == [id.clone()])
    );
}

#[test]
fn transaction_events_share_a_key_equal_changes_an_event() {
    let merging = "[org]\nunconfirmed = { merged_events = \"always\" }\n";
    let mut f = Fixture::of(Org::from_toml(merging).unwrap());
    let record = |n: usize| json!({"attributes": {"type": "Account"}, "Name": format!("A{n}")});
    let records: Vec<_> = (0..3).map(record).collect();
    let made = f
        .send("POST", "composite/sobjects", &json!({"records": records}))
        .to_json();
    let ids: Vec<_> = made
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["id"].clone())
        .collect();
    let touch = |id: &Json| json!({"attributes": {"type": "Account"}, "Id": id, "Rating": "Hot"});
    f.send(
        "PATCH",
        "composite/sobjects",
        &json!({"records": ids.iter().map(touch).collect::<Vec<_>>()}),
    );
    let events = f.events();
    assert_eq!(events.len(), 4);
    let sequence: Vec<_> = events[..3].iter().map(|e| e.sequence_number).collect();
    assert_eq!(sequence, [1, 2, 3]);
    assert!(
        events[..3]
            .iter()
            .all(|e| e.transaction_key == events[0].transaction_key)
    );
    assert_eq!(json!(events[3].record_ids), json!(ids));
    assert_eq!(events[3].changed_fields, ["Rating", "LastModifiedDate"]);
}

#[test]
fn contact_has_a_compound_name_and_follows_its_account() {
    let mut f = Fixture::new();
    let account = f.account(json!({"Name": "a", "External_Id__c": "A"}));
    let body = json!({"FirstName": "Ada", "LastName": "Ito", "Account": {"External_Id__c": "a"}});
    let contact = f.send("POST", "sobjects/Contact", &body).to_json()["id"].clone();
    let path = format!("sobjects/Contact/{}", contact.as_str().unwrap());
    f.send("PATCH", &path, &json!({"LastName": "Sato"}));
    assert_eq!(f.call("GET", &path).to_json()["Name"], "Ada Sato");
    f.call("DELETE", &format!("sobjects/Account/{account}"));
    let events = f.events();
    assert_eq!(
        events[1].fields["Name"],
        json!({"FirstName": "Ada", "LastName": "Ito"})
    );
    assert_eq!(
        events[2].changed_fields,
        ["LastModifiedDate", "Name.LastName"]
    );
    let gone: Vec<_> = events[3..]
        .iter()
        .map(|e| (e.entity.as_str(), e.sequence_number))
        .collect();
    assert_eq!(gone, [("Account", 1), ("Contact", 2)]);
    assert_eq!(events[3].transaction_key, events[4].transaction_key);
}

#[test]
fn flow_adds_a_change_and_normaliser_changes_the_value() {
    let mut f = Fixture::new();
    let control = |f: &mut Fixture, body: Json| {
        assert_eq!(
            f.org
                .request(&Request::new("POST", "/_org/flow").json(&body))
                .status,
            200
        );
    };
    control(
        &mut f,
        json!({"object": "Account", "when_field_changes": "Phone", "set": {"Rating": "Hot"}}),
    );
    control(
        &mut f,
        json!({"object": "Account", "field": "Name", "transform": "uppercase"}),
    );
    let id = f.account(json!({"Name": "acme"}));
    f.send(
        "PATCH",
        &format!("sobjects/Account/{id}"),
        &json!({"Phone": "1"}),
    );
    let events = f.events();
    assert_eq!(events[0].fields["Name"], "ACME");
    assert_eq!(
        events[1].changed_fields,
        ["Phone", "Rating", "LastModifiedDate"]
    );
    assert_eq!(
        events[1].change_origin,
        "com/salesforce/api/rest/62.0;client=syncline"
    );
    assert_eq!(events.len(), 2);
}
