//! Events that come after a write of ours that overwrote their edit: the policy decides about the edit, whichever
//! way it becomes known.

use std::collections::BTreeMap;

use salesforce_org::FaultAction;
use serde_json::{Value as Json, json};
use syncline::Side;
use syncline::engine::system::SystemClock;
use syncline::ports::Clock;
use syncline::store::{ConflictFilter, Resolution};

use crate::mapping::with_line;
use crate::stage::Stage;

/// How the edit under our write becomes known.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// By its event, before our echo.
    ByEvent,
    /// By its event, after the record was read because the answer to our write was lost.
    AfterLostAnswer,
    /// By its event, after a comparison has read the record.
    AfterComparison,
}

const WAYS: [Known; 3] = [
    Known::ByEvent,
    Known::AfterLostAnswer,
    Known::AfterComparison,
];

/// A person edits the phone in the second of the last change that was seen, which no condition can notice, and a
/// write of ours overwrites it. Returns the stage and the Salesforce id once all events have come.
async fn overwritten(policy: &str, known: Known) -> (Stage, String) {
    let stage = Stage::with_mapping(&with_line(policy)).await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 60_000);
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.org.advance_ms(5_000);
    if let Known::AfterLostAnswer = known {
        stage.org.fault(&FaultAction::FailAfterWrite.once());
    }
    stage.sql("update account set phone = '3'").await;
    stage.capture_postgres().await;
    let applied = stage.apply("Account").await;
    assert_eq!(applied.applied + applied.unknown, 1, "{applied:?}");
    if let Known::AfterComparison = known {
        let compared = stage
            .engine
            .reconcile_incremental(&stage.tenant, stage.deadline())
            .await;
        compared.unwrap();
    }
    stage.make_due().await;
    while stage.apply("Account").await.leased > 0 {}
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("3"));
    stage.drain().await;
    (stage, id)
}

async fn discarded(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select field, side, value from syncline.sync_discarded_value")
        .await
}

async fn resolve(stage: &Stage, winner: Side) {
    let filter = ConflictFilter::default();
    let open = stage.store.conflicts(&stage.tenant, &filter, 10).await;
    let open = open.unwrap().remove(0);
    let mapped = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    let resolution = stage
        .store
        .resolve_conflict(&mapped[0], open.conflict_id, open.version, winner)
        .await;
    assert_eq!(resolution.unwrap(), Resolution::Resolved);
    stage.drain().await;
}

async fn both_sides(stage: &Stage, id: &str) -> [Json; 2] {
    [
        stage.one("select phone from account").await,
        json!(stage.org.value(id, "Phone")),
    ]
}

#[tokio::test]
async fn overwritten_edit_waits_for_a_person() {
    for known in WAYS {
        let (stage, _) = overwritten("conflicts = \"manual_review\"", known).await;
        let conflict = json!({
            "field": "Phone", "base_value": "1", "postgres_value": "3", "salesforce_value": "2"
        });
        assert_eq!(stage.conflicts().await, [conflict], "{known:?}");
        assert_eq!(discarded(&stage).await, [] as [Json; 0], "{known:?}");
    }
}

#[tokio::test]
async fn person_restores_the_overwritten_edit_or_gives_it_up() {
    for (winner, loser, phone, lost) in [
        (Side::Salesforce, "postgres", "2", "3"),
        (Side::Postgres, "salesforce", "3", "2"),
    ] {
        let (stage, id) = overwritten("conflicts = \"manual_review\"", Known::ByEvent).await;
        resolve(&stage, winner).await;
        assert_eq!(both_sides(&stage, &id).await, [json!(phone), json!(phone)]);
        stage.assert_equal().await;
        assert!(stage.conflicts().await.is_empty(), "{winner:?}");
        let logged = json!({"field": "Phone", "side": loser, "value": lost});
        assert_eq!(discarded(&stage).await, [logged]);
    }
}

