//! Edits in Salesforce that were not captured yet when we wrote: a delete never takes them along, and an update of a
//! worker that is behind reads them first.

use serde_json::{Value as Json, json};

use crate::crashes::pausing_worker;
use crate::mapping::with_line;
use crate::pausing::PauseAt;
use crate::stage::Stage;

/// Opens a stage with one account in sync; returns its Salesforce id.
async fn agreed(line: &str) -> (Stage, String) {
    let stage = Stage::with_mapping(&with_line(line)).await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.advance_ms(5_000);
    (stage, id)
}

/// Edits the phone in Salesforce, changes the row, and works without capturing the event.
async fn write_unseen(stage: &Stage, id: &str, statement: &str) {
    stage.org.update(id, json!({"Phone": "2"}));
    stage.sql(statement).await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
}

async fn discarded(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select field, side, value from syncline.sync_discarded_value")
        .await
}

/// Makes the stream look as if its owner had died two minutes ago.
async fn fall_behind(stage: &Stage) {
    stage
        .sql("update syncline.sync_checkpoint set read_at = read_at - interval '2 minutes'")
        .await;
}

#[tokio::test]
async fn unseen_edit_meets_the_delete_of_its_row() {
    let (stage, id) = agreed("deletes = { on_edit = \"manual\" }").await;
    write_unseen(&stage, &id, "delete from account").await;
    assert_eq!(stage.org.count("Account"), 1);
    assert_eq!(stage.conflicts().await.len(), 1);
}

#[tokio::test]
async fn unseen_edit_wins_or_is_logged_by_policy() {
    let (stage, id) = agreed("deletes = { on_edit = \"edit_wins\" }").await;
    write_unseen(&stage, &id, "delete from account").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select phone from account").await, json!("2"));

    let (stage, id) = agreed("deletes = { on_edit = \"delete_wins\" }").await;
    write_unseen(&stage, &id, "delete from account").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 0);
    assert_eq!(
        discarded(&stage).await,
        [json!({"field": "Phone", "side": "salesforce", "value": "2"})]
    );
}

#[tokio::test]
async fn delete_costs_two_reads_and_no_more() {
    let (stage, _) = agreed("deletes = { on_edit = \"manual\" }").await;
    let before = stage.org.calls();
    stage.sql("delete from account").await;
    stage.capture_postgres().await;
    let report = stage.apply("Account").await;
    assert_eq!((report.refreshed, report.applied), (1, 1), "{report:?}");
    let calls = |calls: &std::collections::BTreeMap<String, u64>| calls.values().sum::<u64>();
    // One of the record, and one of the contacts that would go with it.
    assert_eq!(calls(&stage.org.calls()) - calls(&before), 3);
}

#[tokio::test]
async fn worker_behind_the_stream_reads_before_it_updates() {
    let (stage, id) = agreed("conflicts = \"manual_review\"").await;
    fall_behind(&stage).await;
    write_unseen(&stage, &id, "update account set phone = '3'").await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
    assert_eq!(stage.conflicts().await.len(), 1);

    let (stage, id) = agreed("conflicts = \"salesforce_wins\"").await;
    fall_behind(&stage).await;
    write_unseen(&stage, &id, "update account set phone = '3'").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
}

#[tokio::test]
async fn fields_that_postgres_wins_are_written_without_a_read() {
    let (stage, _) = agreed("conflicts = \"postgres_wins\"").await;
    fall_behind(&stage).await;
    stage
        .sql("update account set phone = '3', rating = 'Hot'")
        .await;
    stage.capture_postgres().await;
    let report = stage.apply("Account").await;
    assert_eq!((report.refreshed, report.applied), (0, 1), "{report:?}");
}

