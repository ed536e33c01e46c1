//! Faults of the tenant's org as a whole: no record is blamed, and they end by themselves.

use std::sync::Arc;

use salesforce_org::{Fault, FaultAction, Org};
use serde_json::json;
use syncline::engine::SyncEngine;
use syncline::ports::SalesforcePort;
use syncline::ports::salesforce::API_RESERVE;

use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

/// A fault that lasts until it is ended.
const ALWAYS: u32 = 1_000_000;

async fn with_rows(count: usize) -> Stage {
    let stage = Stage::open().await;
    // The first capture scans the empty org.
    stage.drain().await;
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, {count}) as n"
        ))
        .await;
    stage.capture_postgres().await;
    stage
}

fn refusal(status: u16, body: serde_json::Value) -> FaultAction {
    FaultAction::Answer {
        status,
        body: body.to_string(),
    }
}

/// A worker of another process, which signs in by itself.
fn new_worker(stage: &Stage) -> SyncEngine {
    let client = Arc::new(stage.org.client());
    stage.worker("second", Arc::new(stage.store.clone()), client)
}

/// Applies and sweeps for an hour while the org fails in this way, then lets it recover.
async fn recovers_from(stage: &Stage, fault: &Fault, code: &str, calls_max: u64) {
    let calls = || stage.org.calls().values().sum::<u64>();
    stage.org.fault(fault);
    let before = calls();
    for _ in 0..60 {
        stage.apply("Account").await;
        stage.sweep().await;
        stage.pass_seconds(60).await;
    }
    let made = calls() - before;
    assert!(made <= calls_max, "{code}: {made} calls");
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let outage = status.outage.expect("it is the tenant's state");
    assert_eq!(outage.code, code);
    assert!(outage.tries > 5, "{outage:?}");
    let tasks = stage
        .rows("select distinct state, attempts from syncline.sync_task")
        .await;
    assert_eq!(tasks, [json!({"state": "ready", "attempts": {}})], "{code}");

    stage.org.end_faults();
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert_eq!(status.outage, None, "{code}");
    let letters = "select count(*) from syncline.sync_dead_letter";
    assert_eq!(stage.one(letters).await, json!(0), "{code}");
}

#[tokio::test]
async fn spent_quota_is_the_tenants_state() {
    let stage = with_rows(30).await;
    let spent = refusal(
        403,
        json!([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]),
    );
    let fault = spent.once().times(ALWAYS).on("/services/data");
    recovers_from(&stage, &fault, "REQUEST_LIMIT_EXCEEDED", 20).await;
}

#[tokio::test]
async fn last_requests_are_left_to_others() {
    let org = Org::from_toml("[org]\ndaily_api_requests = 200\n").unwrap();
    let stage = Stage::of(LocalOrg::of(org), MAPPING).await;
    stage.install().await;
    stage.drain().await;
    let others = stage.org.client();
    while others.api_usage().is_none_or(|usage| usage.used < 160) {
        others.probe().await.unwrap();
        // The org counts again every few minutes.
        stage.org.with(|org| org.advance_ms(5 * 60_000));
    }
    let ours = stage.worker(
        "ours",
        Arc::new(stage.store.clone()),
        Arc::new(stage.org.client_leaving(20)),
    );

    let add = async |rows: &str| {
        let insert =
            "insert into account (external_id, name) select 'a-' || n, 'Account ' || n from";
        stage.sql(&format!("{insert} {rows} as n")).await;
        stage.capture_postgres().await;
    };
    // A new process learns it by its first answer, and then makes no call.
    add("generate_series(1, 3)").await;
    assert_eq!(stage.apply_by(&ours, "Account").await.applied, 3);
    add("generate_series(4, 33)").await;
    let calls = || stage.org.calls().values().sum::<u64>();
    let before = calls();
    for _ in 0..60 {
        stage.apply_by(&ours, "Account").await;
        ours.sweep(&stage.tenant).await.unwrap();
        stage.pass_seconds(60).await;
    }
    let made = calls() - before;
    assert!(made <= 20, "{made} calls");
    assert_eq!(stage.org.count("Account"), 3);
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let outage = status.outage.expect("it is the tenant's state");
    assert_eq!((outage.code.as_str(), outage.quota), (API_RESERVE, true));
    assert!(outage.tries > 5, "{outage:?}");
    let requests = status.api_requests.expect("they are counted");
    assert!(requests.used >= 160 && requests.max == 200, "{requests:?}");
    let tasks = "select distinct state, attempts from syncline.sync_task";
    let waiting = json!({"state": "ready", "attempts": {}});
    assert_eq!(stage.rows(tasks).await, [waiting]);

    stage.org.with(|org| org.advance_ms(25 * 3_600_000));
    stage.make_due().await;
    let applied = stage.apply_by(&ours, "Account").await;
    assert_eq!(applied.applied, 30, "{applied:?}");
    stage.drain().await;
    stage.assert_equal().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert_eq!(status.outage, None);
}

