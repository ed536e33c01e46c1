//! Dump and restore: what is equal afterwards, and what is refused.

use salesforce_org::local::PERSON;
use salesforce_org::{Org, Position};
use serde_json::{Value as Json, json};

use crate::stand::Stand;

/// Returns an org with some of every kind of state.
fn lived_in() -> Stand {
    let mut stand = Stand::new();
    let (parent, gone) = (stand.account("a-1"), stand.account("a-2"));
    let children = stand.contacts(&[parent, gone, gone]).to_json();
    stand.org.advance_ms(61_001);
    let fields = json!({"BillingLatitude": 38.704_022, "Elevation__c": 995, "Industry": null,
        "Name": "Zoë \"x\",\n line two", "AnnualRevenue": 12.5});
    assert_eq!(stand.upsert("a-1", &fields).status, 200);
    // A row whose create was rolled back stays empty.
    let twice = json!({"allOrNone": true, "records": [
        {"attributes": {"type": "Account"}, "Name": "x"},
        {"attributes": {"type": "Account"}}]});
    stand.call("POST", "composite/sobjects", &twice);
    stand.account("a-3");
    let child = children[1]["id"]
        .as_str()
        .unwrap()
        .parse::<String>()
        .unwrap();
    let path = format!("sobjects/Contact/{child}");
    assert_eq!(stand.call("DELETE", &path, &Json::Null).status, 204);
    stand.org.delete_as(PERSON, gone).unwrap();
    stand
}

fn dumped(org: &Org) -> String {
    let mut text = Vec::new();
    org.dump(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn restored(text: &str) -> Org {
    let mut org = Org::default();
    org.restore(&mut text.as_bytes()).unwrap();
    org
}

#[test]
fn restored_org_dumps_the_same_state() {
    let text = dumped(&lived_in().org);
    assert!(text.lines().count() > 10);
    assert_eq!(dumped(&restored(&text)), text);
}

#[test]
fn stored_position_works_in_a_restored_org() {
    let before = lived_in();
    let all = before
        .org
        .fetch("/data/ChangeEvents", &Position::Earliest, 100)
        .unwrap();
    let mut after = restored(&dumped(&before.org));
    after
        .insert_as(PERSON, "Account", &json!({"Name": "new"}))
        .unwrap();
    let position = Position::After(all.events[2].replay_id.clone());
    let rest = after.fetch("/data/ChangeEvents", &position, 100).unwrap();
    assert_eq!(rest.events[..rest.events.len() - 1], all.events[3..]);
    let last = after.decode(rest.events.last().unwrap());
    assert_eq!(
        (last.change_type.as_str(), &last.fields["Name"]),
        ("CREATE", &json!("new"))
    );
}

#[test]
fn restored_org_finds_and_numbers_records_as_before() {
    let before = lived_in();
    let taken = before.org.count("Account");
    let mut org = restored(&dumped(&before.org));
    assert_eq!((org.count("Account"), org.count("Contact")), (taken, 1));
    assert_eq!(org.now_ms(), before.org.now_ms());
    let fields = json!({"Name": "x", "External_Id__c": "a-1"});
    let taken = org.insert_as(PERSON, "Account", &fields).unwrap_err();
    assert_eq!(taken.code(), "DUPLICATE_VALUE");
    let fields = json!({"Name": "x", "External_Id__c": "a-2"});
    let new = org.insert_as(PERSON, "Account", &fields).unwrap();
    let text = dumped(&before.org);
    assert!(
        !text.contains(&new.to_string()),
        "a new record has a new id"
    );
}

#[test]
fn broken_dump_is_refused_by_line_and_changes_nothing() {
    let text = dumped(&lived_in().org);
    let lines: Vec<&str> = text.lines().collect();
    let with = |line: usize, new: &str| {
        let mut lines = lines.clone();
        lines[line - 1] = new;
        lines.join("\n")
    };
    let head = |from: &str, to: &str| lines[0].replace(from, to);
    let mut org = Org::default();
    org.insert_as(PERSON, "Account", &json!({"Name": "kept"}))
        .unwrap();
    let unchanged = dumped(&org);
    for (dump, reason) in [
        (String::new(), "line 1: this is not a dump"),
        (with(1, "{}"), "line 1: this is not a dump"),
        (
            with(1, &head("dump\":4", "dump\":1")),
            "line 1: the dump has format 1",
        ),
        (
            with(1, &head("00D5", "00D6")),
            "line 1: this is a dump of the org 00D6",
        ),
        (with(3, "{\"row\":"), "line 3: not a record or an event"),
        (
            with(3, r#"{"object":"Nope","row":1,"values":{}}"#),
            "line 3: the org has no object Nope",
        ),
        (
            with(3, r#"{"object":"User","row":1,"values":{"Nope":"1"}}"#),
            "line 3: User has no field Nope",
        ),
        (
            with(3, r#"{"object":"User","row":0,"values":{}}"#),
            "line 3: row 0 comes after",
        ),
        (
            with(3, r#"{"object":"User","row":4294967295,"values":{}}"#),
            "line 3: row 4294967295 comes too far",
        ),
        (
            with(
                3,
                r#"{"object":"User","row":1,"values":{"CreatedDate":"soon"}}"#,
            ),
            "line 3: CreatedDate",
        ),
        (
            with(3, r#"{"deleted":"nonsense","at_ms":1}"#),
            "line 3: not a record or an event: nonsense is not a record id",
        ),
        (
            format!("{text}{}", r#"{"replay":1,"at_ms":1}"#),
            "replay 1 comes after",
        ),
        (
            format!("{text}{}", r#"{"part":"soul","value":1}"#),
            "unknown part soul",
        ),
        (
            format!("{text}{}", r#"{"part":"sessions","value":1}"#),
            "invalid type",
        ),
    ] {
        let error = org.restore(&mut dump.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
        assert_eq!(dumped(&org), unchanged, "{reason}");
    }
}

#[test]
fn control_endpoint_dumps_and_restores() {
    let mut stand = lived_in();
    let dump = stand.control("POST", "dump", &Json::Null);
    let text = String::from_utf8(dump.body).unwrap();
    assert_eq!(text, dumped(&stand.org));
    let order = |body: String| {
        salesforce_org::Request::new("POST", "/_org/restore").body("application/x-ndjson", body)
    };
    let mut other = Org::default();
    assert_eq!(other.request(&order(text.clone())).status, 200);
    assert_eq!(dumped(&other), text);
    assert_eq!(other.request(&order("nonsense".to_owned())).status, 400);
    assert_eq!(dumped(&other), text);
}
