//! How long one decision takes: a record of twelve fields, in nanoseconds, one line of JSON for each case.
//!
//! ```sh
//! cargo run --release -p planner-wasm --example decision_time
//! ```
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use syncline_planner::config::Config;
use syncline_planner::facts::RecordFacts;
use syncline_planner::mapping::Mapping;
use syncline_planner::model::fields::FieldMap;
use syncline_planner::model::value::Value;
use syncline_planner::record::plan_record;

const DECISIONS: u32 = 20_000;

/// Runs of each case; the fastest counts, because other work only slows it down.
const RUNS: usize = 200;

const FIELDS: [&str; 11] = [
    "AnnualRevenue",
    "BillingCity",
    "BillingCountry",
    "BillingPostalCode",
    "BillingState",
    "BillingStreet",
    "Description",
    "Fax",
    "Name",
    "Phone",
    "Website",
];

fn mapping() -> Mapping {
    let fields: String = FIELDS
        .iter()
        .map(|name| format!("{name} = {{ column = \"{}\" }}\n", name.to_lowercase()))
        .collect();
    let config = Config::parse(&format!(
        r#"
        [tenant.acme]
        salesforce = {{ login_url = "https://acme.example", client_id = "x", auth = "client_credentials", secret = "env:S" }}
        postgres = {{ url = "env:D" }}
        [[tenant.acme.object]]
        object = "Account"
        table = "account"
        external_id = {{ field = "External_Id__c", column = "external_id" }}
        [tenant.acme.object.fields]
        {fields}"#
    ));
    let config = config.unwrap();
    let tenant = config.tenants.into_values().next().unwrap();
    Mapping::new(tenant.objects.into_iter().next().unwrap())
}

fn main() {
    let mapping = mapping();
    let values = |edited: Option<(usize, &str)>| -> FieldMap<_, Value> {
        let fields = mapping.fields().enumerate();
        fields
            .map(|(place, field)| match edited {
                Some((at, text)) if at == place => (field, Value::text(text)),
                Some(_) | None => (field, Value::text(&format!("the value of field {place}"))),
            })
            .collect()
    };
    let facts = |postgres, salesforce| RecordFacts {
        base: Some(values(None)),
        postgres: Some(values(postgres)),
        salesforce: Some(values(salesforce)),
        ..RecordFacts::new("a-1".to_owned())
    };
    let cases = [
        ("equal", facts(None, None)),
        ("one edit in Postgres", facts(Some((2, "edited")), None)),
        (
            "one edit on each side",
            facts(Some((2, "edited")), Some((7, "edited"))),
        ),
        (
            "one conflict",
            facts(Some((2, "edited")), Some((2, "otherwise"))),
        ),
    ];
    for (case, facts) in &cases {
        let run = || {
            let begun = Instant::now();
            for _ in 0..DECISIONS {
                black_box(plan_record(black_box(&mapping), black_box(facts)));
            }
            begun.elapsed().as_nanos() / u128::from(DECISIONS)
        };
        let fastest = (0..RUNS).map(|_| run()).min().unwrap_or_default();
        println!("{{\"case\": \"{case}\", \"fields\": 12, \"nanoseconds\": {fastest}}}");
    }
}
