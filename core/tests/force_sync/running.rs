//! Engine and store with an org and a database.

use std::time::Duration;

use chrono::Utc;
use futures_util::stream;
use salesforce_org::RecordId;
use serde_json::{Value as Json, json};
use syncline::force_sync::{
    AppendResult, ChangeEnvelope, ChangeOperation, DriftItem, EventMessage, ForceSyncError,
    ObjectSync, PgStore, PubSubError, PubSubEvent, ReplayId, SourceCursor, SourceSystem,
    SyncEngine, SyncKey, capture_batch, capture_stream, detect_drift, enqueue_repair,
    load_replay_id, run_reconcile_once,
};

use crate::stand::{Stand, TENANT, account, client};

const STREAM: &str = "events:accounts";

fn created(id: &str, fields: Json, replay_id: u8) -> PubSubEvent<Json> {
    let mut payload = fields;
    payload["ChangeEventHeader"] = json!({
        "entityName": "Account", "recordIds": [id], "changeType": "CREATE", "changeOrigin": "",
        "transactionKey": format!("transaction-{replay_id}"), "sequenceNumber": 1,
        "commitTimestamp": Utc::now().timestamp_millis(), "commitNumber": i64::from(replay_id),
        "commitUser": "005000000000001AAA", "changedFields": [],
    });
    PubSubEvent::Event(EventMessage {
        payload,
        replay_id: ReplayId::from_bytes(vec![replay_id]),
        schema_id: "schema".to_owned(),
        event_id: "event".to_owned(),
    })
}

#[tokio::test]
async fn row_is_created_in_salesforce() {
    let stand = Stand::open().await;
    let engine = stand.engine();
    // The first run installs capture.
    assert_eq!(engine.run_capture_postgres_once().await.unwrap(), 0);
    stand
        .sql("insert into account (external_id, name, phone) values ('A-1', 'Acme', '1')")
        .await;
    assert_eq!(engine.run_capture_postgres_once().await.unwrap(), 1);
    assert_eq!(engine.run_apply_once().await.unwrap(), 1);
    let link = stand
        .store
        .get_link(TENANT, "Account", "A-1")
        .await
        .unwrap();
    let id = link.unwrap().salesforce_id.unwrap();
    let id = RecordId::parse(&id).unwrap();
    let name = stand.org.with_org(|org| org.value_of(id, "Name"));
    assert_eq!(name.as_deref(), Some("Acme"));
    assert_eq!(engine.run_reconcile_once().await.unwrap(), 0);
}

#[tokio::test]
async fn event_is_written_to_its_table() {
    let stand = Stand::open().await;
    let engine = stand.engine();
    assert_eq!(load_replay_id(&stand.store, STREAM).await.unwrap(), None);
    let fields = json!({"External_Id__c": "A-1", "Name": "Acme"});
    let id = stand.insert(&fields);
    let items = || {
        stream::iter([
            Ok(PubSubEvent::KeepAlive),
            Ok(created(&id, fields.clone(), 7)),
        ])
    };
    let captured = capture_stream(&stand.store, STREAM, TENANT, &account(), items()).await;
    assert_eq!(captured.unwrap(), 1);
    let replay_id = load_replay_id(&stand.store, STREAM).await.unwrap().unwrap();
    assert_eq!(replay_id.as_bytes(), [7]);
    assert!(!replay_id.is_empty());
    let checkpoint = stand.store.get_checkpoint(STREAM).await.unwrap().unwrap();
    assert_eq!(checkpoint.cursor_position, 7);
    assert_eq!(
        checkpoint.cursor.as_deref(),
        Some("salesforce-replay-id:0x07")
    );
    assert_eq!(engine.run_apply_once().await.unwrap(), 1);
    let name = stand.text("select name from account").await;
    assert_eq!(name.as_deref(), Some("Acme"));
    let again = capture_stream(&stand.store, STREAM, TENANT, &account(), items()).await;
    again.unwrap();
    assert_eq!(engine.run_apply_once().await.unwrap(), 0, "no new change");
}

#[tokio::test]
async fn closed_stream_is_an_error() {
    let stand = Stand::open().await;
    let _engine = stand.engine();
    let closed = PubSubError::Closed("the network".to_owned());
    let items = stream::iter([Err(closed)]);
    let captured = capture_stream(&stand.store, STREAM, TENANT, &account(), items).await;
    assert!(matches!(captured, Err(ForceSyncError::PubSub(_))));
}

