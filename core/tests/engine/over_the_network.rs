//! The engine and an org over real sockets.

use salesforce_org::FaultAction;
use serde_json::json;

use crate::stage::Stage;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_written_both_ways() {
    let stage = Stage::over_the_network().await;
    stage
        .sql(
            "insert into account (external_id, name, phone, revenue, active) values ('a-1', 'Ada', '1', 12.50, true);
            insert into account (external_id, name, parent_external_id) values ('a-2', 'Ada Sub', 'a-1');
            insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Ada', 'a-1')",
        )
        .await;
    let dora = stage.org.insert(
        "Account",
        json!({"Name": "Dora", "Industry": "Energy", "External_Id__c": "b-1", "AnnualRevenue": 7.25}),
    );
    let bob = stage.org.insert("Account", json!({"Name": "Bob"}));
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;

    let ada = stage.org.id_of("Account", "a-1").unwrap();
    stage
        .sql("update account set phone = null, name = 'Ada Ltd' where external_id = 'a-1'")
        .await;
    stage.org.update(&ada, json!({"AnnualRevenue": null}));
    stage
        .org
        .update(&dora, json!({"Industry": null, "Rating": "Hot"}));
    stage.org.delete(&bob);
    stage.sql("delete from contact").await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn network_and_session_faults_create_no_duplicates() {
    let stage = Stage::over_the_network().await;
    stage.drain().await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, 450) as n")
        .await;
    stage.capture_postgres().await;
    stage.org.expire_sessions();
    for action in [FaultAction::FailAfterWrite, FaultAction::ExpireSession] {
        stage.org.fault(&action.once().on("composite"));
    }
    stage
        .org
        .fault(&FaultAction::DuplicateEvents.once().times(3));
    let applied = stage.apply("Account").await;
    assert_ne!(applied.unknown, 0, "{applied:?}");
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 450);
}
