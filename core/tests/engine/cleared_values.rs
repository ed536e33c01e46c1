//! Too many cleared values of a field at once wait for approval; other changes do not.

use serde_json::{Value as Json, json};
use syncline::model::ids::ObjectName;

use crate::stage::Stage;

/// Opens a stage with accounts in step, each with a phone.
async fn agreed(accounts: usize) -> Stage {
    let stage = Stage::open().await;
    stage
        .sql(&format!(
            "insert into account (external_id, name, phone)
            select 'a-' || n, 'Account ' || n, '1' from generate_series(1, {accounts}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

fn phones_there(stage: &Stage) -> usize {
    let with_phone = "select Id from Account where Phone != null";
    stage.org.query(with_phone).len()
}

#[tokio::test]
async fn cleared_column_waits_for_approval_and_nothing_else_does() {
    let stage = agreed(120).await;
    stage
        .sql("update account set phone = null, revenue = 5")
        .await;
    stage.drain().await;
    assert_eq!(phones_there(&stage), 120);
    let richer = "select Id from Account where AnnualRevenue = 5";
    assert_eq!(stage.org.query(richer).len(), 120);
    let parked =
        "select distinct code, field from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(
        stage.rows(parked).await,
        [json!({"code": "mass_clear", "field": "Phone"})]
    );

    let account = ObjectName::parse("Account").unwrap();
    let approved = stage.store.approve_deletes(&stage.tenant, &account).await;
    assert_eq!(approved.unwrap(), 120);
    stage.drain().await;
    assert_eq!(phones_there(&stage), 0);
    stage.assert_equal().await;
}

#[tokio::test]
async fn values_that_return_are_not_cleared() {
    let stage = agreed(120).await;
    stage.sql("update account set phone = null").await;
    stage.drain().await;
    stage.sql("update account set phone = '1'").await;
    stage.drain().await;
    assert_eq!(phones_there(&stage), 120);
    stage.assert_equal().await;
    let open = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.one(open).await, Json::from(0));
}

#[tokio::test]
async fn half_of_the_values_may_be_cleared() {
    let stage = agreed(220).await;
    stage
        .sql("update account set phone = null where id <= 110")
        .await;
    stage.drain().await;
    assert_eq!(phones_there(&stage), 110);
    stage.assert_equal().await;
    // One more within the hour is more than half.
    stage
        .sql("update account set phone = null where id = 111")
        .await;
    stage.drain().await;
    assert_eq!(phones_there(&stage), 110);
    stage
        .sql("update syncline.sync_clear set cleared_at = cleared_at - interval '61 minutes'")
        .await;
    stage
        .sql("update account set revenue = 1 where id = 111")
        .await;
    stage.drain().await;
    assert_eq!(phones_there(&stage), 109);
}
