//! What the triggers capture of one statement: every change once, whatever the statement does, whoever makes it, and
//! whatever became of the table since.

use sqlx::Row;
use syncline::ports::CaptureStore;

use super::world::{World, account, kinds};

pub(crate) const PLAIN: &str = "create table public.account (
        id integer primary key,
        external_id text unique deferrable,
        name text,
        phone text,
        employees integer,
        parent_external_id text,
        note text
    );
    insert into public.account (id, external_id) values (1, 'K1'), (2, 'K2'), (3, 'K3'), (4, null)";

const PARTITIONED: &str = "create table public.account (
        id integer,
        external_id text,
        name text,
        phone text,
        employees integer,
        parent_external_id text,
        region text,
        primary key (id, region)
    ) partition by list (region);
    create table public.account_a partition of public.account for values in ('a');
    create table public.account_b partition of public.account for values in ('b') partition by range (id);
    create table public.account_b1 partition of public.account_b for values from (0) to (100);
    create table public.account_b2 partition of public.account_b for values from (100) to (200);
    insert into public.account (id, external_id, region) values (1, 'K1', 'a'), (2, 'K2', 'b'), (102, 'K3', 'b')";

/// Returns what waits in the outbox, in order, and empties it.
pub(crate) async fn captured(world: &mut World) -> Vec<String> {
    let rows = sqlx::query(
        "with taken as (delete from syncline.sync_outbox returning *)
        select concat(
            operation, ' ', external_id, ' ' || local_key::text, ' was ' || old_external_id,
            ' ' || case when operation = 'update' then changed_columns end::text, ' ' || changed::text
        )
        from taken
        order by outbox_id",
    )
    .fetch_all(&mut world.user)
    .await
    .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Runs each statement on the table as it was first, and compares what is captured. The functions that `install` made
/// must do: the query for tables that were altered since does not exist.
pub(crate) async fn check(table: &str, before: &str, statements: &[(&str, &[&str])]) {
    let before = format!("drop function syncline.capture_query; {before}");
    check_altered(table, &before, statements).await;
}

/// Does the same where statements may alter the table.
pub(crate) async fn check_altered(table: &str, before: &str, statements: &[(&str, &[&str])]) {
    let mut world = World::with(table, account()).await;
    world.sql(before).await;
    captured(&mut world).await;
    for (statement, expected) in statements {
        world.sql("begin").await;
        world.sql(statement).await;
        assert_eq!(captured(&mut world).await, *expected, "{statement}");
        world.sql("rollback").await;
    }
}

#[tokio::test]
async fn statement_is_captured_once_whatever_it_does() {
    check(
        PLAIN,
        "",
        &[
            ("insert into account values (5, 'K5')", &["insert K5"]),
            (
                "insert into account values (5, 'K5'), (6, ' '), (7, null)",
                &["insert K5", r#"insert  {"id": 6}"#, r#"insert  {"id": 7}"#],
            ),
            ("insert into account select 9, 'K9' where false", &[]),
            ("update account set name = 'x' where false", &[]),
            ("update account set name = name, note = 'x'", &[]),
            ("update account set note = 'x' where id = 1", &[]),
            (
                "update account set name = 'x', employees = 1 where id = 1",
                &["update K1 {name,employees}"],
            ),
            (
                "update account set name = 'x' where id > 2",
                &["update K3 {name}", r#"update  {"id": 4} {name}"#],
            ),
            ("delete from account where id = 1", &["delete K1"]),
            (
                "delete from account where id > 2",
                &["delete K3", r#"delete  {"id": 4}"#],
            ),
            (
                "with gone as (delete from account where id = 1 returning *)
                update account set external_id = 'K1' from gone where account.id = 2",
                &["delete K1", "update K1 was K2 {external_id}"],
            ),
            (
                "insert into account values (3, 'K9'), (8, 'K8') on conflict (id) do update set name = 'x'",
                &["update K3 {name}", "insert K8"],
            ),
            (
                "insert into account values (3, 'K9') on conflict do nothing",
                &[],
            ),
            ("truncate account", &["truncate "]),
        ],
    )
    .await;
}

#[tokio::test]
async fn merge_frees_external_ids_before_it_gives_them() {
    check(
        PLAIN,
        "",
        &[(
            "set constraints all deferred;
            merge into account using (values (1), (2), (9)) as wanted (id) on account.id = wanted.id
            when matched and wanted.id = 2 then delete
            when matched then update set external_id = 'K2'
            when not matched then insert (id, external_id) values (9, 'K1')",
            &["delete K2", "update K2 was K1 {external_id}", "insert K1"],
        )],
    )
    .await;
}

#[tokio::test]
async fn renames_are_captured_in_their_order() {
    let chain = "set constraints all deferred;
        update account set external_id = 'K' || (substr(external_id, 2)::integer + 1), name = 'x'";
    let renamed = [
        "update K2 was K1 {external_id,name}",
        "update K3 was K2 {external_id,name}",
        "update K4 was K3 {external_id,name}",
        r#"update  {"id": 4} {name}"#,
    ];
    check(
        PLAIN,
        "",
        &[
            (chain, &renamed),
            (
                "update account set external_id = 'K9' where id = 4",
                &[r#"update K9 {"id": 4} {external_id}"#],
            ),
            (
                "update account set external_id = null where id = 1",
                &[r#"update  {"id": 1} was K1 {external_id}"#],
            ),
            (
                "update account set external_id = case when id = 1 then null when id = 4 then 'K1' end where id in (1, 4)",
                &[
                    r#"update  {"id": 1} was K1 {external_id}"#,
                    r#"update K1 {"id": 4} {external_id}"#,
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn changed_primary_key_pairs_no_other_rows() {
    let table = PLAIN.replace(
        "id integer primary key",
        "id integer primary key deferrable",
    );
    check(
        &table,
        "set constraints all deferred",
        &[
            ("set constraints all deferred; update account set id = id + 1", &[]),
            (
                "set constraints all deferred; update account set id = id + 1, name = 'x' where id < 3",
                &["update K1 {name}", "update K2 {name}"],
            ),
            (
                "set constraints all deferred; update account set id = 5 - id, external_id = external_id || 'x'",
                &[
                    "update K1x was K1 {external_id}",
                    "update K2x was K2 {external_id}",
                    "update K3x was K3 {external_id}",
                ],
            ),
        ],
    )
    .await;
    let table = PLAIN
        .replace("id integer primary key", "id integer")
        .replace("unique deferrable", "primary key")
        .replace(", (4, null)", "");
    check(
        &table,
        "",
        &[(
            "update account set external_id = external_id || 'x'",
            &[
                "update K1x was K1 {external_id}",
                "update K2x was K2 {external_id}",
                "update K3x was K3 {external_id}",
            ],
        )],
    )
    .await;
}

#[tokio::test]
async fn table_without_a_primary_key_is_captured() {
    let table = PLAIN.replace("id integer primary key", "id integer");
    check(
        &table,
        "",
        &[
            (
                "update account set name = 'x' where id < 3",
                &["update K1 {name}", "update K2 {name}"],
            ),
            (
                "update account set external_id = 'K9' where id = 1",
                &["update K9 was K1 {external_id}"],
            ),
            (
                "delete from account where id < 3",
                &["delete K1", "delete K2"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn partitions_are_captured_by_whichever_name() {
    check(
        PARTITIONED,
        "",
        &[
            (
                "insert into account (id, external_id, region) values (5, 'K5', 'a'), (6, 'K6', 'b')",
                &["insert K5", "insert K6"],
            ),
            (
                "insert into account_a (id, external_id, region) values (5, 'K5', 'a')",
                &["insert K5"],
            ),
            ("update account_b set name = 'x'", &["update K2 {name}", "update K3 {name}"]),
            ("update account_b1 set name = 'x'", &["update K2 {name}"]),
            ("delete from account_b", &["delete K2", "delete K3"]),
            ("delete from account", &["delete K1", "delete K2", "delete K3"]),
            ("truncate account_b2", &["truncate "]),
            ("update account set region = case region when 'a' then 'b' else 'a' end", &[]),
            (
                "update account set region = 'b', id = 7, external_id = 'K7', name = 'x' where id = 1",
                &["update K7 was K1 {external_id,name}"],
            ),
            (
                "update account set region = 'b', id = id + 10, external_id = external_id || 'x'",
                &[
                    "update K1x was K1 {external_id}",
                    "update K2x was K2 {external_id}",
                    "update K3x was K3 {external_id}",
                ],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn row_refused_by_another_partition_is_not_lost() {
    let refuse = "create function refuse() returns trigger language plpgsql as $$
        begin return case when new.id <> 1 then new end; end $$;
        create trigger refuse before insert on account_b1 for each row execute function refuse()";
    let lost = [r#"uncaptured  {"error": "a row moved to no partition", "operation": "UPDATE"}"#];
    check(
        PARTITIONED,
        refuse,
        &[
            ("update account set region = 'b' where id = 1", &lost),
            ("update account set region = 'b'", &lost),
        ],
    )
    .await;
}

#[tokio::test]
async fn detached_partition_is_no_part_of_the_table() {
    check(
        PARTITIONED,
        "",
        &[
            (
                "alter table account detach partition account_a;
                insert into account_a (id, external_id, region) values (9, 'K9', 'a');
                update account_a set name = 'x'; delete from account_a; truncate account_a",
                &[],
            ),
            (
                "create table archive (like account) partition by list (region);
                alter table account detach partition account_a;
                alter table archive attach partition account_a for values in ('a');
                update account_a set name = 'x'; delete from archive; truncate account_a",
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn logical_replication_is_captured_row_by_row() {
    let replica = "set local session_replication_role = replica; ";
    let statement = |sql: &str| format!("{replica}{sql}");
    let cases = [
        (
            "insert into account values (5, 'K5'), (6, null)",
            vec!["insert K5", r#"insert  {"id": 6}"#],
        ),
        ("update account set note = 'x'", vec![]),
        (
            "update account set name = 'x' where id > 2",
            vec!["update K3 {name}", r#"update  {"id": 4} {name}"#],
        ),
        (
            "update account set external_id = 'K9' where id in (1)",
            vec!["update K9 was K1 {external_id}"],
        ),
        (
            "update account set id = 9, external_id = null where id = 1",
            vec![r#"update  {"id": 1} was K1 {external_id}"#],
        ),
        (
            "delete from account where id > 2",
            vec!["delete K3", r#"delete  {"id": 4}"#],
        ),
        ("truncate account", vec!["truncate "]),
    ];
    let cases: Vec<(String, Vec<&str>)> = cases
        .into_iter()
        .map(|(sql, expected)| (statement(sql), expected))
        .collect();
    let cases: Vec<(&str, &[&str])> = cases
        .iter()
        .map(|(sql, expected)| (sql.as_str(), expected.as_slice()))
        .collect();
    check(PLAIN, "", &cases).await;
}

/// Without the column of the external id nothing is known of what changed.
const NO_DELETE: &str = r#"uncaptured  {"error": "22004", "operation": "DELETE"}"#;
const NO_UPDATE: &str = r#"uncaptured  {"error": "22004", "operation": "UPDATE"}"#;

#[tokio::test]
async fn changed_columns_stop_neither_users_nor_capture() {
    for role in ["origin", "replica"] {
        let begin = format!("set local session_replication_role = {role}; ");
        let cases = [
            (
                "alter table account drop column phone; update account set name = 'x' where id < 3",
                vec!["update K1 {name}", "update K2 {name}"],
            ),
            (
                "alter table account drop column phone; update account set name = 'x' where id = 1",
                vec!["update K1 {name}"],
            ),
            ("alter table account drop column phone; update account set note = 'x'", vec![]),
            (
                "alter table account drop column phone cascade; delete from account where id in (1, 4);
                insert into account (id) values (5)",
                vec!["delete K1", r#"delete  {"id": 4}"#, r#"insert  {"id": 5}"#],
            ),
            (
                "alter table account alter column id type bigint, alter column name type varchar(9),
                    alter column employees type text, alter column phone type integer using null;
                update account set name = 'x', employees = '7' where id = 1",
                vec!["update K1 {name,employees}"],
            ),
            (
                "alter table account rename column name to called; update account set called = 'x', employees = 1 where id = 1",
                vec!["update K1 {employees}"],
            ),
            (
                "alter table account drop column external_id; delete from account where id = 1;
                update account set name = 'x' where id > 2",
                match role {
                    "origin" => vec![NO_DELETE, NO_UPDATE],
                    _ => vec![NO_DELETE, NO_UPDATE, NO_UPDATE],
                },
            ),
        ];
        let cases: Vec<(String, Vec<&str>)> = cases
            .into_iter()
            .map(|(sql, expected)| (format!("{begin}{sql}"), expected))
            .collect();
        let cases: Vec<(&str, &[&str])> = cases
            .iter()
            .map(|(sql, expected)| (sql.as_str(), expected.as_slice()))
            .collect();
        check_altered(PLAIN, "", &cases).await;
    }
}

#[tokio::test]
async fn names_of_columns_are_never_sql() {
    let mut sync = account();
    sync.fields
        .get_mut(&super::world::field("Name"))
        .unwrap()
        .column = super::world::column("{place} o\"'\\");
    sync.fields
        .get_mut(&super::world::field("Phone"))
        .unwrap()
        .column = super::world::column("the_id");
    let table = "create table public.account (
            place integer, \"syncline place\" integer, \"Größe\" integer, n integer, o integer,
            external_id text, \"{place} o\"\"'\\\" text, the_id text, employees integer, parent_external_id text,
            row_count text, captured_at text,
            primary key (place, \"Größe\", n)
        )";
    let mut world = World::with(table, sync).await;
    world
        .sql("insert into account (place, \"Größe\", n, external_id) values (1, 1, 1, 'K1'), (2, 2, 2, null)")
        .await;
    world
        .sql("update account set \"{place} o\"\"'\\\" = 'x', the_id = 'y'")
        .await;
    world
        .sql("update account set the_id = 'z' where place = 2")
        .await;
    world
        .sql("begin; set local session_replication_role = replica; update account set the_id = null; commit")
        .await;
    let local = r#"{"n": 2, "place": 2, "Größe": 2}"#;
    let both = r#"{"{place} o\"'\\",the_id}"#;
    assert_eq!(
        captured(&mut world).await,
        [
            "insert K1".to_owned(),
            format!("insert  {local}"),
            format!("update K1 {both}"),
            format!("update  {local} {both}"),
            format!("update  {local} {{the_id}}"),
            "update K1 {the_id}".to_owned(),
            format!("update  {local} {{the_id}}"),
        ]
    );
}

#[tokio::test]
async fn foreign_keys_and_children_are_captured() {
    let table = format!(
        "{PLAIN};
        create table parent (key text primary key);
        alter table account add foreign key (parent_external_id) references parent on delete set null on update cascade;
        alter table account add column owner text references parent on delete cascade deferrable initially deferred"
    );
    check(
        &table,
        "insert into parent values ('p'), ('q');
        update account set parent_external_id = 'p' where id < 3; update account set owner = 'q' where id = 3",
        &[
            ("update parent set key = 'r' where key = 'p'", &["update K1 {parent_external_id}", "update K2 {parent_external_id}"]),
            ("delete from parent where key = 'p'", &["update K1 {parent_external_id}", "update K2 {parent_external_id}"]),
            ("delete from parent where key = 'q'", &["delete K3"]),
        ],
    )
    .await;
    check(
        &format!("{PLAIN}; create table child () inherits (account); insert into child (id, external_id) values (9, 'K9')"),
        "",
        &[("update account set name = 'x' where id in (1, 9)", &["update K1 {name}", "update K9 {name}"])],
    )
    .await;
}

#[tokio::test]
async fn statement_of_one_row_uses_no_transaction_id() {
    let mut world = World::with(PLAIN, account()).await;
    captured(&mut world).await;
    for role in ["origin", "replica"] {
        world
            .sql(&format!(
                "begin;
                set local session_replication_role = {role};
                do $$ begin
                    for n in 10..109 loop
                        insert into account (id, external_id) values (n, 'K' || n);
                        update account set name = 'x', external_id = 'L' || n where id = n;
                        delete from account where id = n;
                        update account set name = 'x' where id = n;
                    end loop;
                end $$;
                commit"
            ))
            .await;
        let ids = world
            .ask("select count(distinct xmin::text) from syncline.sync_outbox")
            .await;
        assert_eq!(ids, "1", "{role}");
        assert_eq!(captured(&mut world).await.len(), 300, "{role}");
    }
    world
        .sql("begin; update account set name = 'x' where false")
        .await;
    let id = world.ask("pg_current_xact_id_if_assigned()").await;
    assert_eq!(id, "null", "nothing was written");
}

#[tokio::test]
async fn each_row_of_a_large_statement_is_captured_once() {
    let mut world = World::with(PLAIN, account()).await;
    // The plans are kept, and must do for one row as for many.
    world.sql("update account set name = 'x' where id = 1; update account set name = 'y' where id < 3").await;
    captured(&mut world).await;
    world
        .sql(
            "insert into account (id, external_id) select n, 'L' || n from generate_series(10, 20009) as n;
            update account set name = 'x' where id >= 10;
            delete from account where id >= 10",
        )
        .await;
    let counted =
        "select string_agg(operation || ' ' || rows || ' ' || keys, ', ' order by operation)
        from (
            select operation, count(*) as rows, count(distinct external_id) as keys
            from syncline.sync_outbox
            group by operation
        ) as of_operation";
    assert_eq!(
        world.ask(counted).await,
        "delete 20000 20000, insert 20000 20000, update 20000 20000"
    );
}

#[tokio::test]
async fn row_named_by_a_trigger_is_one_record() {
    // The triggers fire in the order of their names.
    for name in ["a_name", "z_name"] {
        let mut world = World::new().await;
        world
            .sql(&format!(
                "create function name_it() returns trigger language plpgsql as $$
                begin
                    update public.account set external_id = 'A-' || new.id where id = new.id;
                    return null;
                end $$;
                create trigger {name} after insert on public.account
                for each row when (new.external_id is null) execute function name_it();
                insert into public.account (name) values ('Ada'), ('Bob')"
            ))
            .await;
        for _ in 0..2 {
            let captured = world.store.capture_outbox(world.mapped_objects(), 2);
            captured.await.unwrap();
        }
        let planned = world.apply().await;
        let created = kinds(&planned)
            .into_iter()
            .filter(|kind| kind == "intended");
        assert_eq!(created.count(), 2, "{name}");
    }
}

#[tokio::test]
async fn row_deleted_by_a_trigger_of_its_update_counts_as_deleted() {
    let mut world = World::new().await;
    world
        .sql(
            "create function archive() returns trigger language plpgsql as $$
            begin
                delete from public.account where id = new.id;
                return null;
            end $$;
            create trigger archive after update on public.account
            for each row when (new.note = 'archive') execute function archive()",
        )
        .await;
    world.synced("K", "Ada").await;
    world
        .sql("update public.account set name = 'Eve', note = 'archive'")
        .await;
    world.capture().await;
    assert_eq!(
        world
            .ask("select postgres_presence from syncline.sync_link")
            .await,
        "deleted"
    );
    assert_eq!(kinds(&world.apply().await), ["intended"]);
}

#[tokio::test]
async fn settings_of_the_session_stay_as_they_were() {
    let mut world = World::with(PLAIN, account()).await;
    let settings =
        "select concat_ws(' ', current_setting('jit'), current_setting('enable_nestloop'))";
    let before = world.ask(settings).await;
    for statement in [
        "update account set name = 'x'",
        "alter table account drop column phone; update account set name = 'y'",
        "alter table account rename column external_id to other; delete from account",
    ] {
        world.sql("begin").await;
        world.sql(statement).await;
        assert_eq!(world.ask(settings).await, before, "{statement}");
        world.sql("commit").await;
    }
}
