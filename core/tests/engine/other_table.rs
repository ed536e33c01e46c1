//! The object's table is another one than before: what it lacks was not deleted.

use serde_json::json;
use syncline::config::Config;
use syncline::engine::SyncEngine;
use syncline::engine::check::Level;
use syncline::model::ids::ObjectName;
use syncline::store::{InstallOptions, PgStore};

use crate::mapping::MAPPING;
use crate::stage::Stage;

/// More than may be deleted in an hour.
const MANY: usize = 120;

/// Accounts in step on both sides.
async fn in_step(count: usize) -> Stage {
    let stage = Stage::open().await;
    stage
        .sql(&format!(
            "insert into account (external_id, name) select 'a-' || n, 'Ada' from generate_series(1, {count}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    stage
}

const RECREATED: &str = "alter table account rename to account_before;
    create table account (like account_before including all)";

async fn work_for_all(stage: &Stage) {
    stage
        .sql(
            "insert into syncline.sync_task (record_id, tenant, object)
            select record_id, tenant, object from syncline.sync_link on conflict do nothing",
        )
        .await;
}

async fn refusal(stage: &Stage, engine: &SyncEngine) -> String {
    let object = ObjectName::parse("Account").unwrap();
    let applied = engine.apply(&stage.tenant, &object, 0, stage.deadline());
    format!("{:#}", applied.await.unwrap_err())
}

async fn install(
    store: &PgStore,
    engine: &SyncEngine,
    stage: &Stage,
    is_new_table: bool,
) -> Result<(), String> {
    let mapped = engine.mapped_objects(&stage.tenant).await.unwrap();
    let new_table = is_new_table.then(|| ObjectName::parse("Account").unwrap());
    let options = InstallOptions {
        new_tables: new_table.into_iter().collect(),
        ..InstallOptions::default()
    };
    let installed = store.install_with(&mapped, &options).await;
    installed.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn another_table_name_is_a_new_mapping_and_deletes_nothing() {
    let stage = in_step(3).await;
    stage
        .sql("create table customer (like account including all); insert into customer (external_id, name) values ('a-1', 'Eve')")
        .await;
    let mapping = MAPPING.replacen("\"account\"", "\"customer\"", 1);
    let config = Config::parse(&mapping).unwrap().tenants[&stage.tenant].clone();
    let engine = stage.engine_of(config);
    work_for_all(&stage).await;
    let said = refusal(&stage, &engine).await;
    assert!(
        said.contains("public.customer of Account is not the table"),
        "{said}"
    );
    assert_eq!(stage.org.count("Account"), 3);

    stage.expire_leases().await;
    stage.sweep().await;
    stage.make_due().await;
    install(&stage.store, &engine, &stage, false).await.unwrap();
    stage.apply_by(&engine, "Account").await;
    stage.apply_by(&engine, "Account").await;
    assert_eq!(stage.org.count("Account"), 3);
    assert_eq!(stage.one("select count(*) from customer").await, json!(3));
    // What both sides hold differently, and never agreed on, is a person's to decide.
    let conflicts = stage.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0]["postgres_value"], json!("Eve"));
}

#[tokio::test]
async fn comparison_with_another_table_deletes_nothing() {
    for change in [
        "create table customer (like account including all)",
        RECREATED,
    ] {
        let stage = in_step(3).await;
        stage.sql(change).await;
        let mapping = match change == RECREATED {
            true => MAPPING.to_owned(),
            false => MAPPING.replacen("\"account\"", "\"customer\"", 1),
        };
        let config = Config::parse(&mapping).unwrap().tenants[&stage.tenant].clone();
        let engine = stage.engine_of(config);
        let what = "capture is installed on; nothing is written before that is decided";
        let rebuilt = "was recreated since capture was installed on it; nothing is written";
        let found = stage.mismatches(&engine).await;
        let named = found
            .iter()
            .find(|one| one.what.contains(what) || one.what.contains(rebuilt));
        let named = named.unwrap_or_else(|| panic!("{found:?}"));
        assert_eq!(named.level, Level::Error);
        assert!(named.fix.contains("syncline install"), "{named:?}");

        let full = engine.reconcile_full(&stage.tenant, stage.deadline()).await;
        let said = format!("{:#}", full.unwrap_err());
        assert!(said.contains("would count as deleted"), "{said}");
        let lately = engine.reconcile_incremental(&stage.tenant, stage.deadline());
        lately.await.unwrap_err();
        assert_eq!(stage.tasks().await, Vec::<serde_json::Value>::new());
        stage.make_due().await;
        if change != RECREATED {
            install(&stage.store, &engine, &stage, false).await.unwrap();
            stage.apply_by(&engine, "Account").await;
            let full = engine.reconcile_full(&stage.tenant, stage.deadline()).await;
            assert_eq!(full.unwrap().drifted, []);
            assert_eq!(stage.one("select count(*) from customer").await, json!(3));
        }
        assert_eq!(stage.org.count("Account"), 3);
    }
}

#[tokio::test]
async fn recreated_table_waits_until_its_rows_are_there() {
    let stage = in_step(MANY).await;
    stage.sql(RECREATED).await;
    work_for_all(&stage).await;
    let said = refusal(&stage, &stage.engine).await;
    assert!(said.contains("was recreated"), "{said}");
    let said = install(&stage.store, &stage.engine, &stage, false)
        .await
        .unwrap_err();
    assert!(
        said.contains("lacks the rows of 120 of 120 records of Account"),
        "{said}"
    );
    assert!(said.contains("--new-table Account"), "{said}");

    stage
        .sql("insert into account overriding system value select * from account_before where external_id <> 'a-7'")
        .await;
    stage.expire_leases().await;
    stage.sweep().await;
    stage.make_due().await;
    install(&stage.store, &stage.engine, &stage, false)
        .await
        .unwrap();
    stage.drain().await;
    // The base stands. That a row is missing is no delete before a comparison has found the same.
    for _ in 0..9 {
        stage.make_due().await;
        stage.drain().await;
    }
    assert_eq!(stage.org.count("Account"), MANY);
    let compared = stage.engine.reconcile_full(&stage.tenant, stage.deadline());
    compared.await.unwrap();
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), MANY - 1);
    stage.assert_equal().await;
}

#[tokio::test]
async fn new_table_is_filled_from_salesforce() {
    let stage = in_step(MANY).await;
    stage.sql(RECREATED).await;
    install(&stage.store, &stage.engine, &stage, true)
        .await
        .unwrap();
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), MANY);
    stage.assert_equal().await;
}

#[tokio::test]
async fn table_belongs_to_one_tenant() {
    let stage = in_step(1).await;
    let mapping = MAPPING.replace("tenant.acme", "tenant.other");
    let config = Config::parse(&mapping).unwrap();
    let engine = stage.engine_of(config.tenants.into_values().next().unwrap());
    let other = syncline::model::ids::TenantId::parse("other").unwrap();
    let mapped = engine.mapped_objects(&other).await.unwrap();
    let refused = stage.store.install(&mapped).await.unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains("captured for tenant acme"), "{said}");
    stage.sql("update account set name = 'Bob'").await;
    stage.drain().await;
    stage.assert_equal().await;
}
