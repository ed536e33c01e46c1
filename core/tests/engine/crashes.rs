//! Workers that crash, and workers that continue after their lease has expired.

use std::sync::Arc;

use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::engine::SyncEngine;
use syncline::ports::{SalesforcePort, Store};

use crate::pausing::{PauseAt, PausingSalesforce};
use crate::stage::Stage;

/// Returns a worker whose calls pause at `pause`, and the port that pauses them.
pub(crate) fn pausing_worker(
    stage: &Stage,
    pause: PauseAt,
) -> (SyncEngine, Arc<PausingSalesforce>) {
    let inner = Arc::clone(&stage.salesforce);
    let port = PausingSalesforce::new(inner, &stage.org, pause);
    let store = Arc::new(stage.store.clone()) as Arc<dyn Store>;
    let engine = stage.worker(
        "doomed",
        store,
        Arc::clone(&port) as Arc<dyn SalesforcePort>,
    );
    (engine, port)
}

/// Lets a worker apply until it pauses, and cancels its job there. Returns the worker.
async fn cut_at(stage: &Stage, pause: PauseAt) -> SyncEngine {
    let (worker, port) = pausing_worker(stage, pause);
    tokio::select! {
        applied = stage.apply_by(&worker, "Account") => panic!("it was not cut: {applied:?}"),
        () = port.paused.notified() => {}
    }
    worker
}

/// Lets a worker apply until it pauses, and kills it there.
async fn die_at(stage: &Stage, pause: PauseAt) {
    drop(cut_at(stage, pause).await);
    stage.expire_leases().await;
    stage.sweep().await;
}

#[tokio::test]
async fn crash_between_remote_commit_and_settle_creates_no_duplicate() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob')")
        .await;
    stage.capture_postgres().await;
    die_at(&stage, PauseAt::AfterWriting).await;
    let writes = stage.org.writing_calls();
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
    assert_eq!(
        stage.org.writing_calls(),
        writes,
        "it refreshed the records and wrote nothing"
    );
}

#[tokio::test]
async fn crash_before_the_write_was_sent_loses_nothing() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    die_at(&stage, PauseAt::BeforeWriting).await;
    assert_eq!(stage.org.count("Account"), 0);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 1);
}

#[tokio::test]
async fn edit_after_write_of_unknown_outcome_is_kept() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("update account set name = 'Two'").await;
    stage.capture_postgres().await;
    die_at(&stage, PauseAt::AfterWriting).await;
    stage.org.update(&id, json!({"Name": "Three"}));
    // The refresh happens before any event is read.
    stage.apply("Account").await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Three"));
}

#[tokio::test]
async fn worker_with_an_expired_lease_settles_nothing() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    stage.sql("update account set name = 'Two'").await;
    stage.capture_postgres().await;
    let (late, port) = pausing_worker(&stage, PauseAt::AfterWriting);
    let (late_report, ()) = tokio::join!(stage.apply_by(&late, "Account"), async {
        port.paused.notified().await;
        stage.expire_leases().await;
        stage.sweep().await;
        stage.sql("update account set name = 'Three'").await;
        stage.drain().await;
        port.resume.notify_one();
    });
    assert_eq!(late_report.lost, 1, "{late_report:?}");
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select name from account").await, json!("Three"));
}

#[tokio::test]
async fn edit_that_our_write_replaced_unseen_becomes_a_conflict() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("update account set name = 'Two'").await;
    stage.capture_postgres().await;
    let (worker, port) = pausing_worker(&stage, PauseAt::Never);
    let (org, edited) = (stage.org.clone(), id.clone());
    port.before_next_write(move || org.update(&edited, json!({"Name": "Three"})));
    stage.apply_by(&worker, "Account").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Two"));
    let conflict = json!({
        "field": "Name", "base_value": "Ada", "postgres_value": "Two", "salesforce_value": "Three"
    });
    assert_eq!(stage.conflicts().await, [conflict]);
}

#[tokio::test]
async fn two_workers_at_once_create_each_record_once() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, 300) as n")
        .await;
    stage.capture_postgres().await;
    let (other, _) = pausing_worker(&stage, PauseAt::Never);
    tokio::join!(
        stage.apply("Account"),
        stage.apply_by(&other, "Account"),
        stage.apply_by(&other, "Account")
    );
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 300);
}

