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

impl Stage {
    /// Deletes the rows of these numbers, and does all work.
    async fn delete_rows(&self, numbers: std::ops::RangeInclusive<i32>) {
        let (first, last) = numbers.into_inner();
        self.sql(&format!(
            "delete from account where external_id in (select 'a-' || n from generate_series({first}, {last}) as n)"
        ))
        .await;
        self.drain().await;
    }

    /// Makes the deletes so far an hour older.
    async fn an_hour_later(&self) {
        self.sql("update syncline.sync_delete set deleted_at = deleted_at - interval '61 minutes'")
            .await;
    }
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
    for expected in [
        "8 in an hour, Account has 8 records",
        "syncline deletes approve Account",
    ] {
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
    stage.delete_rows(3..=10).await;
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
    let stage = agreed(30).await;
    for n in 1..=5 {
        stage.delete_rows(n..=n).await;
    }
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (27, 2)
    );

    // After an hour the three that were made do not count any more, and the two that wait still do.
    stage.an_hour_later().await;
    stage.delete_rows(6..=6).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (26, 2)
    );
    stage.delete_rows(7..=7).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (26, 3)
    );
}

#[tokio::test]
async fn deletes_of_a_day_are_counted_together() {
    let stage = agreed(40).await;
    for hour in 0..3 {
        stage.delete_rows(hour * 3 + 1..=hour * 3 + 3).await;
        stage.an_hour_later().await;
    }
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (31, 0)
    );
    stage.delete_rows(10..=10).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (31, 1)
    );
    stage
        .sql("update syncline.sync_delete set deleted_at = deleted_at - interval '1 day'")
        .await;
    stage.delete_rows(11..=11).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (30, 1)
    );
}

#[tokio::test]
async fn no_part_of_too_many_deletes_passes() {
    let stage = agreed(60).await;
    stage.delete_rows(1..=6).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (60, 6),
        "a small share of a large table waits like any other"
    );

    // A round that sees only one of the deletes counts those that are not due yet.
    let stage = agreed(60).await;
    stage
        .sql("delete from account where external_id in ('a-1', 'a-2', 'a-3', 'a-4')")
        .await;
    stage.capture_postgres().await;
    stage
        .sql(
            "update syncline.sync_task set due_at = syncline.clock() + interval '1 hour'
            where record_id in (select record_id from syncline.sync_link where external_id <> 'a-1')",
        )
        .await;
    stage.apply("Account").await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (60, 1)
    );
}

#[tokio::test]
async fn half_of_a_small_table_waits_on_both_sides() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'A' from generate_series(1, 20) as n")
        .await;
    stage.drain().await;
    stage.delete_rows(1..=11).await;
    assert_eq!(
        (stage.org.count("Account"), withheld(&stage).await),
        (20, 11)
    );

    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'A' from generate_series(1, 20) as n")
        .await;
    stage.drain().await;
    for n in 1..=11 {
        let id = stage.org.id_of("Account", &format!("a-{n}")).unwrap();
        stage.org.delete(&id);
    }
    stage.drain().await;
    let rows = stage.one("select count(*) from account").await;
    assert_eq!((rows, withheld(&stage).await), (json!(20), 11));
}

#[tokio::test]
async fn rows_of_a_mistaken_filter_wait_for_approval() {
    let lines = "deletes = { max_per_hour = 3 }\nwhere = \"Industry = 'Energy'\"\non_filter_exit = \"delete\"";
    let stage = Stage::with_mapping(&with_line(lines)).await;
    let energy =
        |n: i32| json!({"Name": "E", "Industry": "Energy", "External_Id__c": format!("e-{n}")});
    let ids: Vec<String> = (1..=8)
        .map(|n| stage.org.insert("Account", energy(n)))
        .collect();
    stage.drain().await;
    for id in &ids[..4] {
        stage.org.update(id, json!({"Industry": "Banking"}));
    }
    stage.drain().await;
    let rows = stage.one("select count(*) from account").await;
    assert_eq!((rows, withheld(&stage).await), (json!(8), 4));
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
