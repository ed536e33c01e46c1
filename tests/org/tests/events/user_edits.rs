//! User operations on whole records: merge, convert, delete permanently, undelete.

use salesforce_org::local::PERSON;
use serde_json::json;

use crate::stage::{Stage, id_of, steps};

#[test]
fn merge_moves_children_deletes_loser_updates_master() {
    let mut stage = Stage::new();
    let (master, loser) = (stage.account("kept"), stage.account("merged"));
    let contact = stage.insert("Contact", json!({"LastName": "c", "AccountId": loser}));
    let child = stage.insert("Account", json!({"Name": "child", "ParentId": loser}));
    let start = stage.now();
    let order =
        json!({"user": PERSON, "master": master, "merged": [loser], "fields": {"Phone": "1"}});
    stage.control("merge", &order);
    let events = stage.since(&start);
    let mut seen = steps(&events);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            ("Account", "DELETE"),
            ("Account", "UPDATE"),
            ("Account", "UPDATE"),
            ("Contact", "UPDATE")
        ]
    );
    assert!(
        events
            .iter()
            .all(|event| event.transaction_key == events[0].transaction_key)
    );
    let of = |id: &str| {
        events
            .iter()
            .find(|e| e.record_ids == [id.to_owned()])
            .unwrap()
    };
    assert_eq!(of(&contact).fields["AccountId"], json!(master));
    assert_eq!(of(&child).fields["ParentId"], json!(master));
    assert_eq!(of(&master).fields["Phone"], "1");
    assert!(of(&loser).fields.is_empty());
    let query = "queryAll?q=SELECT+IsDeleted,MasterRecordId+FROM+Account+WHERE+Name='merged'";
    let row = stage.call("GET", query, &json!(null)).to_json()["records"][0].clone();
    assert_eq!(
        (&row["IsDeleted"], &row["MasterRecordId"]),
        (&json!(true), &json!(master))
    );
}

#[test]
fn invalid_merge_changes_nothing() {
    let mut stage = Stage::new();
    let (master, loser) = (stage.account("kept"), stage.account("merged"));
    let lead = stage.insert("Lead", json!({"LastName": "l", "Company": "c"}));
    let start = stage.now();
    let merge = |merged: &[&str]| json!({"user": PERSON, "master": master, "merged": merged});
    for merged in [
        &[][..],
        &[master.as_str()],
        &[lead.as_str()],
        &[&loser, &loser, &loser],
    ] {
        assert_eq!(
            stage.order("merge", &merge(merged)).status,
            400,
            "{merged:?}"
        );
    }
    assert!(stage.since(&start).is_empty());
    assert_eq!(stage.org.count("Account"), 2);
}

#[test]
fn merged_master_loses_the_deleted_parent() {
    let mut stage = Stage::new();
    let loser = stage.account("merged");
    let master = stage.insert("Account", json!({"Name": "kept", "ParentId": loser}));
    stage.control(
        "merge",
        &json!({"user": PERSON, "master": master, "merged": [loser]}),
    );
    assert_eq!(stage.org.value_of(id_of(&master), "ParentId"), None);
}

#[test]
fn lead_conversion_sends_four_events_in_order() {
    let mut stage = Stage::new();
    let fields = json!({"FirstName": "Ada", "LastName": "Ito", "Company": "Acme", "Phone": "1"});
    let lead = stage.insert("Lead", fields);
    let start = stage.now();
    let made = stage.control("convert_lead", &json!({"user": PERSON, "lead": lead}));
    let events = stage.since(&start);
    assert_eq!(
        steps(&events),
        [
            ("Account", "CREATE"),
            ("Contact", "CREATE"),
            ("Opportunity", "CREATE"),
            ("Lead", "UPDATE")
        ]
    );
    let sequence: Vec<i32> = events.iter().map(|event| event.sequence_number).collect();
    assert_eq!(sequence, [1, 2, 3, 4]);
    assert!(
        events
            .iter()
            .all(|event| event.transaction_key == events[0].transaction_key)
    );
    assert_eq!(events[0].fields["Name"], "Acme");
    assert_eq!(events[1].fields["AccountId"], made["account"]);
    assert_eq!(
        events[1].fields["Name"],
        json!({"FirstName": "Ada", "LastName": "Ito"})
    );
    let lead = &events[3];
    for name in [
        "Status",
        "IsConverted",
        "ConvertedDate",
        "ConvertedAccountId",
        "ConvertedContactId",
        "ConvertedOpportunityId",
    ] {
        assert!(lead.changed_fields.contains(&name.to_owned()), "{name}");
    }
    assert!(!lead.changed_fields.contains(&"LastModifiedDate".to_owned()));
    assert_eq!(lead.fields["ConvertedOpportunityId"], made["opportunity"]);
}

#[test]
fn lead_converts_once_and_into_an_existing_account() {
    let mut stage = Stage::new();
    let account = stage.account("Acme");
    let lead = stage.insert("Lead", json!({"LastName": "Ito", "Company": "Acme"}));
    let order = json!({"user": PERSON, "lead": lead, "account": account, "opportunity": false});
    let start = stage.now();
    let made = stage.control("convert_lead", &order);
    assert_eq!(made["account"], json!(account));
    assert_eq!(
        steps(&stage.since(&start)),
        [("Contact", "CREATE"), ("Lead", "UPDATE")]
    );
    let again = stage.order("convert_lead", &order);
    assert_eq!(again.status, 400);
    assert!(
        again.to_json()["error"]
            .as_str()
            .unwrap()
            .contains("CANNOT_UPDATE_CONVERTED_LEAD")
    );
    assert_eq!(stage.org.count("Contact"), 1);
}

#[test]
fn emptying_the_recycle_bin_sends_no_event() {
    let mut stage = Stage::new();
    let (gone, kept, live) = (
        stage.account("gone"),
        stage.account("kept"),
        stage.account("live"),
    );
    stage.delete(&gone);
    stage.delete(&kept);
    let start = stage.now();
    let purged = stage.control("recycle_bin/empty", &json!({"ids": [gone, live]}));
    assert_eq!(purged["purged"], 1);
    assert!(stage.since(&start).is_empty());
    assert!(stage.org.undelete_as(PERSON, id_of(&gone)).is_err());
    assert!(stage.org.undelete_as(PERSON, id_of(&kept)).is_ok());
    assert_eq!(stage.org.count("Account"), 2);
}

#[test]
fn undelete_restores_the_children_deleted_with_it() {
    let mut stage = Stage::new();
    let account = stage.account("a");
    let contact = stage.insert("Contact", json!({"LastName": "c", "AccountId": account}));
    let before = stage.insert(
        "Contact",
        json!({"LastName": "gone before", "AccountId": account}),
    );
    stage.delete(&before);
    stage.delete(&account);
    let start = stage.now();
    stage.org.undelete_as(PERSON, id_of(&account)).unwrap();
    let events = stage.since(&start);
    assert_eq!(
        steps(&events),
        [("Account", "UNDELETE"), ("Contact", "UNDELETE")]
    );
    assert_eq!(events[1].record_ids, [contact]);
    assert_eq!(events[1].fields["Name"], json!({"LastName": "c"}));
    assert_eq!(events[0].transaction_key, events[1].transaction_key);
}
