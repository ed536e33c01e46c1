//! `syncline generate`, from an empty database to records on both sides.

use serde_json::{Value as Json, json};

use crate::scene::Scene;

const DOCS: &str = include_str!("../../../docs/generating.md");

/// Returns the first block of the page in this language.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, rest) = DOCS.split_once(&begin).expect("the block");
    rest.split_once("```").expect("its end").0
}

/// Returns the tenant of a configuration without its objects.
fn without_objects(config: &str) -> String {
    let (tenant, _) = config.split_once("[[tenant").expect("an object");
    tenant.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomer_gets_from_an_empty_database_to_records_on_both_sides() {
    let scene = Scene::migrated().await;
    scene.sql("drop table account").await;
    scene.change_config(|config, _| without_objects(config));
    let folder = scene.folder();
    let sql = folder.join("tables.sql");
    let sql_place = sql.to_str().expect("a path");
    let mapping = scene
        .syncline(&["generate", "--objects", "account,Cont*", "--sql", sql_place])
        .await;
    scene.change_config(|config, _| format!("{config}{mapping}"));
    let tables = std::fs::read_to_string(&sql).expect("the SQL is written");
    scene.run(&tables).await;
    scene.syncline(&["migrate"]).await;
    scene.syncline(&["check"]).await;
    scene.syncline(&["install"]).await;
    let printed = scene.syncline(&["check"]).await;
    assert!(printed.contains("the mapping fits both sides"), "{printed}");
    scene.create(&json!({"Name": "Ada", "External_Id__c": "C-1042", "BillingCity": "Oslo"}));
    scene.drain_configured().await;
    let here = "select count(*) from account where name = 'Ada' and billing_city = 'Oslo'";
    assert_eq!(scene.one(here).await, 1);
    scene.sql("update account set phone = '1'").await;
    scene.drain_configured().await;
    assert_eq!(scene.field("Phone"), json!("1"));

    // Everything is mapped now.
    let again = scene
        .syncline(&["generate", "--objects", "Account,Contact"])
        .await;
    assert!(
        again.contains("Account: it is mapped already, to public.account"),
        "{again}"
    );
    assert!(!again.contains("create table"), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_replaced_only_if_forced() {
    let scene = Scene::migrated().await;
    scene.change_config(|config, _| without_objects(config));
    let place = |name: &str| scene.folder().join(name).display().to_string();
    let (mapping, sql) = (place("mapping.toml"), place("tables.sql"));
    std::fs::write(&sql, "mine").expect("a file");
    let words = [
        "generate",
        "--objects",
        "User",
        "--mapping",
        &mapping,
        "--sql",
        &sql,
    ];
    let (status, printed) = scene.failing(&words).await;
    assert_eq!(status, 1);
    assert!(
        printed.contains("tables.sql exists; --force replaces it"),
        "{printed}"
    );
    assert!(
        !scene.folder().join("mapping.toml").exists(),
        "nothing is written"
    );

    let words = [&words[..], &["--force"]].concat();
    let (_, printed) = scene.failing(&words).await;
    assert!(
        printed.contains("User: it has no external id; create"),
        "{printed}"
    );
    let config = place("syncline.toml");
    let words = [
        "generate",
        "--objects",
        "Account",
        "--mapping",
        &config,
        "--force",
    ];
    let (_, printed) = scene.failing(&words).await;
    assert!(printed.contains("is the configuration in use"), "{printed}");
    let (status, printed) = scene.failing(&["generate"]).await;
    assert_eq!(status, 2, "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn example_of_the_page_is_what_the_command_prints() {
    let scene = Scene::migrated().await;
    scene.sql("drop table account").await;
    scene.change_config(|config, _| without_objects(config));
    scene.run(block("sql")).await;
    let words = ["generate", "--tables", "account"];
    let (status, _) = scene.failing(&words).await;
    assert_eq!(status, 1, "the table has to be mended");
    let words = [&words[..], &["--json"]].concat();
    let (_, printed) = scene.failing(&words).await;
    let printed: Json = serde_json::from_str(&printed).expect("JSON");
    let part = |name: &str| printed[0][name].as_str().expect("a text").to_owned();
    assert_eq!(part("mapping"), block("toml"));
    let comments = part("sql");
    let shown = block("text")
        .lines()
        .filter(|line| !line.starts_with("--   …"));
    for line in shown {
        assert!(
            comments.lines().any(|printed| printed == line),
            "{line}\n{comments}"
        );
    }
    assert!(
        comments.lines().all(|line| line.starts_with("--")),
        "nothing is altered by itself"
    );
}
