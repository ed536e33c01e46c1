//! Absence in Salesforce is no delete: records that our user cannot read any more, and another org.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use syncline::engine::SyncEngine;
use syncline::job::error::Error;
use syncline::model::ids::ObjectName;
use syncline::ports::Store;

use crate::stage::Stage;

/// Opens a stage with four accounts of a person, in sync.
async fn shared() -> (Stage, Vec<String>) {
    let stage = Stage::open().await;
    let account = |n: i32| json!({"Name": format!("A{n}"), "External_Id__c": format!("a-{n}")});
    let ids = (1..=4)
        .map(|n| stage.org.insert("Account", account(n)))
        .collect();
    stage.drain().await;
    stage.assert_equal().await;
    (stage, ids)
}

async fn compare(stage: &Stage) {
    stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    stage.drain().await;
}

async fn rows(stage: &Stage) -> Json {
    stage.one("select count(*) from account").await
}

async fn held(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select state, reason, count(*) from syncline.record_status group by 1, 2 order by 1, 2")
        .await
}

#[tokio::test]
async fn records_that_leave_our_sharing_are_held() {
    let (stage, ids) = shared().await;
    stage.org.restrict(&json!({"cannot_view_all": ["Account"]}));
    compare(&stage).await;
    assert_eq!(rows(&stage).await, json!(4));
    let parked = json!({"state": "parked", "reason": "unreadable_record", "count": 4});
    assert_eq!(held(&stage).await, std::slice::from_ref(&parked));

    // Neither edits nor deletes of the rows are written meanwhile.
    stage
        .sql("update account set phone = '7' where external_id = 'a-1'; delete from account where external_id = 'a-2'")
        .await;
    stage.drain().await;
    assert_eq!(held(&stage).await, [parked]);
    assert_eq!(stage.org.count("Account"), 4);

    stage.org.restrict(&json!({}));
    compare(&stage).await;
    stage.assert_equal().await;
    assert_eq!(stage.org.value(&ids[0], "Phone").as_deref(), Some("7"));
    assert_eq!(
        (stage.org.count("Account"), rows(&stage).await),
        (3, json!(3))
    );
}

#[tokio::test]
async fn person_may_approve_unreadable_records_as_deleted() {
    let (stage, _) = shared().await;
    stage.org.restrict(&json!({"cannot_view_all": ["Account"]}));
    compare(&stage).await;
    let account = ObjectName::parse("Account").unwrap();
    let deletes = stage.store.approve_deletes(&stage.tenant, &account).await;
    assert_eq!(deletes.unwrap(), 0, "they are not withheld deletes");
    let approved = stage
        .store
        .approve_unreadable(&stage.tenant, &account)
        .await;
    assert_eq!(approved.unwrap(), 4);
    stage.drain().await;
    assert_eq!(rows(&stage).await, json!(0));
    assert_eq!(held(&stage).await, Vec::<Json>::new());
}

/// Puts another, empty org behind the login of the stage; returns a new process.
async fn another_org(stage: &Stage) -> SyncEngine {
    stage.org.with(salesforce_org::Org::reset);
    stage
        .sql("update syncline.sync_control set organization_id = '00D000000000009AAA'")
        .await;
    let store: Arc<dyn Store> = Arc::new(stage.store.clone());
    stage.worker("second", store, Arc::new(stage.org.client()))
}

#[tokio::test]
async fn another_org_holds_the_tenant_until_it_is_adopted() {
    let (stage, _) = shared().await;
    let engine = another_org(&stage).await;
    let account = ObjectName::parse("Account").unwrap();
    let applied = engine
        .apply(&stage.tenant, &account, 0, stage.deadline())
        .await;
    assert!(
        matches!(applied, Err(Error::OtherOrg { .. })),
        "{applied:?}"
    );
    let compared = engine.reconcile_full(&stage.tenant, stage.deadline()).await;
    assert!(matches!(compared, Err(Error::OtherOrg { .. })));
    assert_eq!(
        (stage.org.count("Account"), rows(&stage).await),
        (0, json!(4))
    );
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let reason = status.paused.unwrap();
    assert!(reason.contains("syncline adopt"), "{reason}");

    assert!(
        stage
            .store
            .adopt_org(&stage.tenant)
            .await
            .unwrap()
            .is_some()
    );
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        (stage.org.count("Account"), rows(&stage).await),
        (4, json!(4))
    );
}
