//! `syncline compare`: what it prints, and how it ends.

use serde_json::{Value as Json, json};

use crate::scene::Scene;

async fn with_accounts() -> Scene {
    let scene = Scene::set().await;
    scene.sql(ACCOUNTS).await;
    scene.drain().await;
    scene
}

const ACCOUNTS: &str = "insert into account (external_id, name) select 'C-' || n, 'A' || n from generate_series(1, 3) as n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_sides_end_well() {
    let scene = with_accounts().await;
    let printed = scene.syncline(&["compare"]).await;
    assert!(printed.contains("verified equal"), "{printed}");
    let status = scene.syncline(&["status"]).await;
    assert!(status.contains("verified equal"), "{status}");

    let printed = scene
        .syncline(&["compare", "--object", "Account", "--json"])
        .await;
    let compared: Json = serde_json::from_str(&printed).expect("it prints JSON");
    let account = &compared[0]["objects"][0];
    assert_eq!(account["classes"], json!({"equal": 3}));
    assert_eq!(account["verified_equal"], json!(true));
    let counts = ["records", "rows", "in_salesforce", "pairs", "rows_met"];
    assert_eq!(counts.map(|count| account[count].as_u64()), [Some(3); 5]);
    assert_eq!(
        (&compared[0]["complete"], &compared[0]["error"]),
        (&json!(true), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unexplained_differences_end_with_their_keys() {
    let scene = with_accounts().await;
    scene
        .sql(
            "begin;
            set local syncline.is_engine = 'on';
            insert into syncline.engine_tx (xid) values (pg_current_xact_id());
            update account set name = 'Unnoticed' where external_id = 'C-2';
            delete from syncline.engine_tx;
            commit",
        )
        .await;
    let (status, printed) = scene.failing(&["compare"]).await;
    assert_eq!(status, 1);
    assert!(
        printed.contains("Account 1 unexplained: C-2 (Name)"),
        "{printed}"
    );
    assert!(!printed.contains("Unnoticed"), "a value: {printed}");
    // It was enqueued: ordinary work makes both sides equal.
    scene.drain().await;
    let printed = scene.syncline(&["compare"]).await;
    assert!(printed.contains("verified equal"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explained_differences_without_a_fault_end_well() {
    let scene = with_accounts().await;
    scene
        .sql("update account set phone = '2' where external_id = 'C-2'")
        .await;
    let printed = scene.syncline(&["compare"]).await;
    assert!(printed.contains("1 pending"), "{printed}");
    scene.drain().await;
    scene.refuse_next_write_of("C-3");
    scene
        .sql("update account set phone = '3' where external_id = 'C-3'")
        .await;
    scene.drain().await;
    let (status, printed) = scene.failing(&["compare"]).await;
    assert_eq!(status, 1);
    assert!(printed.contains("1 parked"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied_table_is_a_problem_of_the_status() {
    const ROWS: &str = "insert into account (external_id, name) select 'C-' || n, 'A' || n from generate_series(1, 20) as n";
    let scene = Scene::set().await;
    scene.sql(ROWS).await;
    scene.drain().await;
    scene.syncline(&["compare"]).await;
    scene.syncline(&["status"]).await;
    // Nothing is captured of this, so before a comparison nothing shows it.
    scene
        .sql(
            "begin;
            set local syncline.is_engine = 'on';
            insert into syncline.engine_tx (xid) values (pg_current_xact_id());
            delete from account;
            delete from syncline.engine_tx;
            commit",
        )
        .await;
    let (_, printed) = scene.failing(&["compare"]).await;
    assert!(printed.contains("20 only_in_salesforce"), "{printed}");
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    let problem =
        "PROBLEM: the last full comparison of Account found 20 of 20 records that nothing explains";
    assert!(printed.contains(problem), "{printed}");

    scene.drain().await;
    assert_eq!(scene.accounts(), 20);
    let (_, printed) = scene.failing(&["status"]).await;
    let problem = "PROBLEM: the delete guard withholds 20 deletes of Account: run `syncline deletes approve Account`";
    assert!(printed.contains(problem), "{printed}");

    scene.sql(ROWS).await;
    scene.drain().await;
    scene.syncline(&["compare"]).await;
    scene.syncline(&["status"]).await;
}
