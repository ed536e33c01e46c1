//! `syncline install` between two sides that both have records, none of which the other side recognises.

use serde_json::json;

use crate::scene::Scene;
use crate::secrecy::Running;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_created_twice_before_a_person_says_so() {
    let scene = Scene::migrated().await;
    scene
        .sql("insert into account (external_id, name) values ('C-1', 'Ada'), ('C-2', 'Bob'), ('C-3', 'Eve')")
        .await;
    for name in ["Ada", "Bob", "Eve"] {
        scene.create(&json!({"Name": name}));
    }
    let rows = "select count(*) from account";
    let problem = "3 of 3 records of Account in Salesforce and 0 of 3 rows have no external id";
    for command in ["check", "install"] {
        let (status, printed) = scene.failing(&[command]).await;
        assert_eq!(status, 1);
        for part in [problem, "`syncline install --no-match`"] {
            assert!(printed.contains(part), "{command}: {printed}");
        }
    }
    let captured = "select count(*) from syncline.sync_capture";
    assert_eq!(scene.one(captured).await, 0);

    // A process that runs even so creates nothing on either side.
    let mut run = Running(scene.command(&["run"]).spawn().expect("it runs"));
    let refused = "select count(*) from syncline.sync_job
        where job = 'apply' and error like '%has no capture yet%'";
    while scene.one(refused).await == 0 {
        assert!(run.0.try_wait().expect("its state").is_none(), "it ended");
        tokio::task::yield_now().await;
    }
    run.end();
    assert_eq!((scene.accounts(), scene.one(rows).await), (3, 3));
    let (_, printed) = scene.failing(&["status"]).await;
    assert!(
        printed.contains("capture was never installed for Account"),
        "{printed}"
    );

    scene.syncline(&["install", "--no-match"]).await;
    scene
        .sql("update syncline.sync_task set due_at = syncline.clock()")
        .await;
    scene.drain().await;
    assert_eq!((scene.accounts(), scene.one(rows).await), (6, 6));
}
