//! How long captures listen, and how one takes over from another.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncline::capture::{CaptureOptions, Idle};
use syncline::engine::SyncEngine;
use syncline::ports::JobStore;
use syncline::ports::StreamName;

use crate::stage::Stage;

/// How often an instance that has just started reads the outbox, if it may listen for a moment.
async fn reads_of_a_new_instance(stage: &Stage) -> usize {
    let instance: SyncEngine = stage.worker(
        "another",
        Arc::new(stage.store.clone()),
        Arc::clone(&stage.salesforce),
    );
    let options = CaptureOptions {
        keep_polling: Duration::from_millis(250),
        idle: Idle::Return,
        ..CaptureOptions::draining(stage.deadline())
    };
    let captured = instance.capture_postgres(&stage.tenant, &options).await;
    captured.unwrap().batches
}

#[tokio::test]
async fn every_instance_listens_for_an_active_tenant() {
    let stage = Stage::open().await;
    assert_eq!(reads_of_a_new_instance(&stage).await, 1, "nothing changed");
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    assert_ne!(reads_of_a_new_instance(&stage).await, 1, "a row changed");
    stage
        .sql("update syncline.sync_control set active_at = active_at - interval '6 minutes'")
        .await;
    assert_eq!(reads_of_a_new_instance(&stage).await, 1, "long ago");
}

#[tokio::test]
async fn stream_of_an_ended_worker_is_taken_over() {
    let stage = Stage::open().await;
    stage.org.insert("Account", json!({"Name": "Ada"}));
    let stream = StreamName::from("events:/data/ChangeEvents");
    let successor = SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(stage.store.clone()),
            Arc::clone(&stage.salesforce),
        )
        .has_ended(|owner| owner.starts_with("killed"))
        .build();
    let options = CaptureOptions::draining(stage.deadline());
    for (owner, is_free) in [("slow/1", false), ("killed/1", true)] {
        stage
            .sql("update syncline.sync_checkpoint set lease_owner = null, lease_until = null")
            .await;
        let acquired = stage
            .store
            .acquire_stream(&stage.tenant, &stream, owner, 60_000)
            .await;
        assert!(acquired.unwrap().is_some());
        let captured = successor.capture_salesforce(&stage.tenant, &options).await;
        assert_eq!(captured.unwrap().leased_elsewhere, !is_free, "{owner}");
    }
}

#[tokio::test]
async fn capture_takes_over_from_one_that_ends() {
    let stage = Stage::open().await;
    stage.drain().await;
    stage.org.insert("Account", json!({"Name": "Ada"}));
    let stream = StreamName::from("events:/data/ChangeEvents");
    let ending = stage
        .store
        .acquire_stream(&stage.tenant, &stream, "another", 60_000)
        .await
        .unwrap()
        .unwrap();
    let options = CaptureOptions {
        keep_polling: Duration::from_secs(2),
        idle: Idle::Stay,
        ..CaptureOptions::draining(stage.deadline())
    };
    let captured = stage.engine.capture_salesforce(&stage.tenant, &options);
    let released = async {
        // The other one asks for the stream meanwhile.
        for _ in 0..20 {
            stage.one("select 1").await;
        }
        stage.store.release_stream(&ending).await.unwrap();
    };
    let (captured, ()) = tokio::join!(captured, released);
    let captured = captured.unwrap();
    assert!(!captured.leased_elsewhere);
    assert_ne!(captured.counts.seen, 0);
}
