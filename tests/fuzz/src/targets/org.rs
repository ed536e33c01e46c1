//! The local org, which other people's clients send requests to.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{Org, Request, Response};
use serde_json::json;

/// Any text as SOQL returns rows or an error with a code.
pub(crate) fn soql(bytes: &[u8]) {
    let Ok(soql) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut org = Org::default();
    let fields = json!({"Name": "Acme", "External_Id__c": "A-1"});
    org.insert_as(PERSON, "Account", &fields)
        .expect("the fields are built in");
    let token = org
        .open_session(INTEGRATION_USER)
        .expect("the user is built in");
    let encoded: String = soql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for resource in ["query", "queryAll"] {
        let target = format!("/services/data/v62.0/{resource}?q={encoded}");
        let answer = org.request(&Request::new("GET", &target).bearer(&token));
        let body = answer.to_json();
        match answer.status {
            200 => assert!(body["records"].is_array(), "{body}"),
            // The statement is too long for an address, which no code says.
            414 | 431 => {}
            status => {
                assert!((400..500).contains(&status), "{status}: {body}");
                assert!(body[0]["errorCode"].is_string(), "{body}");
            }
        }
    }
}

const OPERATIONS: [&str; 4] = ["insert", "update", "upsert", "delete"];
const DELIMITERS: [&str; 6] = ["BACKQUOTE", "CARET", "COMMA", "PIPE", "SEMICOLON", "TAB"];
const LINE_ENDINGS: [&str; 2] = ["LF", "CRLF"];

/// Any bytes as the CSV of a bulk job in any dialect: the job ends and its results can be read. The first byte chooses
/// the dialect.
pub(crate) fn bulk_csv(bytes: &[u8]) {
    let Some((form, csv)) = bytes.split_first() else {
        return;
    };
    let pick = |words: &[&'static str], shift: u8| words[usize::from(form >> shift) % words.len()];
    let mut org = Org::default();
    let token = org
        .open_session(INTEGRATION_USER)
        .expect("the user is built in");
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
    assert!(
        info["state"] == "JobComplete" || info["state"] == "Failed",
        "{info}"
    );
    for set in ["successfulResults", "failedResults", "unprocessedrecords"] {
        let results = call("GET", &format!("/{id}/{set}"), json, Vec::new());
        assert_eq!(results.status, 200);
    }
}
