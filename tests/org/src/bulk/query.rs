//! Runs a query job: selects the rows once, then writes them as CSV in pieces. Results are read in
//! pages.

use serde::{Deserialize, Serialize};

use super::form::Form;
use super::job::{Head, JobError, Query, State};
use crate::Org;
use crate::model::error::SfError;
use crate::model::id::RecordId;
use crate::model::schema::{FieldType, ObjectNo};
use crate::model::stamp;
use crate::model::table::RowNo;
use crate::model::value::Value;
use crate::model::view::View;
use crate::soql::{self, Item};
use crate::unconfirmed::{BULK_NUMBERS_AS_DOUBLES, BULK_QUERY_REFUSALS};

/// The results of a query, as text.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rendered {
    #[serde(with = "super::stored")]
    csv: Vec<u8>,
    /// The end of each row; the first is the end of the header row.
    ends: Vec<usize>,
}

/// A page of results.
#[derive(Debug)]
pub(crate) struct Page {
    /// The header row and the rows of the page.
    pub(crate) csv: Vec<u8>,
    pub(crate) rows: usize,
    /// Number of the first row after the page; `None` on the last page.
    pub(crate) next: Option<usize>,
}

impl Rendered {
    /// Returns the number of rows.
    pub(crate) fn count(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// Returns up to `max` rows from row `start`, or `None` if that row does not exist.
    pub(crate) fn page(&self, start: usize, max: usize) -> Option<Page> {
        let count = self.count();
        if start > 0 && start >= count {
            return None;
        }
        let end = count.min(start.saturating_add(max));
        let header = *self.ends.first()?;
        let mut csv = self.csv[..header].to_vec();
        csv.extend_from_slice(&self.csv[self.ends[start]..self.ends[end]]);
        Some(Page {
            csv,
            rows: end - start,
            next: (end < count).then_some(end),
        })
    }
}

impl Query {
    /// Returns a query that has not run.
    pub(crate) fn new(soql: String, with_deleted: bool) -> Self {
        Self {
            soql,
            with_deleted,
            found: Rendered::default(),
            rest: None,
        }
    }

    /// Returns the results.
    pub(crate) fn found(&self) -> &Rendered {
        &self.found
    }

    /// Returns whether Salesforce would read the object in chunks of ids.
    pub(super) fn chunks_by_id(&self) -> bool {
        soql::parse(&self.soql).is_ok_and(|query| query.order.is_empty() && query.limit.is_none())
    }
}

impl Org {
    /// Returns the object of the query, or why a bulk job cannot run it.
    pub(crate) fn check_bulk_query(&self, user: RecordId, text: &str) -> Result<ObjectNo, SfError> {
        let query = soql::parse(text)?;
        let refusals = &BULK_QUERY_REFUSALS;
        let refused = |message: &str| Err(SfError::new(refusals.code, message));
        if query.offset > 0 {
            return refused(refusals.offset);
        }
        if !query.group.is_empty() {
            return refused(refusals.aggregate);
        }
        match &query.select {
            soql::Select::Count => return refused(refusals.aggregate),
            soql::Select::Items(items) => {
                for item in items {
                    match item {
                        Item::Aggregate { .. } | Item::Dated { .. } => {
                            return refused(refusals.aggregate);
                        }
                        Item::TypeOf(_) => return refused(refusals.type_of),
                        Item::Children(_) => return refused(refusals.children),
                        Item::Path(_)
                        | Item::Group(_)
                        | Item::Shown { .. }
                        | Item::Named { .. } => {}
                    }
                }
            }
        }
        let view = self.model.view(user);
        let plan = soql::bind(view, &query).map_err(|e| soql::explained(text, e))?;
        let columns = soql::columns(view, &query)?;
        let compound = |column: &soql::Column| column.field(view).kind == FieldType::Address;
        if columns.iter().any(compound) {
            return refused(refusals.compound);
        }
        Ok(plan.object)
    }

    /// Starts or continues a query, for at most `rows_max` rows.
    ///
    /// A row that changes before its turn is written with the change, because Salesforce also reads
    /// large objects in pieces.
    pub(super) fn run_query(
        &self,
        head: &Head,
        job: &mut Query,
        rows_max: usize,
    ) -> Result<State, JobError> {
        let view = self.model.view(head.user);
        let (writer, plan) = writer(view, head.form, &job.soql, job.with_deleted)?;
        let mut rest = match job.rest.take() {
            Some(rest) => rest,
            None => {
                let rows = soql::rows(view, &plan, job.with_deleted);
                job.found = writer.head(rows.len());
                rows.into()
            }
        };
        let piece = rest.drain(..rows_max.min(rest.len()));
        writer.write(view, piece, &mut job.found);
        if rest.is_empty() {
            job.found.csv.shrink_to_fit();
            return Ok(State::JobComplete);
        }
        job.rest = Some(rest);
        Ok(State::InProgress)
    }

