//! Deleted records of Salesforce: they stay deleted, and what lives again is seen again.

use serde_json::json;
use syncline::engine::system::SystemClock;
use syncline::ports::Clock;

use crate::crashes::pausing_worker;
use crate::mapping::{MAPPING, with_line};
use crate::pausing::PauseAt;
use crate::stage::Stage;

async fn compare_recent(stage: &Stage) {
    stage
        .engine
        .reconcile_incremental(&stage.tenant, stage.deadline())
        .await
        .unwrap();
}

async fn rows(stage: &Stage) -> serde_json::Value {
    stage
        .one("select coalesce(string_agg(external_id, ',' order by external_id), '') from account")
        .await
}

#[tokio::test]
async fn recycle_bin_brings_no_row_back() {
    let stage = Stage::open().await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 60_000);
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob')")
        .await;
    stage.drain().await;
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    compare_recent(&stage).await;
    stage.drain().await;
    assert_eq!(rows(&stage).await, json!("a-2"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn own_delete_whose_event_is_missed_brings_no_row_back() {
    let stage = Stage::open().await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 60_000);
    stage
        .sql(
            "alter table account add column note text;
            insert into account (external_id, name, note) values ('a-1', 'Ada', 'ours'), ('a-2', 'Bob', 'ours')",
        )
        .await;
    stage.drain().await;
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    assert_eq!(stage.org.count("Account"), 1);
    // The recycle bin has it, and no event of the delete was read.
    for _ in 0..2 {
        compare_recent(&stage).await;
        stage.apply("Account").await;
        assert_eq!(rows(&stage).await, json!("a-2"));
    }
    // The event comes late, and with the end of the record's link: a former id is no birth.
    stage.drain().await;
    compare_recent(&stage).await;
    stage.drain().await;
    assert_eq!(rows(&stage).await, json!("a-2"));
    assert_eq!(stage.one("select note from account").await, json!("ours"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn polled_org_is_first_read_without_its_recycle_bin() {
    let polled = "capture = \"poll\"\n\n[[tenant.acme.object]]\nobject      = \"Account\"";
    let mapping = MAPPING.replacen(
        "[[tenant.acme.object]]\nobject      = \"Account\"",
        polled,
        1,
    );
    let stage = Stage::with_mapping(&mapping).await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 60_000);
    let gone = json!({"Name": "Gone", "External_Id__c": "a-1"});
    let gone = stage.org.insert("Account", gone);
    stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    stage.org.delete(&gone);
    compare_recent(&stage).await;
    stage.drain_polling().await;
    compare_recent(&stage).await;
    stage.drain_polling().await;
    assert_eq!(rows(&stage).await, json!("a-2"));
}

#[tokio::test]
async fn record_whose_link_has_a_successor_is_seen_when_undeleted() {
    let stage = Stage::open().await;
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    let first = stage.org.insert("Account", ada);
    stage.drain().await;
    stage.org.delete(&first);
    stage.drain().await;
    assert_eq!(rows(&stage).await, json!(""));
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Eve')")
        .await;
    stage.drain().await;
    stage.sql("update account set external_id = 'a-2'").await;
    stage.drain().await;
    stage.assert_equal().await;

    stage.org.advance_ms(5_000);
    stage.org.undelete(&first);
    stage.drain().await;
    assert_eq!(rows(&stage).await, json!("a-1,a-2"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn full_comparison_finds_an_undeleted_record_whose_event_was_missed() {
    let stage = Stage::open().await;
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    let first = stage.org.insert("Account", ada);
    stage.drain().await;
    stage.org.delete(&first);
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Eve')")
        .await;
    stage.drain().await;
    stage.sql("update account set external_id = 'a-2'").await;
    stage.drain().await;
    stage.org.advance_ms(5_000);
    stage.org.undelete(&first);
    // The comparison comes before the event.
    stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    stage.apply("Account").await;
    assert_eq!(rows(&stage).await, json!("a-1,a-2"));
}

#[tokio::test]
async fn row_marked_as_deleted_is_in_step() {
    let soft = "deletes = { mode = \"soft\", column = \"deleted_at\" }";
    let stage = Stage::with_mapping(&with_line(soft)).await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.delete(&id);
    stage.drain().await;
    let marked = "select deleted_at is not null from account";
    assert_eq!(stage.one(marked).await, json!(true));
    let states = "select state, reason from syncline.record_status";
    assert_eq!(
        stage.rows(states).await,
        [json!({"state": "in_sync", "reason": "deleted in Salesforce"})]
    );
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let account = status
        .objects
        .iter()
        .find(|one| one.object.as_str() == "Account");
    let account = account.unwrap();
    assert_eq!((account.in_sync, account.pending), (1, 0));
}

#[tokio::test]
async fn delete_seen_before_the_answer_of_our_create_stands() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    let (worker, port) = pausing_worker(&stage, PauseAt::AfterWriting);
    tokio::join!(stage.apply_by(&worker, "Account"), async {
        port.paused.notified().await;
        let id = stage.org.id_of("Account", "a-1").unwrap();
        stage.org.delete(&id);
        stage.capture_salesforce().await;
        port.resume.notify_one();
    });
    stage.drain().await;
    assert_eq!(
        (stage.org.count("Account"), rows(&stage).await),
        (0, json!(""))
    );
    stage.assert_equal().await;
}

#[tokio::test]
async fn undelete_seen_before_the_answer_of_our_delete_stands() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("delete from account").await;
    stage.capture_postgres().await;
    let (worker, port) = pausing_worker(&stage, PauseAt::AfterWriting);
    tokio::join!(stage.apply_by(&worker, "Account"), async {
        port.paused.notified().await;
        stage.org.advance_ms(2_000);
        stage.org.undelete(&id);
        stage.capture_salesforce().await;
        port.resume.notify_one();
    });
    stage.drain().await;
    assert_eq!(
        (stage.org.count("Account"), rows(&stage).await),
        (1, json!("a-1"))
    );
    stage.assert_equal().await;
}
