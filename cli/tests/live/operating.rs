//! What an operator's program does when it is used as operators use it: ended by a service manager, piped into
//! another program, given a name that does not exist.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value as Json, json};
use syncline::model::ids::TenantId;
use syncline::ports::JobStore;

use crate::scene::Scene;
use crate::secrecy::Running;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_run_and_releases_its_streams() {
    let scene = Scene::set().await;
    let mut run = scene.command(&["run"]);
    let run = run.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut run = Running(run);
    let mut log = BufReader::new(run.0.stderr.take().expect("its log"));
    let mut line = String::new();
    while !line.contains("running for acme") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "it ended");
    }
    let owned = "select count(*) from syncline.sync_checkpoint where lease_owner is not null";
    while scene.one(owned).await == 0 {
        tokio::task::yield_now().await;
    }
    run.end();
    let mut rest = String::new();
    log.read_to_string(&mut rest).expect("the rest of its log");
    assert_eq!(scene.one(owned).await, 0, "{rest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_run_is_succeeded_at_once() {
    let scene = Scene::set().await;
    let token = "select coalesce(max(fencing_token), 0) from syncline.sync_checkpoint
        where stream like 'events:%' and lease_owner is not null";
    let mut killed = Running(scene.command(&["run"]).spawn().expect("it runs"));
    let mut first = 0;
    while first == 0 {
        first = scene.one(token).await;
        tokio::task::yield_now().await;
    }
    killed.0.kill().expect("it is killed");
    killed.0.wait().expect("it is reaped");
    let _successor = Running(scene.command(&["run"]).spawn().expect("it runs"));
    let succeeded = async {
        while scene.one(token).await == first {
            tokio::task::yield_now().await;
        }
    };
    // Far less than a lease lasts.
    let in_time = tokio::time::timeout(Duration::from_secs(60), succeeded).await;
    in_time.expect("the stream has a new owner");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_of_one_database_share_its_connections() {
    let scene = Scene::set().await;
    let names: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    scene.add_tenants(&names, "env:UNUSED");
    let instance = scene.instance();
    let mut calls = tokio::task::JoinSet::new();
    for name in names {
        let tenant = TenantId::parse(&name).expect("a name");
        let store = instance.store(&tenant).await.expect("a store");
        calls.spawn(async move { store.control(&tenant).await });
    }
    while let Some(called) = calls.join_next().await {
        called.expect("no panic").expect("no tenant is refused");
    }
    let open = "select count(*) from pg_stat_activity
        where datname = current_database() and application_name = 'syncline'";
    let open = scene.one(open).await;
    assert!((1..=4).contains(&open), "{open} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenant_without_a_secret_does_not_stop_others() {
    let scene = Scene::set().await;
    scene.add_tenants(&["another".to_owned()], "env:SYNCLINE_TEST_MISSING_SECRET");
    let mut run = Running(scene.command(&["run"]).spawn().expect("it runs"));
    let owned = "select count(*) from syncline.sync_checkpoint where lease_owner is not null";
    while scene.one(owned).await == 0 {
        assert!(run.0.try_wait().expect("its state").is_none(), "it ended");
        tokio::task::yield_now().await;
    }
    run.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_stops_early_is_not_an_error() {
    let scene = Scene::set().await;
    let closed = |words: &[&str]| {
        let mut command = scene.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("it runs");
        drop(running.stdout.take());
        running
    };
    let ended = closed(&["status", "--json"]).wait_with_output();
    let ended = ended.expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    // As with `2>&1 | head`.
    for words in [
        ["status"].as_slice(),
        &["restore", "4711"],
        &["adopt", "--copy"],
    ] {
        let mut running = closed(words);
        drop(running.stderr.take());
        let code = running.wait().expect("it ends").code();
        assert!(matches!(code, Some(0 | 1)), "{words:?}: {code:?}");
    }
    let mut run = Running(closed(&["run"]));
    drop(run.0.stderr.take());
    let owned = "select count(*) from syncline.sync_checkpoint where lease_owner is not null";
    while scene.one(owned).await == 0 {
        assert!(run.0.try_wait().expect("its state").is_none(), "it ended");
        tokio::task::yield_now().await;
    }
    run.end();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_cannot_be_written_is_an_error() {
    let scene = Scene::set().await;
    for words in [["status"].as_slice(), &["status", "--json"]] {
        let full = std::fs::File::create("/dev/full").expect("the device");
        let status = scene.command(words).stdout(full).output();
        let ended = status.expect("it ends");
        assert_eq!(ended.status.code(), Some(1), "{words:?}");
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(error.contains("the output cannot be written"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_object_is_an_error_with_a_suggestion() {
    let scene = Scene::set().await;
    for words in [
        ["deletes", "approve", "Acount"].as_slice(),
        &["install", "--new-table", "Acount"],
        &["conflicts", "list", "--object", "Acount"],
        &["deadletters", "list", "--object", "Acount"],
        &["explain", "C-1042", "--object", "Acount"],
    ] {
        let (status, error) = scene.failing(words).await;
        assert_eq!(status, 1, "{words:?}");
        let suggestion = "no object Acount is mapped; did you mean Account?";
        assert!(error.contains(suggestion), "{words:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_fails_while_capture_is_not_installed_or_does_not_run() {
    let scene = Scene::set().await;
    scene.syncline(&["status"]).await;
    scene
        .sql(
            "insert into syncline.sync_outbox (tenant, object, operation, external_id, tombstone, changed_at)
            values ('acme', 'Account', 'update', 'C-1', false, syncline.clock() - interval '10 minutes')",
        )
        .await;
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    let problem = "capture of Postgres is not running";
    assert!(printed.contains(problem), "{printed}");
    scene.sql("delete from syncline.sync_outbox").await;
    scene.syncline(&["status"]).await;

    scene.sql("delete from syncline.sync_capture").await;
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    let problem = "capture was never installed for Account";
    assert!(printed.contains(problem), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_fails_while_a_job_fails_or_does_not_run() {
    let scene = Scene::set().await;
    scene
        .sql("insert into account (external_id, name) values ('C-1042', 'Ada')")
        .await;
    scene.drain().await;
    scene.sweep().await;
    scene.syncline(&["status"]).await;
    // The engine was stopped six minutes ago.
    let stopped = "update syncline.sync_job set succeeded_at = succeeded_at - interval '6 minutes';
        update syncline.sync_capture set installed_at = installed_at - interval '1 day'";
    scene.sql(stopped).await;
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    for job in ["capture of Postgres", "capture of Salesforce", "the sweep"] {
        let problem = format!("{job} has not ended well for 6 min and does not run");
        assert!(printed.contains(&problem), "{printed}");
    }
    scene.syncline(&["status", "--stale-minutes", "15"]).await;

    // It runs again, but the address of the event bus is dead.
    scene.drain().await;
    scene.sweep().await;
    scene.syncline(&["status"]).await;
    scene.fail_capture_of_salesforce().await;
    scene.syncline(&["status"]).await;
    let lasts = "update syncline.sync_job set succeeded_at = succeeded_at - interval '6 minutes'
        where job = 'capture_salesforce'";
    scene.sql(lasts).await;
    let (_, printed) = scene.failing(&["status"]).await;
    let problem = "capture of Salesforce has not ended well for 6 min; it fails: ";
    assert!(printed.contains(problem), "{printed}");

    scene.drain().await;
    let unread = "update syncline.sync_checkpoint
        set read_at = read_at - interval '3 days', captured_at = captured_at - interval '3 days'
        where stream like 'events:%'";
    scene.sql(unread).await;
    let (_, printed) = scene.failing(&["status"]).await;
    let problem = "the stream events:/data/ChangeEvents was not read for 3 d";
    assert!(printed.contains(problem), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_fails_while_due_work_or_comparisons_have_no_worker() {
    let scene = Scene::set().await;
    scene
        .sql("insert into account (external_id, name) values ('C-1042', 'Ada')")
        .await;
    scene.capture().await;
    scene.syncline(&["status"]).await;
    scene
        .sql(
            "update syncline.sync_task
                set due_at = due_at - interval '10 minutes', dirty_since = dirty_since - interval '10 minutes';
            update syncline.sync_capture set installed_at = installed_at - interval '10 minutes'",
        )
        .await;
    scene.sweep().await;
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    let problem = "records of Account have been due for 10 min: apply has never ended well and does not run: start \
        `syncline run`, or enable the wake-up queue of the function apply";
    assert!(printed.contains(problem), "{printed}");
    scene.syncline(&["pause"]).await;
    scene.syncline(&["status"]).await;
    scene.syncline(&["resume"]).await;
    scene.drain().await;
    scene.syncline(&["status"]).await;

    scene
        .sql("update syncline.sync_capture set installed_at = installed_at - interval '3 days'")
        .await;
    let (_, printed) = scene.failing(&["status"]).await;
    let problem = "the full comparison has never ended well and does not run: start `syncline run`, or enable the \
        schedule `Full`";
    assert!(printed.contains(problem), "{printed}");
    scene.syncline(&["compare"]).await;
    scene.syncline(&["status"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_of_one_object_hides_no_other_object() {
    let scene = Scene::set().await;
    let contact = "
[[tenant.acme.object]]
object = \"Contact\"
table = \"contact\"
external_id = { field = \"External_Id__c\", column = \"external_id\" }

[tenant.acme.object.fields]
LastName = { column = \"name\" }
";
    scene.change_config(|config, _| format!("{config}{contact}"));
    scene
        .sql("create table contact (external_id text primary key, name text not null)")
        .await;
    scene.syncline(&["install"]).await;
    scene
        .sql(
            "insert into account (external_id, name) values ('C-1042', 'Ada');
            insert into contact values ('C-1', 'Byron')",
        )
        .await;
    // Every wake-up of contacts is lost.
    scene.drain_configured().await;
    scene.sweep().await;
    scene.syncline(&["status"]).await;
    scene
        .sql(
            "update syncline.sync_task
                set due_at = due_at - interval '10 minutes', dirty_since = dirty_since - interval '10 minutes';
            update syncline.sync_capture set installed_at = installed_at - interval '10 minutes'",
        )
        .await;
    let (_, printed) = scene.failing(&["status"]).await;
    let problem =
        "records of Contact have been due for 10 min: apply has never ended well and does not run";
    assert!(printed.contains(problem), "{printed}");
    assert!(!printed.contains("records of Account"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_from_before_the_triggers_have_an_age() {
    let scene = Scene::set().await;
    scene
        .sql(
            "alter table account disable trigger all;
            insert into account (external_id, name) values ('C-1042', 'Ada');
            alter table account enable trigger all;
            delete from syncline.sync_capture",
        )
        .await;
    scene.syncline(&["install"]).await;
    let printed = scene.syncline(&["status"]).await;
    assert!(
        printed.contains("1 changes wait in the outbox, the oldest for"),
        "{printed}"
    );
    scene
        .sql("update syncline.sync_outbox set entered_at = entered_at - interval '10 minutes'")
        .await;
    let (_, printed) = scene.failing(&["status"]).await;
    let problem = "changes have waited in the outbox for 10 min";
    assert!(printed.contains(problem), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn value_that_lost_can_be_restored() {
    let scene = Scene::set().await;
    scene
        .sql("insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')")
        .await;
    scene.drain().await;
    scene.sql("update account set phone = '2'").await;
    scene.edit(json!({"Phone": "3"}));
    scene.drain().await;
    let resolve = ["conflicts", "resolve", "1", "--winner", "salesforce"];
    scene.syncline(&resolve).await;
    scene.drain().await;
    let phone = "select phone::bigint from account";
    assert_eq!(scene.one(phone).await, 3);

    let printed = scene.syncline(&["discarded", "--json"]).await;
    let lost: Json = serde_json::from_str(&printed).expect("it prints JSON");
    let lost = &lost[0]["discarded_values"][0];
    assert_eq!(
        (&lost["field"], &lost["value"]),
        (&json!("Phone"), &json!("2"))
    );
    let id = lost["discarded_value_id"].to_string();
    scene.syncline(&["restore", &id]).await;
    scene.drain().await;
    assert_eq!(scene.one(phone).await, 2);
    assert_eq!(scene.field("Phone"), json!("2"));

    let (_, printed) = scene.failing(&["restore", "4711"]).await;
    assert!(
        printed.contains("4711: no such discarded value"),
        "{printed}"
    );
}