#[tokio::test]
async fn drift_is_found_and_repair_enqueued() {
    let stand = Stand::open().await;
    stand.live_ten_minutes_ago();
    let engine = stand.engine();
    engine.run_capture_postgres_once().await.unwrap();
    stand
        .sql("insert into account (external_id, name) values ('A-1', 'Acme')")
        .await;
    assert_eq!(capture_batch(&stand.store, 10, 0).await.unwrap(), 1);
    engine.run_apply_once().await.unwrap();
    stand
        .sql(
            "alter table account disable trigger user;
            update account set name = 'Other';
            alter table account enable trigger user",
        )
        .await;
    let drifted = detect_drift(&stand.store, 10).await.unwrap();
    let [
        DriftItem {
            journal_id,
            tenant,
            object_name,
            external_id,
            payload_hash,
        },
    ] = &drifted[..]
    else {
        panic!("{drifted:?}");
    };
    assert_eq!(
        (tenant.as_str(), object_name.as_str(), external_id.as_str()),
        (TENANT, "Account", "A-1")
    );
    assert_eq!(payload_hash.len(), 32);
    assert_eq!(detect_drift(&stand.store, 0).await.unwrap(), []);
    assert_eq!(
        enqueue_repair(&stand.store, *journal_id).await.unwrap(),
        *journal_id
    );
    let leased = stand
        .store
        .lease_ready_tasks("by hand", 10, Duration::from_millis(1))
        .await
        .unwrap();
    assert_eq!(leased.len(), 1);
    assert_eq!(leased[0].lease_owner, "by hand");
    let missing = enqueue_repair(&stand.store, 1_000_000).await.unwrap_err();
    assert!(matches!(missing, ForceSyncError::NotFound { .. }));
}

#[tokio::test]
async fn reconcile_enqueues_drifted_records() {
    let stand = Stand::open().await;
    stand.live_ten_minutes_ago();
    let engine = stand.engine();
    engine.run_capture_postgres_once().await.unwrap();
    stand
        .sql("insert into account (external_id, name) values ('A-1', 'Acme')")
        .await;
    engine.run_capture_postgres_once().await.unwrap();
    engine.run_apply_once().await.unwrap();
    stand
        .sql(
            "alter table account disable trigger user;
            update account set name = 'Other';
            alter table account enable trigger user",
        )
        .await;
    assert_eq!(run_reconcile_once(&stand.store, 10).await.unwrap(), 1);
    assert_eq!(engine.run_reconcile_once().await.unwrap(), 0, "it has work");
}

#[tokio::test]
async fn change_is_journaled_once() {
    let stand = Stand::open().await;
    let key = SyncKey::new(TENANT, "Account", "A-1").unwrap();
    let payload = json!({"Name": "Acme"});
    let change = ChangeEnvelope::new(
        key,
        SourceSystem::Salesforce,
        ChangeOperation::Upsert,
        Utc::now(),
        payload,
    );
    let without_cursor = stand.store.append_journal_if_new(&change).await;
    assert!(matches!(
        without_cursor,
        Err(ForceSyncError::MissingSourceCursor)
    ));
    let change = change.with_cursor(SourceCursor::SalesforceReplayId(1));
    let first = stand.store.append_journal_if_new(&change).await.unwrap();
    assert!(matches!(first, AppendResult::Inserted { .. }));
    let again = stand.store.append_journal_if_new(&change).await.unwrap();
    assert_eq!(again, AppendResult::Duplicate);
}

#[tokio::test]
async fn conflicts_and_dead_letters_are_listed() {
    let stand = Stand::open().await;
    let engine = stand.engine();
    engine.run_capture_postgres_once().await.unwrap();
    stand.insert(&json!({"External_Id__c": "A-1", "Name": "Theirs"}));
    stand
        .sql(
            "insert into account (external_id, name) values ('A-1', 'Ours');
            insert into account (external_id, name) values ('A-2', repeat('x', 300))",
        )
        .await;
    engine.run_capture_postgres_once().await.unwrap();
    engine.run_apply_once().await.unwrap();
    let conflicts = stand.store.conflicts(TENANT, 10).await.unwrap();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].field_name, "Name");
    assert_eq!(
        (&conflicts[0].left_value, &conflicts[0].right_value),
        (&json!("Ours"), &json!("Theirs"))
    );
    let stopped = stand.store.dead_letters(TENANT, 10).await.unwrap();
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0].external_id.as_deref(), Some("A-2"));
}

#[tokio::test]
async fn incomplete_engine_is_not_built() {
    let stand = Stand::open().await;
    let missing = |engine: Result<SyncEngine, ForceSyncError>| match engine {
        Err(ForceSyncError::MissingConfiguration { field }) => field,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was built"),
    };
    let storeless = SyncEngine::builder(client(&stand.org)).object(account());
    assert_eq!(missing(storeless.build()), "postgres");
    let empty = SyncEngine::builder(client(&stand.org)).postgres(stand.store.clone());
    assert_eq!(missing(empty.build()), "object sync");
    let nameless = SyncEngine::builder(client(&stand.org))
        .postgres(stand.store.clone())
        .object(ObjectSync::new("Account"));
    assert_eq!(missing(nameless.build()), "external_id_field");
    let unlinked = PgStore::new(stand.pool.clone());
    let error = capture_batch(&unlinked, 10, 0).await.unwrap_err();
    assert!(matches!(
        error,
        ForceSyncError::MissingConfiguration { field: "engine" }
    ));
    assert_eq!(unlinked.pool().size(), stand.pool.size());
}
