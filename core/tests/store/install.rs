//! Installing and uninstalling capture: it never breaks users' transactions, and leaves no trace.

use std::sync::Arc;

use sqlx::Connection;
use syncline::model::ids::{RelationName, TenantId};
use syncline::ports::{CaptureStore, MappedObject, OperatorStore, ReconcileStore};

use super::world::{World, account, ask, execute, kinds};

/// All schemas, triggers and functions in the database that the engine has created.
const TRACES: &str = "select string_agg(trace, ',') from (
    select nspname::text as trace from pg_namespace where nspname = 'syncline'
    union all
    select tgname::text from pg_trigger where not tgisinternal
    union all
    select proname::text from pg_proc where pronamespace = 'public'::regnamespace
) as traces";

#[tokio::test]
async fn uninstalling_leaves_nothing_behind() {
    let mut world = World::new().await;
    world.synced("K", "Ada").await;
    assert_ne!(world.ask(TRACES).await, "null");
    world.store.uninstall().await.unwrap();
    assert_eq!(world.ask(TRACES).await, "null");
    world
        .sql("update public.account set name = 'still works'")
        .await;
    world.store.migrate().await.unwrap();
    world.store.install(world.mapped_objects()).await.unwrap();
    world
        .store
        .remove_capture(world.mapped_objects())
        .await
        .unwrap();
    assert_eq!(
        world.ask(TRACES).await,
        "syncline",
        "only the triggers are removed"
    );
    assert_eq!(
        world
            .ask(
                "select string_agg(proname, ',') from pg_proc
                where pronamespace = 'syncline'::regnamespace and prorettype = 'trigger'::regtype"
            )
            .await,
        "capture_truncate",
        "and the functions that only they call"
    );
}

#[tokio::test]
async fn installing_twice_changes_nothing() {
    let mut world = World::new().await;
    world.store.install(world.mapped_objects()).await.unwrap();
    assert!(
        world
            .store
            .check_install(world.mapped_objects())
            .await
            .unwrap()
            .is_empty()
    );
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    assert_eq!(
        world.ask("select count(*) from syncline.sync_outbox").await,
        "1"
    );
}

#[tokio::test]
async fn error_names_the_missing_table_or_column() {
    let mut world = World::new().await;
    world
        .sql("alter table public.account drop column phone")
        .await;
    let error = world
        .store
        .install(world.mapped_objects())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table public.account has no column phone, but the mapping names it"
    );
    world.sql("drop table public.account").await;
    let error = world
        .store
        .install(world.mapped_objects())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "table public.account does not exist, but object Account is mapped to it"
    );
    world
        .sql("alter table if exists public.account add column phone text")
        .await;
    let facts = world.store.table_facts(&world.mapped, &[]).await.unwrap();
    assert!(facts.columns.is_empty());
}

#[tokio::test]
async fn role_sees_the_records_of_its_tables_alone() {
    let mut world = World::new().await;
    world
        .sql("create table public.customer (like public.account including all)")
        .await;
    let mut sync = (*world.mapped.sync).clone();
    sync.table.table = RelationName::parse("customer").unwrap();
    let other = MappedObject {
        tenant: TenantId::parse("other").unwrap(),
        sync: Arc::new(sync.clone()),
        configured: Arc::new(sync),
        ..world.mapped.clone()
    };
    let other = std::slice::from_ref(&other);
    world.store.install(other).await.unwrap();
    let role = format!("{}_app", world.database.name());
    world
        .sql(&format!(
            "insert into public.account (external_id) values ('K-1');
            insert into public.customer (external_id) values ('Z-1');
            create role {role} login;
            grant select on public.account to {role}"
        ))
        .await;
    world.capture().await;
    world.store.capture_outbox(other, 1_000).await.unwrap();
    let url = world.database.url_as(&role);
    let mut app = sqlx::PgConnection::connect(&url).await.unwrap();
    let seen = "select string_agg(tenant || ' ' || external_id, ', ' order by external_id)
        from syncline.record_status";
    let mine = world.mapped.tenant.clone();
    assert_eq!(ask(&mut app, seen).await, format!("{mine} K-1"));
    world
        .sql(&format!("grant select on public.customer to {role}"))
        .await;
    assert_eq!(ask(&mut app, seen).await, format!("{mine} K-1, other Z-1"));
    world
        .sql(&format!("revoke select on public.account from {role}"))
        .await;
    assert_eq!(ask(&mut app, seen).await, "other Z-1");
}

