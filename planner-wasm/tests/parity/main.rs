//! The planner gives the same answers natively and as WebAssembly, byte for byte.
//!
//! `SYNCLINE_WASM_NODE` names the folder of the package for Node (`make wasm` builds it); without it
//! only the native half is tested. `SYNCLINE_PARITY_SEED` and `SYNCLINE_PARITY_CASES` replay a run.

mod cases;

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use cases::Cases;

/// `SYNCLINE_PARITY_CASES` asks for more.
const CASES: usize = 20_000;

/// Cases are made and compared side by side, each share in a Node of its own.
const SHARES: usize = 4;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_cases_have_equal_answers_natively_and_as_webassembly() {
    let seed = setting("SYNCLINE_PARITY_SEED").unwrap_or(20_260_501);
    let count = setting("SYNCLINE_PARITY_CASES").map_or(CASES, |count| count as usize);
    let folder = std::env::var_os("SYNCLINE_WASM_NODE");
    if folder.is_none() {
        eprintln!("SYNCLINE_WASM_NODE is not set: the WebAssembly half was not run");
    }
    let folder = folder.as_deref().map(Path::new);
    let refused: usize = std::thread::scope(|scope| {
        let shares: Vec<_> = (0..SHARES)
            .map(|share| scope.spawn(move || compare(seed + share as u64, count / SHARES, folder)))
            .collect();
        shares
            .into_iter()
            .map(|share| share.join().expect("no answer of the share differs"))
            .sum()
    });
    assert!(
        refused > 0 && refused < count / 2,
        "{refused} of {count} are problems"
    );
}

/// Compares the cases of one seed, and returns how many inputs were refused.
fn compare(seed: u64, count: usize, folder: Option<&Path>) -> usize {
    let cases = Cases::of_seed(seed).take(count).map(|case| case.line());
    let mut refused = 0;
    let counted = cases.inspect(|line| refused += usize::from(line.contains("\"error\":")));
    match folder {
        Some(folder) => compare_in_node(seed, count, counted, folder),
        None => assert_eq!(counted.count(), count),
    }
    refused
}

fn compare_in_node(seed: u64, count: usize, lines: impl Iterator<Item = String>, folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/parity.mjs");
    let mut node = Command::new("node")
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut input = BufWriter::new(node.stdin.take().expect("its input is piped"));
    for line in lines {
        // A difference ends the script before it has read everything.
        if writeln!(input, "{line}").is_err() {
            break;
        }
    }
    let _ = input.flush();
    drop(input);
    let output = node.wait_with_output().expect("node ends");
    assert!(
        output.status.success(),
        "replay: SYNCLINE_PARITY_SEED={seed} SYNCLINE_PARITY_CASES={}",
        count * SHARES
    );
    let counted: Json = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert_eq!(counted["cases"], json!(count));
}

#[test]
fn problems_name_the_wrong_member() {
    let problem = |input: &str| planner_wasm::calls::plan_record(input).unwrap_err();
    assert_eq!(problem("{}").path, "object");
    assert_eq!(problem("[").path, "");
    let object = json!({
        "object": "Account",
        "table": {"schema": "public", "table": "account"},
        "external_id": {"field": "Key__c", "column": "key"},
        "fields": {"Name": {"column": "name"}},
    });
    let with = |name: &str, member: Json| {
        let mut input = json!({"object": object, "external_id": "K1"});
        input[name] = member;
        problem(&input.to_string()).path
    };
    assert_eq!(with("postgres", json!({"Name": [1]})), "postgres.Name");
    assert_eq!(with("postgras", json!({})), "postgras");
    assert_eq!(with("object", json!({"object": "Account"})), "object.table");
    let mut wrong = object.clone();
    wrong["fields"]["Name"]["owner"] = json!("oracle");
    assert_eq!(with("object", wrong), "object.fields.Name.owner");
    assert_eq!(
        with("late_writes", json!(["Name", "1st"])),
        "late_writes[1]"
    );
    let long = " ".repeat(planner_wasm::calls::INPUT_BYTES_MAX + 1);
    assert_eq!(problem(&long).path, "");
}

#[test]
fn answers_explain_each_field_with_exact_values() {
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
    let answer = planner_wasm::calls::plan_record(input).unwrap();
    let amount = &serde_json::from_str::<Json>(&answer).unwrap()["why"]["fields"]["Amount__c"];
    assert_eq!(amount["rule"], json!("postgres_changed"));
    assert_eq!(amount["postgres"].to_string(), "12345678901234567.89");
    assert_eq!(
        answer.matches("12345678901234567.89").count(),
        3,
        "no digit is lost in the write, the base and the reason: {answer}"
    );
}

#[test]
fn unmapped_fields_are_listed() {
    let input = r#"{
        "object": {
            "object": "Account", "table": {"schema": "public", "table": "account"},
            "external_id": {"field": "Key__c", "column": "key"},
            "fields": {"Name": {"column": "name"}}
        },
        "external_id": "K1",
        "base":       {"Key__c": "K1", "Name": "Ada"},
        "postgres":   {"Key__c": "K1", "Name": "Ada", "Fax": "1"},
        "salesforce": {"Key__c": "K1", "Name": "Ada", "name": "Eve"}
    }"#;
    let answer = planner_wasm::calls::plan_record(input).unwrap();
    let answer: Json = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["unmapped"], json!(["Fax", "name"]));
    assert_eq!(answer["why"]["settled"], json!(true));
    assert_eq!(answer["lane"], json!("noop"));
}
