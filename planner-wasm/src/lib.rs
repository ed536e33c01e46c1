//! The planner for browsers and Node: JSON strings in and out, so that no digit is lost.
//!
//! Every export is a thin shell over the function of the same name in [`calls`], which runs natively
//! too; a test compares both byte for byte. An invalid input becomes a JavaScript error
//! whose message is JSON: `{"path": "postgres", "message": "…", "fix": "…"}`. The npm package
//! (`npm/`) gives these exports types and turns such errors into `PlannerError`.

use wasm_bindgen::JsError;
use wasm_bindgen::prelude::wasm_bindgen;

pub mod calls;

use calls::Problem;

fn shown(answer: Result<String, Problem>) -> Result<String, JsError> {
    answer.map_err(thrown)
}

fn thrown(problem: Problem) -> JsError {
    JsError::new(&problem.to_json())
}

/// Returns the version of the planner.
#[wasm_bindgen]
pub fn version() -> String {
    calls::version().to_owned()
}

/// Returns the JSON Schema of `syncline.toml`.
#[wasm_bindgen]
pub fn config_schema() -> String {
    calls::config_schema()
}

/// Checks a `syncline.toml`. Returns `{"config": …, "mistakes": […]}`; the configuration is null if
/// there are mistakes.
#[wasm_bindgen]
pub fn check_config(toml: &str) -> Result<String, JsError> {
    shown(calls::check_config(toml))
}

/// Plans one record and returns what it needs, why, and its lane. The input is an object of
/// `object` (its rules, as in `check_config`'s answer) and the members of `RecordFacts`: `external_id`,
/// `base`, `postgres`, `salesforce`, …
#[wasm_bindgen]
pub fn plan_record(input: &str) -> Result<String, JsError> {
    shown(calls::plan_record(input))
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

/// A batch that arrives in chunks.
#[wasm_bindgen]
pub struct Batch(calls::Batch);

#[wasm_bindgen]
impl Batch {
    /// Begins a batch: `{"object": …, "graph": true, "bulk": true, "calls_max": null}`.
    #[wasm_bindgen(constructor)]
    pub fn new(input: &str) -> Result<Self, JsError> {
        calls::Batch::begin(input).map(Self).map_err(thrown)
    }

    /// Plans a chunk of JSON Lines and returns the result of each row.
    pub fn plan(&mut self, lines: &str) -> Result<String, JsError> {
        shown(self.0.plan(lines))
    }

    /// Returns the batch as a whole, with the lane of each row.
    pub fn finish(&self) -> String {
        self.0.finish()
    }
}
