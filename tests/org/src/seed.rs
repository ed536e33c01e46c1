//! Initial records from CSV files. They leave no change events.

use std::io::Read;

use serde_json::{Map, Value as Json};

use crate::Org;
use crate::model::Actor;
use crate::model::draft::{Draft, Purpose};
use crate::model::error::SfError;
use crate::model::schema::ObjectNo;
use crate::model::transaction::Transaction;

/// Number of records between two progress reports.
const PROGRESS_EVERY: usize = 10_000;

/// Why a seed file is refused.
#[derive(Debug, thiserror::Error)]
#[error("line {line}{}: {message}", shown(.column))]
pub struct SeedError {
    /// The line of the record, from 1; the header is line 1.
    pub line: u64,
    /// The number of the column, from 1, and its name, if one column is wrong.
    pub column: Option<(usize, String)>,
    /// What is wrong.
    pub message: String,
}

fn shown(column: &Option<(usize, String)>) -> String {
    match column {
        Some((number, name)) => format!(", column {number} ({name})"),
        None => String::new(),
    }
}

/// One column of a file.
#[derive(Debug)]
enum Column {
    Field(String),
    /// A relationship and the field that identifies the parent.
    Parent(String, String),
}

impl Column {
    fn of(name: &str) -> Self {
        match name.trim().split_once('.') {
            None => Self::Field(name.trim().to_owned()),
            Some((relationship, field)) => Self::Parent(relationship.to_owned(), field.to_owned()),
        }
    }

    /// Adds a cell to a record. An empty cell is omitted.
    fn put(&self, members: &mut Map<String, Json>, cell: &str) {
        if cell.trim().is_empty() {
            return;
        }
        match self {
            Self::Field(name) => members.insert(name.clone(), cell.into()),
            Self::Parent(relationship, field) => {
                let mut parent = Map::new();
                parent.insert(field.clone(), cell.into());
                members.insert(relationship.clone(), parent.into())
            }
        };
    }
}

impl Org {
    /// Creates the records of a CSV file. Its header names fields, or `Relationship.ExternalId`.
    ///
    /// Calls `progress` every 10,000 records with their number. Returns the number of created
    /// records.
    ///
    /// # Errors
    ///
    /// Fails at the first record that the org refuses, with its line and column. Earlier records
    /// stay.
    pub fn seed(
        &mut self,
        object: &str,
        csv: impl Read,
        mut progress: impl FnMut(usize),
    ) -> Result<usize, SeedError> {
        let object = self.object_to_seed(object)?;
        let user = self.model.table(self.user_object()).all().next();
        let user = user.expect("the built-in org file declares users");
        let actor = Actor {
            user: self.model.id_of(self.user_object(), user),
            origin: String::new(),
        };
        let mut reader = csv::ReaderBuilder::new().from_reader(csv);
        let header = reader.headers().map_err(|error| of_csv(&error))?.clone();
        let columns: Vec<Column> = header.iter().map(Column::of).collect();
        self.check_columns(object, &columns, &header)?;
        let mut record = csv::StringRecord::new();
        let mut created = 0;
        while reader.read_record(&mut record).map_err(|e| of_csv(&e))? {
            let line = record.position().map_or(0, csv::Position::line);
            let mut members = Map::new();
            for (column, cell) in columns.iter().zip(&record) {
                column.put(&mut members, cell);
            }
            let mut tx = Transaction::default();
            Draft::read(self.model.whole(), object, Purpose::Create, &members, &[])
                .and_then(|draft| self.model.create(&mut tx, &actor, draft))
                .map_err(|error| {
                    let number = self.rejected_column(object, &columns, &record, &error);
                    SeedError {
                        line,
                        column: number.map(|number| (number + 1, header[number].to_owned())),
                        message: error.to_string(),
                    }
                })?;
            created += 1;
            if created % PROGRESS_EVERY == 0 {
                progress(created);
            }
        }
        Ok(created)
    }

    /// Refuses a header with fields that the object does not have.
    fn check_columns(
        &self,
        object: ObjectNo,
        columns: &[Column],
        header: &csv::StringRecord,
    ) -> Result<(), SeedError> {
        let object = self.model.object(object);
        let unknown = columns.iter().position(|column| match column {
            Column::Field(name) => object.find(name).is_none(),
            Column::Parent(relationship, _) => object.find_relationship(relationship).is_none(),
        });
        match unknown {
            None => Ok(()),
            Some(number) => Err(SeedError {
                line: 1,
                column: Some((number + 1, header[number].to_owned())),
                message: format!("{} has no such field", object.name),
            }),
        }
    }

    fn object_to_seed(&self, name: &str) -> Result<ObjectNo, SeedError> {
        self.model.schema.find(name).ok_or_else(|| {
            let known = self.model.schema.objects.iter().map(|o| o.name.as_str());
            let known: Vec<&str> = known.collect();
            SeedError {
                line: 1,
                column: None,
                message: format!("the org has no object {name}; it has {}", known.join(", ")),
            }
        })
    }

    /// Returns the index of the column that makes the org refuse a record.
    fn rejected_column(
        &self,
        object: ObjectNo,
        columns: &[Column],
        record: &csv::StringRecord,
        error: &SfError,
    ) -> Option<usize> {
        // First a column that is refused on its own.
        let alone = columns.iter().zip(record).position(|(column, cell)| {
            let mut members = Map::new();
            column.put(&mut members, cell);
            Draft::read(self.model.whole(), object, Purpose::Create, &members, &[]).is_err()
        });
        // Otherwise a column that the error names, for example for a duplicate value.
        let named = |name: &str| {
            let by_fields = error.fields().unwrap_or_default().iter();
            by_fields.clone().any(|field| field == name) || error.message().contains(name)
        };
        alone.or_else(|| {
            columns.iter().position(|column| match column {
                Column::Field(name) => named(name),
                Column::Parent(..) => false,
            })
        })
    }
}

fn of_csv(error: &csv::Error) -> SeedError {
    let line = error.position().map_or(1, csv::Position::line);
    let message = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("the record has {len} cells, the header {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "the record is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    SeedError {
        line,
        column: None,
        message,
    }
}
