//! A Postgres that changes and fails under the engine: altered tables, killed connections, a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::model::ids::ObjectName;

use crate::stage::Stage;

/// Changes of a mapped table that leave every mapped column usable, each with what undoes it.
const ALTERATIONS: [(&str, &str); 20] = [
    ("add column note text", "drop column note"),
    (
        "add column seen timestamptz not null default now()",
        "drop column seen",
    ),
    (
        "add column stored text generated always as (upper(name)) stored",
        "drop column stored",
    ),
    (
        "alter column name type varchar(255)",
        "alter column name type text",
    ),
    (
        "alter column phone type varchar(40) using phone",
        "alter column phone type text",
    ),
    (
        "alter column phone set default 'none'",
        "alter column phone drop default",
    ),
    (
        "alter column name set not null",
        "alter column name drop not null",
    ),
    (
        "alter column name set storage external",
        "alter column name set storage extended",
    ),
    (
        "alter column name set statistics 7",
        "alter column name set statistics -1",
    ),
    (
        "add constraint named check (name <> '')",
        "drop constraint named",
    ),
    (
        "add constraint checked check (phone <> 'x') not valid",
        "drop constraint checked",
    ),
    (
        "add constraint one_phone unique (phone)",
        "drop constraint one_phone",
    ),
    ("replica identity full", "replica identity default"),
    ("set unlogged", "set logged"),
    ("set (fillfactor = 70)", "reset (fillfactor)"),
    ("cluster on account_pkey", "set without cluster"),
    ("enable row level security", "disable row level security"),
    (
        "rename column deleted_at to removed_at",
        "rename column removed_at to deleted_at",
    ),
    (
        "rename constraint account_pkey to account_key",
        "rename constraint account_key to account_pkey",
    ),
    (
        "alter column revenue type numeric(18, 2)",
        "alter column revenue type numeric",
    ),
];

#[tokio::test]
async fn altered_table_is_synchronised_on() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '0')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    for (number, (alteration, undo)) in ALTERATIONS.into_iter().enumerate() {
        let phone = number.to_string();
        stage
            .sql(&format!("alter table account {alteration}"))
            .await;
        stage
            .sql(&format!("update account set phone = '{phone}'"))
            .await;
        stage
            .org
            .update(&id, json!({"Name": format!("Ada {number}")}));
        stage.drain().await;
        stage.assert_equal().await;
        let written = stage.org.value(&id, "Phone");
        assert_eq!(written.as_deref(), Some(phone.as_str()), "{alteration}");
        stage.sql(&format!("alter table account {undo}")).await;
    }
}

#[tokio::test]
async fn connections_killed_between_calls_lose_nothing() {
    let stage = Stage::open().await;
    for round in 0..5 {
        stage
            .sql(&format!(
                "insert into account (external_id, name) values ('a-{round}', 'Ada')"
            ))
            .await;
        stage.org.insert(
            "Account",
            json!({"Name": "Bob", "External_Id__c": format!("b-{round}")}),
        );
        stage.cut_connections().await;
        stage.drain().await;
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn short_statement_timeout_of_the_role_is_not_ours() {
    let stage = Stage::open().await;
    let role = stage.role();
    let store = stage.store_as(&role).await;
    stage
        .sql(&format!("alter role {role} set statement_timeout = '1ms'"))
        .await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, 500) as n")
        .await;
    let limited = stage.worker("limited", Arc::new(store), Arc::clone(&stage.salesforce));
    let options = CaptureOptions::draining(stage.deadline());
    let captured = limited.capture_postgres(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().counts.journaled, 500);
    let applied = stage.apply_by(&limited, "Account").await;
    assert_eq!(applied.applied, 500, "{applied:?}");
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn transaction_that_commits_late_is_captured() {
    let stage = Stage::open().await;
    let mut late = stage.pool.begin().await.unwrap();
    sqlx::query("insert into account (external_id, name) values ('a-1', 'Ada')")
        .execute(&mut *late)
        .await
        .unwrap();
    for round in 0..3 {
        stage
            .sql(&format!(
                "insert into account (external_id, name) values ('b-{round}', 'Bob')"
            ))
            .await;
        stage.drain().await;
        stage.sweep().await;
        stage.assert_equal().await;
    }
    late.commit().await.unwrap();
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 4);
}

#[tokio::test]
async fn disabled_triggers_are_reported_and_lose_nothing() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, 3) as n")
        .await;
    stage.drain().await;
    stage.sql("alter table account disable trigger all").await;
    stage
        .sql("update account set name = 'Eve' where external_id = 'a-1'; delete from account where external_id = 'a-2'")
        .await;
    stage.drain().await;
    let mapped = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    let problems = stage.store.check_install(&mapped).await.unwrap();
    let said: Vec<_> = problems.iter().map(|one| one.problem.as_str()).collect();
    assert_eq!(
        said,
        [
            "delete trigger does not fire as it should on account",
            "insert trigger does not fire as it should on account",
            "row trigger does not fire as it should on account",
            "truncate trigger does not fire as it should on account",
            "update trigger does not fire as it should on account",
        ]
    );
    stage.install().await;
    let compared = stage.engine.reconcile_full(&stage.tenant, stage.deadline());
    compared.await.unwrap();
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn truncate_cascade_deletes_like_any_other_delete() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name) values ('a-1', 'Ada');
            insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Lovelace', 'a-1');
            alter table contact add foreign key (account_external_id) references account (external_id)",
        )
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage.sql("truncate account cascade").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        (stage.org.count("Account"), stage.org.count("Contact")),
        (0, 0)
    );
}

