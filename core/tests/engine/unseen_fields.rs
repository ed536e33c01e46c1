//! A create sends no nulls. Until its event comes, nothing is known of the fields that it did not send: they
//! are neither null nor in step.

use serde_json::json;

use crate::mapping::with_line;
use crate::stage::Stage;

/// An account that was just created in Salesforce, without a phone. Its event has not come.
async fn created() -> (Stage, String) {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    (stage, id)
}

async fn apply_until_quiet(stage: &Stage) {
    while stage.apply("Account").await.leased > 0 {}
}

#[tokio::test]
async fn edit_before_the_creates_event_is_sent_at_once() {
    let (stage, id) = created().await;
    stage.sql("update account set phone = '2'").await;
    stage.capture_postgres().await;
    apply_until_quiet(&stage).await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn edit_of_either_side_before_the_event_is_not_lost() {
    let (stage, id) = created().await;
    stage
        .org
        .update(&id, json!({"Industry": "Energy", "Phone": "1"}));
    stage
        .sql("update account set phone = '2', revenue = 5")
        .await;
    stage.capture_postgres().await;
    apply_until_quiet(&stage).await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&id, "AnnualRevenue").as_deref(),
        Some("5.0")
    );
    assert_eq!(
        stage.one("select industry from account").await,
        json!("Energy")
    );
    let conflicts = stage.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0]["postgres_value"], json!("2"));
    assert_eq!(conflicts[0]["salesforce_value"], json!("1"));
}

#[tokio::test]
async fn many_edits_before_the_event_need_one_read() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, 150) as n")
        .await;
    stage.capture_postgres().await;
    apply_until_quiet(&stage).await;
    stage.sql("update account set phone = external_id").await;
    stage.capture_postgres().await;
    let refreshed = stage.apply("Account").await.refreshed;
    assert_eq!(refreshed, 150);
    apply_until_quiet(&stage).await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn policies_decide_about_fields_that_a_create_left_out() {
    for (policy, kept, conflicts) in [
        ("salesforce_wins", "1", 0),
        ("postgres_wins", "2", 0),
        ("manual_review", "1", 1),
    ] {
        let stage = Stage::with_mapping(&with_line(&format!("conflicts = \"{policy}\""))).await;
        stage
            .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
            .await;
        stage.drain().await;
        let id = stage.org.id_of("Account", "a-1").unwrap();
        stage.org.update(&id, json!({"Phone": "1"}));
        stage.sql("update account set phone = '2'").await;
        stage.drain().await;
        let there = stage.org.value(&id, "Phone");
        assert_eq!(there.as_deref(), Some(kept), "{policy}");
        let open = stage.conflicts().await;
        assert_eq!(open.len(), conflicts, "{policy}: {open:?}");
        if conflicts == 0 {
            stage.assert_equal().await;
        } else {
            assert_eq!(open[0]["base_value"], json!(null));
        }
    }
}
