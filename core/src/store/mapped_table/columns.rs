//! The columns of a mapped table as the catalogue shows them, domains resolved.

use crate::model::column::ColumnType;
use crate::model::ids::{ColumnName, TableName};
use crate::ports::StoreError;
use crate::ports::operator_store::ColumnFacts;
use crate::store::mapped_table::shape::HiddenRows;
use crate::store::transaction::Tx;

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    /// The table's identity in the catalogue.
    pub(crate) table: i64,
    /// The column's name.
    pub(crate) name: ColumnName,
    /// Its type, and what it accepts.
    pub(crate) facts: ColumnFacts,
    /// Its place in the primary key.
    pub(crate) key_place: Option<i64>,
    /// An index makes it unique by itself.
    pub(crate) alone_unique: bool,
    /// A foreign key references it.
    pub(crate) referenced: bool,
    /// Postgres has a function of this name that takes a row: without the column, `alias.name` would call it.
    pub(crate) callable: bool,
    /// Our role may read it.
    pub(crate) readable: bool,
    /// Row security hides rows of the table from our role.
    pub(crate) hidden_rows: Option<HiddenRows>,
}

#[derive(sqlx::FromRow)]
struct ColumnRow {
    oid: i64,
    name: String,
    type_name: String,
    sql_name: String,
    is_enum: bool,
    builtin: bool,
    modifier: i32,
    not_null: bool,
    generated: bool,
    has_default: bool,
    enum_values: Vec<String>,
    key_place: Option<i64>,
    alone_unique: bool,
    referenced: bool,
    callable: bool,
    readable: bool,
    hides_rows: bool,
    role: String,
    owned: bool,
}

/// Reads the columns of a table. There are none if it does not exist. Fails if one has a name that
/// cannot be mapped.
pub(crate) async fn read_columns(
    tx: &mut Tx,
    table: &TableName,
) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<ColumnRow> = tx
        .rows(
            "reading the columns of a mapped table",
            sqlx::query_as(READ_COLUMNS)
                .bind(table.schema.as_str())
                .bind(table.table.as_str()),
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            let name = ColumnName::parse(&row.name).map_err(|error| {
                StoreError::Mapping(format!(
                    "a column of {}.{}: {error}",
                    table.schema, table.table
                ))
            })?;
            Ok(Column {
                table: row.oid,
                name,
                facts: ColumnFacts {
                    column_type: ColumnType::of(
                        &row.type_name,
                        &row.sql_name,
                        row.is_enum,
                        row.modifier,
                    ),
                    not_null: row.not_null,
                    generated: row.generated,
                    has_default: row.has_default,
                    in_primary_key: row.key_place.is_some(),
                    enum_values: row.enum_values,
                    builtin: row.builtin,
                },
                key_place: row.key_place,
                alone_unique: row.alone_unique,
                referenced: row.referenced,
                callable: row.callable,
                readable: row.readable,
                hidden_rows: row.hides_rows.then_some(HiddenRows {
                    role: row.role,
                    owned: row.owned,
                }),
            })
        })
        .collect()
}

/// Columns of one table. A domain stands for its base type, with the modifier and the NOT NULL that the
/// domains on the way add. `format_type` with a modifier of -1 names a type that is not cut: with none,
/// `character` would be `character(1)`.
const READ_COLUMNS: &str = "with recursive resolved as (
        select
            attribute.attnum,
            type.oid,
            type.typname,
            type.typtype,
            type.typbasetype,
            type.typtypmod,
            attribute.atttypmod as modifier,
            attribute.attnotnull or type.typnotnull as not_null,
            attribute.atthasdef or attribute.attidentity <> '' or type.typdefault is not null as has_default
        from pg_attribute as attribute
        join pg_class as class on class.oid = attribute.attrelid
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        join pg_type as type on type.oid = attribute.atttypid
        where namespace.nspname = $1
        and class.relname = $2
        and attribute.attnum > 0
        and not attribute.attisdropped
        union all
        select
            resolved.attnum,
            base.oid,
            base.typname,
            base.typtype,
            base.typbasetype,
            base.typtypmod,
            case when resolved.modifier >= 0 then resolved.modifier else resolved.typtypmod end,
            resolved.not_null or base.typnotnull,
            resolved.has_default or base.typdefault is not null
        from resolved
        join pg_type as base on base.oid = resolved.typbasetype
        where resolved.typtype = 'd'
    ),
    -- Once for all columns: the catalogue has no index for it.
    referenced as materialized (
        select part.attnum
        from pg_constraint as key
        cross join lateral unnest(key.confkey) as part (attnum)
        join pg_class as class on class.oid = key.confrelid
        join pg_namespace as namespace on namespace.oid = class.relnamespace
        where key.contype = 'f'
        and namespace.nspname = $1
        and class.relname = $2
    )
    select
        class.oid::bigint as oid,
        attribute.attname::text as name,
        resolved.typname::text as type_name,
        format_type(resolved.oid, -1) as sql_name,
        resolved.typtype = 'e' as is_enum,
        -- Users' types, and those of extensions, have ids from 16384.
        attribute.atttypid < 16384 as builtin,
        resolved.modifier,
        resolved.not_null,
        attribute.attgenerated <> '' or attribute.attidentity = 'a' as generated,
        resolved.has_default,
        array(
            select label.enumlabel::text
            from pg_enum as label
            where label.enumtypid = resolved.oid
            order by label.enumsortorder
        ) as enum_values,
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
        exists (
            select
            from referenced
            where referenced.attnum = attribute.attnum
        ) as referenced,
        exists (
            select
            from pg_proc as function
            where function.proname = attribute.attname
            and function.pronamespace = 'pg_catalog'::regnamespace
            and function.proargtypes[0] = any (
                array['record', 'anyelement', '\"any\"', 'anynonarray', 'anycompatible', 'anycompatiblenonarray']::regtype[]::oid[]
            )
        ) as callable,
        has_schema_privilege(namespace.oid, 'usage')
            and has_column_privilege(class.oid, attribute.attnum, 'select') as readable,
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
