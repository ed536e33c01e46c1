//! No value, key or secret reaches a log or the output of a command that was not asked for values.
//!
//! Every mapped field, every column and field that is not mapped, every key and every secret holds a mark. All jobs
//! and commands run at the finest log level while each side refuses writes with messages that quote them, and all
//! that they print is searched.

use std::fs::File;
use std::process::{Child, Command};

use salesforce_org::local;
use serde_json::json;

use crate::scene::{ACCOUNT, DATABASE_PASSWORD, Scene};

/// A part of every value of a mapped field.
const VALUE: &str = "Xyzzy";

/// A part of every value of a column and of a field that is not mapped: no command shows it.
const UNMAPPED: &str = "Plugh";

/// The external id of the record.
const KEY: &str = ACCOUNT;

/// Nothing may print these: the app's secret, the database's password, any access token of the org, the app's key
/// and an assertion that it signed.
const SECRETS: [&str; 6] = [
    local::CLIENT_SECRET,
    DATABASE_PASSWORD,
    "!AQE",
    "PRIVATE KEY",
    "MIIE",
    "eyJ",
];

/// Commands that show no values.
const SILENT: [&[&str]; 11] = [
    &["migrate"],
    &["install"],
    &["check"],
    &["check", "--json"],
    &["status"],
    &["status", "--json"],
    &["pause"],
    &["resume"],
    &["deadletters", "replay", "--all"],
    &["deletes", "approve", "Account"],
    &["conflicts", "resolve", "1", "--winner", "postgres"],
];

/// Commands that show external ids of records that differ, and no other value.
const NAMING: [&[&str]; 2] = [&["compare"], &["compare", "--json"]];

/// Commands that show values of mapped fields, as their help says.
const SHOWING: [&[&str]; 8] = [
    &["conflicts", "list"],
    &["conflicts", "list", "--json"],
    &["deadletters", "list"],
    &["deadletters", "list", "--json"],
    &["discarded"],
    &["discarded", "--json"],
    &["explain", KEY],
    &["explain", KEY, "--json"],
];

/// What makes each kind of refusal in Postgres quote a value.
const HOSTILE_TABLE: &str = "
create unique index account_phone_key on account (phone);
create type industry as enum ('Xyzzy industry', 'Xyzzy lost');
alter table account
    alter industry type industry using industry::industry,
    add constraint revenue_check check (revenue < 1000);
create function refuse() returns trigger language plpgsql as $$
begin
    if new.name = 'Xyzzy refused' then
        raise exception 'the name % is refused', new.name
            using detail = format('the row %s', new), hint = new.note;
    end if;
    return new;
end $$;
create trigger refuse before update on account for each row execute function refuse()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_prints_a_value_key_or_secret() {
    let scene = Scene::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let file = File::create(&log).expect("a file");
    let mut run = scene.command(&["run"]);
    run.env("RUST_LOG", LEVEL)
        .stdout(file.try_clone().expect("the same file"))
        .stderr(file);
    let mut run = Running(run.spawn().expect("it runs"));
    first_records(&scene).await;
    refusals_of_postgres(&scene).await;
    refusals_of_salesforce(&scene).await;
    conflict_and_bad_key(&scene).await;
    run.end();

    let log = std::fs::read_to_string(&log).expect("the log");
    assert!(log.contains("captured changes of Postgres"), "{log}");
    assert_clean("the log", &log, &[VALUE, UNMAPPED, KEY]);
    for words in SHOWING {
        let printed = scene.traced(words, LEVEL).await;
        assert!(printed.contains(KEY), "{words:?}: {printed}");
        assert_clean(&format!("{words:?}"), &printed, &[UNMAPPED]);
    }
    for words in NAMING {
        let printed = scene.traced(words, LEVEL).await;
        assert!(printed.contains(KEY), "{words:?}: {printed}");
        assert_clean(&format!("{words:?}"), &printed, &[VALUE, UNMAPPED]);
    }
    scene.sign_in_with_key();
    for words in SILENT {
        let printed = scene.traced(words, LEVEL).await;
        assert!(!printed.is_empty(), "{words:?}");
        assert_clean(&format!("{words:?}"), &printed, &[VALUE, UNMAPPED, KEY]);
    }
}

