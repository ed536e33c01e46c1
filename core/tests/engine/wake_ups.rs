//! Wake-ups: they do not multiply, and a lost one changes nothing.

use std::sync::Arc;

use serde_json::json;
use syncline::engine::SyncEngine;
use syncline::engine::in_process::{self, SentWakeUps};
use syncline::ports::WakeUp;

use crate::stage::Stage;

/// Returns an engine that sends wake-ups, and the queue that records them.
fn waking(stage: &Stage) -> (SyncEngine, SentWakeUps) {
    let (wake_up, sent_wake_ups) = in_process::channel();
    let engine = SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(stage.store.clone()),
            Arc::clone(&stage.salesforce),
        )
        .wake_up(Arc::new(wake_up))
        .build();
    (engine, sent_wake_ups)
}

fn received(sent_wake_ups: &mut SentWakeUps) -> Vec<(String, i32)> {
    std::iter::from_fn(|| sent_wake_ups.try_next())
        .map(|(WakeUp::Apply { object, permit, .. }, _)| (object.to_string(), permit))
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
async fn growing_backlog_does_not_multiply_wake_ups() {
    let stage = Stage::open().await;
    let (engine, mut sent_wake_ups) = waking(&stage);
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
    assert_eq!(received(&mut sent_wake_ups), [("Account".to_owned(), 0)]);
}

#[tokio::test]
async fn lost_wake_up_is_sent_again_when_its_permit_expires() {
    let stage = Stage::open().await;
    let (engine, mut sent_wake_ups) = waking(&stage);
    insert(&stage, 1, 3).await;
    stage.capture_postgres().await;
    // The worker that captured has no queue, so its wake-up is lost; its permit is still taken.
    assert_eq!(engine.sweep(&stage.tenant).await.unwrap().sent, 0);
    stage
        .sql("update syncline.sync_wake_up_permit set expires_at = syncline.clock() - interval '1 second'")
        .await;
    assert_eq!(engine.sweep(&stage.tenant).await.unwrap().sent, 1);
    assert_eq!(received(&mut sent_wake_ups), [("Account".to_owned(), 0)]);
}

#[tokio::test]
async fn apply_without_time_renews_its_permit_else_frees_it() {
    let stage = Stage::open().await;
    let (engine, mut sent_wake_ups) = waking(&stage);
    insert(&stage, 1, 3).await;
    stage.capture_postgres().await;
    let object = syncline::model::ids::ObjectName::parse("Account").unwrap();
    let soon = engine.deadline_in(std::time::Duration::from_secs(1));
    let report = engine.apply(&stage.tenant, &object, 0, soon).await.unwrap();
    assert_eq!((report.leased, report.sent_again), (0, true));
    assert_eq!(received(&mut sent_wake_ups), [("Account".to_owned(), 0)]);

    let report = engine
        .apply(&stage.tenant, &object, 0, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.leased, report.sent_again), (3, false));
    assert_eq!(received(&mut sent_wake_ups), []);
    assert_eq!(
        stage
            .one("select count(*) from syncline.sync_wake_up_permit")
            .await,
        json!(0)
    );
}

#[tokio::test]
async fn work_due_soon_gets_one_delayed_wake_up() {
    let stage = Stage::open().await;
    let (engine, mut sent_wake_ups) = waking(&stage);
    insert(&stage, 1, 3).await;
    stage.capture_postgres().await;
    let object = syncline::model::ids::ObjectName::parse("Account").unwrap();
    let due_in = async |seconds: u32| {
        stage
            .sql(&format!(
                "update syncline.sync_task set due_at = syncline.clock() + interval '{seconds} seconds'"
            ))
            .await;
    };
    let sent_by = async |permit| {
        engine
            .apply(&stage.tenant, &object, permit, stage.deadline())
            .await
            .unwrap();
    };
    let mut received = || -> Vec<(i32, u32)> {
        std::iter::from_fn(|| sent_wake_ups.try_next())
            .map(|(WakeUp::Apply { permit, .. }, delay)| (permit, delay))
            .collect()
    };

    due_in(40).await;
    sent_by(0).await;
    let wake_ups = received();
    assert!(
        matches!(wake_ups[..], [(4, 30..=41)]),
        "one wake-up at its time, not {wake_ups:?}"
    );
    sent_by(1).await;
    assert_eq!(received(), [], "a wake-up is in flight");

    due_in(10).await;
    sent_by(1).await;
    let wake_ups = received();
    assert!(
        matches!(wake_ups[..], [(4, 5..=11)]),
        "one wake-up at the earlier time, not {wake_ups:?}"
    );

    // The delayed wake-up arrived early: it is sent again with the same permit.
    sent_by(4).await;
    assert!(matches!(received()[..], [(4, 1..=11)]));
    due_in(300).await;
    sent_by(4).await;
    assert_eq!(received(), [], "the sweep runs before that");
    due_in(0).await;
    sent_by(4).await;
    assert_eq!(
        stage
            .one("select count(*) from syncline.sync_wake_up_permit")
            .await,
        json!(0),
        "all work is done: every permit is free"
    );
}
