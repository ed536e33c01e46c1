//! The worked examples of `docs/merging.md` are the planner's answers to `examples/*.json`.
//!
//! Each example stands in the document as one block, made here from the planner's answer; a test that
//! fails prints the block as it should be.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use planner_wasm::calls;
use serde_json::{Map, Value as Json, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/merging.md");

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path.as_ref())
        .unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The object that the examples' configuration maps.
fn rules() -> Json {
    let toml = read(Path::new(FOLDER).join("syncline.toml"));
    let answer = calls::check_config(&toml).expect("it is short enough");
    let answer: Json = serde_json::from_str(&answer).expect("an answer is JSON");
    assert_eq!(answer["mistakes"], json!([]));
    answer["config"]["tenants"]["acme"]["objects"][0].clone()
}

fn examples() -> Vec<Json> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(FOLDER)
        .expect("the folder of the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| {
            let example: Json = serde_json::from_str(&read(path)).expect("an example is JSON");
            let name = path.file_stem().and_then(|name| name.to_str());
            assert_eq!(example["name"].as_str(), name, "it is named as its file");
            example
        })
        .collect()
}

/// Asks the planner about the example under these rules.
fn ask(rules: &Json, example: &Json) -> Json {
    let mut input = example["record"].clone();
    input["object"] = rules.clone();
    let answer = calls::plan_record(&input.to_string()).expect("an example is planned");
    serde_json::from_str(&answer).expect("an answer is JSON")
}

/// The example and what comes of it, as the document shows it.
fn block(rules: &Json, example: &Json) -> String {
    let mut block = format!("```text {}\n", example["name"].as_str().unwrap_or_default());
    block.push_str(&sides(&example["record"]));
    block.push_str(&outcome(rules, example));
    for (heading, rules) in variants(rules, example) {
        let plan = ask(&rules, example);
        writeln!(block, "{heading:<34} {}", in_short(&plan)).expect("a string takes it");
    }
    block.push_str("```\n");
    block
}

/// The fields that the three do not agree on.
fn sides(record: &Json) -> String {
    let held = |side: &str, field: &str| match &record[side] {
        Json::Object(fields) => fields
            .get(field)
            .map_or("-".to_owned(), ToString::to_string),
        _ => "-".to_owned(),
    };
    let columns = ["base", "postgres", "salesforce"];
    let mut names: Vec<&String> = Vec::new();
    for side in columns {
        names.extend(record[side].as_object().into_iter().flat_map(Map::keys));
    }
    names.sort();
    names.dedup();
    let mut text = format!(
        "{:<20} {:<26} {:<26} {}\n",
        "", "base", "Postgres", "Salesforce"
    );
    for name in names {
        let [base, postgres, salesforce] = columns.map(|side| held(side, name));
        if base != postgres || base != salesforce {
            writeln!(text, "{name:<20} {base:<26} {postgres:<26} {salesforce}")
                .expect("a string takes it");
        }
    }
    text.push('\n');
    text
}

fn outcome(rules: &Json, example: &Json) -> String {
    let plan = ask(rules, example);
    let why = &plan["why"];
    let mut text = format!("{}\n", in_short(&plan));
    let record = why["rule"].as_str();
    for (field, line) in why["fields"].as_object().into_iter().flatten() {
        let rule = line["rule"].as_str();
        if rule != Some("equal") && rule != record {
            writeln!(
                text,
                "  {field}: {}",
                line["sentence"].as_str().unwrap_or_default()
            )
            .expect("a string takes it");
        }
    }
    writeln!(text, "  {}", why["sentence"].as_str().unwrap_or_default())
        .expect("a string takes it");
    text
}

/// The same example under the other choices of one setting.
fn variants(rules: &Json, example: &Json) -> Vec<(String, Json)> {
    let (place, choices): (&str, &[&str]) = match example["compare"].as_str() {
        Some("conflicts") => (
            "/conflicts",
            &[
                "field_ownership",
                "last_writer_wins",
                "salesforce_wins",
                "postgres_wins",
            ],
        ),
        Some("deletes") => ("/deletes/on_edit", &["delete_wins", "edit_wins"]),
        Some("seed") => ("/seed", &["salesforce", "postgres"]),
        _ => return Vec::new(),
    };
    choices
        .iter()
        .map(|choice| {
            let mut other = rules.clone();
            *other.pointer_mut(place).expect("a setting") = json!(choice);
            let setting = place.rsplit('/').next().unwrap_or_default();
            (format!("with {setting} = \"{choice}\":"), other)
        })
        .collect()
}

fn in_short(plan: &Json) -> String {
    let mut parts = Vec::new();
    for (side, name) in [("to_postgres", "Postgres"), ("to_salesforce", "Salesforce")] {
        let fields: Vec<String> = plan[side]["fields"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, value)| format!("{field} = {value}"))
            .collect();
        match plan[side]["write"].as_str() {
            Some("none") | None => {}
            Some(write) if fields.is_empty() => parts.push(format!("{write} in {name}")),
            Some("create") => parts.push(format!("create in {name}")),
            Some(_) => parts.push(format!("{name} takes {}", fields.join(", "))),
        }
    }
    for conflict in plan["conflicts"].as_array().into_iter().flatten() {
        let field = conflict["field"].as_str().unwrap_or("the record");
        parts.push(format!("{field} waits for a person"));
    }
    match parts.is_empty() {
        true => "nothing is written".to_owned(),
        false => parts.join("; "),
    }
}

#[test]
fn the_document_shows_the_planners_answers() {
    let document = read(DOCUMENT);
    let rules = rules();
    let mut wrong = Vec::new();
    for example in examples() {
        let block = block(&rules, &example);
        if !document.contains(&block) {
            wrong.push(block);
        }
    }
    assert!(
        wrong.is_empty(),
        "docs/merging.md should show:\n\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_example_has_a_link_into_the_page() {
    let document = read(DOCUMENT);
    for example in examples() {
        let link = format!("#example={}", example["name"].as_str().unwrap_or_default());
        assert!(document.contains(&link), "{link} is missing");
    }
}
