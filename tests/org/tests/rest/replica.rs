//! Applying every change event gives a copy of the org.

use std::collections::BTreeMap;

use proptest::prelude::*;
use salesforce_org::local::PERSON;
use salesforce_org::{DecodedEvent, RecordId};
use serde_json::{Map, Value as Json, json};

use crate::fixture::Fixture;

/// Fields whose values look the same in an event and in a record.
const FIELDS: [&str; 7] = [
    "Name",
    "Phone",
    "Industry",
    "AnnualRevenue",
    "NumberOfEmployees",
    "Active__c",
    "BillingCity",
];

/// One step. Numbers choose among the existing records.
#[derive(Clone, Debug)]
enum Step {
    Insert(Json),
    /// The same members for two records in one collection.
    Update(usize, usize, Json),
    Person(usize, Json),
    Delete(usize),
    Undelete(usize),
}

fn value(field: &str) -> BoxedStrategy<Json> {
    match field {
        "AnnualRevenue" => prop_oneof![Just(Json::Null), (0..4).prop_map(|n| json!(n))].boxed(),
        "NumberOfEmployees" => (0..3).prop_map(|n| json!(n)).boxed(),
        "Active__c" => any::<bool>().prop_map(|yes| json!(yes)).boxed(),
        "Name" => prop_oneof![Just(json!("a")), Just(json!("b "))].boxed(),
        _ => prop_oneof![
            Just(Json::Null),
            Just(json!("")),
            Just(json!("x")),
            Just(json!("y"))
        ]
        .boxed(),
    }
}

fn members() -> impl Strategy<Value = Json> {
    prop::sample::subsequence(&FIELDS[..], 0..4).prop_flat_map(|names| {
        let values: Vec<_> = names.iter().map(|name| value(name)).collect();
        values.prop_map(move |values| {
            let pairs = names.iter().map(|name| (*name).to_owned()).zip(values);
            Json::Object(pairs.collect::<Map<_, _>>())
        })
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => members().prop_map(Step::Insert),
        3 => (0..9_usize, 0..9_usize, members()).prop_map(|(a, b, m)| Step::Update(a, b, m)),
        1 => (0..9_usize, members()).prop_map(|(n, m)| Step::Person(n, m)),
        1 => (0..9_usize).prop_map(Step::Delete),
        1 => (0..9_usize).prop_map(Step::Undelete),
    ]
}

fn with(mut members: Json, name: &str, value: Json) -> Json {
    members[name] = value;
    members
}

/// Runs a step. A step that Salesforce refuses changes nothing and does not fail the test.
fn perform(f: &mut Fixture, ids: &mut Vec<String>, step: Step) {
    if let Step::Insert(members) = step {
        ids.push(f.account(with(members, "Name", json!("new"))));
        return;
    }
    if ids.is_empty() {
        return;
    }
    let id = |n: usize| ids[n % ids.len()].clone();
    let parsed = |n: usize| RecordId::parse(&id(n)).unwrap();
    match step {
        Step::Insert(_) => {}
        Step::Update(a, b, members) => {
            let members = with(members, "attributes", json!({"type": "Account"}));
            let records = [a, b].map(|n| with(members.clone(), "Id", json!(id(n))));
            f.send("PATCH", "composite/sobjects", &json!({"records": records}));
        }
        Step::Person(n, members) => drop(f.org.update_as(PERSON, parsed(n), &members)),
        Step::Delete(n) => drop(f.call("DELETE", &format!("sobjects/Account/{}", id(n)))),
        Step::Undelete(n) => drop(f.org.undelete_as(PERSON, parsed(n))),
    }
    f.org.advance_ms(700);
}

type Replica = BTreeMap<String, BTreeMap<String, Json>>;

fn apply(replica: &mut Replica, event: &DecodedEvent) {
    let flat: BTreeMap<String, Json> = event
        .fields
        .iter()
        .flat_map(|(name, value)| match value {
            Json::Object(parts) => parts
                .iter()
                .map(|(part, v)| (format!("{name}.{part}"), v.clone()))
                .collect(),
            other => vec![(name.clone(), other.clone())],
        })
        .collect();
    for id in &event.record_ids {
        match event.change_type.as_str() {
            "DELETE" => drop(replica.remove(id)),
            "UPDATE" => {
                let record = replica.get_mut(id).expect("an update follows a create");
                for name in &event.changed_fields {
                    match flat.get(name) {
                        Some(value) => drop(record.insert(name.clone(), value.clone())),
                        None => {
                            assert!(event.nulled_fields.contains(name), "{name} is not nulled");
                            record.remove(name);
                        }
                    }
                }
            }
            _ => drop(replica.insert(id.clone(), flat.clone())),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_alone_rebuild_every_record(steps in prop::collection::vec(step(), 1..40)) {
        let mut f = Fixture::new();
        let mut ids = Vec::new();
        for step in steps {
            perform(&mut f, &mut ids, step);
        }
        let mut replica = Replica::new();
        for event in f.events() {
            apply(&mut replica, &event);
        }
        let list = FIELDS.join(",");
        let found = f.query(&format!("SELECT Id,{list} FROM Account"));
        let records = found["records"].as_array().unwrap();
        prop_assert_eq!(records.len(), replica.len());
        for record in records {
            let copy = &replica[record["Id"].as_str().unwrap()];
            for field in FIELDS {
                let name = if field == "BillingCity" { "BillingAddress.City" } else { field };
                let copied = copy.get(name).unwrap_or(&Json::Null);
                let same = match (&record[field], copied) {
                    (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
                    (a, b) => a == b,
                };
                prop_assert!(same, "{}: {} is {} in the copy", field, record[field], copied);
            }
        }
    }
}
