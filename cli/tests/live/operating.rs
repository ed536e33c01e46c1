//! What an operator's program does when it is used as operators use it: ended by a service manager, piped into
//! another program, given a name that does not exist.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::{Value as Json, json};

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
async fn reader_that_stops_early_is_not_an_error() {
    let scene = Scene::set().await;
    let mut status = scene.command(&["status", "--json"]);
    let status = status.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut status = status.spawn().expect("it runs");
    drop(status.stdout.take());
    let ended = status.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(error, "", "{:?}", ended.status);
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
    assert_eq!(
        (&lost[0]["field"], &lost[0]["value"]),
        (&json!("Phone"), &json!("2"))
    );
    let id = lost[0]["discarded_value_id"].to_string();
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