#[tokio::test]
async fn users_need_no_rights_on_our_schema() {
    let mut world = World::new().await;
    let role = format!("{}_app", world.database.name());
    world
        .sql(&format!(
            "create role {role} login;
            grant select, insert, update, delete, truncate on public.account to {role};",
        ))
        .await;
    let mut app = sqlx::PgConnection::connect(&world.database.url_as(&role))
        .await
        .unwrap();
    execute(
        &mut app,
        "insert into public.account (external_id, name) values ('K', 'Ada')",
    )
    .await;
    execute(&mut app, "update public.account set name = 'Eve'").await;
    execute(&mut app, "select syncline.emit('Account', 'update', 'K')").await;
    assert_eq!(
        ask(&mut app, "select count(*) from syncline.record_status").await,
        "0"
    );
    for forbidden in [
        "insert into syncline.engine_tx values (pg_current_xact_id())",
        "select * from syncline.sync_outbox",
        "select * from syncline.sync_link",
    ] {
        let refused = sqlx::query(forbidden).execute(&mut app).await;
        assert!(refused.is_err(), "{forbidden}");
    }
    assert_eq!(world.capture().await.counts.journaled, 3);
    let statuses = "select count(*) from syncline.record_status";
    assert_eq!(ask(&mut app, statuses).await, "1");
    world
        .sql(
            "alter table public.account enable row level security;
            create policy mine on public.account using (external_id <> 'K')",
        )
        .await;
    assert_eq!(
        ask(&mut app, statuses).await,
        "0",
        "ids of hidden rows are hidden too"
    );
    world
        .sql("alter table public.account disable row level security")
        .await;
    assert_eq!(ask(&mut app, statuses).await, "1");
    world
        .sql(&format!("revoke all on public.account from {role}"))
        .await;
    assert_eq!(
        ask(&mut app, statuses).await,
        "0",
        "a role sees the records of tables that it may read"
    );
    assert_eq!(world.ask(statuses).await, "1");
}

#[tokio::test]
async fn failing_capture_does_not_fail_the_users_write() {
    let mut world = World::new().await;
    world
        .sql(
            "create type public.odd as enum ('a', 'b');
            create function public.fail(public.odd) returns json language plpgsql as $$
            begin raise exception 'this cast fails'; end $$;
            create cast (public.odd as json) with function public.fail(public.odd);
            alter table public.account add column odd public.odd;
            insert into public.account (external_id, odd) values ('K', 'a');",
        )
        .await;
    assert_eq!(
        world.capture().await.counts.journaled,
        1,
        "what is not mapped is not read"
    );
    world
        .sql(
            "alter table public.account rename column external_id to renamed;
            update public.account set name = 'Ada'",
        )
        .await;
    assert_eq!(
        world
            .ask("select concat_ws(' ', operation, changed) from syncline.sync_outbox")
            .await,
        r#"uncaptured {"error": "22004", "operation": "UPDATE"}"#
    );
    world.sql("drop table syncline.sync_outbox").await;
    world
        .sql("update public.account set odd = null; truncate public.account")
        .await;
}

/// Returns what a sweep finds wrong with capture.
pub(crate) async fn broken(world: &World) -> Vec<String> {
    let swept = world.store.sweep(world.mapped_objects()).await;
    swept.unwrap().capture_broken
}

