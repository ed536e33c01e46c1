//! Capture triggers on mapped tables: their SQL, and the differences of the installed ones.

use serde::Serialize;

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::shape::{HiddenRows, TableShape, mapped_columns};
use crate::store::quote;
use crate::store::tables::capture::CaptureProblem;
use crate::store::transaction::{Tx, recordset};

/// Longest identifier that Postgres does not truncate, in bytes.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Returns the name of a trigger for the object: readable, and unique even if it is truncated.
fn trigger_name(kind: &str, object: &ObjectName) -> String {
    let name = format!("syncline_{kind}_{}", object.as_str().to_ascii_lowercase());
    if name.len() <= IDENTIFIER_BYTES_MAX {
        return name;
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("{}_{}", &name[..IDENTIFIER_BYTES_MAX - 9], &digest[..8])
}

/// The triggers that one mapped object should have.
#[derive(Serialize)]
pub(crate) struct Expected {
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) table_schema: String,
    pub(crate) table_name: String,
    pub(crate) row_trigger: String,
    pub(crate) truncate_trigger: String,
    /// The leading arguments as the catalogue keeps them, each ended by a zero byte, hexadecimal.
    pub(crate) arguments: String,
}

impl Expected {
    /// Returns the triggers of a mapped object.
    pub(crate) fn of(mapped: &MappedObject) -> Self {
        let arguments: String = leading_arguments(mapped)
            .iter()
            .flat_map(|argument| argument.bytes().chain([0]))
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            tenant: mapped.tenant.to_string(),
            object: mapped.sync.object.to_string(),
            table_schema: mapped.sync.table.schema.to_string(),
            table_name: mapped.sync.table.table.to_string(),
            row_trigger: trigger_name("capture", &mapped.sync.object),
            truncate_trigger: trigger_name("truncate", &mapped.sync.object),
            arguments,
        }
    }
}

/// Returns the arguments of the row trigger: tenant, object, external id column and mapped columns.
fn leading_arguments(mapped: &MappedObject) -> [String; 4] {
    // As configured: a field that is withheld for a while does not change the triggers.
    let columns = mapped_columns(&mapped.configured);
    [
        mapped.tenant.to_string(),
        mapped.sync.object.to_string(),
        mapped.sync.external_id.column.to_string(),
        quote::text_array(columns.iter().map(|column| column.as_str())),
    ]
}

/// The table itself or, if it is partitioned, one of its partitions.
#[derive(sqlx::FromRow)]
pub(crate) struct Member {
    pub(crate) oid: i64,
    pub(crate) name: String,
    pub(crate) leaf: bool,
}

/// Returns the table and all its partitions.
pub(crate) async fn relations(tx: &mut Tx, oid: i64) -> Result<Vec<Member>, StoreError> {
    tx.rows(
        "reading the partitions of a mapped table",
        sqlx::query_as(
            "select
                class.oid::bigint as oid,
                format('%I.%I', namespace.nspname, class.relname) as name,
                class.relkind <> 'p' as leaf
            from pg_class as class
            join pg_namespace as namespace on namespace.oid = class.relnamespace
            where class.oid = $1::oid
            or class.oid in (select tree.relid from pg_partition_tree($1::oid::regclass) as tree)
            order by class.oid",
        )
        .bind(oid),
    )
    .await
}

/// Returns the statements that create the triggers of a mapped object.
pub(crate) fn install_script(
    mapped: &MappedObject,
    shape: &TableShape,
    members: &[Member],
) -> String {
    let table = quote::table(&mapped.sync.table);
    let row_trigger = quote::identifier(&trigger_name("capture", &mapped.sync.object));
    let truncate_trigger = quote::identifier(&trigger_name("truncate", &mapped.sync.object));
    let keys = quote::text_array(shape.primary_key.iter().map(|column| column.as_str()));
    let arguments: Vec<String> = leading_arguments(mapped)
        .iter()
        .chain([&keys])
        .map(|argument| quote::literal(argument))
        .collect();
    // `enable always`: rows written by a replication worker or a restore are changes too.
    let mut script = format!(
        "create or replace trigger {row_trigger}
            after insert or update or delete on {table}
            for each row execute function syncline.capture_row({});
        alter table {table} enable always trigger {row_trigger};",
        arguments.join(", ")
    );
    // A truncate fires only the triggers of the relations that it names.
    for member in members {
        script.push_str(&format!(
            "create or replace trigger {truncate_trigger}
                after truncate on {name}
                for each statement execute function syncline.capture_truncate({});
            alter table {name} enable always trigger {truncate_trigger};",
            arguments[..2].join(", "),
            name = member.name,
        ));
    }
    script
}