#[tokio::test]
async fn maintenance_is_the_tenants_state() {
    let stage = with_rows(30).await;
    let down = refusal(
        503,
        json!([{"errorCode": "SERVER_UNAVAILABLE", "message": "Maintenance"}]),
    );
    let fault = down.once().times(ALWAYS).on("/services/data");
    recovers_from(&stage, &fault, "SERVER_UNAVAILABLE", 40).await;
}

#[tokio::test]
async fn retired_api_version_is_the_tenants_state() {
    let stage = with_rows(30).await;
    let retired = refusal(
        410,
        json!([{"errorCode": "UNSUPPORTED_API_VERSION", "message": "The requested API version has been retired"}]),
    );
    let fault = retired.once().times(ALWAYS).on("/services/data");
    recovers_from(&stage, &fault, "UNSUPPORTED_API_VERSION", 40).await;
}

#[tokio::test]
async fn refused_sign_in_is_the_tenants_state() {
    let stage = with_rows(30).await;
    let refused = refusal(
        400,
        json!({"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}),
    );
    stage
        .org
        .fault(&refused.once().times(ALWAYS).on("oauth2/token"));
    stage.org.expire_sessions();
    let applied = stage.apply("Account").await;
    assert_eq!((applied.requeued, applied.parked), (30, 0), "{applied:?}");
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert_eq!(status.outage.unwrap().code, "invalid_grant");
    let tasks = "select distinct attempts from syncline.sync_task";
    assert_eq!(stage.rows(tasks).await, [json!({"attempts": {}})]);

    // Nothing is tried before its time, by no worker.
    let logins = || stage.org.calls().get("POST (fault)").copied();
    let before = logins();
    assert_eq!(stage.apply("Account").await.leased, 0);
    assert_eq!(logins(), before);

    stage.org.end_faults();
    stage.make_due().await;
    let recovered = new_worker(&stage);
    let applied = stage.apply_by(&recovered, "Account").await;
    assert_eq!(applied.applied, 30, "{applied:?}");
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert_eq!(status.outage, None);
}

#[tokio::test]
async fn outage_ends_even_if_no_record_has_work() {
    let stage = with_rows(1).await;
    let down = refusal(
        503,
        json!([{"errorCode": "SERVER_UNAVAILABLE", "message": "Maintenance"}]),
    );
    stage.org.fault(&down.once().times(1).on("/services/data"));
    stage.apply("Account").await;
    stage.sql("delete from syncline.sync_task").await;
    stage.sweep().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert!(status.outage.is_some(), "it is not tried before its time");
    stage.make_due().await;
    stage.sweep().await;
    let status = stage.store.status(&stage.tenant).await.unwrap();
    assert_eq!(status.outage, None);
}

#[tokio::test]
async fn rows_are_written_while_the_org_cannot_be_used() {
    let stage = Stage::open().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.update(&ada, json!({"Phone": "1"}));
    stage.capture_salesforce().await;
    stage
        .sql(
            "insert into account (external_id, name) values ('a-2', 'Bob');
            insert into syncline.sync_outage (tenant, code, message, quota, retry_at)
            values ('acme', 'SERVER_UNAVAILABLE', 'Maintenance', false, now() + interval '1 minute')",
        )
        .await;
    stage.capture_postgres().await;
    let calls = stage.org.calls();
    stage.apply("Account").await;
    assert_eq!(stage.org.calls(), calls);
    assert_eq!(
        stage
            .one("select phone from account where external_id = 'a-1'")
            .await,
        json!("1")
    );
}