#[tokio::test]
async fn full_disk_of_one_table_ends_by_itself() {
    let Some(small) = SmallDisk::mount() else {
        eprintln!("skipped: only root can mount a small file system");
        return;
    };
    let stage = Stage::open().await;
    let name = format!("{}_small", stage.database_name());
    stage
        .sql(&format!(
            "create tablespace {name} location '{}'",
            small.folder().display()
        ))
        .await;
    stage
        .sql(&format!(
            "alter table account set tablespace {name};
            create table filler (bytes text) tablespace {name};
            alter table filler alter column bytes set storage external"
        ))
        .await;
    let fill = "do $$ begin loop insert into filler select repeat('x', 100000); end loop;
        exception when disk_full then null; end $$";
    stage.sql(fill).await;
    for number in 0..200 {
        let account = json!({"Name": "x".repeat(250), "External_Id__c": format!("a-{number}")});
        stage.org.insert("Account", account);
    }
    stage.org.insert(
        "Contact",
        json!({"LastName": "Bob", "External_Id__c": "c-1"}),
    );
    stage.capture_salesforce().await;
    stage.sql("do $$ begin insert into filler select repeat('y', 8000000); exception when disk_full then null; end $$").await;
    let account = ObjectName::parse("Account").unwrap();
    let applied = stage
        .engine
        .apply(&stage.tenant, &account, 0, stage.deadline())
        .await;
    let error = applied.expect_err("the disk is full");
    assert!(format!("{error:?}").contains("53100"), "{error:?}");
    stage.apply("Contact").await;
    assert_eq!(stage.one("select count(*) from contact").await, json!(1));
    let letters = "select count(*) from syncline.sync_dead_letter";
    assert_eq!(stage.one(letters).await, json!(0), "no record is blamed");

    stage.sql("drop table filler").await;
    stage.engine.release_orphaned_leases().await;
    stage.expire_leases().await;
    let options = CaptureOptions::draining(stage.deadline());
    let captured = stage.engine.capture_salesforce(&stage.tenant, &options);
    captured.await.unwrap();
    stage.sweep().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
        .sql("alter table account set tablespace pg_default")
        .await;
    stage.sql(&format!("drop tablespace {name}")).await;
}

/// A file system of a few megabytes, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one for the server's user. Returns `None` where that is not allowed.
    fn mount() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("syncline.disk.").tempdir();
        let folder = folder.unwrap().keep();
        let place = folder.to_str().unwrap();
        run(
            "mount",
            &["-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", place],
        )
        .then_some(())?;
        let disk = Self(folder);
        // Postgres wants a folder that its own user owns.
        std::fs::create_dir(disk.folder()).unwrap();
        run("chown", &["postgres", disk.folder().to_str().unwrap()]).then_some(disk)
    }

    fn folder(&self) -> PathBuf {
        Path::new(&self.0).join("tablespace")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        run("umount", &["-l", self.0.to_str().unwrap()]);
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