#[tokio::test]
async fn revert_during_our_write_is_kept() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Nought')")
        .await;
    stage.drain().await;
    stage.sql("update account set name = 'One'").await;
    stage.capture_postgres().await;
    let (worker, port) = pausing_worker(&stage, PauseAt::AfterWriting);
    let (report, ()) = tokio::join!(stage.apply_by(&worker, "Account"), async {
        port.paused.notified().await;
        // The echo and the revert are both captured before the answer arrives.
        stage.capture_salesforce().await;
        stage.sql("update account set name = 'Nought'").await;
        stage.capture_postgres().await;
        port.resume.notify_one();
        // The revert's own write.
        port.paused.notified().await;
        port.resume.notify_one();
    });
    assert_eq!((report.applied, report.lost), (2, 0), "{report:?}");
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select name from account").await, json!("Nought"));
}

#[tokio::test]
async fn write_that_lands_after_lease_expiry_is_corrected() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'One')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("update account set name = 'Two'").await;
    stage.capture_postgres().await;
    let (frozen, port) = pausing_worker(&stage, PauseAt::BeforeWriting);
    let (report, ()) = tokio::join!(stage.apply_by(&frozen, "Account"), async {
        port.paused.notified().await;
        stage.expire_leases().await;
        stage.sweep().await;
        stage.sql("update account set name = 'Three'").await;
        stage.drain().await;
        assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Three"));
        port.resume.notify_one();
    });
    assert_eq!(report.lost, 1, "{report:?}");
    assert_eq!(
        stage.org.value(&id, "Name").as_deref(),
        Some("Two"),
        "the late write had its effect"
    );
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select name from account").await, json!("Three"));
}

#[tokio::test]
async fn records_only_refreshed_are_released_when_worker_gives_up() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob')")
        .await;
    stage.capture_postgres().await;
    // Nothing of the org has been read yet, so the records are refreshed before they are created.
    let cut = cut_at(&stage, PauseAt::BeforeReading).await;
    let states = "select string_agg(distinct state, ', ') from syncline.sync_task";
    assert_eq!(stage.one(states).await, json!("leased"));
    assert_eq!(
        cut.release_orphaned_leases().await,
        2,
        "the records and the permit"
    );
    assert_eq!(stage.one(states).await, json!("ready"));
    let permits = "select count(*) from syncline.sync_wake_up_permit";
    assert_eq!(stage.one(permits).await, json!(0));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        cut.release_orphaned_leases().await,
        0,
        "there are none left"
    );
}

#[tokio::test]
async fn interrupted_release_is_retried() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob')")
        .await;
    stage.capture_postgres().await;
    let cut = cut_at(&stage, PauseAt::BeforeReading).await;
    // The release is cancelled after its statement was sent and before the database responded.
    tokio::select! {
        biased;
        released = cut.release_orphaned_leases() => panic!("it was not cut: {released}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(
        cut.release_orphaned_leases().await,
        2,
        "the records and the permit"
    );
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn record_with_possible_write_stays_leased_when_worker_gives_up() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    let cut = cut_at(&stage, PauseAt::BeforeWriting).await;
    cut.release_orphaned_leases().await;
    assert_eq!(
        stage.one("select state from syncline.sync_task").await,
        json!("leased")
    );
    assert_eq!(stage.apply("Account").await.leased, 0);
    stage.expire_leases().await;
    stage.sweep().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn stream_of_a_cancelled_reader_is_free_at_once() {
    let stage = Stage::open().await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let (cut, port) = pausing_worker(&stage, PauseAt::BeforeReading);
    let options = CaptureOptions::draining(stage.deadline());
    tokio::select! {
        captured = cut.capture_salesforce(&stage.tenant, &options) => {
            panic!("it was not cut: {captured:?}")
        }
        () = port.paused.notified() => {}
    }
    assert!(stage.capture_salesforce().await.leased_elsewhere);
    assert_eq!(
        cut.release_orphaned_leases().await,
        2,
        "the events and the scan"
    );
    assert!(!stage.capture_salesforce().await.leased_elsewhere);
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn sweep_releases_leases_of_a_dead_worker() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    die_at(&stage, PauseAt::BeforeWriting).await;
    let state = "select state from syncline.sync_task";
    assert_eq!(stage.one(state).await, json!("ready"));
    assert_eq!(
        stage.one("select state from syncline.sync_intent").await,
        json!("unknown"),
        "a write that may have been sent is refreshed, not sent again"
    );
}