/// The finest level of our crates.
const LEVEL: &str = "syncline=trace,syncline_planner=trace";

fn assert_clean(what: &str, printed: &str, hidden: &[&str]) {
    for mark in hidden.iter().chain(&SECRETS) {
        let leak = printed.lines().find(|line| line.contains(mark));
        assert_eq!(leak, None, "{what} has {mark}");
    }
}

/// Two accounts with a mark in every column and field, and an edit that loses.
async fn first_records(scene: &Scene) {
    scene
        .sql(
            "alter table account add note text;
            insert into account (external_id, name, phone, industry, rating, revenue, note) values
                ('C-1042', 'Xyzzy name', 'Xyzzy phone', 'Xyzzy industry', 'Xyzzy rating', 7, 'Plugh note'),
                ('C-1042-2', 'Xyzzy name 2', 'Xyzzy phone 2', null, null, 8, 'Plugh note 2')",
        )
        .await;
    let agreed = "select count(*) from syncline.sync_link where agreed";
    wait_for(scene, agreed, 2).await;
    scene
        .sql("update account set industry = 'Xyzzy lost' where external_id = 'C-1042'")
        .await;
    let lost = "select count(*) from syncline.sync_discarded_value";
    wait_for(scene, lost, 1).await;
    scene.edit(json!({"Description": "Plugh description", "Industry": "Xyzzy industry"}));
}

/// An exception, a check, a unique index and a type refuse edits of Salesforce, with details that quote the row.
async fn refusals_of_postgres(scene: &Scene) {
    scene.sql(HOSTILE_TABLE).await;
    let stopped = "select count(*) from syncline.sync_dead_letter";
    for (known, edit) in [
        json!({"Name": "Xyzzy refused"}),
        json!({"AnnualRevenue": 4711}),
        json!({"Phone": "Xyzzy phone 2"}),
        json!({"Industry": "Xyzzy unknown industry"}),
    ]
    .into_iter()
    .zip(1..)
    .map(|(edit, number)| (number, edit))
    {
        scene.edit(edit);
        wait_for(scene, stopped, known).await;
    }
}

/// A rule and the length of a field refuse edits of Postgres.
async fn refusals_of_salesforce(scene: &Scene) {
    let refused = "select count(*) from syncline.sync_dead_letter
        where message like '%FIELD_CUSTOM_VALIDATION_EXCEPTION%'";
    scene.refuse_next_write(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Xyzzy rating 2 of C-1042 is refused",
    );
    scene
        .sql("update account set rating = 'Xyzzy rating 2' where external_id = 'C-1042'")
        .await;
    wait_for(scene, refused, 1).await;
}

/// A field that both sides edit, and a change that cannot be captured at all.
async fn conflict_and_bad_key(scene: &Scene) {
    scene
        .sql("update account set phone = 'Xyzzy phone 3' where external_id = 'C-1042'")
        .await;
    let open = "select count(*) from syncline.sync_conflict";
    wait_for(scene, open, 1).await;
    scene
        .sql("select syncline.emit('Account', 'Xyzzy operation', 'Xyzzy key')")
        .await;
    let bad = "select count(*) from syncline.sync_dead_letter where origin = 'outbox'";
    wait_for(scene, bad, 1).await;
}

/// Waits until a query counts so many rows.
pub(crate) async fn wait_for(scene: &Scene, count: &'static str, at_least: i64) {
    while scene.one(count).await < at_least {
        tokio::task::yield_now().await;
    }
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Ends the process as a service manager does, and waits for its end.
    pub(crate) fn end(&mut self) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("a signal is sent").success());
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.0.kill();
    }
}