#[tokio::test]
async fn row_created_again_takes_nothing_of_the_deleted_record() {
    for deleted_in_postgres in [true, false] {
        let (stage, id) = agreed("deletes = { on_edit = \"delete_wins\" }").await;
        match deleted_in_postgres {
            true => stage.sql("delete from account").await,
            false => stage.org.delete(&id),
        }
        stage.drain().await;
        stage.org.advance_ms(5_000);
        stage
            .sql("insert into account (external_id, name) values ('a-1', 'Bob')")
            .await;
        stage.capture_postgres().await;
        stage.apply("Account").await;
        stage.apply("Account").await;
        stage.drain().await;
        stage.assert_equal().await;
        let row = stage.rows("select name, phone from account").await;
        assert_eq!(row, [json!({"name": "Bob", "phone": null})]);
        assert_eq!(discarded(&stage).await, [] as [Json; 0]);
    }
}

/// How an edit between our read and our delete becomes known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// By its event, after the answer to the delete.
    AfterTheAnswer,
    /// By its event, before that answer.
    BeforeTheAnswer,
    /// By its event, after the row was inserted again and created in Salesforce.
    AfterASuccessor,
}

/// A person edits the phone, `later_ms` after the last change that was seen, between our read and our delete.
async fn deletes_over_an_edit(policy: &str, known: Known, later_ms: i64) -> Stage {
    let (stage, id) = agreed(policy).await;
    stage.sql("delete from account").await;
    stage.capture_postgres().await;
    let pause = match known {
        Known::BeforeTheAnswer => PauseAt::AfterWriting,
        Known::AfterTheAnswer | Known::AfterASuccessor => PauseAt::Never,
    };
    let (worker, port) = pausing_worker(&stage, pause);
    let org = stage.org.clone();
    port.before_next_write(move || {
        org.advance_ms(later_ms);
        org.update(&id, json!({"Phone": "2"}));
        org.advance_ms(later_ms);
    });
    tokio::join!(stage.apply_by(&worker, "Account"), async {
        if known == Known::BeforeTheAnswer {
            port.paused.notified().await;
            stage.capture_salesforce().await;
            port.resume.notify_one();
        }
    });
    assert_eq!(stage.org.count("Account"), 0);
    if known == Known::AfterASuccessor {
        stage
            .sql("insert into account (external_id, name, phone) values ('a-1', 'Eve', '9')")
            .await;
        stage.capture_postgres().await;
        stage.apply("Account").await;
        assert_eq!(stage.org.count("Account"), 1);
    }
    stage.drain().await;
    stage
}

#[tokio::test]
async fn edit_between_read_and_delete_is_logged() {
    let logged = json!({"field": "Phone", "side": "salesforce", "value": "2"});
    for known in [
        Known::AfterTheAnswer,
        Known::BeforeTheAnswer,
        Known::AfterASuccessor,
    ] {
        for (on_edit, later_ms) in [("delete_wins", 2_000), ("manual", 0)] {
            let policy = format!("deletes = {{ on_edit = \"{on_edit}\" }}");
            let stage = deletes_over_an_edit(&policy, known, later_ms).await;
            let case = format!("{known:?}, {later_ms} ms later");
            stage.assert_equal().await;
            assert_eq!(
                discarded(&stage).await,
                std::slice::from_ref(&logged),
                "{case}"
            );
            // A comparison reads the recycle bin, too.
            let compared = stage.engine.reconcile_full(&stage.tenant, stage.deadline());
            compared.await.unwrap();
            stage.drain().await;
            stage.assert_equal().await;
            assert_eq!(discarded(&stage).await.len(), 1, "{case}");
        }
    }
}

#[tokio::test]
async fn row_edit_captured_after_its_delete_is_logged() {
    let (stage, id) = agreed("deletes = { on_edit = \"delete_wins\" }").await;
    stage.org.delete(&id);
    stage.capture_salesforce().await;
    stage.sql("update account set phone = '2'").await;
    // The row is deleted before its outbox rows are captured.
    stage.apply("Account").await;
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
    stage.drain().await;
    stage.assert_equal().await;
    let logged = json!({"field": "Phone", "side": "postgres", "value": "2"});
    assert_eq!(discarded(&stage).await, [logged]);
}
