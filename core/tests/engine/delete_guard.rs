//! Too many deletes at once wait for approval; other changes do not.

use serde_json::{Value as Json, json};
use syncline::model::ids::ObjectName;

use crate::mapping::with_line;
use crate::stage::Stage;

/// Opens a stage with accounts in sync, of which three may be deleted within an hour.
async fn agreed(accounts: usize) -> Stage {
    let stage = Stage::with_mapping(&with_line("deletes = { max_per_hour = 3 }")).await;
    stage
        .sql(&format!(
            "insert into account (external_id, name)
            select 'a-' || n, 'Account ' || n from generate_series(1, {accounts}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

async fn withheld(stage: &Stage) -> i64 {
    let status = stage.store.status(&stage.tenant).await.unwrap();
    status.objects.iter().map(|of| of.withheld_deletes).sum()
}

async fn approve(stage: &Stage) -> usize {
    let account = ObjectName::parse("Account").unwrap();
    let approved = stage.store.approve_deletes(&stage.tenant, &account).await;
    approved.unwrap()
}

#[tokio::test]
async fn emptied_table_deletes_nothing_and_rows_may_return() {
    let stage = agreed(8).await;
    stage
        .sql("create table kept as select * from account; truncate account")
        .await;
    stage.drain().await;
    assert_eq!((stage.org.count("Account"), withheld(&stage).await), (8, 8));
    let dead_letter = stage.store.dead_letters(&stage.tenant, None, 1).await;
    let dead_letter = dead_letter.unwrap().remove(0);
    assert_eq!(dead_letter.code, "mass_delete");
    for expected in ["8 of 8 Account", "syncline deletes approve Account"] {
        assert!(
            dead_letter.message.contains(expected),
            "{}",
            dead_letter.message
        );
    }

    stage
        .sql("insert into account (external_id, name) select external_id, name from kept")
        .await;
    stage.drain().await;
    assert_eq!(withheld(&stage).await, 0);
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 8);
}

#[tokio::test]
async fn approval_allows_all_deletes_for_an_hour() {
    let stage = agreed(10).await;
    stage
        .sql("delete from account where external_id <> 'a-1' and external_id <> 'a-2'")
        .await;
    stage.drain().await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (10, 8)
    );
    assert_eq!(approve(&stage).await, 8);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
    stage.sql("delete from account").await;
    stage.drain().await;
    assert_eq!((stage.org.count("Account"), withheld(&stage).await), (0, 0));
    let open = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.one(open).await, json!(0));
}

#[tokio::test]
async fn rows_of_deleted_records_stay_until_approved() {
    let stage = agreed(8).await;
    for n in 1..=8 {
        let id = stage.org.id_of("Account", &format!("a-{n}")).unwrap();
        stage.org.delete(&id);
    }
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(8));
    assert_eq!(withheld(&stage).await, 8);
    approve(&stage).await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(0));
}

#[tokio::test]
async fn single_deletes_of_an_hour_are_counted_together() {
    let stage = agreed(8).await;
    for n in 1..=5 {
        stage
            .sql(&format!("delete from account where external_id = 'a-{n}'"))
            .await;
        stage.drain().await;
    }
    assert_eq!((stage.org.count("Account"), withheld(&stage).await), (5, 2));

    // After an hour the count starts again.
    stage
        .sql(
            "update syncline.sync_delete_guard set window_began_at = syncline.clock() - interval '61 minutes'",
        )
        .await;
    stage
        .sql("delete from account where external_id = 'a-6'")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 4);
}

#[tokio::test]
async fn deletes_of_a_small_share_need_no_approval() {
    let stage = agreed(60).await;
    stage
        .sql("delete from account where external_id in ('a-1', 'a-2', 'a-3', 'a-4', 'a-5', 'a-6')")
        .await;
    stage.drain().await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (54, 0)
    );
    stage
        .sql("delete from account where external_id = 'a-7'")
        .await;
    stage.drain().await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (54, 1)
    );
}

#[tokio::test]
async fn other_changes_continue_while_deletes_are_withheld() {
    let stage = agreed(8).await;
    stage
        .sql(
            "delete from account where external_id <> 'a-1';
            update account set phone = '7';
            insert into account (external_id, name) values ('b-1', 'Bea')",
        )
        .await;
    stage.drain().await;
    assert_eq!(withheld(&stage).await, 7);
    let first = stage.org.id_of("Account", "a-1").unwrap();
    assert_eq!(stage.org.value(&first, "Phone").as_deref(), Some("7"));
    assert!(stage.org.id_of("Account", "b-1").is_some());
    let states = "select state || ' ' || count(*) as line from syncline.record_status
        group by state order by 1";
    let rows: Vec<Json> = stage.rows(states).await;
    assert_eq!(
        rows,
        [json!({"line": "in_sync 2"}), json!({"line": "parked 7"})]
    );
}

#[tokio::test]
async fn delete_guard_can_be_switched_off() {
    let stage = Stage::with_mapping(&with_line("deletes = { max_per_hour = 0 }")).await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'A' from generate_series(1, 120) as n")
        .await;
    stage.drain().await;
    stage.sql("delete from account").await;
    stage.drain().await;
    assert_eq!((stage.org.count("Account"), withheld(&stage).await), (0, 0));
}
