//! The roles of docs/roles.sql: each can do its work, and nothing else.

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use syncline::SyncEngine;
use syncline::model::ids::TenantId;

use crate::scene::Scene;

const SCRIPT: &str = include_str!("../../../docs/roles.sql");

/// The roles that the script names, longest first where one begins like another.
const ROLES: [&str; 6] = [
    "syncline_owner",
    "syncline_engine",
    "syncline_reader",
    "syncline_operator",
    "shop_owner",
    "shop",
];

/// Both sides, with the roles.
struct Roles {
    scene: Scene,
}

impl Roles {
    /// Creates the roles as an administrator who is no superuser, and migrates and installs as the owner.
    async fn set() -> Self {
        let roles = Self {
            scene: Scene::prepared().await,
        };
        let (owner, shop) = (roles.name("shop_owner"), roles.name("shop"));
        let admin = roles.name("admin");
        let database = roles.scene.database_name().to_owned();
        let prepare = format!(
            "create role {admin} login createrole;
            alter database {database} owner to {admin};
            set role {admin};
            create role {owner};
            create role {shop} login;
            reset role;
            grant {owner} to {admin};
            create table contact (external_id text primary key);
            alter table account owner to {owner};
            alter table contact owner to {owner};
            grant usage on schema public to {owner}, {shop};
            grant create on schema public to {owner};
            grant select, insert, update, delete on account, contact to {shop}"
        );
        roles.scene.run(&prepare).await;
        // The tests' server hands on its schema with what its superuser may grant alone.
        roles
            .scene
            .run(&format!("alter schema public owner to {admin}"))
            .await;
        roles.run_script().await;
        roles.sign_in_as("syncline_owner");
        roles.scene.syncline(&["migrate"]).await;
        roles.run_script().await;
        roles.scene.syncline(&["install"]).await;
        roles
    }

    /// Returns the name of a role in this test: roles belong to the whole server.
    fn name(&self, role: &str) -> String {
        format!("{}_{role}", self.scene.database_name())
    }

    fn sign_in_as(&self, role: &str) {
        self.scene.sign_in_as(&self.name(role));
    }

    async fn run_script(&self) {
        let mut script = SCRIPT.to_owned();
        for (number, role) in ROLES.iter().enumerate() {
            script = replace_word(&script, role, &format!("<{number}>"));
        }
        for (number, role) in ROLES.iter().enumerate() {
            script = script.replace(&format!("<{number}>"), &self.name(role));
        }
        let mut admin = self.connect("admin").await;
        sqlx::raw_sql(AssertSqlSafe(script))
            .execute(&mut admin)
            .await
            .expect("the script runs");
    }

    async fn connect(&self, role: &str) -> PgConnection {
        PgConnection::connect(&self.scene.url_as(&self.name(role)))
            .await
            .expect("the role may connect")
    }

    /// Returns an engine with the rights of this role.
    async fn engine(&self, role: &str) -> SyncEngine {
        self.sign_in_as(role);
        let engine = self.scene.instance().engine(&acme()).await;
        engine.expect("an engine")
    }
}

fn acme() -> TenantId {
    TenantId::parse("acme").expect("a name")
}

/// Replaces a word, not parts of longer ones.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let is_part = |one: char| one.is_ascii_alphanumeric() || one == '_';
    let mut parts = text.split(word).peekable();
    let mut replaced = String::new();
    while let Some(part) = parts.next() {
        replaced.push_str(part);
        if let Some(next) = parts.peek() {
            let inside = replaced.ends_with(is_part) || next.starts_with(is_part);
            replaced.push_str(if inside { word } else { with });
        }
    }
    replaced
}

