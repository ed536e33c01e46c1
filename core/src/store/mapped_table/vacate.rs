//! Releases unique values that the rows of one batch exchange.
//!
//! Postgres checks a unique index row by row, so two rows cannot swap a value in one statement. Each row
//! first gets another value: null, or a placeholder if the column is not nullable. The write itself then
//! replaces it in the same transaction.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::model::column::{ColumnKind, ColumnType};
use crate::model::ids::{ColumnName, RecordId};
use crate::ports::apply_store::PlannedPostgres;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::read::RowError;
use crate::store::mapped_table::shape::{TableShape, picked_json};
use crate::store::mapped_table::write::{RowWrite, identity_join};
use crate::store::quote;
use crate::store::transaction::{Tx, recordset};

#[derive(Serialize)]
struct Vacated<'a> {
    record_id: RecordId,
    identity: &'a serde_json::Value,
    columns: Vec<&'a str>,
    /// Makes numeric placeholders distinct.
    place: usize,
}

/// Replaces the values of these columns in the rows that are to change them, if there are any. Returns what
/// identifies each of those rows from now on.
pub(crate) async fn vacate(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    writes: &[RowWrite<'_>],
    columns: &BTreeSet<ColumnName>,
) -> Result<BTreeMap<RecordId, serde_json::Value>, RowError> {
    if columns.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Vacated<'_>> = writes
        .iter()
        .enumerate()
        .filter_map(|(place, write)| vacated(write, columns, place))
        .collect();
    let assignments = assignments(mapped, shape, columns)?;
    let (condition, key) = identity_join(mapped, shape)?;
    let sql = format!(
        "update {table} as target
        set {assignments}
        from jsonb_to_recordset($1) as change (record_id uuid, identity jsonb, columns jsonb, place bigint)
        cross join lateral jsonb_to_record(change.identity) as key ({key})
        where {condition}
        returning change.record_id, {identity}",
        table = quote::table(&mapped.sync.table),
        identity = picked_json("target", &shape.identity(&mapped.sync)),
    );
    let moved: Vec<(Uuid, serde_json::Value)> = tx
        .rows_raw(
            "freeing unique values",
            sqlx::query_as(AssertSqlSafe(sql)).bind(recordset(&rows)),
        )
        .await?;
    Ok(moved
        .into_iter()
        .map(|(record, identity)| (RecordId(record), identity))
        .collect())
}

fn vacated<'a>(
    write: &RowWrite<'a>,
    columns: &'a BTreeSet<ColumnName>,
    place: usize,
) -> Option<Vacated<'a>> {
    let PlannedPostgres::Update(patch) = write.write else {
        return None;
    };
    let columns: Vec<&str> = columns
        .iter()
        .map(ColumnName::as_str)
        .filter(|column| patch.contains_key(*column))
        .collect();
    let identity = write.identity?;
    (!columns.is_empty()).then_some(Vacated {
        record_id: write.record_id,
        identity,
        columns,
        place,
    })
}

fn assignments(
    mapped: &MappedObject,
    shape: &TableShape,
    columns: &BTreeSet<ColumnName>,
) -> Result<String, StoreError> {
    let mut assignments = Vec::with_capacity(columns.len());
    for column in columns {
        let facts = shape.facts(&mapped.sync.table, column)?;
        let name = quote::column(column);
        let placeholder = if facts.not_null {
            placeholder(mapped, &name, &facts.column_type)
        } else {
            "null".to_owned()
        };
        assignments.push(format!(
            "{name} = case when change.columns ? {key} then ({placeholder})::{type_name} else target.{name} end",
            key = quote::literal(column.as_str()),
            type_name = facts.column_type.name,
        ));
    }
    Ok(assignments.join(", "))
}

/// Returns a value that no row has. For types without a safe placeholder (dates, enums) the row keeps its
/// value, and Postgres refuses the next write as before.
fn placeholder(mapped: &MappedObject, name: &str, column_type: &ColumnType) -> String {
    match column_type.kind {
        ColumnKind::Text | ColumnKind::Varchar | ColumnKind::Char | ColumnKind::Citext => {
            match column_type.length {
                Some(length) => {
                    format!("left(replace(syncline.new_id()::text, '-', ''), {length})")
                }
                None => "syncline.new_id()::text".to_owned(),
            }
        }
        ColumnKind::Uuid => "syncline.new_id()".to_owned(),
        ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint | ColumnKind::Numeric => {
            format!(
                "(select least(min({name}), 0) from {table}) - 1 - change.place",
                table = quote::table(&mapped.sync.table),
            )
        }
        ColumnKind::Enum
        | ColumnKind::TextArray
        | ColumnKind::Boolean
        | ColumnKind::Real
        | ColumnKind::Double
        | ColumnKind::Date
        | ColumnKind::Timestamp
        | ColumnKind::Timestamptz
        | ColumnKind::Time
        | ColumnKind::Other => format!("target.{name}"),
    }
}
