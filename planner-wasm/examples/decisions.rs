//! How many records a second are decided natively, over the calls that JavaScript makes.
//!
//! Writes the records it used as JSON Lines, so that `decisions.mjs` decides the same ones.
//!
//! Usage: `decisions RECORDS FILE`

use std::hint::black_box;
use std::time::Instant;

use planner_wasm::calls;
use serde_json::{Value, json};

fn object() -> Value {
    json!({
        "object": "Account",
        "table": {"schema": "public", "table": "account"},
        "external_id": {"field": "Key__c", "column": "key"},
        "fields": {
            "Name": {"column": "name"},
            "Phone": {"column": "phone"},
            "Industry": {"column": "industry", "owner": "salesforce"},
            "Rating": {"column": "rating", "owner": "postgres"},
            "Amount__c": {"column": "amount"},
        },
    })
}

/// A record of which each side edited something, now and then the same field.
fn record(number: usize) -> String {
    let fields = |name: String, phone: String| {
        json!({
            "Key__c": format!("K{number}"), "Name": name, "Phone": phone,
            "Industry": "Energy", "Rating": "Hot", "Amount__c": number,
        })
    };
    let base = || fields(format!("Name {number}"), format!("+1 555 {number}"));
    let mut postgres = base();
    postgres["Phone"] = json!(format!("+1 556 {number}"));
    let mut salesforce = base();
    let edited = if number.is_multiple_of(10) {
        "Phone"
    } else {
        "Name"
    };
    salesforce[edited] = json!(format!("edited {number}"));
    json!({
        "object": object(), "external_id": format!("K{number}"),
        "base": base(), "postgres": postgres, "salesforce": salesforce,
    })
    .to_string()
}

fn main() {
    let mut words = std::env::args().skip(1);
    let count: usize = words
        .next()
        .and_then(|count| count.parse().ok())
        .expect("how many records?");
    let file = words.next().expect("which file?");
    let records: Vec<String> = (0..count).map(record).collect();
    std::fs::write(file, records.join("\n")).expect("the file is written");
    let started = Instant::now();
    for record in &records {
        black_box(calls::plan_record(black_box(record)).expect("a record is planned"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let report = json!({
        "planner": "native", "records": count, "seconds": (seconds * 1_000.0).round() / 1_000.0,
        "decisions_per_second": (count as f64 / seconds).round(),
    });
    println!("{report}");
}