async fn execute(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_synchronises_both_ways_with_least_rights() {
    let roles = Roles::set().await;
    let mut shop = roles.connect("shop").await;
    let created =
        "insert into account (external_id, name, rating) values ('C-1042', 'Ada', 'Warm')";
    execute(&mut shop, created).await.expect("its own row");
    let engine = roles.engine("syncline_engine").await;
    roles.scene.drain_configured().await;
    assert_eq!(roles.scene.field("Name"), json!("Ada"));

    roles.scene.edit(json!({"Name": "Eve"}));
    roles
        .scene
        .create(&json!({"Name": "Bob", "External_Id__c": "C-1043"}));
    roles.scene.drain_configured().await;
    let named = "select count(*) from account where name in ('Eve', 'Bob')";
    assert_eq!(roles.scene.one(named).await, 2);
    execute(
        &mut shop,
        "delete from account where external_id = 'C-1043'",
    )
    .await
    .expect("its own row");
    roles.scene.drain_configured().await;
    assert_eq!(roles.scene.accounts(), 1);

    let deadline = engine.deadline_in(std::time::Duration::from_secs(60));
    engine.sweep(&acme()).await.expect("a sweep");
    let lately = engine.reconcile_incremental(&acme(), deadline).await;
    lately.expect("an incremental comparison");
    let full = engine.reconcile_full(&acme(), deadline).await;
    full.expect("a full comparison");
    let checked = roles.scene.syncline(&["check"]).await;
    assert!(!checked.contains("our role lacks"), "{checked}");
    let compared = roles.scene.syncline(&["compare"]).await;
    assert!(compared.contains("verified equal"), "{compared}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sweep_of_the_engine_adds_and_drops_days_of_the_journal() {
    let roles = Roles::set().await;
    let owner = roles.name("syncline_owner");
    let days =
        "select count(*) from pg_inherits where inhparent = 'syncline.sync_journal'::regclass";
    let before = roles.scene.one(days).await;
    let old_day = format!(
        "set role {owner};
        create table syncline.sync_journal_20010101 partition of syncline.sync_journal
            for values from ('2001-01-01 00:00Z') to ('2001-01-02 00:00Z')"
    );
    roles.scene.run(&old_day).await;
    let engine = roles.engine("syncline_engine").await;
    engine.sweep(&acme()).await.expect("a sweep");
    assert!(roles.scene.one(days).await > before, "days were added");
    let old = "select count(*) from pg_class where relname = 'sync_journal_20010101'";
    assert_eq!(roles.scene.one(old).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_role_has_more_than_it_needs() {
    let roles = Roles::set().await;
    let special = "select count(*) from pg_roles
        where rolname like current_database() || '\\_syncline%'
        and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)";
    assert_eq!(roles.scene.one(special).await, 0);
    let owned = "select count(*) from pg_class as class
        join pg_roles as role on pg_has_role(role.oid, class.relowner, 'member')
        where role.rolname similar to current_database() || '\\_syncline\\_(engine|reader|operator)'";
    assert_eq!(roles.scene.one(owned).await, 0);
    for role in ["syncline_engine", "syncline_reader", "syncline_operator"] {
        let mut connection = roles.connect(role).await;
        for forbidden in [
            "create table public.mine (id integer)",
            "create table syncline.mine (id integer)",
            "create schema mine",
            "alter table account disable trigger all",
            "truncate account",
        ] {
            let refused = execute(&mut connection, forbidden).await;
            assert!(refused.is_err(), "{role}: {forbidden}");
        }
        if role != "syncline_engine" {
            let deleted = execute(&mut connection, "delete from account").await;
            assert!(deleted.is_err(), "{role} deletes rows");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn application_can_neither_read_nor_forge_the_control_plane() {
    let roles = Roles::set().await;
    let mut shop = roles.connect("shop").await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('syncline.%I', relname) from pg_class
        where relnamespace = 'syncline'::regnamespace and relkind in ('r', 'p')",
    )
    .fetch_all(&mut shop)
    .await
    .expect("names are public");
    assert!(tables.len() > 20, "{tables:?}");
    for table in tables {
        for forbidden in [
            format!("select from {table}"),
            format!("insert into {table} default values"),
            format!("delete from {table}"),
        ] {
            let refused = execute(&mut shop, &forbidden)
                .await
                .unwrap_err()
                .to_string();
            assert!(
                refused.contains("permission denied"),
                "{forbidden}: {refused}"
            );
        }
    }
    let functions: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text from pg_proc
        where pronamespace = 'syncline'::regnamespace
        and has_function_privilege(oid, 'execute')
        order by 1",
    )
    .fetch_all(&mut shop)
    .await
    .expect("names are public");
    let harmless = [
        "syncline.clock()",
        "syncline.this_database()",
        "syncline.wall_clock()",
    ];
    assert_eq!(functions, harmless);
    execute(
        &mut shop,
        "create temp table account_of_mine (like public.account)",
    )
    .await
    .expect("a table of its own");
    let captures: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text from pg_proc
        where pronamespace = 'syncline'::regnamespace and prorettype = 'trigger'::regtype",
    )
    .fetch_all(&mut shop)
    .await
    .expect("names are public");
    assert!(captures.len() >= 5, "{captures:?}");
    for capture in captures {
        let forged = format!(
            "create trigger forged after insert on account_of_mine for each statement execute function {}",
            capture.replace(
                "()",
                "('acme', 'Account', 'external_id', '{name}', '{account_id}')"
            )
        );
        let refused = execute(&mut shop, &forged).await.unwrap_err().to_string();
        assert!(
            refused.contains("permission denied for function"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_sees_everything_and_changes_nothing() {
    let roles = in_conflict().await;
    roles.sign_in_as("syncline_reader");
    let status = roles.scene.syncline(&["status", "--json"]).await;
    let status: Json = serde_json::from_str(&status).expect("it prints JSON");
    assert_eq!(status[0]["tenant"], json!("acme"), "{status}");
    for words in [
        &["explain", "C-1042"][..],
        &["conflicts", "list"],
        &["deadletters", "list"],
        &["discarded"],
    ] {
        roles.scene.syncline(words).await;
    }
    for words in ACTS {
        let (_, printed) = roles.scene.failing(words).await;
        assert!(
            printed.contains("permission denied"),
            "{words:?}: {printed}"
        );
    }
}

/// What an operator does.
const ACTS: [&[&str]; 6] = [
    &["pause", "--reason", "a test"],
    &["resume"],
    &["conflicts", "resolve", "1", "--winner", "postgres"],
    &["deadletters", "replay", "--all"],
    &["deletes", "approve", "Account"],
    &["restore", "1"],
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_acts_and_installs_nothing() {
    let roles = in_conflict().await;
    roles.sign_in_as("syncline_operator");
    for words in ACTS {
        roles.scene.syncline(words).await;
    }
    roles.sign_in_as("syncline_engine");
    roles.scene.drain_configured().await;
    roles.sign_in_as("syncline_operator");
    roles.scene.syncline(&["compare"]).await;
    roles.scene.syncline(&["plan"]).await;
    for words in [&["install"][..], &["uninstall", "--yes"]] {
        let (_, printed) = roles.scene.failing(words).await;
        assert!(
            printed.contains("the role that owns"),
            "{words:?}: {printed}"
        );
    }
}

/// A record with a conflict, a discarded value and a dead letter.
async fn in_conflict() -> Roles {
    let roles = Roles::set().await;
    let mut shop = roles.connect("shop").await;
    let created = "insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')";
    execute(&mut shop, created).await.expect("its own row");
    roles.sign_in_as("syncline_engine");
    roles.scene.drain_configured().await;
    let edited = "update account set phone = '2'";
    execute(&mut shop, edited).await.expect("its own row");
    roles.scene.edit(json!({"Phone": "3", "Rating": "Hot"}));
    roles.scene.drain_configured().await;
    let refused = "update account set revenue = 1";
    execute(&mut shop, refused).await.expect("its own row");
    roles
        .scene
        .refuse_next_write("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no");
    roles.scene.drain_configured().await;
    roles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_of_the_tables_adds_partitions() {
    let roles = Roles::set().await;
    let owner = roles.name("shop_owner");
    roles
        .scene
        .run(&format!(
            "drop table account;
            set role {owner};
            create table account (external_id text not null, name text, phone text, industry text, rating text,
                revenue numeric, region text not null default 'north', primary key (external_id, region))
                partition by list (region);
            create table account_north partition of account for values in ('north');
            create unique index on account_north (external_id)"
        ))
        .await;
    roles.run_script().await;
    roles.sign_in_as("syncline_owner");
    roles.scene.syncline(&["install"]).await;
    roles
        .scene
        .run(&format!(
            "set role {owner}; create table account_south partition of account for values in ('south')"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_right_is_named_with_its_grant() {
    let roles = Roles::set().await;
    let engine = roles.name("syncline_engine");
    for (revoked, grant) in [
        (
            "select on account from",
            "grant select on public.account to",
        ),
        (
            "insert on account from",
            "grant insert, update on public.account to",
        ),
        (
            "delete on account from",
            "grant delete on public.account to",
        ),
        (
            "usage on schema public from",
            "grant usage on schema public to",
        ),
        (
            "update on syncline.sync_task from",
            "grant select, insert, update, delete on all tables in schema syncline to",
        ),
        (
            "usage on sequence syncline.fencing_token from",
            "grant usage on all sequences in schema syncline to",
        ),
        (
            "execute on function syncline.new_id() from",
            "grant execute on all functions in schema syncline to",
        ),
    ] {
        roles.sign_in_as("syncline_engine");
        let public = if revoked.contains("schema public") {
            "revoke usage on schema public from public;"
        } else {
            ""
        };
        roles
            .scene
            .run(&format!("{public} revoke {revoked} {engine}"))
            .await;
        let (_, printed) = roles.scene.failing(&["check"]).await;
        assert!(
            printed.contains(&format!("{grant} {engine}")),
            "{revoked}: {printed}"
        );
        roles.scene.run(&format!("{grant} {engine}")).await;
        roles.scene.syncline(&["check"]).await;
    }
}
