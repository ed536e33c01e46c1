//! Capture triggers on mapped tables: install, remove, and find out whether they still stand.

use serde::{Deserialize, Serialize};

use super::PgStore;
use super::quote;
use super::table::{TableShape, mapped_columns, read_shape};
use super::transaction::{Tx, recordset};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{ObjectName, TenantId};

/// Capture of one mapped table does not stand as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaptureProblem {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// What is wrong, and with which relation.
    pub problem: String,
}

impl PgStore {
    /// Puts the capture triggers on the mapped tables and takes away those of this tenant that no
    /// mapping asks for. Doing it twice does it once.
    ///
    /// Creating a trigger waits for writers of that table, two seconds at most.
    /// Errors: [`StoreError::Mapping`] for a table or column that does not exist; then nothing has
    /// changed.
    pub async fn install(&self, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for mapped in mapped_objects {
            let shape = read_shape(&mut tx, mapped).await?;
            let members = relations(&mut tx, shape.oid).await?;
            let script = install_script(mapped, &shape, &members);
            tx.script("installing capture triggers", sqlx::AssertSqlSafe(script))
                .await?;
            remember(&mut tx, mapped, &shape, &members).await?;
        }
        drop_strays(&mut tx, mapped_objects).await?;
        tx.commit().await
    }

    /// Takes the capture triggers of these objects away again. Their control plane stays.
    pub async fn remove_capture(&self, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let expected: Vec<Expected> = mapped_objects.iter().map(Expected::of).collect();
        let drops: Vec<String> = tx
            .values(
                "finding capture triggers",
                sqlx::query_scalar(
                    "select format('drop trigger if exists %I on %s', trigger.tgname, trigger.tgrelid::regclass)
                    from pg_trigger as trigger
                    join jsonb_to_recordset($1) as expected (row_trigger text, truncate_trigger text)
                        on trigger.tgname in (expected.row_trigger, expected.truncate_trigger)
                    join pg_proc as function on function.oid = trigger.tgfoid
                    where function.pronamespace = 'syncline'::regnamespace
                    and trigger.tgparentid = 0",
                )
                .bind(recordset(&expected)),
            )
            .await?;
        run_all(&mut tx, "removing capture triggers", drops).await?;
        tx.run(
            "forgetting capture triggers",
            sqlx::query(
                "delete from syncline.sync_capture as capture
                using jsonb_to_recordset($1) as expected (tenant text, object text)
                where capture.tenant = expected.tenant
                and capture.object = expected.object",
            )
            .bind(recordset(&expected)),
        )
        .await?;
        tx.commit().await
    }

    /// Removes everything of ours from the database: the schema `syncline`, and with it every
    /// trigger that calls into it. Mapped tables and their rows stay as they are.
    pub async fn uninstall(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.script(
            "removing the control plane",
            "drop schema if exists syncline cascade",
        )
        .await?;
        tx.commit().await
    }

    /// Returns what of capture no longer stands as installed: triggers, their mode and arguments,
    /// the table's identity, its set of partitions.
    pub async fn check_install(
        &self,
        mapped_objects: &[MappedObject],
    ) -> Result<Vec<CaptureProblem>, StoreError> {
        let mut tx = self.begin().await?;
        let problems = capture_problems(&mut tx, mapped_objects).await?;
        tx.rollback().await?;
        Ok(problems)
    }
}

/// Longest identifier that Postgres keeps whole, in bytes.
const IDENTIFIER_BYTES_MAX: usize = 63;

