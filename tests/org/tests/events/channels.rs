//! Custom channels, enrichment, filters, and user permissions.

use salesforce_org::Position;
use serde_json::json;

use crate::stage::{Stage, kinds};

const SALES: &str = r#"
    [[channel]]
    name = "Sales__chn"
      [[channel.member]]
      event = "AccountChangeEvent"
      enriched_fields = ["External_Id__c", "BillingCountry"]
"#;
const TOPIC: &str = "/data/Sales__chn";

#[test]
fn channels_have_only_events_of_their_members() {
    let mut stage = Stage::with(SALES);
    stage.account("a");
    stage.insert("Contact", json!({"LastName": "c"}));
    let events = stage.of_topic(TOPIC, &Position::Earliest);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].entity, "Account");
    assert_eq!(stage.org.get_topic(TOPIC).unwrap().schema_id, "");
    assert!(stage.org.get_topic("/event/Sales__chn").is_err());
    assert!(
        stage.org.get_topic("/data/sales__chn").is_err(),
        "names are case-sensitive"
    );
}

#[test]
fn enriched_fields_have_their_current_values() {
    let mut stage = Stage::with(SALES);
    let fields = json!({"Name": "a", "External_Id__c": "A-1", "BillingCountry": "FR"});
    let id = stage.insert("Account", fields);
    let start = stage.now();
    stage.update(&id, json!({"Phone": "1"}));
    stage.update(&id, json!({"External_Id__c": "A-2"}));
    stage.update(&id, json!({"BillingCity": "Lyon"}));
    stage.delete(&id);
    let events = stage.of_topic(TOPIC, &start);
    assert_eq!(kinds(&events), ["UPDATE", "UPDATE", "UPDATE", "DELETE"]);
    let keys: Vec<_> = events
        .iter()
        .map(|event| event.fields["External_Id__c"].clone())
        .collect();
    assert_eq!(
        keys, ["A-2"; 4],
        "a replayed event has the latest value, not the value at the change"
    );
    assert!(
        !events[0]
            .changed_fields
            .contains(&"External_Id__c".to_owned())
    );
    assert!(
        events[1]
            .changed_fields
            .contains(&"External_Id__c".to_owned())
    );
    assert_eq!(events[0].fields["BillingAddress"], json!({"Country": "FR"}));
    assert_eq!(
        events[2].fields["BillingAddress"],
        json!({"City": "Lyon", "Country": "FR"})
    );
    let plain = stage.of_topic("/data/AccountChangeEvent", &start);
    assert!(!plain[0].fields.contains_key("External_Id__c"));
}

#[test]
fn enriched_merged_event_splits_but_shares_its_replay_id() {
    let mut stage = Stage::with(SALES);
    stage.control("unconfirmed", &json!({"merged_events": "always"}));
    let make = |stage: &mut Stage, n: usize| {
        stage.insert(
            "Account",
            json!({"Name": "a", "External_Id__c": format!("A-{n}")}),
        )
    };
    let ids: Vec<String> = (0..5).map(|n| make(&mut stage, n)).collect();
    let start = stage.now();
    stage.update_together("Account", &ids, &json!({"Rating": "Hot"}));
    let fetched = stage.org.fetch(TOPIC, &start, 10).unwrap();
    assert!(
        fetched
            .events
            .iter()
            .all(|e| e.replay_id == fetched.events[0].replay_id)
    );
    let events = stage.of_topic(TOPIC, &start);
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.record_ids[0].clone(),
                event.fields["External_Id__c"].clone(),
            )
        })
        .collect();
    let wanted: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| (id.clone(), json!(format!("A-{n}"))))
        .collect();
    assert_eq!(seen, wanted);

    let part = stage.org.fetch(TOPIC, &start, 2).unwrap();
    assert_eq!(part.events.len(), 2);
    let rest = stage
        .org
        .fetch(TOPIC, &Position::After(part.latest_replay_id), 10)
        .unwrap();
    assert_eq!(
        rest.events.len(),
        5,
        "an interrupted group is sent again, not lost"
    );
}

#[test]
fn standard_channel_can_be_enriched() {
    let mut stage = Stage::with(
        "[[channel]]\nname = \"ChangeEvents\"\n[[channel.member]]\nevent = \"ContactChangeEvent\"\n\
         enriched_fields = [\"Email\"]",
    );
    let contact = stage.insert("Contact", json!({"LastName": "c", "Email": "c@x.example"}));
    stage.account("a");
    stage.update(&contact, json!({"Phone": "1"}));
    let events = stage.since(&Position::Earliest);
    assert_eq!(kinds(&events), ["CREATE", "CREATE", "UPDATE"]);
    assert_eq!(events[2].fields["Email"], "c@x.example");
}

#[test]
fn filters_use_the_values_at_the_change() {
    let mut stage = Stage::with(
        "[[channel]]\nname = \"Media__chn\"\n[[channel.member]]\nevent = \"AccountChangeEvent\"\n\
         filter = \"Industry = 'Media' AND Name LIKE 'M%'\"",
    );
    let id = stage.insert("Account", json!({"Name": "Mondo", "Industry": "Media"}));
    stage.insert("Account", json!({"Name": "Mondo", "Industry": "Energy"}));
    stage.update(&id, json!({"Industry": "Energy"}));
    stage.update(&id, json!({"Industry": "Media"}));
    let events = stage.of_topic("/data/Media__chn", &Position::Earliest);
    assert_eq!(kinds(&events), ["CREATE", "UPDATE"]);
    assert_eq!(events[1].fields["Industry"], "Media");
    assert_eq!(stage.since(&Position::Earliest).len(), 4);
}

#[test]
fn invalid_channels_in_the_file_are_refused_by_name() {
    for (text, named) in [
        ("[[channel]]\nname = \"Sales\"", "Sales"),
        (
            "[[channel]]\nname = \"S__chn\"\n[[channel.member]]\nevent = \"NopeChangeEvent\"",
            "NopeChangeEvent",
        ),
        (
            "[[channel]]\nname = \"S__chn\"\n[[channel.member]]\nevent = \"AccountChangeEvent\"\nenriched_fields = [\"Nope\"]",
            "Nope",
        ),
        (
            "[[channel]]\nname = \"S__chn\"\n[[channel.member]]\nevent = \"AccountChangeEvent\"\nfilter = \"Nope = 1\"",
            "Nope",
        ),
        (
            "[[managed_subscription]]\ndeveloper_name = \"m\"\ntopic = \"/data/Nope\"",
            "m",
        ),
        (
            "[[event_relay]]\nname = \"r\"\nchannel = \"ChangeEvents\"",
            "r",
        ),
        ("[[platform_event]]\nname = \"Foo\"", "Foo"),
    ] {
        let refused = salesforce_org::Org::from_toml(text)
            .unwrap_err()
            .to_string();
        assert!(refused.contains(named), "{refused}");
    }
}
