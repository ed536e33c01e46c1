//! The tenant's records belong to one database: in a copy, in another one, and at another address nothing is done
//! until a person decides.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Value as Json, json};
use syncline::capture::CaptureOptions;
use syncline::engine::SyncEngine;
use syncline::job::error::Error;
use syncline::model::ids::ObjectName;
use syncline::ports::database::DatabaseState;
use syncline::store::{PgStore, PgStoreOptions};

use crate::proxy::Proxy;
use crate::stage::Stage;

/// Three accounts in step on both sides.
async fn in_step() -> Stage {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob'), ('a-3', 'Cy')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

/// Edits that a user makes in a copy: one of each kind.
const EDITS: &str = "update account set phone = '7' where external_id = 'a-1';
    delete from account where external_id = 'a-2';
    insert into account (external_id, name) values ('a-9', 'Test')";

/// Runs every job, and asserts that none does anything. Returns the reason that they give.
pub(crate) async fn assert_held(stage: &Stage, engine: &SyncEngine) -> String {
    let tenant = &stage.tenant;
    let account = ObjectName::parse("Account").unwrap();
    let options = CaptureOptions::draining(stage.deadline());
    let results = [
        engine.capture_postgres(tenant, &options).await.map(drop),
        engine.capture_salesforce(tenant, &options).await.map(drop),
        engine
            .apply(tenant, &account, 0, stage.deadline())
            .await
            .map(drop),
        engine.sweep(tenant).await.map(drop),
        engine
            .reconcile_incremental(tenant, stage.deadline())
            .await
            .map(drop),
        engine
            .reconcile_full(tenant, stage.deadline())
            .await
            .map(drop),
        engine
            .detect_drift(tenant, stage.deadline())
            .await
            .map(drop),
        engine.enqueue_existing_rows(tenant).await.map(drop),
    ];
    let mut reasons = Vec::new();
    for result in results {
        let error = result.expect_err("no job may work");
        assert!(matches!(error, Error::DatabaseHeld { .. }), "{error:?}");
        reasons.push(error.to_string());
    }
    engine.release_orphaned_leases().await;
    reasons.dedup();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0)
}

/// Returns everything that a job could change in the control plane.
async fn control_plane(stage: &Stage) -> Vec<Json> {
    stage
        .rows(
            "select to_jsonb(task) as row from syncline.sync_task as task
            union all select to_jsonb(stream) from syncline.sync_checkpoint as stream
            union all select to_jsonb(waiting) from syncline.sync_outbox as waiting
            union all select to_jsonb(permit) from syncline.sync_wake_up_permit as permit
            union all select to_jsonb(comparison) from syncline.sync_comparison as comparison
            order by 1",
        )
        .await
}

/// Returns every account of the org with its time of change: any write changes it.
fn in_org(stage: &Stage) -> Vec<Json> {
    stage
        .org
        .query("select Id, External_Id__c, Name, Phone, SystemModstamp from Account")
}

fn store(url: &str) -> PgStore {
    PgStore::open(&PgStoreOptions::new(SecretString::from(url))).unwrap()
}

