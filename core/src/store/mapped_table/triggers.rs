//! Capture triggers on mapped tables: their SQL, and the differences of the installed ones.

use serde::Serialize;

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::{MappedObject, StoreError};
use crate::store::mapped_table::capture_functions::{CaptureFunctions, Captured};
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

/// Returns the name of the function that captures this of the object: readable, and unique among all tenants.
fn function_name(captured: Captured, mapped: &MappedObject) -> String {
    let (tenant, object) = (mapped.tenant.as_str(), mapped.sync.object.as_str());
    let digest = blake3::hash(format!("{tenant}\0{object}").as_bytes()).to_hex();
    let mut name = format!("capture_{}", object.to_ascii_lowercase());
    name.truncate(IDENTIFIER_BYTES_MAX - 16);
    format!("{name}_{}_{}", captured.word(), &digest[..8])
}

/// The triggers that one mapped object should have.
#[derive(Serialize)]
pub(crate) struct Expected {
    pub(crate) tenant: String,
    pub(crate) object: String,
    pub(crate) table_schema: String,
    pub(crate) table_name: String,
    pub(crate) row_trigger: String,
    pub(crate) insert_trigger: String,
    pub(crate) update_trigger: String,
    pub(crate) delete_trigger: String,
    pub(crate) truncate_trigger: String,
    /// The names of all of them.
    pub(crate) triggers: Vec<String>,
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
        let named = |kind| trigger_name(kind, &mapped.sync.object);
        let kinds = Captured::ALL.map(Captured::word);
        Self {
            tenant: mapped.tenant.to_string(),
            object: mapped.sync.object.to_string(),
            table_schema: mapped.sync.table.schema.to_string(),
            table_name: mapped.sync.table.table.to_string(),
            row_trigger: named(Captured::Row.word()),
            insert_trigger: named(Captured::Inserts.word()),
            update_trigger: named(Captured::Updates.word()),
            delete_trigger: named(Captured::Deletes.word()),
            truncate_trigger: named(TRUNCATE),
            triggers: kinds.into_iter().chain([TRUNCATE]).map(named).collect(),
            arguments,
        }
    }
}

/// The word for a truncate in the name of its trigger.
const TRUNCATE: &str = "truncate";

/// Returns the arguments of the triggers that capture rows: tenant, object, external id column and mapped columns.
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
    /// Statements do not show all its rows, so each row is captured by itself: the table has a foreign partition, or is
    /// a child of another table, by whose name statements fire no trigger of a child.
    pub(crate) by_row: bool,
    /// It is the table itself.
    pub(crate) root: bool,
}

