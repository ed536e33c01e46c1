//! All jobs in one process.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncline::engine::SyncEngine;
use syncline::engine::in_process;
use syncline::ports::SalesforcePort;
use tokio::task::JoinHandle;

use crate::pausing::{PauseAt, PausingSalesforce};
use crate::stage::Stage;

/// Longer than anything here takes on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts an engine that does all jobs until it is stopped.
fn started(stage: &Stage, salesforce: Arc<dyn SalesforcePort>) -> (SyncEngine, JoinHandle<()>) {
    let (wake_up, sent_wake_ups) = in_process::channel();
    let engine = SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(stage.store.clone()),
            salesforce,
        )
        .wake_up(Arc::new(wake_up))
        .build();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(sent_wake_ups).await }
    });
    (engine, running)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn engine_syncs_both_ways_until_it_is_stopped() {
    let stage = Stage::open().await;
    let (engine, running) = started(&stage, Arc::clone(&stage.salesforce));
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    let both_synced = async {
        while stage.org.count("Account") < 2
            || stage.one("select count(*) from account").await != json!(2)
            || !stage.tasks().await.is_empty()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, both_synced)
        .await
        .expect("both changes are synchronised");
    engine.stop();
    tokio::time::timeout(TIMEOUT, running)
        .await
        .expect("it stops")
        .unwrap();
    stage.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_engine_compares_and_mends_what_no_event_reported() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage
        .unnoticed("update account set name = 'Unnoticed'")
        .await;
    let (engine, running) = started(&stage, Arc::clone(&stage.salesforce));
    let mended = async {
        while stage.org.value(&id, "Name").as_deref() != Some("Unnoticed") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, mended)
        .await
        .expect("the comparison finds it");
    engine.stop();
    tokio::time::timeout(TIMEOUT, running)
        .await
        .expect("it stops")
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn job_that_panics_is_started_again() {
    let stage = Stage::open().await;
    stage.drain().await;
    let port = PausingSalesforce::new(Arc::clone(&stage.salesforce), &stage.org, PauseAt::Never);
    port.panic_at_subscriptions(2);
    let (engine, running) = started(&stage, Arc::clone(&port) as Arc<dyn SalesforcePort>);
    stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    // A comparison may bring the row before the capture has panicked as often.
    let synced = async {
        while port.panics_left() > 0 || stage.one("select count(*) from account").await != json!(1)
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(TIMEOUT, synced)
        .await
        .expect("the capture is started again");
    engine.stop();
    tokio::time::timeout(TIMEOUT, running)
        .await
        .expect("it stops")
        .unwrap();
}
