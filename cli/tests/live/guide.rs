//! The pages of docs/guide: each command of a page works where it stands.
//!
//! What is written in a page's blocks is done in order: commands of `syncline`, SQL by `psql`, edits of the account in
//! Salesforce by `curl`, and configuration. The jobs do their work before each command that shows it.

use serde_json::json;

use crate::scene::Scene;

/// Programs that pages name and this test does not run.
const NOT_RUN: [&str; 7] = [
    "cargo",
    "export",
    "kill",
    "make",
    "sam",
    "salesforce-org",
    "scripts/postgres",
];

/// Returns the blocks of a page, each with its language.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines().map(str::trim_start);
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            found.push((language.to_owned(), block.join("\n")));
        }
    }
    found
}

/// Returns the words of a command, without their quotes.
fn words(line: &str) -> Vec<String> {
    let (mut found, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for one in line.chars() {
        match quote {
            Some(open) if open == one => quote = None,
            None if one == '\'' || one == '"' => {
                quote = Some(one);
                word.get_or_insert_default();
            }
            None if one == ' ' => found.extend(word.take()),
            Some(_) | None => word.get_or_insert_default().push(one),
        }
    }
    assert_eq!(quote, None, "{line}");
    found.extend(word);
    found
}

/// Does what a page says.
async fn follow(scene: &Scene, page: &str) {
    for (language, block) in blocks(page) {
        match language.as_str() {
            "toml" => configure(scene, &block),
            "sql" => scene.run(&block).await,
            "sh" => {
                for line in block.lines() {
                    do_line(scene, line).await;
                }
            }
            other => panic!("a block of {other:?}"),
        }
    }
}

/// A block with the tenant is the configuration, another one is added to it.
fn configure(scene: &Scene, block: &str) {
    scene.change_config(|config, folder| {
        if !block.contains("[tenant.acme]") {
            let (tenant, _) = config.split_once("[[tenant").unwrap_or((config, ""));
            return format!("{tenant}{block}\n");
        }
        let url = format!("file:{}", folder.join("database.url").display());
        let (salesforce, bus) = scene.addresses();
        block
            .replace("env:DATABASE_URL", &url)
            .replace("env:SALESFORCE_SECRET", &scene.secret())
            .replace("http://127.0.0.1:8180", &salesforce)
            .replace("http://127.0.0.1:8181", &bus)
            + "\n"
    });
}

async fn do_line(scene: &Scene, line: &str) {
    let program = line.split(' ').next().expect("a word");
    if NOT_RUN.contains(&program) {
        return;
    }
    let words = words(line);
    let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    match (program, arguments.as_slice()) {
        ("syncline", _) if line.contains("ssm:") => {}
        ("syncline", ["run"]) => scene.drain_configured().await,
        ("syncline", arguments) => command(scene, line, arguments).await,
        ("psql", ["$DATABASE_URL", "-c", sql]) => scene.run(sql).await,
        ("psql", ["$DATABASE_URL", "-f", file]) => {
            let sql = std::fs::read_to_string(scene.folder().join(file));
            scene.run(&sql.expect("a file of an earlier command")).await;
        }
        ("curl", [.., "-d", edit]) => {
            scene.edit(serde_json::from_str(edit).expect("the fields of an edit"));
        }
        _ => panic!("a command of another kind: {line}"),
    }
}

async fn command(scene: &Scene, line: &str, arguments: &[&str]) {
    const BEFORE_WORK: [&str; 6] = ["generate", "migrate", "check", "plan", "install", "pause"];
    if !BEFORE_WORK.contains(&arguments[0]) {
        scene.drain_configured().await;
    }
    let (arguments, added_to) = match arguments {
        [arguments @ .., ">>", file] => (arguments, Some(*file)),
        arguments => (arguments, None),
    };
    let output = scene
        .command(arguments)
        .current_dir(scene.folder())
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    // What has to be mended first is its finding.
    let may_find = ["generate", "plan", "compare"].contains(&arguments[0]) && added_to.is_none();
    assert!(
        output.status.success() || may_find && output.status.code() == Some(1),
        "{line}: {printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    if let Some(file) = added_to {
        assert_eq!(file, "syncline.toml");
        scene.change_config(|config, _| format!("{config}{printed}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_sync_ends_with_equal_sides() {
    let scene = Scene::prepared().await;
    scene.sql("drop table account").await;
    let page = include_str!("../../../docs/guide/first-sync.md");
    let (both_ways, clean_up) = page.split_once("## Clean up").expect("the last part");
    follow(&scene, both_ways).await;
    let compared = scene.syncline(&["compare"]).await;
    assert!(compared.contains("verified equal"), "{compared}");
    assert_eq!(scene.field("Phone"), json!("+1 555 0199"));
    let row = "select count(*) from account where billing_city = 'Oslo' and phone = '+1 555 0199'";
    assert_eq!(scene.one(row).await, 1);
    follow(&scene, clean_up).await;
    assert_eq!(scene.one(row).await, 1, "the tables stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn existing_table_is_synchronised() {
    let scene = Scene::prepared().await;
    scene.create(&json!({"Name": "Northwind Inc.", "External_Id__c": "C-1", "Phone": "1"}));
    follow(
        &scene,
        include_str!("../../../docs/guide/existing-schema.md"),
    )
    .await;
    scene.drain_configured().await;
    assert_eq!(scene.accounts(), 2);
    let seeded = "select count(*) from customer where name = 'Northwind Inc.' and phone = '1'";
    assert_eq!(scene.one(seeded).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn going_live_follows_its_page() {
    let scene = Scene::prepared().await;
    follow(&scene, include_str!("../../../docs/guide/going-live.md")).await;
    let left = "select count(*) from pg_namespace where nspname = 'syncline'";
    assert_eq!(scene.one(left).await, 1, "the page ends with a pause");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_follows_the_page() {
    let scene = Scene::set().await;
    scene
        .sql("insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')")
        .await;
    scene.drain().await;
    scene.refuse_next_write("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no");
    scene.sql("update account set rating = 'Hot'").await;
    scene.drain().await;
    scene.sql("update account set phone = '2'").await;
    scene.edit(json!({"Phone": "3", "Rating": "Cold"}));
    scene.drain().await;
    follow(&scene, include_str!("../../../docs/guide/operating.md")).await;
    scene.drain().await;
    assert_eq!(
        scene
            .one("select count(*) from syncline.sync_conflict where state = 'open'")
            .await,
        0
    );
}

#[test]
fn concepts_have_no_commands_to_follow() {
    assert!(blocks(include_str!("../../../docs/guide/concepts.md")).is_empty());
}
