//! What the functions are given: wake-ups, schedules, batches of a queue.

use serde_json::Value as Json;
use syncline_functions::payload::{CaptureCall, CaptureJob, PayloadError, ReconcileJob, wake_up};

use crate::json::{assert_is_short, assert_quotes_nothing, document};

/// A payload is one that can be sent again, or is refused with what is wrong and without what messages contain.
pub(crate) fn payload(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match wake_up(text) {
        Ok(parsed) => {
            let again = serde_json::to_string(&parsed).expect("a wake-up is JSON");
            assert_eq!(wake_up(&again), Ok(parsed));
        }
        Err(error) => check_refusal(&error, &Json::Null),
    }
    let Some(json) = document(bytes) else { return };
    for error in [
        CaptureJob::parse(json.clone()).err(),
        ReconcileJob::parse(json.clone()).err(),
    ] {
        let quotable = if json.get("Records").is_some() {
            &json
        } else {
            &Json::Null
        };
        error
            .iter()
            .for_each(|error| check_refusal(error, quotable));
    }
    match CaptureCall::parse(json.clone()) {
        Ok(CaptureCall::Job(_)) => assert!(json.get("Records").is_none()),
        Ok(CaptureCall::Relayed(batch)) => {
            let given = json["Records"].as_array().map_or(0, Vec::len);
            assert_eq!(batch.records.len(), given, "a message was lost");
        }
        Err(error) => check_refusal(&error, &json),
    }
}

fn check_refusal(error: &PayloadError, batch: &Json) {
    let shown = error.to_string();
    assert_is_short(&shown);
    if batch.get("Records").is_some() {
        assert_quotes_nothing(&shown, batch, &["job"]);
    }
}
