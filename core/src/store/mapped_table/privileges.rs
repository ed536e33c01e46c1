//! Which privileges our role lacks on a mapped table and on the control plane.

use crate::config::{DeleteMode, Direction, OnFilterExit};
use crate::ports::operator_store;
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::shape::mapped_columns;
use crate::store::transaction::Tx;

/// A privilege that our role lacks.
#[derive(sqlx::FromRow)]
pub(crate) struct MissingGrant {
    /// Our role cannot read the mapped columns without it.
    pub(crate) to_read: bool,
    privilege: String,
    place: String,
    repair: String,
}

impl From<MissingGrant> for operator_store::MissingGrant {
    fn from(missing: MissingGrant) -> Self {
        Self {
            privilege: missing.privilege,
            place: missing.place,
            grant: missing.repair,
        }
    }
}

/// Returns the privileges that our role lacks: to read the mapped columns, and to write rows if the mapping writes
/// Postgres.
pub(crate) async fn missing_grants(
    tx: &mut Tx,
    mapped: &MappedObject,
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
            .bind(writes && deletes),
    )
    .await
}

/// Returns the owner of the table unless our role may act as it: only the owner may create triggers that also fire
/// for replicated rows.
pub(crate) async fn other_owner(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<Option<String>, StoreError> {
    let owners: Vec<String> = tx
        .values(
            "reading the owner of a mapped table",
            sqlx::query_scalar(
                "select pg_get_userbyid(class.relowner)::text
                from pg_class as class
                join pg_namespace as namespace on namespace.oid = class.relnamespace
                where namespace.nspname = $1
                and class.relname = $2
                and not pg_has_role(class.relowner, 'usage')",
            )
            .bind(mapped.sync.table.schema.as_str())
            .bind(mapped.sync.table.table.as_str()),
        )
        .await?;
    Ok(owners.into_iter().next())
}

/// Returns the privileges that our role lacks on the control plane, or to create it.
pub(crate) async fn control_plane_grants(tx: &mut Tx) -> Result<Vec<MissingGrant>, StoreError> {
    tx.rows(
        "reading our privileges on the control plane",
        sqlx::query_as(CONTROL_PLANE_GRANTS),
    )
    .await
}

/// Whoever created the schema owns it and lacks nothing.
const CONTROL_PLANE_GRANTS: &str = "select false as to_read, needed.privilege, needed.place, needed.repair
    from (select to_regnamespace('syncline') as oid) as schema
    cross join lateral (
        select
            coalesce(bool_and(
                has_table_privilege(class.oid, 'select')
                and (
                    class.relkind = 'v'
                    or has_table_privilege(class.oid, 'insert')
                    and has_table_privilege(class.oid, 'update')
                    and has_table_privilege(class.oid, 'delete')
                )
            ) filter (where class.relkind in ('r', 'p', 'v')), true) as tables,
            coalesce(bool_and(has_sequence_privilege(class.oid, 'usage, update'))
                filter (where class.relkind = 'S'), true) as sequences
        from pg_class as class
        where class.relnamespace = schema.oid
        -- Partitions are used through their parent.
        and not class.relispartition
    ) as relations
    cross join lateral (
        select coalesce(bool_and(has_function_privilege(proc.oid, 'execute')), true) as functions
        from pg_proc as proc
        where proc.pronamespace = schema.oid
    ) as routines
    cross join lateral (
        values
            (1, schema.oid is not null or has_database_privilege(current_database(), 'create'),
                'CREATE', 'database ' || current_database(),
                format('grant create on database %I to %I', current_database(), current_user)),
            (2, schema.oid is null or has_schema_privilege(schema.oid, 'usage'),
                'USAGE', 'schema syncline',
                format('grant usage on schema syncline to %I', current_user)),
            (3, relations.tables,
                'SELECT, INSERT, UPDATE, DELETE', 'the tables of schema syncline',
                format('grant select, insert, update, delete on all tables in schema syncline to %I', current_user)),
            (4, relations.sequences,
                'USAGE', 'the sequences of schema syncline',
                format('grant usage on all sequences in schema syncline to %I', current_user)),
            (5, routines.functions,
                'EXECUTE', 'the functions of schema syncline',
                format('grant execute on all functions in schema syncline to %I', current_user))
    ) as needed (number, given, privilege, place, repair)
    where not needed.given
    order by needed.number";

/// A privilege on the whole table includes its columns. A row that is inserted without a column takes the next
/// number of its default's sequence.
const MISSING_GRANTS: &str = "select needed.number <= 2 as to_read, needed.privilege, needed.place, needed.repair
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
        select format('%I.%I', namespace.nspname, class.relname) as named
    ) as this
    cross join lateral (
        values
            (1, has_schema_privilege(namespace.oid, 'usage'), 'USAGE', format('schema %I', namespace.nspname),
                format('grant usage on schema %I to %I', namespace.nspname, current_user)),
            (2, columns.reads, 'SELECT', this.named,
                format('grant select on %s to %I', this.named, current_user)),
            (3, columns.writes or not $4, 'INSERT, UPDATE', this.named,
                format('grant insert, update on %s to %I', this.named, current_user)),
            (4, has_table_privilege(class.oid, 'delete') or not $5, 'DELETE', this.named,
                format('grant delete on %s to %I', this.named, current_user))
        union all
        select distinct 5,
            -- Postgres may ask before it has joined, and fails for what is no sequence.
            case when sequence.relkind = 'S' then has_sequence_privilege(sequence.oid, 'usage, update') end or not $4,
            'USAGE',
            format('sequence %I.%I', home.nspname, sequence.relname),
            format('grant usage on sequence %I.%I to %I', home.nspname, sequence.relname, current_user)
        from pg_attrdef as preset
        join pg_depend as dependency
            on dependency.classid = 'pg_attrdef'::regclass
            and dependency.objid = preset.oid
            and dependency.refclassid = 'pg_class'::regclass
        join pg_class as sequence on sequence.oid = dependency.refobjid and sequence.relkind = 'S'
        join pg_namespace as home on home.oid = sequence.relnamespace
        where preset.adrelid = class.oid
    ) as needed (number, given, privilege, place, repair)
    where namespace.nspname = $1
    and class.relname = $2
    and not needed.given
    order by needed.number";
