//! Comparing both live sides: it finds drift, writes to neither side, and publishes its result.

use serde_json::json;

use crate::stage::Stage;

async fn with_accounts() -> Stage {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, 120) as n")
        .await;
    stage.drain().await;
    stage
}

#[tokio::test]
async fn comparison_of_equal_sides_finds_no_difference() {
    let stage = with_accounts().await;
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert!(report.complete);
    assert_eq!(
        (report.compared, report.drifted.len(), report.enqueued),
        (120, 0, 0)
    );
    assert_eq!(
        stage
            .one("select classes from syncline.sync_comparison where object = 'Account'")
            .await,
        json!({"equal": 120})
    );
}

#[tokio::test]
async fn drift_is_found_and_repaired_by_ordinary_work() {
    let stage = with_accounts().await;
    stage
        .unnoticed("update account set name = 'Unnoticed' where external_id = 'a-7'")
        .await;
    assert_eq!(stage.capture_postgres().await.counts.seen, 0);
    let drifted = stage
        .engine
        .detect_drift(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(drifted.len(), 1, "{drifted:?}");
    assert_eq!(drifted[0].external_id, "a-7");
    assert_eq!(drifted[0].fields[0].as_str(), "Name");
    let writes = stage.org.writing_calls();
    let enqueued = stage
        .engine
        .enqueue_repair(&stage.tenant, &drifted)
        .await
        .unwrap();
    assert_eq!(enqueued, 1);
    assert_eq!(
        stage.org.writing_calls(),
        writes,
        "reconcile writes nothing"
    );
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn record_with_open_work_is_not_drift() {
    let stage = with_accounts().await;
    stage
        .sql("update account set name = 'Soon' where external_id = 'a-7'")
        .await;
    stage.capture_postgres().await;
    let drifted = stage
        .engine
        .detect_drift(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(drifted, Vec::new());
}

#[tokio::test]
async fn conflict_is_counted_apart_from_drift() {
    let stage = with_accounts().await;
    let id = stage.org.id_of("Account", "a-7").unwrap();
    stage
        .sql("update account set name = 'Here' where external_id = 'a-7'")
        .await;
    stage.org.update(&id, json!({"Name": "There"}));
    stage.drain().await;
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.allowed, report.drifted.len()), (1, 0));
}

#[tokio::test]
async fn record_deleted_without_an_event_is_refreshed() {
    let stage = with_accounts().await;
    let id = stage.org.id_of("Account", "a-7").unwrap();
    stage.org.delete(&id);
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(report.enqueued, 1);
    stage.apply("Account").await;
    assert_eq!(stage.one("select count(*) from account").await, json!(119));
    stage.drain().await;
    stage.assert_equal().await;
}
