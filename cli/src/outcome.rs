//! The outcome of a command, printed for people or as JSON for programs.

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;
use serde_json::{Value as Json, json};
use syncline::model::ids::TenantId;
use syncline::model::value::Value;

/// The outcome of a command.
pub(crate) struct Outcome {
    /// The output for programs.
    pub(crate) json: Json,
    /// The output for people.
    pub(crate) text: String,
    /// Whether a person must act.
    pub(crate) status: Status,
    /// Tenants without an answer, and why.
    pub(crate) failures: Vec<TenantFailure>,
}

/// Why a tenant has no answer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TenantFailure {
    pub(crate) tenant: TenantId,
    /// What went wrong.
    pub(crate) error: String,
    /// What to do about it.
    pub(crate) fix: Option<String>,
}

/// Whether a person must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// All is well: exit status 0.
    Well,
    /// Something was found: exit status 1.
    Found,
}

impl Outcome {
    pub(crate) fn well(json: Json, text: String) -> Self {
        Self {
            json,
            text,
            status: Status::Well,
            failures: Vec::new(),
        }
    }

    /// Adds the tenants without an answer: to a JSON list as further elements, to a JSON object by their names.
    pub(crate) fn with_failures(mut self, failures: Vec<TenantFailure>) -> Self {
        for failure in &failures {
            match &mut self.json {
                Json::Array(answers) => answers.push(json!(failure)),
                Json::Object(answers) => {
                    answers.insert(failure.tenant.to_string(), json!(failure));
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
            }
        }
        self.failures = failures;
        self
    }

    /// Prints it and returns the exit status.
    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let printed = match as_json {
            true => print(&format!("{:#}", self.json)),
            false => print(self.text.trim_end()),
        };
        for TenantFailure { tenant, error, fix } in &self.failures {
            eprintln!("error: {tenant}: {error}");
            if let Some(fix) = fix {
                eprintln!("  fix: {fix}");
            }
        }
        match (self.status, printed && self.failures.is_empty()) {
            (Status::Well, true) => ExitCode::SUCCESS,
            (Status::Found, _) | (_, false) => ExitCode::FAILURE,
        }
    }
}

/// Prints a text and a line end. Reports an output that cannot be written, such as a full disk, and returns false.
/// A reader that has seen enough, such as `head`, is not an error.
pub(crate) fn print(text: &str) -> bool {
    let mut output = io::stdout().lock();
    let written = writeln!(output, "{text}").and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("error: the output cannot be written: {error}");
            false
        }
        Ok(()) | Err(_) => true,
    }
}

/// Returns a table with these headings, as wide as the terminal allows.
pub(crate) fn table<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings);
    table
}

/// Returns a value as people read it; `absent` stands for none.
pub(crate) fn value(value: Option<&Value>, absent: &str) -> String {
    match value {
        None => absent.to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Boolean(boolean)) => boolean.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Text(text)) => text.clone(),
    }
}

/// Returns a time to the second.
pub(crate) fn moment(moment: &DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}
