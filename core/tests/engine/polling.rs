//! Orgs that are polled. A poll does not see an edit that is overwritten before it. So a write that
//! replaces a user's value is conditional: it fails if the record has changed since it was read.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use syncline::engine::SyncEngine;
use syncline::engine::system::SystemClock;
use syncline::ports::{Clock, SalesforcePort, Store};

use crate::mapping::MAPPING;
use crate::pausing::{PauseAt, PausingSalesforce};
use crate::stage::Stage;

/// Opens a stage whose org is captured in this mode.
async fn polled(capture: &str) -> Stage {
    let polled =
        format!("capture = \"{capture}\"\n\n[[tenant.acme.object]]\nobject      = \"Account\"");
    let mapping = MAPPING.replacen(
        "[[tenant.acme.object]]\nobject      = \"Account\"",
        &polled,
        1,
    );
    let stage = Stage::with_mapping(&mapping).await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 60_000);
    stage
}

/// Opens a stage with one polled account in sync, whose rating Postgres owns; returns its Salesforce id.
async fn agreed(capture: &str) -> (Stage, String) {
    let stage = polled(capture).await;
    stage
        .sql("insert into account (external_id, name, rating) values ('a-1', 'Ada', 'Cold')")
        .await;
    stage.drain_polling().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    (stage, id)
}

/// Changes the rating, which Postgres owns, as a Salesforce user; captures the change; and changes it
/// again just before the correcting write is sent. Returns the discarded values.
async fn edited_before_the_correction(stage: &Stage, id: &str) -> Json {
    stage.org.advance_ms(2_000);
    stage.org.update(id, json!({"Rating": "Hot"}));
    stage.capture_salesforce().await;
    let port = PausingSalesforce::new(Arc::clone(&stage.salesforce), &stage.org, PauseAt::Never);
    let (org, record) = (stage.org.clone(), id.to_owned());
    port.before_next_write(move || {
        org.advance_ms(2_000);
        org.update(&record, json!({"Rating": "Warm"}));
    });
    let writer = writer(stage, &port);
    stage.apply_by(&writer, "Account").await;
    stage.drain_polling().await;
    stage.assert_equal().await;
    let lost = "select string_agg(value #>> '{}', ',' order by discarded_value_id)
        from syncline.sync_discarded_value where field = 'Rating'";
    stage.one(lost).await
}

fn writer(stage: &Stage, port: &Arc<PausingSalesforce>) -> SyncEngine {
    let store = Arc::new(stage.store.clone()) as Arc<dyn Store>;
    stage.worker("writer", store, Arc::clone(port) as Arc<dyn SalesforcePort>)
}

#[tokio::test]
async fn polling_overwrites_no_unseen_edit() {
    let (stage, id) = agreed("poll").await;
    assert_eq!(
        edited_before_the_correction(&stage, &id).await,
        json!("Hot,Warm"),
        "both edits are logged"
    );
    assert_eq!(stage.org.value(&id, "Rating").as_deref(), Some("Cold"));
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let of_accounts = |of: &&syncline::store::ObjectStatus| of.object.as_str() == "Account";
    let accounts = status.objects.iter().find(of_accounts).unwrap();
    assert!(
        accounts.detection_narrowed,
        "status reports that polling may miss edits"
    );
}

#[tokio::test]
async fn unchanged_record_is_corrected_by_one_call() {
    let (stage, id) = agreed("poll").await;
    stage.org.advance_ms(2_000);
    stage.org.update(&id, json!({"Rating": "Hot"}));
    stage.capture_salesforce().await;
    let calls = stage.org.writing_calls();
    let applied = stage.apply("Account").await;
    assert_eq!((applied.single, applied.applied), (1, 1), "{applied:?}");
    assert_eq!(stage.org.writing_calls() - calls, 1);
}

#[tokio::test]
async fn record_that_was_never_read_is_read_before_its_second_write() {
    let stage = polled("poll").await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    // No poll has shown the record yet, so that there is no time after which it counts as changed.
    stage.org.advance_ms(2_000);
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.org.advance_ms(2_000);
    stage.sql("update account set phone = '3'").await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));

    stage.drain_polling().await;
    let conflicts = stage.conflicts().await;
    let logged = stage
        .one("select count(*) from syncline.sync_discarded_value where field = 'Phone'")
        .await;
    assert!(
        conflicts.len() == 1 || logged == json!(1),
        "neither edit is lost without a trace: {conflicts:?}"
    );
}

#[tokio::test]
async fn undelete_of_what_no_poll_saw_is_seen() {
    let (stage, _) = agreed("poll").await;
    // Every mapped field is set, so that the record shows nothing but what the create sent.
    stage
        .sql("insert into contact values (default, 'c-1', 'Byron', 'ada@example.com', 'a-1')")
        .await;
    stage.capture_postgres().await;
    stage.apply("Contact").await;
    let id = stage.org.id_of("Contact", "c-1").unwrap();
    stage.org.advance_ms(2_000);
    stage.sql("delete from contact").await;
    stage.capture_postgres().await;
    stage.apply("Contact").await;
    assert_eq!(stage.org.count("Contact"), 0);
    stage.org.advance_ms(2_000);
    stage.org.undelete(&id);
    stage.drain_polling().await;
    let name = "select last_name from contact";
    assert_eq!(stage.one(name).await, json!("Byron"));
    stage.assert_equal().await;
}
