//! A missing row is a deleted one only by evidence: a delete entry of the outbox, a truncate, or a comparison.

use serde_json::{Value as Json, json};

use crate::stage::Stage;

/// Accounts `a-1` to `a-<count>`, in step.
async fn in_step(count: usize) -> Stage {
    let stage = Stage::open().await;
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, {count}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

/// Hides the row `a-1` from everyone, without a delete.
async fn hide(stage: &Stage) {
    stage
        .unnoticed(
            "create table hidden as select * from account where external_id = 'a-1';
            delete from account where external_id = 'a-1'",
        )
        .await;
}

async fn wait_out(stage: &Stage) {
    for _ in 0..12 {
        stage.drain().await;
        stage.make_due().await;
    }
}

async fn states(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select external_id, state, reason from syncline.record_status where state <> 'in_sync'")
        .await
}

#[tokio::test]
async fn update_whose_row_is_missing_is_no_delete() {
    let stage = in_step(3).await;
    stage
        .sql("update account set phone = '1' where external_id = 'a-1'")
        .await;
    hide(&stage).await;
    wait_out(&stage).await;
    // Nor does an edit in Salesforce meet a delete.
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Industry": "Energy"}));
    wait_out(&stage).await;
    assert_eq!(stage.org.count("Account"), 3);
    assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    assert_eq!(
        states(&stage).await,
        [json!({"external_id": "a-1", "state": "parked", "reason": "row_missing"})]
    );

    stage
        .sql("insert into account overriding system value select * from hidden")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("1"));
    let industry = "select industry from account where external_id = 'a-1'";
    assert_eq!(stage.one(industry).await, json!("Energy"));
}

#[tokio::test]
async fn missing_row_is_deleted_once_a_comparison_finds_it_missing() {
    let stage = in_step(3).await;
    stage
        .sql("update account set phone = '1' where external_id = 'a-1'")
        .await;
    hide(&stage).await;
    wait_out(&stage).await;
    assert_eq!(stage.org.count("Account"), 3);
    let compared = stage.engine.reconcile_full(&stage.tenant, stage.deadline());
    let compared = compared.await.unwrap();
    assert_eq!((compared.drifted.len(), compared.enqueued), (1, 1));
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 2);
    stage.assert_equal().await;
}

#[tokio::test]
async fn delete_that_is_not_captured_yet_waits_for_its_entry() {
    let stage = in_step(3).await;
    stage
        .sql("update account set phone = '1' where external_id = 'a-1'")
        .await;
    stage.capture_postgres().await;
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    let applied = stage.apply("Account").await;
    assert_eq!((applied.leased, applied.requeued), (1, 1), "{applied:?}");
    assert_eq!(stage.org.count("Account"), 3);
    // Its entry makes it due at once.
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 2);
    stage.assert_equal().await;
}

#[tokio::test]
async fn last_entry_of_a_row_decides() {
    let stage = in_step(3).await;
    stage
        .sql(
            "delete from account where external_id in ('a-1', 'a-2');
            insert into account (external_id, name) values ('a-1', 'Bob'), ('a-2', 'Bob');
            delete from account where external_id = 'a-1'",
        )
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.id_of("Account", "a-1"), None);
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn backfill_that_read_a_row_before_its_delete_hides_no_delete() {
    let stage = in_step(3).await;
    let mut deleting = stage.pool.begin().await.unwrap();
    sqlx::query("delete from account where external_id = 'a-1'")
        .execute(&mut *deleting)
        .await
        .unwrap();
    // Its entry comes after that of the delete, which it does not see yet.
    stage
        .sql(
            "insert into syncline.sync_outbox (tenant, object, operation, external_id, tombstone, entered_at)
            select 'acme', 'Account', 'backfill', external_id, false, syncline.wall_clock() from account",
        )
        .await;
    deleting.commit().await.unwrap();
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 2);
    stage.assert_equal().await;
}

#[tokio::test]
async fn truncated_rows_were_deleted() {
    let stage = in_step(12).await;
    stage.sql("truncate account").await;
    stage.drain().await;
    let withheld = json!({"state": "parked", "reason": "mass_delete"});
    let found = stage.rows("select state, reason from syncline.record_status");
    assert_eq!(found.await, vec![withheld; 12]);
}
