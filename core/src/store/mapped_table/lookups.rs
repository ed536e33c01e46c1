//! Whether lookup columns hold external ids of their parents.

use sqlx::AssertSqlSafe;

use crate::model::ids::{ColumnName, RelationName, TableName};
use crate::ports::operator_store::Parent;
use crate::ports::{MappedObject, StoreError};
use crate::store::quote;
use crate::store::transaction::Tx;

/// Different values of a lookup column that are compared with the parents.
const VALUES_TRIED: u32 = 100;

#[derive(sqlx::FromRow)]
struct ForeignKeyRow {
    column: String,
    schema: String,
    table: String,
    referenced: String,
}

/// Returns the foreign keys of one column: the column, and the table and column that it references.
pub(crate) async fn foreign_keys(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<Vec<(ColumnName, TableName, ColumnName)>, StoreError> {
    let table = &mapped.sync.table;
    let rows: Vec<ForeignKeyRow> = tx
        .rows(
            "reading the foreign keys of a mapped table",
            sqlx::query_as(FOREIGN_KEYS)
                .bind(table.schema.as_str())
                .bind(table.table.as_str()),
        )
        .await?;
    let parsed = rows.into_iter().filter_map(|row| {
        let parent = TableName {
            schema: RelationName::parse(&row.schema).ok()?,
            table: RelationName::parse(&row.table).ok()?,
        };
        let column = ColumnName::parse(&row.column).ok()?;
        Some((column, parent, ColumnName::parse(&row.referenced).ok()?))
    });
    // No mapping can name a relation whose name does not parse, so it is not a mapped parent.
    Ok(parsed.collect())
}

const FOREIGN_KEYS: &str = "select
        attribute.attname::text as column,
        parent_schema.nspname::text as schema,
        parent.relname::text as table,
        referenced.attname::text as referenced
    from pg_constraint as key
    join pg_class as class on class.oid = key.conrelid
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum = key.conkey[1]
    join pg_class as parent on parent.oid = key.confrelid
    join pg_namespace as parent_schema on parent_schema.oid = parent.relnamespace
    join pg_attribute as referenced on referenced.attrelid = parent.oid and referenced.attnum = key.confkey[1]
    where namespace.nspname = $1
    and class.relname = $2
    and key.contype = 'f'
    and cardinality(key.conkey) = 1
    order by key.conname";

/// Returns the lookup columns that have values of which none is a parent's external id, although there are
/// parents. Tries at most [`VALUES_TRIED`] values of each.
pub(crate) async fn strange_lookups(
    tx: &mut Tx,
    mapped: &MappedObject,
    parents: &[Parent],
) -> Result<Vec<ColumnName>, StoreError> {
    let mut strange = Vec::new();
    for parent in parents {
        if !may_read(tx, parent).await? {
            continue;
        }
        let sql = format!(
            "select
                exists (select from {parents})
                and exists (select from {table} where {column} is not null)
                and not exists (
                    select
                    from (
                        select distinct {column}::text as value
                        from {table}
                        where {column} is not null
                        limit {VALUES_TRIED}
                    ) as child
                    join {parents} as parent on parent.{external_id}::text = child.value
                )",
            parents = quote::table(&parent.table),
            external_id = quote::column(&parent.external_id),
            table = quote::table(&mapped.sync.table),
            column = quote::column(&parent.column),
        );
        let is_strange: Vec<bool> = tx
            .values(
                "comparing a lookup column with its parents",
                sqlx::query_scalar(AssertSqlSafe(sql)),
            )
            .await?;
        if is_strange == [true] {
            strange.push(parent.column.clone());
        }
    }
    Ok(strange)
}

/// Returns whether the parent's table has the column, and our role sees all its rows.
async fn may_read(tx: &mut Tx, parent: &Parent) -> Result<bool, StoreError> {
    let readable: Vec<bool> = tx
        .values(
            "looking at the table of a lookup's parent",
            sqlx::query_scalar(
                "select has_schema_privilege(namespace.oid, 'usage')
                    and has_column_privilege(class.oid, attribute.attnum, 'select')
                    and not row_security_active(class.oid)
                from pg_class as class
                join pg_namespace as namespace on namespace.oid = class.relnamespace
                join pg_attribute as attribute on attribute.attrelid = class.oid
                where namespace.nspname = $1
                and class.relname = $2
                and attribute.attname = $3",
            )
            .bind(parent.table.schema.as_str())
            .bind(parent.table.table.as_str())
            .bind(parent.external_id.as_str()),
        )
        .await?;
    Ok(readable == [true])
}