/// Returns the name of a trigger for the object: readable, and unique even where it is cut.
fn trigger_name(kind: &str, object: &ObjectName) -> String {
    let name = format!("syncline_{kind}_{}", object.as_str().to_ascii_lowercase());
    if name.len() <= IDENTIFIER_BYTES_MAX {
        return name;
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("{}_{}", &name[..IDENTIFIER_BYTES_MAX - 9], &digest[..8])
}

/// The triggers that one scope should have.
#[derive(Serialize)]
struct Expected {
    tenant: String,
    object: String,
    table_schema: String,
    table_name: String,
    row_trigger: String,
    truncate_trigger: String,
    /// The leading arguments as the catalogue keeps them, each ended by a zero byte, hexadecimal.
    arguments: String,
}

impl Expected {
    fn of(mapped: &MappedObject) -> Self {
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

/// Returns tenant, object, external id column and mapped columns, as the row trigger takes them.
fn leading_arguments(mapped: &MappedObject) -> [String; 4] {
    let columns = mapped_columns(&mapped.sync);
    [
        mapped.tenant.to_string(),
        mapped.sync.object.to_string(),
        mapped.sync.external_id.column.to_string(),
        quote::text_array(columns.iter().map(|column| column.as_str())),
    ]
}

/// The table itself and, where it is partitioned, everything below it.
#[derive(sqlx::FromRow)]
struct Member {
    oid: i64,
    name: String,
    leaf: bool,
}

async fn relations(tx: &mut Tx, oid: i64) -> Result<Vec<Member>, StoreError> {
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

fn install_script(mapped: &MappedObject, shape: &TableShape, members: &[Member]) -> String {
    let table = quote::table(&mapped.sync.table);
    let row_trigger = quote::identifier(&trigger_name("capture", &mapped.sync.object));
    let truncate_trigger = quote::identifier(&trigger_name("truncate", &mapped.sync.object));
    let keys = quote::text_array(shape.primary_key.iter().map(|column| column.as_str()));
    let arguments: Vec<String> = leading_arguments(mapped)
        .iter()
        .chain([&keys])
        .map(|argument| quote::literal(argument))
        .collect();
    // Always: rows that a replication worker or a restore writes are changes like any other.
    let mut script = format!(
        "create or replace trigger {row_trigger}
            after insert or update or delete on {table}
            for each row execute function syncline.capture_row({});
        alter table {table} enable always trigger {row_trigger};",
        arguments.join(", ")
    );
    // A truncate fires the triggers of the relations it names and no others.
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

async fn remember(
    tx: &mut Tx,
    mapped: &MappedObject,
    shape: &TableShape,
    members: &[Member],
) -> Result<(), StoreError> {
    let partitions: Vec<i64> = members
        .iter()
        .filter(|member| member.leaf)
        .map(|member| member.oid)
        .collect();
    tx.run(
        "remembering capture triggers",
        sqlx::query(
            "with tenant as (
                insert into syncline.sync_control (tenant)
                values ($1)
                on conflict (tenant) do nothing
            )
            insert into syncline.sync_capture (tenant, object, table_schema, table_name, table_oid, partitions)
            values ($1, $2, $3, $4, $5::oid, $6::oid[])
            -- Installing again makes what stands now the state to compare with.
            on conflict (tenant, object) do update
            set table_schema = excluded.table_schema,
                table_name = excluded.table_name,
                table_oid = excluded.table_oid,
                partitions = excluded.partitions,
                broken = null,
                installed_at = now()",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(mapped.sync.table.schema.as_str())
        .bind(mapped.sync.table.table.as_str())
        .bind(shape.oid)
        .bind(partitions),
    )
    .await?;
    Ok(())
}

/// Drops triggers of these tenants that no scope asks for: the mapping went to another table.
async fn drop_strays(tx: &mut Tx, mapped_objects: &[MappedObject]) -> Result<(), StoreError> {
    let expected: Vec<Expected> = mapped_objects.iter().map(Expected::of).collect();
    let drops: Vec<String> = tx
        .values(
            "finding stray capture triggers",
            sqlx::query_scalar(FIND_STRAYS).bind(recordset(&expected)),
        )
        .await?;
    run_all(tx, "dropping stray capture triggers", drops).await?;
    let tenants: Vec<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let objects: Vec<String> = mapped_objects
        .iter()
        .map(|mapped| format!("{} {}", mapped.tenant, mapped.sync.object))
        .collect();
    tx.run(
        "forgetting stray capture triggers",
        sqlx::query(
            "delete from syncline.sync_capture
            where tenant = any($1)
            and tenant || ' ' || object <> all($2)",
        )
        .bind(tenants)
        .bind(objects),
    )
    .await?;
    Ok(())
}

async fn run_all(
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

#[derive(sqlx::FromRow)]
struct ProblemRow {
    tenant: String,
    object: String,
    problem: String,
}

/// Returns what is wrong with capture, one query for all scopes.
pub(super) async fn capture_problems(
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
    rows.into_iter()
        .map(|row| {
            let mapped = |error| StoreError::Mapping(format!("checking capture triggers: {error}"));
            Ok(CaptureProblem {
                tenant: TenantId::parse(&row.tenant).map_err(mapped)?,
                object: ObjectName::parse(&row.object).map_err(mapped)?,
                problem: row.problem,
            })
        })
        .collect()
}

/// Triggers of these tenants on relations where no mapping asks for them.
const FIND_STRAYS: &str = "with expected as (
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

/// What is wrong with capture: tables, partitions, then triggers.
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
