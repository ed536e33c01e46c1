//! Row security: a row that our role does not see is never a deleted row.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use syncline::capture::CaptureOptions;
use syncline::engine::SyncEngine;
use syncline::job::error::Error;
use syncline::model::ids::ObjectName;
use syncline::store::PgStore;

use crate::stage::Stage;

const POLICY: &str = "alter table account enable row level security;
    create policy shown on account using (phone is distinct from 'hidden')";

/// Two accounts in step, one of which a policy then hides from the engine's role.
async fn hidden() -> (Stage, SyncEngine, PgStore) {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob')")
        .await;
    stage.drain().await;
    let role = stage.role();
    let store = stage.store_as(&role).await;
    let engine = stage.worker(
        &role,
        Arc::new(store.clone()),
        Arc::clone(&stage.salesforce),
    );
    stage.sql(POLICY).await;
    stage
        .sql("update account set phone = 'hidden' where external_id = 'a-1'")
        .await;
    (stage, engine, store)
}

async fn apply(stage: &Stage, engine: &SyncEngine) -> Result<usize, Error> {
    let options = CaptureOptions::draining(stage.deadline());
    engine.capture_postgres(&stage.tenant, &options).await?;
    let object = ObjectName::parse("Account").unwrap();
    let applied = engine
        .apply(&stage.tenant, &object, 0, stage.deadline())
        .await?;
    Ok(applied.leased)
}

#[tokio::test]
async fn hidden_row_is_not_a_deleted_row() {
    let (stage, engine, store) = hidden().await;
    let role = stage.role();
    let refused = apply(&stage, &engine).await.unwrap_err();
    let said = format!("{refused:#}");
    let grant = format!("alter role \"{role}\" bypassrls");
    assert!(
        said.contains("row security of public.account") && said.contains(&grant),
        "{said}"
    );
    assert_eq!(stage.org.count("Account"), 2);
    let findings = engine.check(&stage.tenant).await.unwrap();
    let named = findings.iter().any(|finding| finding.fix.contains(&grant));
    assert!(named, "{findings:?}");
    let mapped = engine.mapped_objects(&stage.tenant).await.unwrap();
    let problems = store.check_install(&mapped).await.unwrap();
    assert!(problems[0].problem.contains("row security"), "{problems:?}");

    stage.sql(&grant).await;
    stage.make_due().await;
    stage.expire_leases().await;
    stage.sweep().await;
    apply(&stage, &engine).await.unwrap();
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("hidden"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn sweep_names_the_hidden_table_and_the_grant() {
    let (stage, engine, _) = hidden().await;
    let role = stage.role();
    stage
        .sql(&format!(
            "grant create on schema syncline to {role};
            alter table syncline.sync_journal owner to {role}"
        ))
        .await;
    let swept = engine.sweep(&stage.tenant).await.unwrap();
    let [problem] = swept.found.capture_broken.as_slice() else {
        panic!("one problem: {swept:?}")
    };
    let table = "acme Account: row security of public.account hides rows from our role";
    let grant = format!("alter role \"{role}\" bypassrls");
    assert!(
        problem.starts_with(table) && problem.contains(&grant),
        "{problem}"
    );
    // It stays in the status until a sweep sees every row.
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let broken = status.objects[0].capture_broken.as_ref().unwrap();
    assert!(broken.contains(&grant), "{broken}");
    stage.sql(&grant).await;
    let swept = engine.sweep(&stage.tenant).await.unwrap();
    assert_eq!(swept.found.capture_broken, Vec::<String>::new());
}

#[tokio::test]
async fn other_objects_are_compared_beside_a_hidden_one() {
    let (stage, engine, _) = hidden().await;
    let existing = stage.engine.enqueue_existing_rows(&stage.tenant).await;
    existing.unwrap();
    stage.capture_postgres().await;
    stage
        .unnoticed("insert into contact (external_id, last_name) values ('c-1', 'Day')")
        .await;
    let full = engine.reconcile_full(&stage.tenant, stage.deadline()).await;
    let said = format!("{:#}", full.unwrap_err());
    assert!(said.contains("row security of public.account"), "{said}");
    let lately = engine.reconcile_incremental(&stage.tenant, stage.deadline());
    lately.await.unwrap_err();
    stage.capture_postgres().await;
    stage.apply("Contact").await;
    assert_eq!(stage.org.count("Contact"), 1);
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn other_objects_go_on_beside_a_hidden_one() {
    let (stage, engine, _) = hidden().await;
    stage
        .sql("insert into contact (external_id, last_name) values ('c-1', 'Day')")
        .await;
    apply(&stage, &engine).await.unwrap_err();
    let contact = ObjectName::parse("Contact").unwrap();
    let applied = engine
        .apply(&stage.tenant, &contact, 0, stage.deadline())
        .await
        .unwrap();
    assert_eq!(applied.leased, 1);
    assert_eq!(stage.org.count("Contact"), 1);
}

#[tokio::test]
async fn forced_policies_of_an_owner_are_named() {
    let (stage, engine, _) = hidden().await;
    let role = stage.role();
    stage
        .sql(&format!(
            "alter table account owner to {role}; alter table account force row level security"
        ))
        .await;
    let refused = apply(&stage, &engine).await.unwrap_err();
    assert!(format!("{refused:#}").contains("no force row level security"));
    stage
        .sql("alter table account no force row level security")
        .await;
    stage.expire_leases().await;
    stage.sweep().await;
    stage.make_due().await;
    apply(&stage, &engine).await.unwrap();
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn customers_triggers_meet_their_own_row_security() {
    let stage = Stage::open().await;
    stage
        .sql(
            "create table audit (id bigint generated always as identity, name text);
            alter table audit enable row level security;
            alter table audit force row level security;
            create policy all_of_it on audit using (true) with check (true);
            create function audit() returns trigger language plpgsql as $$ begin
                insert into audit (name) values (new.name);
                perform * from audit;
                return new;
            end $$;
            create trigger audit before insert or update on account for each row execute function audit()",
        )
        .await;
    let role = stage.role();
    let store = stage.store_as(&role).await;
    let engine = stage.worker(&role, Arc::new(store), Arc::clone(&stage.salesforce));
    stage
        .org
        .insert("Account", json!({"External_Id__c": "a-1", "Name": "Ada"}));
    stage.capture_salesforce().await;
    let applied = stage.apply_by(&engine, "Account").await;
    assert_eq!((applied.rows_written, applied.parked), (1, 0));
    let audited: Json = stage.one("select count(*) from audit").await;
    assert_eq!(audited, json!(1));
}
