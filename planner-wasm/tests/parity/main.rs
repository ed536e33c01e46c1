//! The planner gives the same answers natively and as WebAssembly, byte for byte.
//!
//! `SYNCLINE_WASM_NODE` names the folder of the package for Node (`make wasm` builds it); without it
//! only the native half is tested. `SYNCLINE_PARITY_SEED` and `SYNCLINE_PARITY_CASES` replay a run.

mod cases;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use cases::Cases;

const CASES: usize = 10_000;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn ten_thousand_random_cases_are_answered_alike() {
    let seed = setting("SYNCLINE_PARITY_SEED").unwrap_or(20_260_501);
    let count = setting("SYNCLINE_PARITY_CASES").map_or(CASES, |count| count as usize);
    let lines: Vec<String> = Cases::of_seed(seed)
        .take(count)
        .map(|case| case.line())
        .collect();
    let refused = lines
        .iter()
        .filter(|line| line.contains("\"error\":"))
        .count();
    assert!(
        refused > 0 && refused < lines.len() / 2,
        "{refused} of {count} are problems"
    );
    let Some(folder) = std::env::var_os("SYNCLINE_WASM_NODE") else {
        eprintln!("SYNCLINE_WASM_NODE is not set: the WebAssembly half was not run");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/parity.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(Path::new(&folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut input = node.stdin.take().expect("its input is piped");
    // A difference ends the script before it has read everything.
    let _ = input.write_all(lines.join("\n").as_bytes());
    drop(input);
    let output = node.wait_with_output().expect("node ends");
    assert!(
        output.status.success(),
        "replay: SYNCLINE_PARITY_SEED={seed}"
    );
    let told: Json = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert_eq!(told["cases"], json!(count));
}

#[test]
fn a_problem_names_the_member_that_is_wrong() {
    let told = |input: &str| planner_wasm::calls::plan_record(input).unwrap_err();
    assert_eq!(told("{}").path, "object");
    assert_eq!(told("[").path, "");
    let object = json!({
        "object": "Account",
        "table": {"schema": "public", "table": "account"},
        "external_id": {"field": "Key__c", "column": "key"},
        "fields": {"Name": {"column": "name"}},
    });
    let with = |name: &str, member: Json| {
        let mut input = json!({"object": object, "external_id": "K1"});
        input[name] = member;
        told(&input.to_string()).path
    };
    assert_eq!(with("postgres", json!({"Name": [1]})), "postgres");
    assert_eq!(with("postgras", json!({})), "postgras");
    assert_eq!(with("object", json!({"object": "Account"})), "object");
    let long = " ".repeat(planner_wasm::calls::INPUT_BYTES_MAX + 1);
    assert_eq!(told(&long).path, "");
}

#[test]
fn an_explanation_says_what_both_sides_hold_and_why() {
    let input = r#"{
        "object": {
            "object": "Account", "table": {"schema": "public", "table": "account"},
            "external_id": {"field": "Key__c", "column": "key"},
            "fields": {"Amount__c": {"column": "amount", "owner": "postgres"}}
        },
        "external_id": "K1",
        "base":       {"Key__c": "K1", "Amount__c": 1},
        "postgres":   {"Key__c": "K1", "Amount__c": 12345678901234567.89},
        "salesforce": {"Key__c": "K1", "Amount__c": 1}
    }"#;
    let explained: Json =
        serde_json::from_str(&planner_wasm::calls::explain(input).unwrap()).unwrap();
    let amount = &explained["fields"]["Amount__c"];
    assert_eq!(amount["rule"], json!("postgres_changed"));
    assert_eq!(amount["postgres"].to_string(), "12345678901234567.89");
    let plan = planner_wasm::calls::plan_record(input).unwrap();
    assert!(
        plan.contains("12345678901234567.89"),
        "no digit is lost: {plan}"
    );
}