#[tokio::test]
async fn partitions_are_captured_and_watched() {
    let table = "create table public.account (
        id bigint generated always as identity,
        external_id text,
        name text,
        phone text,
        employees integer,
        parent_external_id text,
        region text not null default 'a'
    ) partition by list (region);
    create table public.account_a partition of public.account for values in ('a')";
    let mut world = World::with(table, account()).await;
    world
        .sql("insert into public.account (external_id) values ('K')")
        .await;
    world.sync().await;
    world.sql("truncate public.account_a").await;
    assert_eq!(
        world
            .ask("select operation from syncline.sync_outbox")
            .await,
        "truncate"
    );
    assert_eq!(broken(&world).await, [""; 0]);
    world
        .sql("create table public.account_b partition of public.account for values in ('b')")
        .await;
    world
        .sql("insert into public.account (external_id, region) values ('L', 'b')")
        .await;
    world
        .sql("insert into public.account_b (id, external_id, region) values (9, 'M', 'b')")
        .await;
    assert_eq!(
        world
            .ask("select string_agg(distinct operation || coalesce(external_id, ''), ',') from syncline.sync_outbox")
            .await,
        "insertL,insertM,truncate",
        "row triggers apply to new partitions"
    );
    assert_eq!(
        broken(&world).await,
        [
            "acme Account: delete trigger is missing on account_b",
            "acme Account: insert trigger is missing on account_b",
            "acme Account: the partitions of public.account changed",
            "acme Account: truncate trigger is missing on account_b",
            "acme Account: update trigger is missing on account_b",
        ]
    );
    world.store.install(world.mapped_objects()).await.unwrap();
    assert_eq!(broken(&world).await, [""; 0]);
}

#[tokio::test]
async fn broken_capture_is_noticed_once_and_causes_a_resync() {
    let mut world = World::new().await;
    let scan = "select resync_reason from syncline.sync_checkpoint where stream = 'scan:Account'";
    for damage in [
        "alter table public.account disable trigger syncline_capture_account",
        "drop trigger syncline_capture_account on public.account",
        "alter table public.account enable trigger syncline_truncate_account",
        "alter table public.account disable trigger syncline_update_account",
        "alter table public.account enable always trigger syncline_delete_account",
        "do $$ begin
            execute (
                select 'drop function ' || oid::regprocedure || ' cascade'
                from pg_proc
                where proname like 'capture_account_insert_%'
            );
        end $$",
        "alter table public.account rename to old; create table public.account (like public.old including all)",
    ] {
        world.sql(damage).await;
        let found = world
            .store
            .sweep(world.mapped_objects())
            .await
            .unwrap()
            .capture_broken;
        assert!(!found.is_empty(), "{damage}");
        assert_eq!(world.ask(scan).await, "capture of its table was broken");
        world
            .sql("update syncline.sync_checkpoint set resync_reason = null")
            .await;
        world.store.sweep(world.mapped_objects()).await.unwrap();
        assert_eq!(world.ask(scan).await, "null", "marked once");
        world.store.install(world.mapped_objects()).await.unwrap();
        assert!(
            world
                .store
                .sweep(world.mapped_objects())
                .await
                .unwrap()
                .capture_broken
                .is_empty()
        );
    }
}

#[tokio::test]
async fn replicated_rows_are_captured() {
    let mut world = World::new().await;
    world
        .sql("set session_replication_role = replica; insert into public.account (external_id) values ('K'); reset session_replication_role")
        .await;
    assert_eq!(
        world.ask("select count(*) from syncline.sync_outbox").await,
        "1"
    );
}

#[tokio::test]
async fn hostile_table_and_column_names_are_quoted() {
    let mut sync = account();
    sync.table.table =
        syncline::model::ids::RelationName::parse("odd \"table'; drop schema public").unwrap();
    sync.fields
        .get_mut(&super::world::field("Name"))
        .unwrap()
        .column = super::world::column("na\"me', \\ {x}");
    let table = "create table public.\"odd \"\"table'; drop schema public\" (
        \"external_id\" text unique,
        \"na\"\"me', \\ {x}\" text,
        phone text,
        employees integer,
        parent_external_id text
    )";
    let mut world = World::with(table, sync).await;
    world
        .sql("insert into public.\"odd \"\"table'; drop schema public\" values ('K', 'Ada')")
        .await;
    assert_eq!(kinds(&world.sync().await), ["intended"]);
    let mut echo = super::world::seen(
        syncline::model::observation::ObservationKind::Created,
        "K",
        &[("Name", "Ada")],
        1,
    );
    echo.ours = true;
    world.see(&[echo]).await;
    world
        .see(&[super::world::seen(
            syncline::model::observation::ObservationKind::Changed,
            "K",
            &[("Name", "it's \\ \"quoted\"")],
            9,
        )])
        .await;
    assert_eq!(kinds(&world.apply().await), ["settled"]);
    assert_eq!(
        world
            .ask("select \"na\"\"me', \\ {x}\" from public.\"odd \"\"table'; drop schema public\"")
            .await,
        "it's \\ \"quoted\""
    );
}
