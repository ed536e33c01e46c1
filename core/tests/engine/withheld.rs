//! Fields and columns that disappear, and an org that cannot describe its objects.

use std::sync::Arc;

use salesforce_org::FaultAction;
use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::engine::SyncEngine;
use syncline::model::ids::ObjectName;

use crate::pausing::{PauseAt, PausingSalesforce};
use crate::stage::Stage;

/// A fault that lasts until it is ended.
const ALWAYS: u32 = 1_000_000;

/// Rounds of all jobs, in which everything that can be done is done.
const ROUNDS: usize = 4;

async fn with_account() -> (Stage, String) {
    let stage = Stage::open().await;
    let fields = json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", fields);
    stage.drain().await;
    (stage, ada)
}

/// A worker that has read no schema and no table yet.
async fn new_worker(stage: &Stage) -> SyncEngine {
    stage.age_schemas().await;
    let client = Arc::new(stage.org.client());
    let salesforce = PausingSalesforce::new(client, &stage.org, PauseAt::Never);
    stage.worker("second", Arc::new(stage.store.clone()), salesforce)
}

/// Runs every job some times.
async fn run(stage: &Stage, worker: &SyncEngine) {
    let options = CaptureOptions::draining(stage.deadline());
    for _ in 0..ROUNDS {
        let tenant = &stage.tenant;
        worker.capture_postgres(tenant, &options).await.unwrap();
        worker.capture_salesforce(tenant, &options).await.unwrap();
        for object in ["Account", "Contact"] {
            let object = ObjectName::parse(object).unwrap();
            let applied = worker.apply(tenant, &object, 0, stage.deadline()).await;
            applied.unwrap();
        }
        worker.sweep(tenant).await.unwrap();
    }
}

async fn withheld(stage: &Stage) -> Vec<String> {
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let names = status.withheld.iter();
    names
        .map(|one| format!("{} {}", one.object, one.field))
        .collect()
}

#[tokio::test]
async fn hidden_field_is_withheld_until_it_is_shown() {
    let (stage, ada) = with_account().await;
    stage
        .org
        .restrict(&json!({"hidden_fields": ["Account.Phone"]}));
    let worker = new_worker(&stage).await;
    stage.org.update(&ada, json!({"Industry": "Media"}));
    stage
        .sql("update account set name = 'Ada Ltd', phone = '2'")
        .await;
    run(&stage, &worker).await;
    assert_eq!(withheld(&stage).await, ["Account Phone"]);
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada Ltd"));
    assert_eq!(stage.org.value(&ada, "Phone").as_deref(), Some("1"));
    assert_eq!(
        stage.one("select industry from account").await,
        json!("Media")
    );

    stage.org.restrict(&json!({}));
    run(&stage, &new_worker(&stage).await).await;
    assert_eq!(withheld(&stage).await, Vec::<String>::new());
    assert_eq!(stage.org.value(&ada, "Phone").as_deref(), Some("2"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn edits_of_a_field_made_read_only_wait_for_the_right() {
    let (stage, ada) = with_account().await;
    stage
        .org
        .restrict(&json!({"read_only_fields": ["Account.Phone"]}));
    // Each worker describes the org again: the field is known to have been writeable.
    run(&stage, &new_worker(&stage).await).await;
    stage
        .sql("update account set name = 'Ada Ltd', phone = '2'")
        .await;
    run(&stage, &new_worker(&stage).await).await;
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada Ltd"));
    assert_eq!(stage.org.value(&ada, "Phone").as_deref(), Some("1"));
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    let tasks = stage.tasks().await;
    assert_eq!(tasks[0]["state"], json!("parked"), "{tasks:?}");
    assert_eq!(tasks[0]["code"], json!("not_writeable"), "{tasks:?}");

    // What Salesforce's users write goes on, in this field, too.
    stage.org.update(&ada, json!({"Industry": "Media"}));
    let bob = json!({"Name": "Bob", "Phone": "5", "External_Id__c": "a-2"});
    let bob = stage.org.insert("Account", bob);
    run(&stage, &new_worker(&stage).await).await;
    stage.org.update(&bob, json!({"Phone": "6"}));
    run(&stage, &new_worker(&stage).await).await;
    let shown = stage
        .one("select string_agg(phone || coalesce(industry, ''), ' ' order by external_id) from account")
        .await;
    assert_eq!(shown, json!("2Media 6"));

    stage.org.restrict(&json!({}));
    run(&stage, &new_worker(&stage).await).await;
    assert_eq!(stage.org.value(&ada, "Phone").as_deref(), Some("2"));
    assert_eq!(stage.tasks().await, Vec::<serde_json::Value>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn field_that_was_never_writeable_is_salesforces() {
    let stage = Stage::open().await;
    stage
        .org
        .restrict(&json!({"read_only_fields": ["Account.Phone"]}));
    // As if it had been so from the beginning.
    stage.sql("delete from syncline.sync_schema").await;
    let fields = json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"});
    stage.org.insert("Account", fields);
    run(&stage, &new_worker(&stage).await).await;
    stage.sql("update account set phone = '2'").await;
    run(&stage, &new_worker(&stage).await).await;
    assert_eq!(stage.one("select phone from account").await, json!("1"));
    assert_eq!(stage.tasks().await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn renamed_column_withholds_its_field_alone() {
    let (stage, ada) = with_account().await;
    stage
        .sql("alter table account rename column phone to telephone")
        .await;
    let worker = new_worker(&stage).await;
    stage
        .org
        .update(&ada, json!({"Industry": "Media", "Phone": "2"}));
    stage.sql("update account set name = 'Ada Ltd'").await;
    run(&stage, &worker).await;
    assert_eq!(withheld(&stage).await, ["Account Phone"]);
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada Ltd"));
    assert_eq!(
        stage.one("select industry || telephone from account").await,
        json!("Media1")
    );

    stage
        .sql("alter table account rename column telephone to phone")
        .await;
    run(&stage, &new_worker(&stage).await).await;
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn rows_are_captured_while_the_org_refuses_sign_ins() {
    let (stage, _) = with_account().await;
    let refused = FaultAction::Answer {
        status: 400,
        body: json!({"error": "invalid_grant", "error_description": "no"}).to_string(),
    };
    stage
        .org
        .fault(&refused.once().times(ALWAYS).on("oauth2/token"));
    let worker = new_worker(&stage).await;
    stage
        .sql("insert into account (external_id, name) values ('a-2', 'Bob')")
        .await;
    let options = CaptureOptions::draining(stage.deadline());
    let captured = worker.capture_postgres(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().counts.journaled, 1);
    worker.sweep(&stage.tenant).await.unwrap();
    stage.org.end_faults();
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn object_that_cannot_be_described_stops_no_other() {
    let (stage, ada) = with_account().await;
    let broken = FaultAction::Answer {
        status: 500,
        body: String::new(),
    };
    let describe = "sobjects/Contact/describe";
    stage.org.fault(&broken.once().times(ALWAYS).on(describe));
    let worker = new_worker(&stage).await;
    stage.org.update(&ada, json!({"Phone": "2"}));
    stage.sql("update account set name = 'Ada Ltd'").await;
    run(&stage, &worker).await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada Ltd"));
}