#[tokio::test]
async fn another_address_holds_everything() {
    let stage = in_step().await;
    let proxy = Proxy::before(stage.url_text()).await;
    let elsewhere = store(proxy.url());
    let engine = stage.worker(
        "elsewhere",
        Arc::new(elsewhere.clone()),
        Arc::clone(&stage.salesforce),
    );
    stage.sql(EDITS).await;
    let (plane, org) = (control_plane(&stage).await, in_org(&stage));
    let calls = stage.org.calls();
    let reason = assert_held(&stage, &engine).await;
    assert!(reason.contains("another database (endpoint)"), "{reason}");
    assert!(reason.contains("127.0.0.1:"), "{reason}");
    assert_eq!(control_plane(&stage).await, plane);
    assert_eq!(stage.org.calls(), calls);
    assert_eq!(in_org(&stage), org);

    let status = elsewhere.status(&stage.tenant).await.unwrap();
    assert!(status.database.needs_decision(), "{status:?}");
    let found = engine.check(&stage.tenant).await.unwrap();
    assert!(found[0].what.contains("another database"), "{found:?}");

    // At the known address nothing has happened.
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn copy_writes_nothing_before_and_after_it_is_declared() {
    let stage = in_step().await;
    stage.sql(EDITS).await;
    let copy = stage.copy().await;
    copy.sql("update account set phone = '8' where external_id = 'a-3'")
        .await;
    let (plane, org) = (control_plane(&copy).await, in_org(&stage));
    let reason = assert_held(&copy, &copy.engine).await;
    assert!(
        reason.contains("another database (oid, name, endpoint)"),
        "{reason}"
    );
    assert_eq!(control_plane(&copy).await, plane);

    copy.store.declare_copy(&copy.tenant).await.unwrap();
    let reason = assert_held(&copy, &copy.engine).await;
    assert!(reason.contains("declared a copy"), "{reason}");
    let waiting = "select count(*) from syncline.sync_outbox";
    let before = copy.one(waiting).await;
    copy.sql("update account set phone = '9'; truncate contact")
        .await;
    assert_eq!(
        copy.one(waiting).await,
        before,
        "the outbox of a copy grows"
    );
    assert_eq!(in_org(&stage), org);

    // A copy of the copy is held again, and the original goes on.
    let second = copy.copy().await;
    let reason = assert_held(&second, &second.engine).await;
    assert!(reason.contains("another database"), "{reason}");
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn adopted_copy_goes_on_and_deletes_nothing() {
    let stage = in_step().await;
    let moved = stage.copy().await;
    // What happens before anyone notices.
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Name": "Ada Lovelace"}));
    moved
        .sql("update account set phone = '8' where external_id = 'a-3'")
        .await;
    assert_held(&moved, &moved.engine).await;

    moved.store.adopt_database(&moved.tenant).await.unwrap();
    moved.drain().await;
    moved.assert_equal().await;
    assert_eq!(
        stage.org.value(&id, "Name").as_deref(),
        Some("Ada Lovelace")
    );
    assert_eq!(stage.org.count("Account"), 3);
    let phone = stage.org.id_of("Account", "a-3").unwrap();
    assert_eq!(stage.org.value(&phone, "Phone").as_deref(), Some("8"));
    let state = moved.store.status(&moved.tenant).await.unwrap().database;
    assert_eq!(state, DatabaseState::Known);
}

#[tokio::test]
async fn waiting_edits_of_a_backup_meet_what_happened_since() {
    let stage = in_step().await;
    stage.sql(EDITS).await;
    let backup = stage.copy().await;
    // The original synchronises them; later a person in Salesforce changes both records again.
    stage.drain().await;
    stage.assert_equal().await;
    let first = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&first, json!({"Phone": "70"}));
    stage.org.insert(
        "Account",
        json!({"Name": "Bob is back", "External_Id__c": "a-2"}),
    );

    backup.store.adopt_database(&backup.tenant).await.unwrap();
    backup.drain().await;
    // Both are a person's to decide, as if they had met without the backup.
    let conflicts = backup.conflicts().await;
    let fields: Vec<&Json> = conflicts.iter().map(|one| &one["field"]).collect();
    assert_eq!(fields, [&json!("Phone"), &Json::Null], "{conflicts:?}");
    let back = stage.org.id_of("Account", "a-2").unwrap();
    let name = stage.org.value(&back, "Name");
    assert_eq!(name.as_deref(), Some("Bob is back"), "it was deleted again");
    assert_eq!(stage.org.value(&first, "Phone").as_deref(), Some("70"));
    assert_eq!(stage.org.count("Account"), 4);
}

#[tokio::test]
async fn work_of_the_former_database_ends_when_another_is_adopted() {
    let stage = in_step().await;
    stage
        .sql(
            "insert into syncline.sync_task (record_id, tenant, object, state, lease_owner, lease_until)
            select record_id, tenant, object, 'leased', 'gone', syncline.clock() + interval '1 hour'
            from syncline.sync_link where external_id = 'a-1';
            insert into syncline.sync_intent
                (intent_id, record_id, tenant, object, fencing_token, action, fields, deadline, config_hash)
            select gen_random_uuid(), record_id, tenant, object, fencing_token, 'update', '{\"Phone\": \"7\"}',
                syncline.clock() + interval '1 hour', ''
            from syncline.sync_task;
            update syncline.sync_checkpoint set lease_owner = 'gone', lease_until = syncline.clock() + interval '1 hour';
            insert into syncline.sync_wake_up_permit values ('acme', 'Account', 0, syncline.clock() + interval '1 hour');
            insert into syncline.sync_delete_guard values ('acme', 'Account', syncline.clock() + interval '1 hour')
            on conflict (tenant, object) do update set approved_until = excluded.approved_until",
        )
        .await;
    let copy = stage.copy().await;
    copy.store.adopt_database(&copy.tenant).await.unwrap();
    let left = "select (select count(*) from syncline.sync_task where state = 'leased')
        + (select count(*) from syncline.sync_intent where state = 'open')
        + (select count(*) from syncline.sync_checkpoint where lease_owner is not null)
        + (select count(*) from syncline.sync_wake_up_permit)
        + (select count(*) from syncline.sync_delete_guard where approved_until is not null)";
    assert_eq!(copy.one(left).await, json!(0));
    copy.drain().await;
    copy.assert_equal().await;
}

#[tokio::test]
async fn numbers_go_on_after_sequences_have_begun_again() {
    let stage = in_step().await;
    let replica = stage.copy().await;
    replica
        .sql(
            "do $$
            declare one regclass;
            begin
                for one in select oid from pg_class where relkind = 'S' and relnamespace = 'syncline'::regnamespace loop
                    perform setval(one, 1, false);
                end loop;
            end $$",
        )
        .await;
    // The user's own write is not refused, neither before nor after.
    replica
        .sql("update account set phone = '7' where external_id = 'a-1'")
        .await;
    replica.store.adopt_database(&replica.tenant).await.unwrap();
    replica
        .sql("update account set external_id = 'a-4' where external_id = 'a-3'; update account set phone = '8'")
        .await;
    replica.drain().await;
    replica.assert_equal().await;
}

#[tokio::test]
async fn role_without_the_system_identifier_is_told() {
    let stage = in_step().await;
    let role = stage.role();
    let as_role = stage.store_as(&role).await;
    stage
        .sql("revoke execute on function pg_catalog.pg_control_system() from public")
        .await;
    let engine = stage.worker(
        "limited",
        Arc::new(as_role.clone()),
        Arc::clone(&stage.salesforce),
    );
    let found = engine.check(&stage.tenant).await.unwrap();
    assert!(
        found
            .iter()
            .any(|one| one.what.contains("pg_control_system()")),
        "{found:?}"
    );
    let state = as_role.status(&stage.tenant).await.unwrap().database;
    assert_eq!(state, DatabaseState::Known);
}
