//! What each scenario did, for the summary of `scripts/clients`.

use std::fs::OpenOptions;
use std::io::Write as _;

use serde_json::json;

use crate::installed::Client;

/// Names the file that gets one line of JSON for each scenario. Without it there is no report.
const VARIABLE: &str = "SYNCLINE_CLIENTS_REPORT";

/// Adds a scenario, with the number of its calls to the org.
///
/// # Panics
///
/// Panics if the file cannot be written.
pub(crate) fn add(client: Client, scenario: &str, passed: bool, calls: u64) {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let package = client.package();
    let line = json!({"client": package, "scenario": scenario, "passed": passed, "calls": calls});
    // One write to a file opened for appending, because tests run at the same time.
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
        .expect("the folder of the report can be written");
}
