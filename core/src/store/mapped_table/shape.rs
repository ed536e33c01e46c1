//! The current shape of a mapped table: its columns' types and the identity of its rows.
//!
//! It is read from the catalogue in the transaction that uses it, so that no column is written with an
//! outdated type.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::ObjectSync;
use crate::model::ids::{ColumnName, TableName};
use crate::model::key::KeyForm;
use crate::ports::operator_store::ColumnFacts;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::columns::{Column, read_columns};
use crate::store::quote;
use crate::store::transaction::Tx;

/// A mapped table as read from the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct TableShape {
    /// Its identity in the catalogue.
    pub(crate) oid: i64,
    /// Every column.
    pub(crate) columns: BTreeMap<ColumnName, ColumnFacts>,
    /// Primary key columns, in its order. Empty if the table has no primary key.
    pub(crate) primary_key: Vec<ColumnName>,
    /// An index makes the external id column unique by itself.
    pub(crate) external_id_unique: bool,
    /// Columns that foreign keys reference.
    pub(crate) referenced: BTreeSet<ColumnName>,
    /// Columns whose names Postgres takes for functions of the row once they are gone, see [`Column::callable`].
    pub(crate) callable: BTreeSet<ColumnName>,
    /// Row security hides rows from our role.
    pub(crate) hidden_rows: Option<HiddenRows>,
}

/// Why our role does not see all rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HiddenRows {
    /// Our role.
    pub(crate) role: String,
    /// The role owns the table, whose policies are forced upon its owner.
    pub(crate) owned: bool,
}

impl HiddenRows {
    /// Returns what follows from it, and what mends it.
    pub(crate) fn problem(&self, table: &TableName) -> String {
        format!(
            "row security of {}.{} hides rows from our role {}, so nothing is synchronised: a hidden row would count \
             as deleted. To mend it: {}",
            table.schema,
            table.table,
            self.role,
            self.fix(table)
        )
    }

    /// Returns what lets our role see all rows.
    pub(crate) fn fix(&self, table: &TableName) -> String {
        let role = quote::identifier(&self.role);
        let table = quote::table(table);
        if self.owned {
            format!(
                "alter table {table} no force row level security, or alter role {role} bypassrls"
            )
        } else {
            format!("alter role {role} bypassrls, or alter table {table} owner to {role}")
        }
    }
}

impl TableShape {
    /// Returns the columns that identify a row: the primary key, else the external id column.
    pub(crate) fn identity<'a>(&'a self, sync: &'a ObjectSync) -> Vec<&'a ColumnName> {
        if self.primary_key.is_empty() {
            vec![&sync.external_id.column]
        } else {
            self.primary_key.iter().collect()
        }
    }

    /// Returns the type of the column, as SQL text.
    ///
    /// Fails if the table has no such column.
    pub(crate) fn type_of(
        &self,
        table: &TableName,
        column: &ColumnName,
    ) -> Result<&str, StoreError> {
        self.facts(table, column)
            .map(|facts| facts.column_type.name.as_str())
    }

    /// Returns the column. Fails if the table has no such column.
    pub(crate) fn facts(
        &self,
        table: &TableName,
        column: &ColumnName,
    ) -> Result<&ColumnFacts, StoreError> {
        self.columns
            .get(column)
            .ok_or_else(|| no_column(table, column))
    }

    /// Returns `"a" integer, "b" text` for a column definition list.
    pub(crate) fn definitions<'a>(
        &self,
        table: &TableName,
        columns: impl IntoIterator<Item = &'a ColumnName>,
    ) -> Result<String, StoreError> {
        let definitions: Result<Vec<String>, StoreError> = columns
            .into_iter()
            .map(|column| {
                let type_name = self.type_of(table, column)?;
                Ok(format!("{} {type_name}", quote::column(column)))
            })
            .collect();
        Ok(definitions?.join(", "))
    }
}

fn no_column(table: &TableName, column: &ColumnName) -> StoreError {
    StoreError::Mapping(format!(
        "table {}.{} has no column {column}, but the mapping names it",
        table.schema, table.table
    ))
}