/// Runs statements one after another.
pub(crate) async fn run_all(
    tx: &mut Tx,
    what: &'static str,
    statements: Vec<String>,
) -> Result<(), StoreError> {
    if statements.is_empty() {
        return Ok(());
    }
    tx.script(what, sqlx::AssertSqlSafe(statements.join(";\n")))
        .await
}

/// Returns the statements that drop every capture trigger of a tenant.
pub(crate) async fn tenant_triggers(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Vec<String>, StoreError> {
    tx.values(
        "finding the capture triggers of a tenant",
        sqlx::query_scalar(
            "select format('drop trigger %I on %s', trigger.tgname, trigger.tgrelid::regclass)
            from pg_trigger as trigger
            join pg_proc as function on function.oid = trigger.tgfoid
            where function.pronamespace = 'syncline'::regnamespace
            and trigger.tgparentid = 0
            and substring(trigger.tgargs for octet_length($1) + 1) = convert_to($1, 'UTF8') || '\\x00'::bytea",
        )
        .bind(tenant.as_str()),
    )
    .await
}

#[derive(sqlx::FromRow)]
struct ProblemRow {
    tenant: String,
    object: String,
    problem: String,
}

#[derive(sqlx::FromRow)]
struct HiddenRow {
    tenant: String,
    object: String,
    role: String,
    owned: bool,
}

/// Returns what is wrong with capture, with the same queries for all objects.
pub(crate) async fn capture_problems(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
) -> Result<Vec<CaptureProblem>, StoreError> {
    let expected: Vec<Expected> = mapped_objects.iter().map(Expected::of).collect();
    let rows: Vec<ProblemRow> = tx
        .rows(
            "checking capture triggers",
            sqlx::query_as(FIND_PROBLEMS).bind(recordset(&expected)),
        )
        .await?;
    let hidden: Vec<HiddenRow> = tx
        .rows(
            "checking row security",
            sqlx::query_as(FIND_HIDDEN).bind(recordset(&expected)),
        )
        .await?;
    let mut problems: Vec<CaptureProblem> = Vec::new();
    for mapped in mapped_objects {
        let (tenant, object) = (&mapped.tenant, &mapped.sync.object);
        let is_its = |of: (&str, &str)| of == (tenant.as_str(), object.as_str());
        let hidden = hidden
            .iter()
            .filter(|row| is_its((&row.tenant, &row.object)));
        let hidden = hidden.map(|row| {
            let rows = HiddenRows {
                role: row.role.clone(),
                owned: row.owned,
            };
            rows.problem(&mapped.sync.table)
        });
        let rows = rows.iter();
        let found = rows.filter(|row| is_its((&row.tenant, &row.object)));
        let found = found.map(|row| row.problem.clone());
        problems.extend(hidden.chain(found).map(|problem| CaptureProblem {
            tenant: tenant.clone(),
            object: object.clone(),
            problem,
        }));
    }
    Ok(problems)
}

/// Finds triggers of these tenants on relations that are not mapped any more.
pub(crate) const FIND_STRAYS: &str = "with expected as (
        select *
        from jsonb_to_recordset($1) as expected (
            tenant text, table_schema text, table_name text, row_trigger text, truncate_trigger text
        )
    )
    select format('drop trigger %I on %s', trigger.tgname, trigger.tgrelid::regclass)
    from pg_trigger as trigger
    join pg_proc as function on function.oid = trigger.tgfoid
    where function.pronamespace = 'syncline'::regnamespace
    and trigger.tgparentid = 0
    and exists (
        select
        from expected
        where substring(trigger.tgargs for octet_length(expected.tenant) + 1)
            = convert_to(expected.tenant, 'UTF8') || '\\x00'::bytea
    )
    and not exists (
        select
        from expected
        join pg_namespace as namespace on namespace.nspname = expected.table_schema
        join pg_class as class
            on class.relnamespace = namespace.oid
            and class.relname = expected.table_name
        where trigger.tgname in (expected.row_trigger, expected.truncate_trigger)
        and (
            trigger.tgrelid = class.oid
            or trigger.tgrelid in (select tree.relid from pg_partition_tree(class.oid) as tree)
        )
    )";

