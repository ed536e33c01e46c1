//! Faults of the network and the org.

use salesforce_org::FaultAction;
use serde_json::json;

use crate::stage::Stage;

async fn with_rows(count: usize) -> Stage {
    let stage = Stage::open().await;
    // The first capture scans the empty org.
    stage.drain().await;
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, {count}) as n"
        ))
        .await;
    stage.capture_postgres().await;
    stage
}

#[tokio::test]
async fn write_without_a_response_is_refreshed_not_repeated() {
    let stage = with_rows(3).await;
    stage
        .org
        .fault(&FaultAction::FailAfterWrite.once().on("composite"));
    let applied = stage.apply("Account").await;
    assert_eq!(applied.unknown, 3, "{applied:?}");
    let writes = stage.org.writing_calls();
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 3);
    assert_eq!(stage.org.writing_calls(), writes);
}

#[tokio::test]
async fn request_that_never_arrived_is_refreshed_then_sent() {
    let stage = with_rows(3).await;
    stage
        .org
        .fault(&FaultAction::FailBeforeWrite.once().on("composite"));
    assert_eq!(stage.apply("Account").await.unknown, 3);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 3);
}

#[tokio::test]
async fn session_ending_in_mid_batch_is_renewed_without_duplicates() {
    let stage = with_rows(450).await;
    stage
        .org
        .fault(&FaultAction::ExpireSession.once().on("composite"));
    let applied = stage.apply("Account").await;
    assert_eq!((applied.applied, applied.requeued), (450, 0), "{applied:?}");
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 450);
}

#[tokio::test]
async fn session_ending_twice_delays_the_call_without_duplicates() {
    let stage = with_rows(450).await;
    stage
        .org
        .fault(&FaultAction::ExpireSession.once().times(2).on("composite"));
    let applied = stage.apply("Account").await;
    assert_eq!((applied.parked, applied.unknown), (0, 0), "{applied:?}");
    assert_eq!(applied.requeued, 200, "{applied:?}");
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 450);
}

#[tokio::test]
async fn writes_beyond_the_quota_wait_and_do_not_park() {
    let stage = with_rows(3).await;
    let spent = FaultAction::Reject {
        status: 403,
        code: "REQUEST_LIMIT_EXCEEDED".to_owned(),
        message: "TotalRequests Limit exceeded.".to_owned(),
    };
    stage.org.fault(&spent.once().times(2).on("composite"));
    let applied = stage.apply("Account").await;
    assert!(applied.quota_spent);
    assert_eq!((applied.requeued, applied.parked), (3, 0));
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 0, "they wait");
    for _ in 0..2 {
        stage.make_due().await;
        stage.drain().await;
    }
    stage.assert_equal().await;
    assert_eq!(
        stage
            .one("select count(*) from syncline.sync_dead_letter")
            .await,
        json!(0)
    );
}

#[tokio::test]
async fn locked_record_delays_no_other() {
    let stage = with_rows(5).await;
    let locked = FaultAction::RejectRow {
        external_id: "a-3".to_owned(),
        code: "UNABLE_TO_LOCK_ROW".to_owned(),
        message: "unable to obtain exclusive access to this record".to_owned(),
    };
    stage.org.fault(&locked.once());
    let applied = stage.apply("Account").await;
    assert_eq!((applied.applied, applied.requeued), (4, 1), "{applied:?}");
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn refused_row_is_parked_with_message_until_corrected() {
    let stage = with_rows(3).await;
    let refused = FaultAction::RejectRow {
        external_id: "a-2".to_owned(),
        code: "FIELD_CUSTOM_VALIDATION_EXCEPTION".to_owned(),
        message: "Accounts need a phone".to_owned(),
    };
    stage.org.fault(&refused.once());
    let applied = stage.apply("Account").await;
    assert_eq!((applied.applied, applied.parked), (2, 1), "{applied:?}");
    let dead_letters = stage
        .rows("select code, message from syncline.sync_dead_letter")
        .await;
    assert!(
        dead_letters[0]["message"]
            .as_str()
            .unwrap()
            .contains("Accounts need a phone"),
        "{dead_letters:?}"
    );
    stage
        .sql("update account set phone = '1' where external_id = 'a-2'")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn duplicate_events_change_nothing() {
    let stage = Stage::open().await;
    stage.org.duplicate_events();
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.update(&ada, json!({"Phone": "1"}));
    stage.org.update(&ada, json!({"Phone": "2"}));
    stage.sql("update account set name = 'Ada Ltd'").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    assert_eq!(stage.org.writing_calls(), 1);
    stage.org.delete(&ada);
    stage.drain().await;
    stage.assert_equal().await;
    let absorbed_again = "select count(*) - count(distinct (salesforce_id, cursor))
        from syncline.sync_journal
        where source = 'salesforce' and cursor like 'salesforce-replay-id:%'";
    assert_eq!(stage.one(absorbed_again).await, json!(0));
}

#[tokio::test]
async fn every_job_run_twice_at_once_does_everything_once() {
    let stage = with_rows(40).await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "x-1"}));
    tokio::join!(stage.capture_postgres(), stage.capture_postgres());
    tokio::join!(stage.capture_salesforce(), stage.capture_salesforce());
    tokio::join!(stage.apply("Account"), stage.apply("Account"));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 41);
}

#[tokio::test]
async fn unreachable_org_delays_refreshes_and_loses_nothing() {
    let stage = with_rows(2).await;
    stage
        .org
        .fault(&FaultAction::FailAfterWrite.once().on("composite"));
    let down = FaultAction::Reject {
        status: 503,
        code: "SERVER_UNAVAILABLE".to_owned(),
        message: "Service unavailable".to_owned(),
    };
    stage.org.fault(&down.once().on("query"));
    let applied = stage.apply("Account").await;
    assert_eq!(
        (applied.unknown, applied.requeued, applied.parked),
        (2, 2, 0),
        "{applied:?}"
    );
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn row_that_was_deleted_while_its_create_had_no_answer_stays_deleted() {
    let stage = Stage::open().await;
    stage
        .org
        .fault(&FaultAction::FailAfterWrite.once().on("composite"));
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    assert_eq!(stage.org.count("Account"), 1);
    stage.sql("delete from account").await;
    stage.capture_postgres().await;
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
    assert_eq!(stage.org.count("Account"), 0);
    stage.assert_equal().await;
}
