//! The outcome of a command, printed for people or as JSON for programs.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table};
use console::Term;
use serde::Serialize;
use serde_json::{Value as Json, json};
use syncline::model::ids::TenantId;
use syncline::model::value::Value;

/// The outcome of a command.
pub(crate) struct Outcome {
    /// The output for programs: one element a tenant, an object with the member `tenant`.
    pub(crate) json: Vec<Json>,
    /// The output for programs of a command about one record, which prints that record instead of a list.
    pub(crate) document: Option<Json>,
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
    pub(crate) fn well(json: Vec<Json>, text: String) -> Self {
        Self {
            json,
            document: None,
            text,
            status: Status::Well,
            failures: Vec::new(),
        }
    }

    /// Adds the tenants without an answer, as further elements of the list.
    pub(crate) fn with_failures(mut self, failures: Vec<TenantFailure>) -> Self {
        self.json
            .extend(failures.iter().map(|failure| json!(failure)));
        self.failures = failures;
        self
    }

    /// Prints it and returns the exit status.
    pub(crate) fn print(self, as_json: bool) -> ExitCode {
        let printed = match (as_json, self.document) {
            (true, Some(document)) => print(&format!("{document:#}")),
            (true, None) => print(&format!("{:#}", Json::Array(self.json))),
            (false, _) => print(self.text.trim_end()),
        };
        for TenantFailure { tenant, error, fix } in &self.failures {
            warn(&format!("error: {tenant}: {error}"));
            if let Some(fix) = fix {
                warn(&format!("  fix: {fix}"));
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
            warn(&format!("error: the output cannot be written: {error}"));
            false
        }
        Ok(()) | Err(_) => true,
    }
}

/// Prints a line to standard error. One that cannot be written is dropped, while `eprintln!` would panic.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Returns a table with these headings.
pub(crate) fn table<const COLUMNS: usize>(headings: [&str; COLUMNS]) -> Grid {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header(headings);
    Grid(table)
}

/// A table that is printed as wide as the terminal, without columns that are empty; where the output is no terminal,
/// each row is one line with all columns.
pub(crate) struct Grid(Table);

impl Grid {
    pub(crate) fn add_row(&mut self, row: impl Into<Row>) {
        self.0.add_row(row);
    }

    fn drawn(&self, width: Option<u16>) -> Table {
        let mut table = self.0.clone();
        let Some(width) = width else {
            table.set_content_arrangement(ContentArrangement::Disabled);
            return table;
        };
        let is_empty = |column: usize| {
            let mut rows = self.0.row_iter();
            rows.all(|row| {
                let cell = row.cell_iter().nth(column);
                cell.is_none_or(|cell| cell.content().is_empty())
            })
        };
        for (number, column) in table.column_iter_mut().enumerate() {
            if is_empty(number) {
                column.set_constraint(ColumnConstraint::Hidden);
            }
        }
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        table
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = Term::stdout().size_checked();
        self.drawn(size.map(|(_, columns)| columns)).fmt(f)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_the_terminal_and_keep_their_width_elsewhere() {
        let mut grid = table(["where", "remarks", "what", "fix"]);
        let (what, fix) = ("word ".repeat(30), "long ".repeat(40));
        grid.add_row(["Account.Name", "", &what, &fix]);
        let drawn = grid.drawn(Some(80)).to_string();
        let widest = drawn.lines().map(|line| line.chars().count()).max();
        assert!(widest.is_some_and(|width| width <= 80), "{drawn}");
        assert!(drawn.contains("Account.Name"), "{drawn}");
        assert!(!drawn.contains("remarks"), "an empty column is shown");

        let piped = grid.drawn(None).to_string();
        assert!(piped.contains("remarks"), "{piped}");
        assert!(
            piped.lines().any(|line| line.contains(fix.trim())),
            "{piped}"
        );
    }
}