/// Finds tables whose row security hides rows from our role.
const FIND_HIDDEN: &str = "select
        expected.tenant,
        expected.object,
        current_user::text as role,
        pg_has_role(class.relowner, 'usage') as owned
    from jsonb_to_recordset($1) as expected (tenant text, object text, table_schema text, table_name text)
    join pg_namespace as namespace on namespace.nspname = expected.table_schema
    join pg_class as class
        on class.relnamespace = namespace.oid
        and class.relname = expected.table_name
        and class.relkind in ('r', 'p')
    where row_security_active(class.oid)";

/// Finds problems of capture: tables, partitions, then triggers.
const FIND_PROBLEMS: &str = "with expected as (
        select expected.*, class.oid as table_oid, capture.table_oid as known_oid, capture.partitions
        from jsonb_to_recordset($1) as expected (
            tenant text, object text, table_schema text, table_name text,
            row_trigger text, truncate_trigger text, arguments text
        )
        left join pg_namespace as namespace on namespace.nspname = expected.table_schema
        left join pg_class as class
            on class.relnamespace = namespace.oid
            and class.relname = expected.table_name
            and class.relkind in ('r', 'p')
        left join syncline.sync_capture as capture
            on capture.tenant = expected.tenant
            and capture.object = expected.object
    ),
    member as (
        select expected.tenant, expected.object, class.oid, class.relkind, class.oid::regclass::text as name
        from expected
        join pg_class as class
            on class.oid = expected.table_oid
            or class.oid in (select tree.relid from pg_partition_tree(expected.table_oid) as tree)
    )
    select tenant, object, 'table ' || table_schema || '.' || table_name || ' does not exist' as problem
    from expected
    where table_oid is null
    union all
    select tenant, object, 'capture was never installed on ' || table_schema || '.' || table_name
    from expected
    where table_oid is not null
    and known_oid is null
    union all
    select tenant, object, 'another table goes by the name ' || table_schema || '.' || table_name
    from expected
    where table_oid <> known_oid
    union all
    select expected.tenant, expected.object, 'the partitions of ' || table_schema || '.' || table_name || ' changed'
    from expected
    where table_oid = known_oid
    and (
        select coalesce(array_agg(member.oid order by member.oid), '{}')
        from member
        where member.tenant = expected.tenant
        and member.object = expected.object
        and member.relkind <> 'p'
    ) <> partitions
    union all
    select expected.tenant, expected.object, case
        when wanted.found is null then wanted.kind || ' trigger is missing on ' || member.name
        when wanted.found <> 'A' then wanted.kind || ' trigger does not fire always on ' || member.name
        else wanted.kind || ' trigger was made for another mapping on ' || member.name
    end
    from expected
    join member using (tenant, object)
    cross join lateral (
        select 'row' as kind, row_trigger as name, decode(arguments, 'hex') as leading
        union all
        select 'truncate', truncate_trigger, ''::bytea
    ) as want
    cross join lateral (
        select
            want.kind,
            min(trigger.tgenabled::text) as found,
            bool_and(substring(trigger.tgargs for length(want.leading)) = want.leading) as fits
        from pg_trigger as trigger
        join pg_proc as function on function.oid = trigger.tgfoid
        where trigger.tgrelid = member.oid
        and trigger.tgname = want.name
        and function.pronamespace = 'syncline'::regnamespace
    ) as wanted
    where known_oid is not null
    and (wanted.found is distinct from 'A' or not wanted.fits)
    order by 1, 2, 3";
