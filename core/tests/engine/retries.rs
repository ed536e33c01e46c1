//! How often and how long a record is tried again, by the calls and leases of moved clocks.

use salesforce_org::FaultAction;
use serde_json::json;

use crate::mapping::with_line;
use crate::stage::Stage;

/// A fault that lasts for the whole test.
const ALWAYS: u32 = 1_000_000;

async fn with_row() -> Stage {
    let stage = Stage::open().await;
    // The first capture scans the empty org.
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    stage
}

/// Applies every few seconds for some minutes. Returns the calls of the org and the leases that it took.
async fn apply_for(stage: &Stage, minutes: u32, seconds_between: u32) -> (u64, usize) {
    let calls = || stage.org.calls().values().sum::<u64>();
    let before = calls();
    let mut leased = 0;
    for _ in 0..minutes * 60 / seconds_between {
        leased += stage.apply("Account").await.leased;
        stage.pass_seconds(seconds_between).await;
    }
    (calls() - before, leased)
}

async fn attempts(stage: &Stage) -> serde_json::Value {
    stage.one("select attempts from syncline.sync_task").await
}

#[tokio::test]
async fn unanswered_writes_are_retried_ever_more_rarely_and_park() {
    for fault in [
        FaultAction::FailBeforeWrite,
        FaultAction::Answer {
            status: 502,
            body: String::new(),
        },
    ] {
        let stage = with_row().await;
        stage.org.fault(&fault.once().times(ALWAYS).on("sobjects"));
        let (calls, leased) = apply_for(&stage, 120, 240).await;
        // Each attempt is a write, and a read before the next one.
        assert!((10..=13).contains(&leased), "{leased} leases");
        assert!(calls <= 26, "{calls} calls");
        assert_eq!(
            stage
                .rows("select state, code from syncline.sync_task")
                .await,
            [json!({"state": "parked", "code": "unknown_outcome"})]
        );
        stage.org.end_faults();
        stage
            .sql("update account set name = 'Ada Ltd' where external_id = 'a-1'")
            .await;
        stage.drain().await;
        stage.assert_equal().await;
        assert_eq!(stage.org.count("Account"), 1);
    }
}

#[tokio::test]
async fn attempts_of_one_cause_do_not_count_for_another() {
    let stage = with_row().await;
    let refused = |code: &str, message: &str| FaultAction::RejectRow {
        external_id: "a-1".to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let locked = refused("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access");
    stage.org.fault(&locked.once().times(9));
    for _ in 0..9 {
        stage.apply("Account").await;
        stage.make_due().await;
    }
    let orphan = refused(
        "INVALID_FIELD",
        "Foreign key external ID: p-1 not found for field External_Id__c in entity Account",
    );
    stage.org.fault(&orphan.once());
    let applied = stage.apply("Account").await;
    assert_eq!((applied.requeued, applied.parked), (1, 0), "{applied:?}");
    assert_eq!(attempts(&stage).await, json!({"refused": 9, "parent": 1}));
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn locked_row_is_tried_ever_more_rarely_and_never_parks() {
    let stage = Stage::open().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    let mut other = stage.pool.begin().await.unwrap();
    sqlx::query("select from account for update")
        .execute(&mut *other)
        .await
        .unwrap();
    stage.org.update(&ada, json!({"Phone": "1"}));
    stage.capture_salesforce().await;
    let (calls, leased) = apply_for(&stage, 20, 5).await;
    assert!((20..=45).contains(&leased), "{leased} leases");
    assert_eq!(calls, 0);
    other.rollback().await.unwrap();
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn refused_write_logs_a_discarded_value_once() {
    let stage = Stage::with_mapping(&with_line("conflicts = \"postgres_wins\"")).await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.update(&ada, json!({"Phone": "1"}));
    stage.sql("update account set phone = '2'").await;
    stage.capture_salesforce().await;
    stage.capture_postgres().await;
    let locked = FaultAction::RejectRow {
        external_id: "a-1".to_owned(),
        code: "UNABLE_TO_LOCK_ROW".to_owned(),
        message: "unable to obtain exclusive access".to_owned(),
    };
    stage.org.fault(&locked.once().times(5));
    for _ in 0..6 {
        stage.apply("Account").await;
        stage.make_due().await;
    }
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage
            .rows("select field, side, value from syncline.sync_discarded_value")
            .await,
        [json!({"field": "Phone", "side": "salesforce", "value": "1"})]
    );
}
