//! Any bytes as the CSV of a bulk job in any dialect: the job ends and its results can be read.
//!
//! Run `cargo +nightly fuzz run bulk_csv` in the parent folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::{Org, Request, Response};
use serde_json::json;

const OPERATIONS: [&str; 4] = ["insert", "update", "upsert", "delete"];
const DELIMITERS: [&str; 6] = ["BACKQUOTE", "CARET", "COMMA", "PIPE", "SEMICOLON", "TAB"];
const LINE_ENDINGS: [&str; 2] = ["LF", "CRLF"];

fuzz_target!(|data: &[u8]| {
    let Some((form, csv)) = data.split_first() else {
        return;
    };
    let pick = |words: &[&'static str], shift: u8| words[usize::from(form >> shift) % words.len()];
    let mut org = Org::default();
    let token = org.open_session(INTEGRATION_USER).expect("the user is built in");
    let mut call = |method: &str, path: &str, kind: &str, body: Vec<u8>| -> Response {
        let target = format!("/services/data/v62.0/jobs/ingest{path}");
        let request = Request::new(method, &target).bearer(&token);
        org.advance_ms(60_000);
        org.request(&request.body(kind, body))
    };
    let job = json!({
        "object": "Account",
        "operation": pick(&OPERATIONS, 0),
        "columnDelimiter": pick(&DELIMITERS, 2),
        "lineEnding": pick(&LINE_ENDINGS, 6),
        "externalIdFieldName": "External_Id__c",
    });
    let json = "application/json";
    let created = call("POST", "", json, job.to_string().into()).to_json();
    let id = created["id"].as_str().expect("the job is well formed");
    call("PUT", &format!("/{id}/batches"), "text/csv", csv.to_vec());
    let close = json!({"state": "UploadComplete"}).to_string();
    call("PATCH", &format!("/{id}"), json, close.into());
    let info = call("GET", &format!("/{id}"), json, Vec::new()).to_json();
    assert!(info["state"] == "JobComplete" || info["state"] == "Failed", "{info}");
    for set in ["successfulResults", "failedResults", "unprocessedrecords"] {
        let results = call("GET", &format!("/{id}/{set}"), json, Vec::new());
        assert_eq!(results.status, 200);
    }
});
