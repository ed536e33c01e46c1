//! A configuration that leads to a copy of the database: nothing is done until a person decides.

use serde_json::{Value as Json, json};

use crate::scene::{Scene, execute, number};

const ACCOUNT: &str =
    "insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_is_held_until_a_person_decides() {
    let scene = Scene::set().await;
    scene.sql(ACCOUNT).await;
    scene.drain().await;
    let copy = scene.move_to_copy().await;
    execute(&copy, "update account set phone = '2'").await;

    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    for part in [
        "HELD",
        "another database (oid, name, endpoint)",
        "`syncline adopt --copy`",
    ] {
        assert!(printed.contains(part), "{printed}");
    }
    let (_, printed) = scene.failing(&["status", "--json"]).await;
    let shown: Json = serde_json::from_str(&printed).expect("it prints JSON");
    assert_eq!(shown[0]["database"]["state"], json!("changed"));
    for command in [["check"].as_slice(), &["install"], &["compare"], &["adopt"]] {
        let (_, printed) = scene.failing(command).await;
        let reason = printed.contains("another database") || printed.contains("run it with --yes");
        assert!(reason, "{command:?}: {printed}");
    }

    let printed = scene.syncline(&["adopt", "--copy", "--yes"]).await;
    assert!(printed.contains("this database is a copy now"), "{printed}");
    let printed = scene.syncline(&["status"]).await;
    assert!(printed.contains("COPY"), "{printed}");
    let waiting = "select count(*) from syncline.sync_outbox";
    let before = number(&copy, waiting).await;
    execute(&copy, "update account set phone = '3'").await;
    assert_eq!(number(&copy, waiting).await, before);
    let (_, printed) = scene.failing(&["compare"]).await;
    assert!(printed.contains("declared a copy"), "{printed}");
    assert_eq!(scene.field("Phone"), json!("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopted_database_goes_on_with_capture() {
    let scene = Scene::set().await;
    scene.sql(ACCOUNT).await;
    scene.drain().await;
    let copy = scene.move_to_copy().await;
    scene.syncline(&["adopt", "--copy", "--yes"]).await;
    execute(&copy, "update account set phone = '2'").await;
    scene.edit(json!({"Name": "Ada Lovelace"}));

    let printed = scene.syncline(&["adopt", "--yes", "--json"]).await;
    let adopted: Json = serde_json::from_str(&printed).expect("it prints JSON");
    assert_eq!(
        (&adopted[0]["changed"], &adopted[0]["capture_problem"]),
        (&json!(true), &Json::Null)
    );
    let printed = scene.syncline(&["adopt", "--yes"]).await;
    assert!(printed.contains("nothing changes"), "{printed}");
    scene.drain_configured().await;
    scene.syncline(&["status"]).await;
    scene.syncline(&["compare"]).await;
    assert_eq!(scene.field("Phone"), json!("2"));
    let named = "select count(*) from account where name = 'Ada Lovelace'";
    assert_eq!(number(&copy, named).await, 1);
}
