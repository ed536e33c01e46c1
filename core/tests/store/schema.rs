//! The schema of the control plane.

use std::path::{Path, PathBuf};

use sqlx::Row;

use super::world::{World, open};
use throwaway_postgres::TestDatabase;

/// The committed schema.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/schema.sql");

/// Returns one line per column, constraint, index, function and grant. Reads the catalogue, so that the
/// server's version does not matter.
const SHAPE: &str = r"
select line
from (
    select
        1 as part, class.relname::text as relation, attribute.attnum as place,
        format(
            '%s %I.%I %s%s%s',
            case class.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end,
            class.relname, attribute.attname,
            format_type(attribute.atttypid, attribute.atttypmod),
            case when attribute.attnotnull then ' not null' else '' end,
            case
                when attribute.attidentity = 'a' then ' generated always as identity'
                else coalesce(' default ' || pg_get_expr(def.adbin, def.adrelid), '')
            end
        ) as line
    from pg_class as class
    join pg_attribute as attribute on attribute.attrelid = class.oid
    left join pg_attrdef as def on def.adrelid = class.oid and def.adnum = attribute.attnum
    where class.relnamespace = 'syncline'::regnamespace
    and class.relkind in ('r', 'p', 'v')
    and class.relname !~ '^sync_journal_|^sync_migration'
    and attribute.attnum > 0
    union all
    select 2, class.relname::text, 0, format('constraint %I on %I %s', con.conname, class.relname, pg_get_constraintdef(con.oid))
    from pg_constraint as con
    join pg_class as class on class.oid = con.conrelid
    where con.connamespace = 'syncline'::regnamespace
    and con.contype in ('p', 'u', 'c', 'f', 'x')
    and class.relname !~ '^sync_journal_|^sync_migration'
    union all
    select 3, class.relname::text, 0, pg_get_indexdef(index.indexrelid)
    from pg_index as index
    join pg_class as class on class.oid = index.indrelid
    where class.relnamespace = 'syncline'::regnamespace
    and class.relname !~ '^sync_journal_|^sync_migration'
    union all
    select 4, function.proname::text, 0, format(
        'function %s(%s) returns %s%s %s',
        function.proname, pg_get_function_arguments(function.oid), pg_get_function_result(function.oid),
        case when function.prosecdef then ' security definer' else '' end,
        array_to_string(function.proconfig, ' ')
    )
    from pg_proc as function
    where function.pronamespace = 'syncline'::regnamespace
    -- Those that `install` generates are no part of the schema.
    and function.proname !~ '^capture_account_'
    union all
    select 5, granted.name, 0, format('grant %s on %s to %s', lower(granted.privilege_type), granted.name, granted.grantee)
    from (
        select class.relname::text as name, grants.privilege_type, coalesce(role.rolname, 'public') as grantee
        from pg_class as class
        cross join lateral aclexplode(class.relacl) as grants
        left join pg_roles as role on role.oid = grants.grantee
        where class.relnamespace = 'syncline'::regnamespace
        and grants.grantee <> class.relowner
        union all
        select function.proname::text, grants.privilege_type, coalesce(role.rolname, 'public')
        from pg_proc as function
        cross join lateral aclexplode(function.proacl) as grants
        left join pg_roles as role on role.oid = grants.grantee
        where function.pronamespace = 'syncline'::regnamespace
        and grants.grantee <> function.proowner
    ) as granted
) as shape
order by part, relation, place, line";

#[tokio::test]
async fn database_that_is_not_utf8_is_refused() {
    let database = TestDatabase::encoded("LATIN1").await;
    let refused = open(database.url())
        .migrate()
        .await
        .unwrap_err()
        .to_string();
    let fix = "has the encoding LATIN1, which cannot hold every text of Salesforce: create a database with encoding 'UTF8'";
    assert!(refused.contains(fix), "{refused}");
    let mut connection = database.connect().await;
    let ours: i64 =
        sqlx::query_scalar("select count(*) from pg_namespace where nspname = 'syncline'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(ours, 0, "nothing was created");
}

#[tokio::test]
async fn migrations_create_the_committed_schema() {
    let mut world = World::new().await;
    let lines: Vec<String> = sqlx::query(SHAPE)
        .fetch_all(&mut world.user)
        .await
        .unwrap()
        .iter()
        .map(|row| format!("-- {}\n", row.get::<String, _>(0)))
        .collect();
    let made = lines.concat();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(COMMITTED, &made).unwrap();
    }
    let committed = std::fs::read_to_string(COMMITTED).unwrap_or_default();
    assert!(
        made == committed,
        "migrations/schema.sql is not the schema that the migrations create; \
        run the test with UPDATE_SCHEMA=1 to write it, and review the difference"
    );
}

