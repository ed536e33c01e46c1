//! The operator's program between a real Postgres and the local org.
//!
//! The example history of the planner's page is what `syncline explain` prints: a test takes a record through
//! a series of changes, and the output of `syncline explain KEY --json` must equal the page's committed example.
//! Ids and times differ between runs, so they are replaced first.
//!
//! `SYNCLINE_WRITE_HISTORY=1 cargo test -p syncline-cli --test live` writes the example.

mod adopting;
mod checking;
mod comparing;
mod configuring;
mod first_contact;
mod generating;
mod guide;
mod operating;
mod ordered;
mod planning;
mod roles;
mod scene;
mod secrecy;
mod several;
mod story;

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// The page's example.
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../planner-wasm/www/src/timeline/history.json"
);

/// The kinds of entries that the history must contain, besides `observed` and `settled`.
const CHAPTERS: [&str; 8] = [
    "conflict_closed",
    "conflict_opened",
    "decided",
    "discarded_value",
    "resumed",
    "stopped",
    "write_ended",
    "write_recorded",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_example_is_what_explain_prints() {
    let mut history = story::history().await;
    let kinds = kinds(&history);
    for chapter in CHAPTERS {
        assert!(kinds.contains(chapter), "no {chapter} in {kinds:?}");
    }
    ordered::in_order(&mut history);
    let history = format!("{history:#}\n");
    if std::env::var_os("SYNCLINE_WRITE_HISTORY").is_some() {
        std::fs::write(FILE, &history).expect("the example is written");
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == history,
        "planner-wasm/www/src/timeline/history.json is not what the command prints. If it should be: \
         SYNCLINE_WRITE_HISTORY=1 cargo test -p syncline-cli --test live\n{}",
        first_difference(&committed, &history)
    );
}

fn kinds(history: &Json) -> BTreeSet<&str> {
    let entries = history["entries"].as_array().expect("a list of entries");
    entries
        .iter()
        .filter_map(|entry| entry["kind"].as_str())
        .collect()
}

fn first_difference(committed: &str, printed: &str) -> String {
    let mut lines = committed.lines().zip(printed.lines()).enumerate();
    lines.find(|(_, (one, other))| one != other).map_or_else(
        || "one is longer than the other".to_owned(),
        |(line, (one, other))| format!("line {}: {one:?} became {other:?}", line + 1),
    )
}
