//! The planner for browsers and Node: JSON strings in and out, so that no digit is lost.
//!
//! Every export is a thin shell over the function of the same name in [`calls`], which runs natively
//! too; a test compares both byte for byte. An input that cannot be used becomes a JavaScript error
//! whose message is JSON: `{"path": "postgres", "message": "…"}`.

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

pub mod calls;

use calls::Problem;

fn shown(answer: Result<String, Problem>) -> Result<String, JsError> {
    answer.map_err(|problem| JsError::new(&problem.to_json()))
}

/// Returns the version of the planner.
#[wasm_bindgen]
pub fn version() -> String {
    calls::version().to_owned()
}

/// Checks a `syncline.toml`. Returns `{"config": …, "mistakes": […]}`; the configuration is null if
/// there are mistakes.
#[wasm_bindgen]
pub fn check_config(toml: &str) -> Result<String, JsError> {
    shown(calls::check_config(toml))
}

/// Plans one record and returns the plan. The input is an object of
///
/// - `object`: the object's rules, as in `check_config`'s answer; `external_id`;
/// - `base`, `postgres`, `salesforce`: fields and values; a base that is null says that both sides never
///   agreed, a side that is null lacks the record;
/// - optional: `changed_at_ms` by side, `clock_skew_ms`, `late_effects` and `under_way` (fields),
///   `bounces` (`{"Field": {"count", "sent", "stored"}}`), `outside` (true: the Salesforce record lies
///   outside the object's filter).
#[wasm_bindgen]
pub fn plan_record(input: &str) -> Result<String, JsError> {
    shown(calls::plan_record(input))
}

/// Plans one record, as `plan_record`, and returns why, in words, per field and for the record.
#[wasm_bindgen]
pub fn explain(input: &str) -> Result<String, JsError> {
    shown(calls::explain(input))
}

/// Plans one change: `{"context": {"object": …, "current_payload": …, …}, "envelope": {…}}`.
#[wasm_bindgen]
pub fn plan_change(input: &str) -> Result<String, JsError> {
    shown(calls::plan_change(input))
}

/// Merges two payloads: `{"object": …, "current": …, "source": "salesforce", "incoming": …}`.
#[wasm_bindgen]
pub fn merge(input: &str) -> Result<String, JsError> {
    shown(calls::merge(input))
}

/// Returns the hash of a JSON text: equal content, equal hash.
#[wasm_bindgen]
pub fn canonical_hash(json: &str) -> Result<String, JsError> {
    shown(calls::canonical_hash(json))
}
