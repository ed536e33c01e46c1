//! What became of an upload, written as CSV again.

use super::csv_text::{Row, Rows};
use super::form::push_quoted;
use super::header::{Column, Header};
use super::job::{Head, Ingest, Outcome};
use super::query::double_text;
use crate::model::Model;
use crate::model::schema::FieldType;
use crate::unconfirmed::BULK_NUMBERS_AS_DOUBLES;

/// Which rows of an upload are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResultSet {
    Successful,
    Failed,
    Unprocessed,
}

impl ResultSet {
    /// Returns the columns in front of the uploaded ones.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Successful => &["sf__Id", "sf__Created"],
            Self::Failed => &["sf__Id", "sf__Error"],
            Self::Unprocessed => &[],
        }
    }
}

impl Ingest {
    /// Returns one set of results; there is a header row even if there is nothing else.
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
            head.form.push_bare(&mut out, name.as_bytes());
        }
        if !out.is_empty() {
            head.form.end_row(&mut out);
        }
        let mut rows = Rows::new(&self.csv, head.form, found.1);
        let mut outcomes = self.outcomes.iter();
        while let Some(row) = rows.read() {
            let outcome = outcomes.next();
            let header = self.header.as_ref();
            self.push(&mut out, model, (head, header, set), (&row, outcome));
        }
        out
    }

    /// Returns the uploaded names and where the rows start, also of a job that never began.
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

    /// Appends a row if it belongs to the set.
    fn push(
        &self,
        out: &mut Vec<u8>,
        model: &Model,
        (head, header, set): (&Head, Option<&Header>, ResultSet),
        (row, outcome): (&Row<'_>, Option<&Outcome>),
    ) {
        let id_text = |id: &crate::model::id::RecordId| id.to_string();
        let front = match (set, outcome) {
            (ResultSet::Successful, Some(Outcome::Saved(saved))) => {
                vec![id_text(&saved.id), saved.created.to_string()]
            }
            (ResultSet::Failed, Some(Outcome::Failed { id, error })) => {
                let id = id.as_ref().map(id_text).unwrap_or_default();
                vec![id, error.to_string()]
            }
            (ResultSet::Unprocessed, None) => Vec::new(),
            (ResultSet::Successful | ResultSet::Failed | ResultSet::Unprocessed, _) => return,
        };
        let shown = |(place, cell): (usize, &[u8])| -> Vec<u8> {
            let numeric = match header.and_then(|header| header.columns.get(place)) {
                Some(Column::Field(no)) => matches!(
                    model.field(self.aim.object, *no).kind,
                    FieldType::Double | FieldType::Currency | FieldType::Percent
                ),
                Some(Column::Id | Column::Parent { .. }) | None => false,
            };
            let text = String::from_utf8_lossy(cell);
            match text.parse::<f64>() {
                Ok(number) if numeric && BULK_NUMBERS_AS_DOUBLES && outcome.is_some() => {
                    double_text(number).into_bytes()
                }
                Ok(_) | Err(_) => cell.to_vec(),
            }
        };
        let front = front.into_iter().map(String::into_bytes);
        let cells = row.cells.iter().enumerate().map(shown);
        head.form.push_row(out, front.chain(cells));
    }
}
