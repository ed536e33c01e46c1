//! Rings: they cannot multiply, and a lost one changes nothing.

use std::sync::Arc;

use serde_json::json;
use syncline::engine::SyncEngine;
use syncline::engine::in_process::{self, Bells};
use syncline::engine::ports::Doorbell;

use crate::stage::Stage;

/// Returns an engine that rings, and the ear that hears it.
fn ringing(stage: &Stage) -> (SyncEngine, Bells) {
    let (doorbell, bells) = in_process::doorbell();
    let engine = SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(stage.store.clone()),
            Arc::clone(&stage.salesforce),
        )
        .doorbell(Arc::new(doorbell))
        .build();
    (engine, bells)
}

fn heard(bells: &mut Bells) -> Vec<(String, i32)> {
    std::iter::from_fn(|| bells.try_next())
        .map(|(Doorbell::Apply { object, slot, .. }, _)| (object.to_string(), slot))
        .collect()
}

async fn insert(stage: &Stage, from: usize, upto: usize) {
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series({from}, {upto}) as n"
        ))
        .await;
}

#[tokio::test]
async fn a_growing_backlog_does_not_multiply_rings() {
    let stage = Stage::open().await;
    let (engine, mut bells) = ringing(&stage);
    for round in 0..5 {
        insert(&stage, round * 10 + 1, round * 10 + 10).await;
        engine
            .capture_postgres(
                &stage.tenant,
                &syncline::capture::CaptureOptions::draining(stage.deadline()),
            )
            .await
            .unwrap();
        engine.sweep(&stage.tenant).await.unwrap();
    }
    assert_eq!(heard(&mut bells), [("Account".to_owned(), 0)]);
}

#[tokio::test]
async fn a_lost_ring_is_rung_again_once_its_slot_lapses() {
    let stage = Stage::open().await;
    let (engine, mut bells) = ringing(&stage);
    insert(&stage, 1, 3).await;
    stage.capture_postgres().await;
    // The worker that captured has nobody to ring; its slot is taken all the same.
    assert_eq!(engine.sweep(&stage.tenant).await.unwrap().rung, 0);
    stage
        .sql("update syncline.sync_doorbell set rung_until = now() - interval '1 second'")
        .await;
    assert_eq!(engine.sweep(&stage.tenant).await.unwrap().rung, 1);
    assert_eq!(heard(&mut bells), [("Account".to_owned(), 0)]);
}

#[tokio::test]
async fn an_apply_whose_time_is_up_rings_its_own_slot_again_and_one_that_is_done_frees_it() {
    let stage = Stage::open().await;
    let (engine, mut bells) = ringing(&stage);
    insert(&stage, 1, 3).await;
    stage.capture_postgres().await;
    let object = syncline::model::ids::ObjectName::parse("Account").unwrap();
    let soon = engine.deadline_in(std::time::Duration::from_secs(1));
    let report = engine.apply(&stage.tenant, &object, 0, soon).await.unwrap();
    assert_eq!((report.leased, report.rung_again), (0, true));
    assert_eq!(heard(&mut bells), [("Account".to_owned(), 0)]);

    let report = engine
        .apply(&stage.tenant, &object, 0, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.leased, report.rung_again), (3, false));
    assert_eq!(heard(&mut bells), []);
    assert_eq!(
        stage
            .one("select count(*) from syncline.sync_doorbell")
            .await,
        json!(0)
    );
}
