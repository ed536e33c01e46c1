//! The results of an upload, as CSV.

use super::csv_text::{Row, Rows};
use super::form::{Form, push_quoted};
use super::header::Column;
use super::job::{Head, Ingest, Outcome};
use super::query::double_text;
use crate::model::Model;
use crate::model::schema::FieldType;
use crate::unconfirmed::BULK_NUMBERS_AS_DOUBLES;

/// Which rows of an upload are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultSet {
    Successful,
    Failed,
    Unprocessed,
}

impl ResultSet {
    /// Returns the columns before the uploaded ones.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Successful => &["sf__Id", "sf__Created"],
            Self::Failed => &["sf__Id", "sf__Error"],
            Self::Unprocessed => &[],
        }
    }
}

impl Ingest {
    /// Returns one result set. It has a header row even if it is empty.
    pub(crate) fn results(&self, model: &Model, head: &Head, set: ResultSet) -> Vec<u8> {
        let mut out = Vec::new();
        let found = self.header_row(head);
        for (place, name) in set.columns().iter().enumerate() {
            if place > 0 {
                out.push(head.form.delimiter.byte());
            }
            push_quoted(&mut out, name.as_bytes());
        }
        for (place, name) in found.0.iter().enumerate() {
            if place > 0 || !set.columns().is_empty() {
                out.push(head.form.delimiter.byte());
            }
            head.form.push_unquoted(&mut out, name.as_bytes());
        }
        if !out.is_empty() {
            head.form.end_row(&mut out);
        }
        let shape = Shape {
            form: head.form,
            set,
            doubles: self.doubles(model),
        };
        let mut rows = Rows::new(&self.csv, head.form, found.1);
        let mut outcomes = self.outcomes.iter();
        while let Some(row) = rows.read() {
            shape.push(&mut out, &row, outcomes.next());
        }
        out
    }

    /// Returns, for each column, whether its numbers are formatted as doubles.
    fn doubles(&self, model: &Model) -> Vec<bool> {
        let columns = self.header.iter().flat_map(|header| &header.columns);
        let double = |column: &Column| match column {
            Column::Field(no) => matches!(
                model.field(self.aim.object, *no).kind,
                FieldType::Double | FieldType::Currency | FieldType::Percent
            ),
            Column::Id | Column::Parent { .. } => false,
        };
        columns
            .map(|column| BULK_NUMBERS_AS_DOUBLES && double(column))
            .collect()
    }

    /// Returns the column names and where the rows start, also for a job that never started.
    fn header_row(&self, head: &Head) -> (Vec<String>, usize) {
        if let Some(header) = &self.header {
            return (header.names.clone(), header.end);
        }
        let mut rows = Rows::new(&self.csv, head.form, 0);
        rows.read().map_or_else(Default::default, |row| {
            let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
            (row.cells.iter().map(text).collect(), row.end)
        })
    }
}

/// How the rows of a result set are written.
struct Shape {
    form: Form,
    set: ResultSet,
    /// The columns whose numbers are formatted as doubles.
    doubles: Vec<bool>,
}

impl Shape {
    /// Appends a row if it belongs to the set.
    fn push(&self, out: &mut Vec<u8>, row: &Row<'_>, outcome: Option<&Outcome>) {
        match (self.set, outcome) {
            (ResultSet::Successful, Some(Outcome::Saved(saved))) => {
                self.form.push_cell(out, 0, saved.id.to_string().as_bytes());
                let created = if saved.created { "true" } else { "false" };
                self.form.push_cell(out, 1, created.as_bytes());
            }
            (ResultSet::Failed, Some(Outcome::Failed { id, error })) => {
                let id = id.map(|id| id.to_string()).unwrap_or_default();
                self.form.push_cell(out, 0, id.as_bytes());
                self.form.push_cell(out, 1, error.as_bytes());
            }
            (ResultSet::Unprocessed, None) => {}
            (ResultSet::Successful | ResultSet::Failed | ResultSet::Unprocessed, _) => return,
        }
        let before = self.set.columns().len();
        for (place, cell) in row.cells.iter().enumerate() {
            let double = outcome.is_some() && self.doubles.get(place) == Some(&true);
            let number = double.then(|| std::str::from_utf8(cell).ok()?.parse().ok());
            match number.flatten() {
                Some(number) => {
                    let text = double_text(number);
                    self.form.push_cell(out, before + place, text.as_bytes());
                }
                None => self.form.push_cell(out, before + place, cell),
            }
        }
        self.form.end_row(out);
    }
}
