//! The control plane's shape: what the migrations make is what is committed.

use sqlx::Row;

use super::world::{World, open};
use throwaway_postgres::TestDatabase;

/// The committed shape.
const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/schema.sql");

/// One line per column, constraint, index, function and grant. It asks the catalogue itself, so that
/// the server's version does not matter.
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
async fn the_migrations_make_the_committed_schema() {
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
        "migrations/schema.sql is not what the migrations make; \
        UPDATE_SCHEMA=1 writes it anew, and the difference is to be reviewed"
    );
}

#[tokio::test]
async fn migrating_from_two_places_at_once_migrates_once() {
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
async fn a_day_without_a_partition_stops_nothing() {
    let mut world = World::new().await;
    world
        .sql("select syncline.drop_journal_partitions(now() + interval '10 days')")
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
        "today's rows stand in the default partition; the next three days have their own"
    );
    world
        .sql("select syncline.drop_journal_partitions(now() + interval '10 days')")
        .await;
    assert_eq!(world.ask(partitions).await, "1");
}
