//! Writes the SQL that defines mapped tables, for a person to run: new tables, and what mends existing ones.
//!
//! Nothing here is run by the engine, which never alters a mapped table.

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::column::{ColumnKind, ColumnType};
use crate::model::ids::{ColumnName, TableName};
use crate::ports::operator_store::ColumnFacts;
use crate::store::quote;

/// A table to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTable {
    /// Its name.
    pub name: TableName,
    /// The columns, without the primary key, which Postgres numbers.
    pub columns: Vec<NewColumn>,
}

/// A column to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewColumn {
    /// Its name.
    pub name: ColumnName,
    /// Its type.
    pub column_type: ColumnType,
    /// It does not accept null.
    pub not_null: bool,
    /// It has an index of its own.
    pub index: Index,
    /// The only values that it accepts.
    pub choices: Option<Choices>,
}

/// Whether a column has an index of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// No.
    None,
    /// An ordinary one.
    Plain,
    /// A unique one.
    Unique,
}

/// The values that a column accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// The values.
    pub values: Vec<String>,
    /// A text of the column has several, joined with `;`.
    pub several: bool,
}

impl NewColumn {
    /// Returns the column as it will be read once it exists.
    pub(crate) fn facts(&self) -> ColumnFacts {
        ColumnFacts {
            column_type: self.column_type.clone(),
            not_null: self.not_null,
            generated: false,
            has_default: self.has_default(),
            in_primary_key: false,
            enum_values: Vec::new(),
            builtin: true,
        }
    }

    /// Returns whether Postgres fills it: a checkbox is false until a person ticks it.
    pub(crate) fn has_default(&self) -> bool {
        self.not_null && self.column_type.kind == ColumnKind::Boolean
    }

    /// Returns its definition.
    fn sql(&self) -> String {
        let mut sql = format!(
            "{} {}",
            quote::readable(self.name.as_str()),
            type_sql(&self.column_type)
        );
        if self.not_null {
            sql.push_str(" not null");
        }
        if self.has_default() {
            sql.push_str(" default false");
        }
        if self.index == Index::Unique {
            sql.push_str(" unique");
        }
        if let Some(choices) = &self.choices {
            let condition = choices.condition(&self.name, self.not_null);
            let _ = write!(sql, " check ({condition})");
        }
        sql
    }
}

impl Choices {
    /// Returns the condition of a column that accepts only these values. Where null is not accepted, the empty text
    /// stands for it.
    fn condition(&self, column: &ColumnName, not_null: bool) -> String {
        let column = quote::readable(column.as_str());
        let empty = (not_null && !self.several).then_some("");
        let values = self.values.iter().map(String::as_str).chain(empty);
        let values: Vec<String> = values.map(quote::literal).collect();
        let values = values.join(", ");
        if self.several {
            format!("string_to_array({column}, ';') <@ array[{values}]::text[]")
        } else {
            format!("{column} in ({values})")
        }
    }
}

/// The name of the primary key of a new table.
pub(crate) const PRIMARY_KEY: &str = "id";

/// Returns the statements that create a table and its indexes.
pub(crate) fn create_table(table: &NewTable) -> String {
    let name = qualified(&table.name);
    let key = quote::readable(PRIMARY_KEY);
    let mut lines = vec![format!(
        "    {key} bigint generated always as identity primary key"
    )];
    let columns = table.columns.iter();
    lines.extend(columns.map(|column| format!("    {}", column.sql())));
    let mut sql = format!("create table {name} (\n{}\n);\n", lines.join(",\n"));
    for column in &table.columns {
        if column.index == Index::Plain {
            let column = quote::readable(column.name.as_str());
            let _ = writeln!(sql, "create index on {name} ({column});");
        }
    }
    sql
}

/// Returns the statement that adds a column.
pub(crate) fn add_column(table: &TableName, column: &NewColumn) -> String {
    format!(
        "alter table {} add column {};",
        qualified(table),
        column.sql()
    )
}

/// Returns the statement that changes the type of a column. It fails if a text is too long, or is no value of the new
/// type.
pub(crate) fn change_type(table: &TableName, column: &ColumnName, to: &ColumnType) -> String {
    let column = quote::readable(column.as_str());
    let to_sql = type_sql(to);
    // A cast that is written out would cut a text that is too long.
    let using = match to.is_text() {
        true => String::new(),
        false => format!(" using {column}::{to_sql}"),
    };
    format!(
        "alter table {} alter column {column} type {to_sql}{using};",
        qualified(table)
    )
}

/// Returns what lets rows be inserted without a value of a column that refuses null: it accepts null, or, in the primary
/// key, Postgres fills it. `None` if Postgres cannot fill a column of this type.
pub(crate) fn need_no_value(
    table: &TableName,
    column: &ColumnName,
    facts: &ColumnFacts,
) -> Option<String> {
    if !facts.in_primary_key {
        return Some(allow_null(table, column));
    }
    let alter = format!(
        "alter table {} alter column {}",
        qualified(table),
        quote::readable(column.as_str())
    );
    match facts.column_type.kind {
        ColumnKind::Uuid => Some(format!("{alter} set default gen_random_uuid();")),
        // The numbers go on after those that are in use.
        ColumnKind::Smallint | ColumnKind::Integer | ColumnKind::Bigint => Some(format!(
            "{alter} add generated by default as identity; \
             select setval(pg_get_serial_sequence({}, {}), (select coalesce(max({}), 0) + 1 from {}), false);",
            quote::literal(&qualified(table)),
            quote::literal(column.as_str()),
            quote::readable(column.as_str()),
            qualified(table),
        )),
        _ => None,
    }
}

/// Returns the statement that lets a column accept null.
pub(crate) fn allow_null(table: &TableName, column: &ColumnName) -> String {
    format!(
        "alter table {} alter column {} drop not null;",
        qualified(table),
        quote::readable(column.as_str())
    )
}

/// Returns the statement that makes a column unique.
pub(crate) fn unique_index(table: &TableName, column: &ColumnName) -> String {
    format!(
        "create unique index on {} ({});",
        qualified(table),
        quote::readable(column.as_str())
    )
}

/// Returns the statements as one transaction.
pub(crate) fn transaction(statements: &[String]) -> String {
    format!("begin;\n\n{}\ncommit;\n", statements.join("\n"))
}

fn qualified(table: &TableName) -> String {
    format!(
        "{}.{}",
        quote::readable(table.schema.as_str()),
        quote::readable(table.table.as_str())
    )
}

fn type_sql(column_type: &ColumnType) -> String {
    match column_type.length {
        Some(length) => format!("{}({length})", column_type.name),
        None => column_type.name.clone(),
    }
}
