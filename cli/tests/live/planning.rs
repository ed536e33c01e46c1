//! `syncline plan`, before the schema `syncline` exists and after the first load.

use serde_json::{Value as Json, json};
use syncline::config::Config;
use syncline::model::ids::{FieldName, TenantId};
use syncline::planner::facts::RecordFacts;
use syncline::planner::mapping::Mapping;

use crate::scene::Scene;

/// Returns a scene without the control plane, with a record of each side and one on both.
async fn before_the_first_load(here: &str) -> Scene {
    let scene = Scene::migrated().await;
    scene.syncline(&["uninstall", "--yes"]).await;
    scene
        .run(&format!(
            "insert into account (external_id, name) values ('C-1', '{here}'), ('C-2', 'Bob')"
        ))
        .await;
    scene.create(&json!({"External_Id__c": "C-1", "Name": "Ada"}));
    scene.create(&json!({"External_Id__c": "C-3", "Name": "Eve"}));
    scene
}

const SCHEMA: &str = "select count(*) from pg_namespace where nspname = 'syncline'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_sees_the_first_load_before_anything_exists() {
    let scene = before_the_first_load("Ada").await;
    let printed = scene.syncline(&["plan"]).await;
    for part in [
        "what they would do after `syncline migrate` and `syncline install`; nothing was written",
        "1 created",
        "1 equal",
        "Account, created in Postgres (1): C-3\n",
        "Account, created in Salesforce (1): C-2\n",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert_eq!(scene.one(SCHEMA).await, 0);
    assert_eq!(scene.accounts(), 2);

    scene.syncline(&["migrate"]).await;
    let installed = scene.syncline(&["install"]).await;
    assert!(installed.contains("`syncline plan` shows"), "{installed}");
    scene.drain().await;
    let printed = scene.syncline(&["plan"]).await;
    assert!(printed.contains("3 equal"), "{printed}");
    assert!(printed.contains("what the jobs would do now"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflict_is_named_without_its_values_and_ends_with_status_one() {
    let scene = before_the_first_load("Secret Name").await;
    let (status, printed) = scene.failing(&["plan"]).await;
    assert_eq!(status, 1);
    assert!(printed.contains("in conflict (1): C-1 (Name)"), "{printed}");
    assert!(printed.contains("`seed`"), "{printed}");
    assert!(
        printed.contains("Account, by field: Name 1 in conflict\n"),
        "{printed}"
    );
    assert!(!printed.contains("Secret Name"), "{printed}");

    let (_, printed) = scene.failing(&["plan", "--json"]).await;
    let plans: Json = serde_json::from_str(&printed).expect("JSON");
    let object = &plans[0]["objects"][0];
    assert_eq!(
        (&plans[0]["tenant"], &object["object"], &object["records"]),
        (&json!("acme"), &json!("Account"), &json!(3))
    );
    assert_eq!(
        object["work"],
        json!({"create_in_postgres": 1, "create_in_salesforce": 1, "conflict": 1})
    );
    assert_eq!(object["lanes"]["collections"]["records"], json!(1));
    assert!(!printed.contains("Secret Name"), "{printed}");

    let (_, printed) = scene.failing(&["plan", "--object", "Acount"]).await;
    assert!(printed.contains("did you mean Account?"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_of_records_is_planned_alike_from_its_lines() {
    let scene = before_the_first_load("Other").await;
    let file = scene.folder().join("account.jsonl");
    let place = file.to_str().expect("a path");
    let words = ["plan", "--object", "Account", "--records", place];
    let (_, printed) = scene.failing(&words).await;
    assert!(printed.contains("3 records were written to"), "{printed}");

    let config = std::fs::read_to_string(scene.folder().join("syncline.toml")).expect("a file");
    let config = Config::parse(&config).expect("a configuration");
    let tenant = TenantId::parse("acme").expect("a name");
    let mapping = Mapping::new(config.tenants[&tenant].objects[0].clone());
    let lines = std::fs::read_to_string(&file).expect("the file is written");
    let mut conflicts = 0;
    let mut written = (0, 0);
    for line in lines.lines() {
        let facts: RecordFacts<FieldName> = serde_json::from_str(line).expect("a record");
        let plan = facts.plan(&mapping);
        conflicts += plan.conflicts.len();
        written.0 += usize::from(!plan.to_postgres.is_none());
        written.1 += usize::from(!plan.to_salesforce.is_none());
    }
    assert_eq!((conflicts, written), (1, (1, 1)));

    let (_, printed) = scene.failing(&words).await;
    assert!(printed.contains("--force replaces it"), "{printed}");
}