#[tokio::test]
async fn overwritten_edit_is_restored_where_salesforce_wins() {
    for known in WAYS {
        let (stage, id) = overwritten("conflicts = \"salesforce_wins\"", known).await;
        assert_eq!(
            both_sides(&stage, &id).await,
            [json!("2"), json!("2")],
            "{known:?}"
        );
        let logged = json!({"field": "Phone", "side": "postgres", "value": "3"});
        assert_eq!(discarded(&stage).await, [logged], "{known:?}");
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn overwritten_edit_is_logged_where_postgres_wins() {
    for known in WAYS {
        let (stage, id) = overwritten("conflicts = \"postgres_wins\"", known).await;
        assert_eq!(
            both_sides(&stage, &id).await,
            [json!("3"), json!("3")],
            "{known:?}"
        );
        let logged = json!({"field": "Phone", "side": "salesforce", "value": "2"});
        assert_eq!(discarded(&stage).await, [logged], "{known:?}");
        assert!(stage.conflicts().await.is_empty());
    }
}

#[tokio::test]
async fn person_who_edits_again_has_decided() {
    let (stage, id) = overwritten("conflicts = \"manual_review\"", Known::ByEvent).await;
    stage.org.advance_ms(2_000);
    stage.org.update(&id, json!({"Phone": "4"}));
    stage.drain().await;
    assert_eq!(both_sides(&stage, &id).await, [json!("4"), json!("4")]);
    assert!(stage.conflicts().await.is_empty());
    let logged = json!({"field": "Phone", "side": "salesforce", "value": "2"});
    assert_eq!(discarded(&stage).await, [logged]);
}

#[tokio::test]
async fn overwritten_edit_meets_the_delete_of_its_row() {
    let policy = "deletes = { on_edit = \"manual\" }";
    let (stage, id) = overwritten(policy, Known::ByEvent).await;
    stage.sql("delete from account").await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    let conflicts = stage.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0]["field"], Json::Null);
    let edit = conflicts[0]["salesforce_value"].as_str().unwrap();
    assert_eq!(edit, "{\"Phone\":\"2\"}");
    resolve(&stage, Side::Salesforce).await;
    assert_eq!(both_sides(&stage, &id).await, [json!("2"), json!("2")]);
}

/// Accounts in sync, each edited in Salesforce and then in its row; no event of those edits is captured.
async fn edited_on_both_sides(policy: &str, count: usize) -> Stage {
    let stage = Stage::with_mapping(&with_line(policy)).await;
    stage
        .sql(&format!(
            "insert into account (external_id, name, phone)
            select 'a-' || n, 'Account ' || n, '1' from generate_series(1, {count}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage.org.advance_ms(5_000);
    for account in stage.org.query("select Id from Account") {
        let id = account["Id"].as_str().unwrap();
        stage.org.update(id, json!({"Phone": "2"}));
    }
    stage.org.advance_ms(5_000);
    stage.sql("update account set phone = '3'").await;
    stage.capture_postgres().await;
    stage
}

fn phones(stage: &Stage, phone: &str) -> usize {
    let soql = format!("select Id from Account where Phone = '{phone}'");
    stage.org.query(&soql).len()
}

/// The calls since `before`, by method and resource.
fn calls_since(stage: &Stage, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let calls = stage.org.calls().into_iter();
    let since = calls.map(|(name, count)| {
        let known = before.get(&name).copied().unwrap_or_default();
        (name, count - known)
    });
    since.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test]
async fn unseen_edits_are_found_before_they_are_overwritten() {
    for count in [1, 20] {
        let stage = edited_on_both_sides("conflicts = \"manual_review\"", count).await;
        while stage.apply("Account").await.leased > 0 {}
        assert_eq!(phones(&stage, "2"), count, "no edit is overwritten");
        stage.drain().await;
        assert_eq!(stage.conflicts().await.len(), count);
        assert_eq!(discarded(&stage).await, [] as [Json; 0]);

        let stage = edited_on_both_sides("conflicts = \"salesforce_wins\"", count).await;
        stage.drain().await;
        stage.assert_equal().await;
        assert_eq!(phones(&stage, "2"), count);
    }
}

#[tokio::test]
async fn one_read_finds_the_changes_of_a_whole_batch() {
    let stage = edited_on_both_sides("conflicts = \"manual_review\"", 450).await;
    stage.capture_salesforce().await;
    stage.apply("Account").await;
    assert_eq!(stage.conflicts().await.len(), 450);
    stage.sql("update account set name = name || ' Ltd'").await;
    stage.capture_postgres().await;
    let before = stage.org.calls();
    let applied = stage.apply("Account").await;
    assert_eq!(applied.applied, 450, "{applied:?}");
    let calls = calls_since(&stage, &before);
    assert_eq!(calls.values().sum::<u64>(), 4, "{calls:?}");
}

#[tokio::test]
async fn unseen_edit_of_one_record_costs_one_refused_call_and_one_read() {
    let stage = edited_on_both_sides("conflicts = \"manual_review\"", 1).await;
    let before = stage.org.calls();
    while stage.apply("Account").await.leased > 0 {}
    let calls = calls_since(&stage, &before);
    assert_eq!(calls.values().sum::<u64>(), 2, "{calls:?}");
}

#[tokio::test]
async fn nothing_is_read_where_postgres_wins() {
    let stage = edited_on_both_sides("conflicts = \"postgres_wins\"", 450).await;
    let before = stage.org.calls();
    let applied = stage.apply("Account").await;
    assert_eq!(applied.applied, 450, "{applied:?}");
    let calls = calls_since(&stage, &before);
    assert_eq!(calls.values().sum::<u64>(), 3, "{calls:?}");
    stage.drain().await;
    assert_eq!(discarded(&stage).await.len(), 450, "each edit is logged");
}
