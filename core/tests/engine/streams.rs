//! Subscriptions, positions, gaps.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::config::CaptureMode;
use syncline::engine::system::SystemClock;
use syncline::ports::StreamName;
use syncline::ports::salesforce::{Changes, Interest, ReplayFrom};
use syncline::ports::{Clock, JobStore};
use syncline::salesforce::ALL_CHANGES_TOPIC;

use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

/// The stored position of the event stream.
const POSITION: &str = "select position from syncline.sync_checkpoint where stream like 'events:%'";

/// Longer than any event takes on a busy machine.
const WAIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn stream_has_one_owner() {
    let stage = Stage::open().await;
    stage.org.insert("Account", json!({"Name": "Ada"}));
    let store = Arc::new(stage.store.clone());
    let stream = StreamName::from("events:/data/ChangeEvents");
    let lease = store
        .acquire_stream(&stage.tenant, &stream, "another", 60_000)
        .await
        .unwrap()
        .unwrap();
    let report = stage.capture_salesforce().await;
    assert!(report.leased_elsewhere);
    assert_eq!(report.counts.seen, 0);
    store.release_stream(&lease).await.unwrap();
    assert_ne!(stage.capture_salesforce().await.counts.seen, 0);
}

#[tokio::test]
async fn update_of_an_unseen_record_reads_it_completely() {
    let stage = Stage::open().await;
    stage.drain().await;
    let id = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"}),
    );
    // Its create event has expired, and no scan is due: only the update event is left.
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    stage
        .sql(
            "delete from syncline.sync_checkpoint where stream like 'events:%';
            update syncline.sync_checkpoint set needs_resync = false where stream like 'scan:%'",
        )
        .await;
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select name from account").await, json!("Ada"));
}

#[tokio::test]
async fn lost_position_causes_a_scan_that_finds_deletes() {
    let stage = Stage::open().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let bob = stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    stage.drain().await;
    stage.org.update(&ada, json!({"Name": "Ada Ltd"}));
    stage.org.delete(&bob);
    stage
        .org
        .insert("Account", json!({"Name": "Dora", "External_Id__c": "a-3"}));
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    age_stream(&stage, 73).await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(2));
}

async fn stage_without_keep_alives() -> Stage {
    let stage = Stage::of(LocalOrg::without_keep_alives(), MAPPING).await;
    stage.install().await;
    stage
}

/// Makes the event stream look as if it was last read this many hours ago.
async fn age_stream(stage: &Stage, hours: u32) {
    let aged = format!(
        "update syncline.sync_checkpoint set read_at = read_at - interval '{hours} hours'
        where stream like 'events:%'"
    );
    stage.sql(&aged).await;
}

#[tokio::test]
async fn lost_position_is_resynced_once() {
    let stage = stage_without_keep_alives().await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    age_stream(&stage, 73).await;
    assert_eq!(stage.capture_salesforce().await.scanned, 1);
    stage.drain().await;
    assert_eq!(stage.one(POSITION).await, json!(null), "the topic is quiet");
    assert_eq!(stage.capture_salesforce().await.scanned, 0);
    assert_eq!(stage.capture_salesforce().await.scanned, 0);
    stage.assert_equal().await;
}

#[tokio::test]
async fn position_that_ages_out_on_a_quiet_topic_needs_no_resync() {
    let stage = stage_without_keep_alives().await;
    let id = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.advance_ms(salesforce_org::RETENTION_MS - 60_000);
    age_stream(&stage, 71).await;
    stage.capture_salesforce().await;

    // The stream was read to its end an hour ago, and one event came since then.
    stage.org.advance_ms(120_000);
    age_stream(&stage, 1).await;
    stage.org.update(&id, json!({"Phone": "2"}));
    assert_eq!(stage.capture_salesforce().await.scanned, 0);
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn stream_without_position_that_was_not_read_is_resynced() {
    let stage = Stage::open().await;
    let id = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage
        .sql("update syncline.sync_checkpoint set position = null where stream like 'events:%'")
        .await;
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    age_stream(&stage, 73).await;
    assert_eq!(stage.capture_salesforce().await.scanned, 1);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.capture_salesforce().await.scanned, 0);
}

#[tokio::test]
async fn quiet_stream_stores_its_position() {
    let stage = Stage::open().await;
    stage.drain().await;
    let before = stage.one(POSITION).await;
    stage.org.advance_ms(60_000);
    stage.capture_salesforce().await;
    assert_ne!(stage.one(POSITION).await, before);
}