#[tokio::test]
async fn concurrent_migrations_migrate_once() {
    let database = TestDatabase::empty().await;
    let (one, two) = (open(database.url()), open(database.url()));
    let (first, second) = tokio::join!(one.migrate(), two.migrate());
    first.unwrap();
    second.unwrap();
    one.migrate().await.unwrap();
}

#[tokio::test]
async fn first_day_has_its_own_partition() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    assert_eq!(
        world
            .ask("select count(*) from syncline.sync_journal_default")
            .await,
        "0"
    );
}

#[tokio::test]
async fn day_without_a_partition_stops_nothing() {
    let mut world = World::new().await;
    world
        .sql("select syncline.drop_journal_partitions(syncline.clock() + interval '10 days')")
        .await;
    world.synced("K", "Ada").await;
    assert_ne!(
        world
            .ask("select count(*) from syncline.sync_journal_default")
            .await,
        "0"
    );
    world
        .sql("select syncline.ensure_journal_partitions(3)")
        .await;
    let partitions =
        "select count(*) from pg_inherits where inhparent = 'syncline.sync_journal'::regclass";
    assert_eq!(
        world.ask(partitions).await,
        "4",
        "today's rows are in the default partition; the next three days have their own"
    );
    world
        .sql("select syncline.drop_journal_partitions(syncline.clock() + interval '10 days')")
        .await;
    assert_eq!(world.ask(partitions).await, "1");
}

/// Sources of time and ids other than `syncline.clock()`, `syncline.wall_clock()` and
/// `syncline.new_id()`.
const OTHER_SOURCES: [&str; 13] = [
    " now()",
    "(now()",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
    "current_date",
    "current_time",
    "localtime",
    "gen_random_uuid",
    "uuid_generate",
    "'now'",
    "random()",
];

#[test]
fn sql_takes_time_and_ids_from_our_functions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    add_files(&root.join("../migrations"), &mut files);
    add_files(&root.join("src/store"), &mut files);
    assert!(files.len() > 30, "the folders have moved");
    let mut found = Vec::new();
    for file in files {
        // Generated from the catalogue, so it contains the bodies of our functions; what a person may run on tables of
        // theirs, which do not need our schema; the key words of Postgres.
        let others = ["schema.sql", "table_definition.rs", "reserved_words.txt"];
        if others.iter().any(|other| file.ends_with(other)) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line = line.to_ascii_lowercase();
            let code = line.split("--").next().unwrap_or_default();
            let is_definition = DEFINITIONS.contains(&code.trim());
            if !is_definition && OTHER_SOURCES.iter().any(|other| code.contains(other)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

/// The bodies of our functions.
const DEFINITIONS: [&str; 3] = [
    "select now()",
    "select clock_timestamp()",
    "select gen_random_uuid()",
];

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_files(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[tokio::test]
async fn due_tasks_are_found_by_their_index() {
    let mut world = World::new().await;
    let plan = explain(
        &mut world,
        "select task.record_id
        from syncline.sync_task as task
        where task.tenant = 'acme'
        and task.object = 'Account'
        and task.state = 'ready'
        and task.due_at <= syncline.clock()
        order by task.due_at, task.record_id
        limit 200
        for update of task skip locked",
    )
    .await;
    assert!(plan.contains("sync_task_ready_idx"), "{plan}");
    assert!(
        plan.contains("(due_at <= now())"),
        "clock() is inlined into the index condition: {plan}"
    );
}

#[tokio::test]
async fn outbox_rows_are_claimed_by_their_index() {
    let mut world = World::new().await;
    let plan = explain(
        &mut world,
        "select outbox_id
        from syncline.sync_outbox
        where tenant = any('{acme}')
        or coalesce(btrim(tenant), '') = ''
        order by outbox_id
        limit 1000
        for update skip locked",
    )
    .await;
    assert!(plan.contains("sync_outbox_id_idx"), "{plan}");
}

/// Returns the plan of a query, as if the tables were large.
async fn explain(world: &mut World, query: &str) -> String {
    world
        .sql("set enable_seqscan = off; set enable_bitmapscan = off; set enable_sort = off")
        .await;
    let rows = sqlx::query(sqlx::AssertSqlSafe(format!("explain {query}")))
        .fetch_all(&mut world.user)
        .await
        .unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}