    /// Returns the results of a query.
    pub(crate) fn render(
        &self,
        user: RecordId,
        form: Form,
        text: &str,
        with_deleted: bool,
    ) -> Result<Rendered, JobError> {
        let view = self.model.view(user);
        let (writer, plan) = writer(view, form, text, with_deleted)?;
        let rows = soql::rows(view, &plan, with_deleted);
        let mut found = writer.head(rows.len());
        writer.write(view, rows.into_iter(), &mut found);
        Ok(found)
    }
}

fn writer(
    view: View<'_>,
    form: Form,
    text: &str,
    with_deleted: bool,
) -> Result<(Writer, soql::Plan), JobError> {
    let failed = |error: SfError| JobError(format!("{} : {}", error.code(), error.message()));
    let query = soql::parse(text).map_err(failed)?;
    let plan = soql::bind(view, &query).map_err(failed)?;
    let writer = Writer {
        form,
        object: plan.object,
        with_deleted,
        columns: soql::columns(view, &query).map_err(failed)?,
    };
    Ok((writer, plan))
}

/// Writes the rows of a query.
struct Writer {
    form: Form,
    object: ObjectNo,
    with_deleted: bool,
    columns: Vec<soql::Column>,
}

impl Writer {
    /// Returns the header row, with capacity for this many rows.
    fn head(&self, rows: usize) -> Rendered {
        let mut csv = Vec::new();
        let names = self.columns.iter().map(|column| &column.name);
        self.form.push_row(&mut csv, names);
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(csv.len());
        Rendered { csv, ends }
    }

    /// Writes rows, without those deleted since they were selected.
    fn write(&self, view: View<'_>, rows: impl Iterator<Item = RowNo>, found: &mut Rendered) {
        let (object, table) = (view.object(self.object), view.table(self.object));
        let there = |row: &RowNo| {
            table.row(*row).is_some()
                && (self.with_deleted || !table.is_hidden(object, *row))
                && view.sees(self.object, *row)
        };
        let mut cell = String::new();
        for row in rows.filter(there) {
            for (place, column) in self.columns.iter().enumerate() {
                let (value, field) = column.value(view, (self.object, row));
                cell.clear();
                push_cell(&mut cell, &view.masked(field, value));
                self.form.push_cell(&mut found.csv, place, cell.as_bytes());
            }
            self.form.end_row(&mut found.csv);
            found.ends.push(found.csv.len());
        }
    }
}

/// Appends a value in the format of bulk results.
fn push_cell(out: &mut String, value: &Value) {
    match value {
        Value::Datetime(ms) => {
            stamp::push_datetime(out, *ms);
            out.truncate(out.len() - "+0000".len());
            out.push('Z');
        }
        Value::Double(number) if BULK_NUMBERS_AS_DOUBLES => {
            out.push_str(&double_text(number.get()));
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Double(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Id(_)
        | Value::Text(_) => value.push_plain(out),
    }
}

/// Formats a number as Java formats a double: with an exponent from ten million up and below one
/// thousandth, and always with a digit after the point.
pub(super) fn double_text(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) || !number.is_finite() {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}E{exponent}")
}

#[cfg(test)]
mod tests {
    use super::{Rendered, double_text};

    #[test]
    fn numbers_are_formatted_like_java_doubles() {
        for (number, text) in [
            (30.0, "30.0"),
            (0.0, "0.0"),
            (-1.5, "-1.5"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (912_260_031.0, "9.12260031E8"),
            (0.0001, "1.0E-4"),
        ] {
            assert_eq!(double_text(number), text);
        }
    }

    #[test]
    fn every_page_has_a_header_and_the_last_no_successor() {
        let found = Rendered {
            csv: b"h\n1\n2\n3\n".to_vec(),
            ends: vec![2, 4, 6, 8],
        };
        let page = |start, max| {
            let page = found.page(start, max)?;
            Some((String::from_utf8(page.csv).unwrap(), page.rows, page.next))
        };
        assert_eq!(page(0, 2), Some(("h\n1\n2\n".into(), 2, Some(2))));
        assert_eq!(page(2, 2), Some(("h\n3\n".into(), 1, None)));
        assert_eq!(page(3, 2), None);
        let empty = Rendered {
            csv: b"h\n".to_vec(),
            ends: vec![2],
        };
        assert_eq!(empty.page(0, 9).map(|page| page.rows), Some(0));
    }
}