/// Returns the table and all its partitions.
pub(crate) async fn relations(tx: &mut Tx, oid: i64) -> Result<Vec<Member>, StoreError> {
    tx.rows(
        "reading the partitions of a mapped table",
        sqlx::query_as(
            "select
                class.oid::bigint as oid,
                format('%I.%I', namespace.nspname, class.relname) as name,
                class.relkind <> 'p' as leaf,
                bool_or(class.relkind = 'f') over ()
                    or exists (select from pg_inherits as parent where parent.inhrelid = $1::oid) as by_row,
                class.oid = $1::oid as root
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

/// Returns the statements that create the functions and triggers of a mapped object.
///
/// Statement triggers capture what ordinary sessions write, a row trigger what logical replication writes, which fires
/// no statement triggers. Both on all would capture twice. A partition that is added later has the row trigger for both
/// until capture is installed again: a statement that names it fires no trigger of its table.
///
/// Statements on foreign partitions have no transition tables, and statements that name a parent of the mapped table fire
/// its row triggers alone: there the row trigger captures everything.
pub(crate) fn install_script(
    mapped: &MappedObject,
    shape: &TableShape,
    members: &[Member],
) -> String {
    let partitioned = members.iter().any(|member| !member.leaf);
    let by_row = members.iter().any(|member| member.by_row);
    let functions = CaptureFunctions::new(mapped, shape, partitioned);
    let mut script = String::new();
    for captured in Captured::ALL {
        script.push_str(&functions.create(captured, &function_name(captured, mapped)));
        script.push_str(&owner_script(captured, mapped, shape));
    }
    script.push_str(&row_script(mapped, shape, members, partitioned, by_row));
    for member in members {
        for captured in [Captured::Inserts, Captured::Updates, Captured::Deletes] {
            script.push_str(&if by_row {
                let name = quote::identifier(&trigger_name(captured.word(), &mapped.sync.object));
                format!("drop trigger if exists {name} on {};", member.name)
            } else {
                statement_script(captured, mapped, shape, member)
            });
        }
        script.push_str(&truncate_script(mapped, member));
    }
    script
}

/// Returns the statement that gives a function to the owner of the outbox: with the rights of a role that owns the
/// table, or of a superuser, it would have too few or too many.
///
/// Only the table's owner may use it, who needs that to add a partition: whoever may put it on a table of his own, a
/// temporary one for example, could write what he likes to the outbox of any tenant.
fn owner_script(captured: Captured, mapped: &MappedObject, shape: &TableShape) -> String {
    format!(
        "do $do$
        declare
            the_owner name := (
                select pg_get_userbyid(relowner)
                from pg_class
                where oid = 'syncline.sync_outbox'::regclass
            );
            the_tables_owner name := (
                select pg_get_userbyid(relowner)
                from pg_class
                where oid = {table}
            );
        begin
            if the_owner <> current_user then
                execute format('alter function syncline.%I owner to %I', {name}, the_owner);
            end if;
            execute format('revoke all on function syncline.%I() from public', {name});
            execute format('grant execute on function syncline.%I() to %I', {name}, the_tables_owner);
        end
        $do$;",
        name = quote::literal(&function_name(captured, mapped)),
        table = shape.oid,
    )
}

/// Returns the literals of all arguments of a trigger that captures rows.
fn arguments(mapped: &MappedObject, shape: &TableShape) -> String {
    let keys = quote::text_array(shape.primary_key.iter().map(|column| column.as_str()));
    let arguments: Vec<String> = leading_arguments(mapped)
        .iter()
        .chain([&keys])
        .map(|argument| quote::literal(argument))
        .collect();
    arguments.join(", ")
}

fn row_script(
    mapped: &MappedObject,
    shape: &TableShape,
    members: &[Member],
    partitioned: bool,
    by_row: bool,
) -> String {
    let table = quote::table(&mapped.sync.table);
    let trigger = quote::identifier(&trigger_name(Captured::Row.word(), &mapped.sync.object));
    let mode = if partitioned || by_row {
        "always"
    } else {
        "replica"
    };
    let mut script = format!(
        "create or replace trigger {trigger}
            after insert or update or delete on {table}
            for each row execute function syncline.{function}({arguments});
        alter table {table} enable {mode} trigger {trigger};",
        function = quote::identifier(&function_name(Captured::Row, mapped)),
        arguments = arguments(mapped, shape),
    );
    let captured = members.iter().filter(|member| member.leaf && !member.root);
    for member in captured {
        let mode = if by_row { "always" } else { "replica" };
        script.push_str(&format!(
            "alter table {} enable {mode} trigger {trigger};",
            member.name
        ));
    }
    script
}

fn statement_script(
    captured: Captured,
    mapped: &MappedObject,
    shape: &TableShape,
    member: &Member,
) -> String {
    let (event, rows) = match captured {
        Captured::Inserts => ("insert", "new table as new_rows"),
        Captured::Updates => ("update", "old table as old_rows new table as new_rows"),
        Captured::Deletes | Captured::Row => ("delete", "old table as old_rows"),
    };
    let trigger = quote::identifier(&trigger_name(captured.word(), &mapped.sync.object));
    format!(
        "create or replace trigger {trigger}
            after {event} on {name}
            referencing {rows}
            for each statement execute function syncline.{function}({arguments});
        alter table only {name} enable trigger {trigger};",
        name = member.name,
        function = quote::identifier(&function_name(captured, mapped)),
        arguments = arguments(mapped, shape),
    )
}

/// A truncate fires only the triggers of the relations that it names.
fn truncate_script(mapped: &MappedObject, member: &Member) -> String {
    let trigger = quote::identifier(&trigger_name(TRUNCATE, &mapped.sync.object));
    let [tenant, object, ..] = leading_arguments(mapped);
    let partition = if member.root { "" } else { ", 'partition'" };
    // `enable always`: what a replication worker or a restore truncates is empty, too.
    format!(
        "create or replace trigger {trigger}
            after truncate on {name}
            for each statement execute function syncline.capture_truncate({tenant}, {object}{partition});
        alter table only {name} enable always trigger {trigger};",
        name = member.name,
        tenant = quote::literal(&tenant),
        object = quote::literal(&object),
    )
}

/// Returns the statements that drop the functions which no trigger calls any more.
pub(crate) async fn unused_functions(tx: &mut Tx) -> Result<Vec<String>, StoreError> {
    tx.values(
        "finding capture functions that are not used",
        sqlx::query_scalar(
            "select format('drop function %s', function.oid::regprocedure)
            from pg_proc as function
            where function.pronamespace = 'syncline'::regnamespace
            and function.prorettype = 'trigger'::regtype
            and function.proname like 'capture\\_%'
            and function.proname <> 'capture_truncate'
            and not exists (
                select
                from pg_trigger as trigger
                where trigger.tgfoid = function.oid
            )",
        ),
    )
    .await
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
            tenant text, table_schema text, table_name text, triggers text[]
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
        where trigger.tgname = any(expected.triggers)
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
            row_trigger text, insert_trigger text, update_trigger text, delete_trigger text, truncate_trigger text,
            arguments text
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
        select
            expected.tenant,
            expected.object,
            class.oid,
            class.relkind,
            class.oid::regclass::text as name,
            bool_or(class.relkind = 'f') over (partition by expected.tenant, expected.object)
                or exists (select from pg_inherits as parent where parent.inhrelid = expected.table_oid) as by_row,
            count(*) over (partition by expected.tenant, expected.object) > 1 or class.relkind = 'p' as is_partitioned
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
        when not wanted.fires then wanted.kind || ' trigger does not fire as it should on ' || member.name
        else wanted.kind || ' trigger was made for another mapping on ' || member.name
    end
    from expected
    join member using (tenant, object)
    cross join lateral (
        select 'row' as kind, row_trigger as name, case
            -- A partition that was added since fires always.
            when member.is_partitioned and not member.by_row then array['A', 'R']
            when member.by_row then array['A']
            else array['R']
        end as modes
        union all
        select 'truncate', truncate_trigger, array['A']
        union all
        select statement.kind, statement.name, array['O']
        from (
            values ('insert', insert_trigger), ('update', update_trigger), ('delete', delete_trigger)
        ) as statement (kind, name)
        where not member.by_row
    ) as want
    cross join lateral (
        select
            want.kind,
            min(trigger.tgenabled::text) as found,
            bool_and(trigger.tgenabled::text = any(want.modes)) as fires,
            bool_and(want.kind = 'truncate' or substring(trigger.tgargs for length(first.arguments)) = first.arguments)
                as fits
        from pg_trigger as trigger
        join pg_proc as function on function.oid = trigger.tgfoid
        cross join (select decode(expected.arguments, 'hex') as arguments) as first
        where trigger.tgrelid = member.oid
        and trigger.tgname = want.name
        and function.pronamespace = 'syncline'::regnamespace
    ) as wanted
    where known_oid is not null
    and (wanted.found is null or not wanted.fires or not wanted.fits)
    order by 1, 2, 3";
