//! Schema changes during subscriptions.

use salesforce_org::Position;
use serde_json::json;

use crate::stage::{Stage, kinds, steps};

const TOPIC: &str = "/data/AccountChangeEvent";

#[test]
fn new_field_gives_new_events_a_new_schema() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let old = stage.org.get_topic(TOPIC).unwrap().schema_id;
    let field = json!({"name": "Region__c", "type": "string", "length": 40});
    stage.control("schema", &json!({"object": "Account", "add_field": field}));
    let new = stage.org.get_topic(TOPIC).unwrap().schema_id;
    assert_ne!(old, new);
    stage.update(&id, json!({"Region__c": "north"}));

    let fetched = stage.org.fetch(TOPIC, &Position::Earliest, 10).unwrap();
    let ids: Vec<&str> = fetched
        .events
        .iter()
        .map(|event| event.schema_id.as_str())
        .collect();
    assert_eq!(ids, [old.as_str(), new.as_str()]);
    let decoded: Vec<_> = fetched
        .events
        .iter()
        .map(|event| stage.org.decode(event))
        .collect();
    assert_eq!(decoded[0].fields["Name"], "a");
    assert_eq!(decoded[1].fields["Region__c"], "north");
    assert!(decoded[1].changed_fields.contains(&"Region__c".to_owned()));
    assert!(
        !stage
            .org
            .get_schema(&old)
            .unwrap()
            .schema_json
            .contains("Region__c")
    );
    assert!(
        stage
            .org
            .get_schema(&new)
            .unwrap()
            .schema_json
            .contains("Region__c")
    );
}

#[test]
fn new_field_exists_on_old_and_new_records() {
    let mut stage = Stage::new();
    let old = stage.account("old");
    let field = json!({"name": "Grade__c", "type": "string", "external_id": true, "default": "B"});
    stage.control("schema", &json!({"object": "Account", "add_field": field}));
    stage.insert("Account", json!({"Name": "new", "Grade__c": "A"}));
    let query = "query?q=SELECT+Name,Grade__c+FROM+Account+ORDER+BY+Name";
    let rows = stage.call("GET", query, &json!(null)).to_json()["records"].clone();
    assert_eq!(
        (&rows[0]["Grade__c"], &rows[1]["Grade__c"]),
        (&json!("A"), &json!("B"))
    );
    assert_eq!(
        stage
            .call("GET", "sobjects/Account/Grade__c/A", &json!(null))
            .status,
        200
    );
    stage.update(&old, json!({"Grade__c": "C"}));
    assert_eq!(
        stage
            .call("GET", "sobjects/Account/Grade__c/C", &json!(null))
            .status,
        200
    );
    assert_eq!(
        stage
            .order(
                "schema",
                &json!({"object": "Account", "add_field":
        {"name": "grade__c", "type": "string"}})
            )
            .status,
        400
    );
}

#[test]
fn lossy_conversion_is_one_event_for_all_records() {
    let mut stage = Stage::new();
    let id = stage.insert("Account", json!({"Name": "a", "Opened__c": "2026-05-01"}));
    let start = stage.now();
    let field = json!({"name": "Opened__c", "type": "string"});
    stage.control(
        "schema",
        &json!({"object": "Account", "convert_field": field}),
    );
    let events = stage.since(&start);
    assert_eq!(kinds(&events), ["UPDATE"]);
    assert_eq!(events[0].record_ids, ["001*"]);
    assert!(events[0].fields.is_empty());
    assert_eq!(
        stage.org.value_of(crate::stage::id_of(&id), "Opened__c"),
        None
    );
    stage.update(&id, json!({"Opened__c": "soon"}));
    assert_eq!(stage.since(&start)[1].fields["Opened__c"], "soon");
}

#[test]
fn multipicklist_conversion_is_a_gap_text_conversion_silent() {
    let mut stage = Stage::new();
    let field = |kind: &str| json!({"name": "Kind__c", "type": kind});
    stage.control(
        "schema",
        &json!({"object": "Account", "add_field": field("picklist")}),
    );
    let id = stage.insert("Account", json!({"Name": "a", "Kind__c": "x"}));
    let start = stage.now();
    stage.control(
        "schema",
        &json!({"object": "Account", "convert_field": field("string")}),
    );
    assert!(stage.since(&start).is_empty());
    stage.control(
        "schema",
        &json!({"object": "Account", "convert_field": field("picklist")}),
    );
    stage.control(
        "schema",
        &json!({"object": "Account", "convert_field": field("multipicklist")}),
    );
    let events = stage.since(&start);
    assert_eq!(kinds(&events), ["GAP_UPDATE"]);
    assert_eq!(events[0].record_ids, std::slice::from_ref(&id));
    assert_eq!(
        stage
            .org
            .value_of(crate::stage::id_of(&id), "Kind__c")
            .unwrap(),
        "x"
    );
}

#[test]
fn object_without_selection_has_no_events_and_no_topic() {
    let mut stage = Stage::new();
    let id = stage.account("a");
    let select = |selected: bool| json!({"object": "Account", "change_events": selected});
    stage.control("schema", &select(false));
    let since = stage.now();
    stage.update(&id, json!({"Name": "b"}));
    stage.insert("Contact", json!({"LastName": "c"}));
    assert_eq!(steps(&stage.since(&since)), [("Contact", "CREATE")]);
    assert!(stage.org.get_topic(TOPIC).is_err());

    stage.control("schema", &select(true));
    stage.update(&id, json!({"Name": "c"}));
    assert_eq!(kinds(&stage.of_topic(TOPIC, &since)), ["UPDATE"]);
}
