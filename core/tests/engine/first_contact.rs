//! The first contact: what `check` and `install` say before anything is created twice or never captured.

use salesforce_org::Org;
use serde_json::json;
use syncline::engine::check::{Finding, Level};
use syncline::model::ids::ObjectName;
use syncline::store::InstallOptions;

use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

/// Three accounts on each side.
async fn three_on_each_side(external_id: bool) -> Stage {
    let stage = Stage::prepared(MAPPING).await;
    for name in ["Ada", "Bob", "Eve"] {
        let mut account = json!({"Name": name});
        if external_id {
            account["External_Id__c"] = json!(name);
        }
        stage.org.insert("Account", account);
        stage
            .sql(&format!(
                "insert into account (external_id, name) values ('{name}', '{name}')"
            ))
            .await;
    }
    stage
}

async fn errors(stage: &Stage) -> Vec<Finding> {
    let found = stage.engine.check(&stage.tenant).await.unwrap();
    let errors = found.into_iter().filter(|one| one.level == Level::Error);
    errors.collect()
}

#[tokio::test]
async fn records_that_no_row_can_recognise_are_not_created_twice() {
    let stage = three_on_each_side(false).await;
    let found = errors(&stage).await;
    let problem = "3 of 3 records of Account in Salesforce and 0 of 3 rows have no external id";
    assert!(found[0].what.starts_with(problem), "{found:?}");
    assert!(found[0].fix.contains("--no-match"), "{found:?}");
    stage.store.migrate().await.unwrap();
    let refused = stage.engine.check_first_contact(&stage.tenant).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.starts_with(problem), "{refused}");
}

#[tokio::test]
async fn process_that_never_installs_creates_nothing() {
    let stage = three_on_each_side(false).await;
    stage.store.migrate().await.unwrap();
    let captured = stage.capture_salesforce().await;
    assert_eq!(captured.scanned, 3);
    stage.capture_postgres().await;
    stage.sweep().await;
    let account = ObjectName::parse("Account").unwrap();
    let applied = stage
        .engine
        .apply(&stage.tenant, &account, 0, stage.deadline())
        .await;
    let said = format!("{:#}", applied.unwrap_err());
    assert!(said.contains("has no capture yet"), "{said}");
    assert!(said.contains("syncline install"), "{said}");
    stage.engine.release_orphaned_leases().await;
    let counts = (
        stage.org.count("Account"),
        stage.one("select count(*) from account").await,
    );
    assert_eq!(counts, (3, json!(3)));
    let named = "select count(*) from syncline.sync_intent";
    assert_eq!(stage.one(named).await, json!(0));

    // A person says that they are different ones.
    stage.install().await;
    stage
        .engine
        .enqueue_existing_rows(&stage.tenant)
        .await
        .unwrap();
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 6);
    stage.assert_equal().await;
}

#[tokio::test]
async fn records_with_external_ids_pass_the_first_contact() {
    let stage = three_on_each_side(true).await;
    assert_eq!(errors(&stage).await, []);
    stage.store.migrate().await.unwrap();
    stage
        .engine
        .check_first_contact(&stage.tenant)
        .await
        .unwrap();
}

#[tokio::test]
async fn connected_object_may_get_new_records_without_an_id() {
    let stage = three_on_each_side(true).await;
    stage.install().await;
    for _ in 0..9 {
        stage.org.insert("Account", json!({"Name": "New"}));
    }
    stage
        .engine
        .check_first_contact(&stage.tenant)
        .await
        .unwrap();
    assert_eq!(errors(&stage).await, []);
}

#[tokio::test]
async fn installing_again_enqueues_only_tables_that_missed_changes() {
    let stage = three_on_each_side(true).await;
    stage.install().await;
    let enqueue = || async {
        let enqueued = stage.engine.enqueue_existing_rows(&stage.tenant).await;
        enqueued.unwrap()
    };
    assert_eq!(enqueue().await, 3);
    stage.install().await;
    assert_eq!(enqueue().await, 0);
    stage
        .sql("drop trigger syncline_capture_account on account")
        .await;
    stage.install().await;
    assert_eq!(enqueue().await, 3);
}

#[tokio::test]
async fn install_does_not_silently_drop_the_capture_of_an_object() {
    let stage = Stage::open().await;
    let mapped = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    let account = &mapped[..1];
    assert_eq!(
        account[0].sync.object,
        ObjectName::parse("Account").unwrap()
    );
    let mut options = InstallOptions::default();
    let refused = stage.store.install_with(account, &options).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("Contact of tenant acme is captured"),
        "{refused}"
    );
    assert!(refused.contains("--remove-unmapped"), "{refused}");
    assert_eq!(stage.store.check_install(&mapped).await.unwrap(), []);

    options.remove_unmapped = true;
    stage.store.install_with(account, &options).await.unwrap();
    let problems = stage.store.check_install(&mapped).await.unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[tokio::test]
async fn object_without_change_events_is_reported() {
    const ORG: &str = "
        [[object]]
        name = \"Account\"
        change_events = false
    ";
    let org = LocalOrg::of(Org::from_toml(ORG).unwrap());
    let stage = Stage::of(org, MAPPING).await;
    stage.install().await;
    let found = errors(&stage).await;
    let [found] = found.as_slice() else {
        panic!("one finding: {found:?}")
    };
    assert!(
        found
            .what
            .starts_with("change events of Account are not enabled"),
        "{found:?}"
    );
    assert!(found.fix.contains("Change Data Capture"), "{found:?}");
}
