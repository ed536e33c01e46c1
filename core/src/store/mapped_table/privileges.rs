//! Which privileges our role lacks on a mapped table.

use crate::config::{DeleteMode, Direction, OnFilterExit};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::shape::mapped_columns;
use crate::store::transaction::Tx;

/// A privilege that our role lacks.
#[derive(sqlx::FromRow)]
pub(crate) struct MissingGrant {
    /// Our role cannot read the mapped columns without it.
    pub(crate) to_read: bool,
    /// The SQL that gives it.
    pub(crate) repair: String,
}

/// Returns the privileges that our role lacks: to read the mapped columns, to write rows if the mapping
/// writes Postgres, and to own the table as long as its triggers are not installed.
pub(crate) async fn missing_grants(
    tx: &mut Tx,
    mapped: &MappedObject,
    installed: bool,
) -> Result<Vec<MissingGrant>, StoreError> {
    let sync = &mapped.sync;
    let columns: Vec<&str> = mapped_columns(sync)
        .into_iter()
        .map(|column| column.as_str())
        .collect();
    let writes = sync.direction != Direction::ToSalesforce;
    let deletes =
        sync.deletes.mode == DeleteMode::Propagate || sync.on_filter_exit == OnFilterExit::Delete;
    tx.rows(
        "reading our privileges on a mapped table",
        sqlx::query_as(MISSING_GRANTS)
            .bind(sync.table.schema.as_str())
            .bind(sync.table.table.as_str())
            .bind(columns)
            .bind(writes)
            .bind(writes && deletes)
            .bind(installed),
    )
    .await
}

/// A privilege on the whole table includes its columns. Only the owner may create triggers that also fire for
/// replicated rows.
const MISSING_GRANTS: &str = "select needed.place <= 2 as to_read, needed.repair
    from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    cross join lateral (
        select
            coalesce(bool_and(has_column_privilege(class.oid, attribute.attnum, 'select')), true) as reads,
            coalesce(bool_and(
                has_column_privilege(class.oid, attribute.attnum, 'insert')
                and has_column_privilege(class.oid, attribute.attnum, 'update')
            ), true) as writes
        from pg_attribute as attribute
        where attribute.attrelid = class.oid
        and attribute.attname = any($3)
        and not attribute.attisdropped
    ) as columns
    cross join lateral (
        values
            (1, has_schema_privilege(namespace.oid, 'usage'),
                format('grant usage on schema %I to %I', namespace.nspname, current_user)),
            (2, columns.reads,
                format('grant select on %I.%I to %I', namespace.nspname, class.relname, current_user)),
            (3, columns.writes or not $4,
                format('grant insert, update on %I.%I to %I', namespace.nspname, class.relname, current_user)),
            (4, has_table_privilege(class.oid, 'delete') or not $5,
                format('grant delete on %I.%I to %I', namespace.nspname, class.relname, current_user)),
            (5, $6 or pg_has_role(class.relowner, 'usage'),
                format('grant %I to %I', pg_get_userbyid(class.relowner), current_user))
    ) as needed (place, given, repair)
    where namespace.nspname = $1
    and class.relname = $2
    and not needed.given
    order by needed.place";