/// Returns the columns that are read, captured and written: external id first, then mapped fields
/// in their order, then the soft-delete column.
pub(crate) fn mapped_columns(sync: &ObjectSync) -> Vec<&ColumnName> {
    let mut columns = vec![&sync.external_id.column];
    let others = sync.fields.values().map(|field| &field.column);
    for column in others.chain(&sync.deletes.column) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    columns
}

/// Returns `alias."a", alias."b"`.
fn qualified(alias: &str, columns: &[&ColumnName]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| format!("{alias}.{}", quote::column(column)))
        .collect();
    names.join(", ")
}

/// Returns the SQL of a JSON object of these columns. `jsonb_build_object` accepts at most fifty of them.
pub(crate) fn picked_json(alias: &str, columns: &[&ColumnName]) -> String {
    format!(
        "(select to_jsonb(picked) from (select {}) as picked)",
        qualified(alias, columns)
    )
}

/// Reads the table's shape, to read its rows.
///
/// Fails if the table or a mapped column does not exist, or if row security hides rows from our role: a
/// row that is not seen would count as deleted.
pub(crate) async fn read_shape(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<TableShape, StoreError> {
    let shape = read_shape_only(tx, mapped).await?;
    let table = &mapped.sync.table;
    match &shape.hidden_rows {
        None => Ok(shape),
        Some(hidden) => Err(StoreError::Mapping(hidden.problem(table))),
    }
}

/// Reads the table's shape, whether or not our role sees all its rows.
///
/// Fails if the table or a mapped column does not exist.
pub(crate) async fn read_shape_only(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<TableShape, StoreError> {
    let columns = read_columns(tx, &mapped.sync.table).await?;
    shape_of(mapped, columns)
}

fn shape_of(mapped: &MappedObject, read: Vec<Column>) -> Result<TableShape, StoreError> {
    let table = &mapped.sync.table;
    let Some(first) = read.first() else {
        return Err(StoreError::Mapping(format!(
            "table {}.{} does not exist, but object {} is mapped to it",
            table.schema, table.table, mapped.sync.object
        )));
    };
    let (oid, hidden_rows) = (first.table, first.hidden_rows.clone());
    let external_id_unique = read
        .iter()
        .any(|column| column.alone_unique && column.name == mapped.sync.external_id.column);
    let mut keyed: Vec<(i64, ColumnName)> = read
        .iter()
        .filter_map(|column| Some((column.key_place?, column.name.clone())))
        .collect();
    keyed.sort();
    let referenced = read.iter().filter(|column| column.referenced);
    let referenced = referenced.map(|column| column.name.clone()).collect();
    let callable = read.iter().filter(|column| column.callable);
    let callable = callable.map(|column| column.name.clone()).collect();
    let columns: BTreeMap<ColumnName, ColumnFacts> = read
        .into_iter()
        .map(|column| (column.name, column.facts))
        .collect();
    for column in mapped_columns(&mapped.sync) {
        if !columns.contains_key(column) {
            return Err(no_column(table, column));
        }
    }
    Ok(TableShape {
        oid,
        columns,
        primary_key: keyed.into_iter().map(|(_, name)| name).collect(),
        external_id_unique,
        referenced,
        callable,
        hidden_rows,
    })
}

/// Returns how the object's external ids compare.
pub(crate) fn key_form(mapped: &MappedObject) -> KeyForm {
    mapped
        .schema
        .fields
        .get(&mapped.sync.external_id.field)
        .map_or(KeyForm::default(), KeyForm::of)
}

/// Returns the SQL of an external id as it compares, the same as [`KeyForm::canonical`]. `written` is the SQL
/// of the external id as text.
pub(crate) fn canonical_key(mapped: &MappedObject, written: &str) -> String {
    match key_form(mapped) {
        KeyForm::CaseFolded => format!("lower(btrim({written}))"),
        KeyForm::CaseSensitive => format!("btrim({written})"),
        // Salesforce holds numbers as doubles. A number of more digits than this pattern allows stays text, because
        // the cast may fail.
        KeyForm::Numeric => format!(
            "case
                when {written} ~ '^\\s*[-+]?\\d{{1,255}}(\\.\\d{{1,255}})?\\s*$'
                    then trim_scale(({written})::double precision::text::numeric)::text
                else btrim({written})
            end"
        ),
    }
}
