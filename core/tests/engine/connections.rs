//! Connections to Postgres that do not work any more, with real servers.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::job::error::error_chain;
use syncline::ports::SecretSource;
use syncline::ports::StoreError;
use syncline::store::{PgStore, PgStoreOptions};

use crate::proxy::Proxy;
use crate::stage::Stage;

/// Writes one row of the control plane.
async fn write(stage: &Stage, store: &PgStore) -> Result<(), StoreError> {
    store.set_paused(&stage.tenant, false, None).await
}

async fn set_read_only(stage: &Stage, read_only: &str) {
    let name = stage.database_name();
    stage
        .sql(&format!(
            "alter database {name} set default_transaction_read_only = {read_only}"
        ))
        .await;
}

#[tokio::test]
async fn connections_to_a_demoted_server_are_thrown_away_at_once() {
    let stage = Stage::open().await;
    let store = PgStore::open(&PgStoreOptions::new(stage.url())).unwrap();
    // Sessions that are opened now stay read-only, as those to a demoted server do.
    set_read_only(&stage, "on").await;
    let (first, second) = tokio::join!(write(&stage, &store), write(&stage, &store));
    assert!(
        matches!(first, Err(StoreError::Unreachable(_))),
        "{first:?}"
    );
    assert!(
        matches!(second, Err(StoreError::Unreachable(_))),
        "{second:?}"
    );
    let mut user = stage.pool.begin().await.unwrap();
    sqlx::raw_sql("set transaction read write")
        .execute(&mut *user)
        .await
        .unwrap();
    let reset = format!(
        "alter database {} reset default_transaction_read_only",
        stage.database_name()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(reset))
        .execute(&mut *user)
        .await
        .unwrap();
    user.commit().await.unwrap();
    write(&stage, &store).await.unwrap();
}

#[tokio::test]
async fn half_open_connection_costs_one_call_not_an_invocation() {
    let stage = Stage::open().await;
    let proxy = Proxy::before(stage.url_text()).await;
    let store = PgStore::open(&PgStoreOptions {
        answer_max: Duration::from_secs(2),
        // Connections return to the pool some time after their call: with more, a new one would be opened meanwhile.
        connections_max: 2,
        ..PgStoreOptions::new(SecretString::from(proxy.url()))
    })
    .unwrap();
    let (first, second) = tokio::join!(write(&stage, &store), write(&stage, &store));
    first.and(second).unwrap();
    // A connection that is on its way back, which takes one answer, would hold its place in the pool.
    for _ in 0..20 {
        stage.one("select 1").await;
    }
    proxy.freeze();
    let frozen = write(&stage, &store).await;
    assert!(
        matches!(frozen, Err(StoreError::Unreachable(_))),
        "{frozen:?}"
    );
    write(&stage, &store).await.unwrap();
}

#[tokio::test]
async fn refused_port_is_tried_until_time_is_up() {
    let store = PgStore::open(&PgStoreOptions {
        acquire_max: Duration::from_millis(100),
        // Port 1 is reserved: nothing listens there.
        ..PgStoreOptions::new(SecretString::from(
            "postgres://app:hush@127.0.0.1:1/nothing",
        ))
    })
    .unwrap();
    let refused = store.migrate().await.unwrap_err();
    let StoreError::Unreachable(reason) = &refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason
            .fix
            .as_deref()
            .is_some_and(|fix| fix.starts_with("start Postgres")),
        "{reason:?}"
    );
    assert!(!error_chain(&refused).contains("hush"), "{refused:?}");
}

#[tokio::test]
async fn replaced_credentials_are_read_again_in_the_same_call() {
    let stage = Stage::open().await;
    let old = stage.role();
    let new = format!("{old}_next");
    stage.store_as(&old).await.close().await;
    let replaced = stage.store_as(&new).await;
    replaced.close().await;
    let next = SecretString::from(stage.url_as(&new));
    let store = PgStore::open(&PgStoreOptions {
        url_source: Some(SecretSource::new("env:URL", move || {
            let next = next.clone();
            Box::pin(async move { Ok(next) })
        })),
        ..PgStoreOptions::new(SecretString::from(stage.url_as(&old)))
    })
    .unwrap();
    write(&stage, &store).await.unwrap();
    stage
        .sql(&format!(
            "alter role {old} nologin;
            select pg_terminate_backend(pid) from pg_stat_activity where usename = '{old}'"
        ))
        .await;
    // The first call may still find the ended connection.
    let first = write(&stage, &store).await;
    if first.is_err() {
        write(&stage, &store).await.unwrap();
    }
}

#[tokio::test]
async fn capture_survives_a_restart_of_postgres() {
    let stage = Stage::open().await;
    stage.drain().await;
    let proxy = Proxy::before(stage.url_text()).await;
    let store = PgStore::open(&PgStoreOptions::new(SecretString::from(proxy.url()))).unwrap();
    // The proxy is another address of the database.
    store.adopt_database(&stage.tenant).await.unwrap();
    let worker = stage.worker("proxied", Arc::new(store), Arc::clone(&stage.salesforce));
    worker.mapped_objects(&stage.tenant).await.unwrap();
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    let options = CaptureOptions::draining(stage.deadline());
    proxy.restart(2);
    let captured = worker.capture_postgres(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().counts.seen, 1);
    assert_eq!(proxy.refusals_left(), 0);
    let captured = worker.capture_salesforce(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().dirty, 1);
}
