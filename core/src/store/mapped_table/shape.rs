//! The current shape of a mapped table: its columns' types and the identity of its rows.
//!
//! It is read from the catalogue in the transaction that uses it, so that no column is written with an
//! outdated type.

use std::collections::BTreeMap;

use crate::config::ObjectSync;
use crate::model::ids::{ColumnName, TableName};
use crate::model::key::KeyForm;
use crate::ports::{MappedObject, StoreError};
use crate::store::quote;
use crate::store::transaction::Tx;

/// A mapped table as read from the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct TableShape {
    /// Its identity in the catalogue.
    pub(crate) oid: i64,
    /// Every column's type, domains resolved, as in a column definition list.
    pub(crate) types: BTreeMap<ColumnName, String>,
    /// Primary key columns, in its order. Empty if the table has no primary key.
    pub(crate) primary_key: Vec<ColumnName>,
    /// An index makes the external id column unique by itself.
    pub(crate) external_id_unique: bool,
    /// Row security hides rows from our role.
    pub(crate) hidden_rows: Option<HiddenRows>,
}

/// Why our role does not see all rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HiddenRows {
    role: String,
    /// The role owns the table, whose policies are forced upon its owner.
    owned: bool,
}

impl HiddenRows {
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
        self.types
            .get(column)
            .map(String::as_str)
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

#[derive(sqlx::FromRow)]
struct ColumnRow {
    oid: i64,
    name: String,
    type_name: String,
    key_place: Option<i64>,
    alone_unique: bool,
    hides_rows: bool,
    role: String,
    owned: bool,
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
        Some(hidden) => Err(StoreError::Mapping(format!(
            "row security of {}.{} hides rows from our role {}, so nothing is synchronised: a hidden row \
             would count as deleted. To mend it: {}",
            table.schema,
            table.table,
            hidden.role,
            hidden.fix(table)
        ))),
    }
}

/// Reads the table's shape, whether or not our role sees all its rows.
///
/// Fails if the table or a mapped column does not exist.
pub(crate) async fn read_shape_only(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<TableShape, StoreError> {
    let table = &mapped.sync.table;
    let rows: Vec<ColumnRow> = tx
        .rows(
            "reading the shape of a mapped table",
            sqlx::query_as(READ_SHAPE)
                .bind(table.schema.as_str())
                .bind(table.table.as_str()),
        )
        .await?;
    shape_of(mapped, rows)
}

/// Columns of one table with their base types, and what is unique by itself.
const READ_SHAPE: &str = "with recursive resolved as (
        select attribute.attnum, type.oid, type.typtype, type.typbasetype
        from pg_attribute as attribute
        join pg_class as class on class.oid = attribute.attrelid
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        join pg_type as type on type.oid = attribute.atttypid
        where namespace.nspname = $1
        and class.relname = $2
        and attribute.attnum > 0
        and not attribute.attisdropped
        union all
        select resolved.attnum, base.oid, base.typtype, base.typbasetype
        from resolved
        join pg_type as base on base.oid = resolved.typbasetype
        where resolved.typtype = 'd'
    )
    select
        class.oid::bigint as oid,
        attribute.attname::text as name,
        format_type(resolved.oid, null) as type_name,
        (
            select part.place
            from pg_index as index
            cross join lateral unnest(index.indkey::smallint[]) with ordinality as part (attnum, place)
            where index.indrelid = class.oid
            and index.indisprimary
            and part.attnum = attribute.attnum
        ) as key_place,
        exists (
            select
            from pg_index as index
            where index.indrelid = class.oid
            and index.indisunique
            and index.indimmediate
            and index.indpred is null
            and index.indexprs is null
            and index.indnkeyatts = 1
            and index.indkey[0] = attribute.attnum
        ) as alone_unique,
        row_security_active(class.oid) as hides_rows,
        current_user::text as role,
        pg_has_role(class.relowner, 'usage') as owned
    from resolved
    join pg_namespace as namespace on namespace.nspname = $1
    join pg_class as class on class.relnamespace = namespace.oid and class.relname = $2
    join pg_attribute as attribute
        on attribute.attrelid = class.oid
        and attribute.attnum = resolved.attnum
    where resolved.typtype <> 'd'
    and class.relkind in ('r', 'p')";

fn shape_of(mapped: &MappedObject, rows: Vec<ColumnRow>) -> Result<TableShape, StoreError> {
    let table = &mapped.sync.table;
    let Some(first) = rows.first() else {
        return Err(StoreError::Mapping(format!(
            "table {}.{} does not exist, but object {} is mapped to it",
            table.schema, table.table, mapped.sync.object
        )));
    };
    let oid = first.oid;
    let hidden_rows = first.hides_rows.then(|| HiddenRows {
        role: first.role.clone(),
        owned: first.owned,
    });
    let external = mapped.sync.external_id.column.as_str();
    let external_id_unique = rows
        .iter()
        .any(|row| row.alone_unique && row.name == external);
    let mut keyed: Vec<(i64, ColumnName)> = Vec::new();
    let mut types = BTreeMap::new();
    for row in rows {
        let name = ColumnName::parse(&row.name).map_err(|error| {
            StoreError::Mapping(format!(
                "a column of {}.{}: {error}",
                table.schema, table.table
            ))
        })?;
        if let Some(place) = row.key_place {
            keyed.push((place, name.clone()));
        }
        types.insert(name, row.type_name);
    }
    keyed.sort();
    for column in mapped_columns(&mapped.sync) {
        if !types.contains_key(column) {
            return Err(no_column(table, column));
        }
    }
    Ok(TableShape {
        oid,
        types,
        primary_key: keyed.into_iter().map(|(_, name)| name).collect(),
        external_id_unique,
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