#[tokio::test]
async fn event_of_several_records_is_applied_to_each() {
    let stage = Stage::open().await;
    let ids: Vec<String> = (0..3)
        .map(|n| {
            let external_id = format!("a-{n}");
            stage.org.insert(
                "Account",
                json!({"Name": external_id, "External_Id__c": external_id}),
            )
        })
        .collect();
    stage.drain().await;
    stage.org.update_together(&ids, &json!({"Phone": "7"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage
            .one("select count(*) from account where phone = '7'")
            .await,
        json!(3)
    );
}

#[tokio::test]
async fn org_without_events_is_polled() {
    let mapping = MAPPING.replace(
        "[[tenant.acme.object]]\nobject      = \"Account\"",
        "capture = \"poll\"\n\n[[tenant.acme.object]]\nobject      = \"Account\"",
    );
    let stage = Stage::with_mapping(&mapping).await;
    stage.org.set_wall_ms(SystemClock.now_ms());
    stage.drain_polling().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage
        .sql("insert into account (external_id, name) values ('a-2', 'Bob')")
        .await;
    stage.drain_polling().await;
    stage.assert_equal().await;
    stage.org.advance_ms(5_000);
    stage.org.update(&ada, json!({"Phone": "1"}));
    stage
        .sql("update account set phone = '2' where external_id = 'a-2'")
        .await;
    stage.drain_polling().await;
    stage.assert_equal().await;
    stage.org.advance_ms(5_000);
    stage.org.delete(&ada);
    stage.drain_polling().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn switch_from_events_to_polling_skips_no_edit() {
    let stage = Stage::open().await;
    let three_hours_ago = SystemClock.now_ms() - 3 * 60 * 60 * 1_000;
    stage.org.set_wall_ms(three_hours_ago);
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    // No event of this edit is read any more, and polling begins with the last hour.
    stage.org.update(&ada, json!({"Phone": "2"}));
    let mut config = stage.config.clone();
    config.capture = CaptureMode::Poll;
    let poller = stage.engine_of(config);
    let options = CaptureOptions::draining(stage.deadline());
    let captured = poller.capture_salesforce(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().scanned, 1);
    stage.apply_by(&poller, "Account").await;
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    let captured = poller.capture_salesforce(&stage.tenant, &options).await;
    assert_eq!(captured.unwrap().scanned, 0);
}

#[tokio::test]
async fn capture_without_time_left_keeps_its_position() {
    let stage = Stage::open().await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let options = CaptureOptions::draining(stage.engine.deadline_in(Duration::ZERO));
    let report = stage
        .engine
        .capture_salesforce(&stage.tenant, &options)
        .await
        .unwrap();
    assert_eq!(report.counts.seen, 0);
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn conflict_stops_neither_the_stream_nor_other_records() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("update account set name = 'Here'").await;
    stage.org.update(&id, json!({"Name": "There"}));
    stage.drain().await;
    let position = "select position from syncline.sync_checkpoint where stream like 'events:%'";
    let before = stage.one(position).await;
    stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    stage.drain().await;
    assert_ne!(stage.one(position).await, before);
    assert_eq!(stage.conflicts().await.len(), 1);
    assert_eq!(stage.one("select count(*) from account").await, json!(2));
}

#[tokio::test]
async fn queued_events_are_recorded_before_they_are_acknowledged() {
    let mapping = MAPPING.replacen(
        "[[tenant.acme.object]]",
        "capture = \"relay\"\n\n[[tenant.acme.object]]",
        1,
    );
    let stage = Stage::with_mapping(&mapping).await;
    stage.drain().await;
    let mapped = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    let mapped = mapped.iter().map(|mapped| {
        let fields = mapped
            .sync
            .fields
            .keys()
            .chain([&mapped.sync.external_id.field]);
        let interest = Interest {
            external_id: mapped.sync.external_id.field.clone(),
            fields: fields.cloned().collect(),
            changes: Changes::OfFields,
        };
        (mapped.sync.object.clone(), interest)
    });
    let subscribed = stage
        .salesforce
        .subscribe(ALL_CHANGES_TOPIC, &ReplayFrom::Earliest, &mapped.collect())
        .await;
    let mut stream = subscribed.unwrap();
    // The first keep-alive arrives when the subscription is open.
    stream.next(10, WAIT).await.unwrap().unwrap();
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    // Keep-alives carry no event.
    let batch = loop {
        let batch = stream.next(10, WAIT).await.unwrap().unwrap();
        if !batch.observations.is_empty() {
            break batch;
        }
    };
    assert_eq!(
        stage.capture_salesforce().await.counts.seen,
        0,
        "nothing is subscribed"
    );
    for _ in 0..2 {
        let recorded = stage
            .engine
            .capture_relayed(
                &stage.tenant,
                batch.observations.clone(),
                &batch.needs_resync,
            )
            .await;
        assert_eq!(recorded.unwrap().counts.seen, 1);
    }
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}
