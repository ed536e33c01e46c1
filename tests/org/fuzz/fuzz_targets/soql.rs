//! Any text as SOQL returns rows or an error with a code.
//!
//! Run `cargo +nightly fuzz run soql` in the parent folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::{Org, Request};
use serde_json::json;

fuzz_target!(|soql: &str| {
    let mut org = Org::default();
    let fields = json!({"Name": "Acme", "External_Id__c": "A-1"});
    org.insert_as(PERSON, "Account", &fields).expect("the fields are built in");
    let token = org.open_session(INTEGRATION_USER).expect("the user is built in");
    let encoded: String = soql.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for resource in ["query", "queryAll"] {
        let target = format!("/services/data/v62.0/{resource}?q={encoded}");
        let answer = org.request(&Request::new("GET", &target).bearer(&token));
        let body = answer.to_json();
        match answer.status {
            200 => assert!(body["records"].is_array(), "{body}"),
            status => {
                assert!((400..500).contains(&status), "{status}: {body}");
                assert!(body[0]["errorCode"].is_string(), "{body}");
            }
        }
    }
});
