//! The history that the planner's page shows is one that the engine really made.
//!
//! A record lives through a whole story between a real Postgres and the local org; what `syncline explain
//! KEY --json` prints of it is the page's example, committed beside the page. Ids and times differ from
//! run to run and are put in order first; anything else that differs means that the page shows what the
//! command no longer prints.
//!
//! `SYNCLINE_WRITE_HISTORY=1 cargo test -p syncline-cli --test history` writes it anew.

mod ordered;
mod scene;
mod story;

use std::collections::BTreeSet;

use serde_json::Value as Json;

/// The page's example.
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../planner-wasm/www/src/timeline/history.json"
);

/// Every kind of entry but `observed` and `settled`, without which there is no story.
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
async fn the_example_of_the_page_is_what_explain_prints_of_that_story() {
    let mut history = story::told().await;
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
         SYNCLINE_WRITE_HISTORY=1 cargo test -p syncline-cli --test history\n{}",
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
        || "one goes on where the other ends".to_owned(),
        |(line, (one, other))| format!("line {}: {one:?} became {other:?}", line + 1),
    )
}
