//! What the operator sees: help, mistakes and unreachable sides, by the real program.

use std::path::Path;
use std::process::{Command, Output};

use salesforce_org::server::{self, Options, Running};
use salesforce_org::{Org, local};

/// A port on which nothing listens: the first one, which is reserved and never handed out.
const NOWHERE: &str = "127.0.0.1:1";

struct Said {
    status: i32,
    out: String,
    err: String,
}

fn syncline(config: &Path, words: &[&str]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_syncline"))
        .args(words)
        .env("SYNCLINE_CONFIG", config)
        .env_remove("RUST_LOG")
        .output()
        .expect("the program runs");
    Said {
        status: status.code().expect("it ends by itself"),
        out: String::from_utf8(stdout).expect("it prints UTF-8"),
        err: String::from_utf8(stderr).expect("it prints UTF-8"),
    }
}

fn help(words: &[&str]) -> String {
    let said = syncline(Path::new("syncline.toml"), words);
    assert_eq!(said.status, 0, "{}", said.err);
    said.out
}

/// A folder with a configuration whose sides are at these addresses.
fn configured(login_url: &str, database: &str, private_key: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file is written");
        format!("file:{}", path.display())
    };
    let key = file("key.pem", private_key);
    let url = file("database.url", database);
    file(
        "syncline.toml",
        &format!(
            r#"
[tenant.acme]
salesforce = {{ login_url = "{login_url}", client_id = "{}", auth = "jwt", username = "{}", secret = "{key}" }}
postgres = {{ url = "{url}" }}

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = {{ field = "External_Id__c", column = "external_id" }}

[tenant.acme.object.fields]
Name = {{ column = "name" }}
"#,
            local::CLIENT_ID,
            local::INTEGRATION_USER
        ),
    );
    folder
}

fn nowhere() -> tempfile::TempDir {
    configured(
        &format!("http://{NOWHERE}"),
        &format!("postgres://postgres:hush@{NOWHERE}/nothing"),
        local::PRIVATE_KEY,
    )
}

#[test]
fn help_tells_the_first_steps() {
    insta::assert_snapshot!(help(&["--help"]));
}

#[test]
fn every_command_has_help_with_an_example() {
    for words in [
        &["check"][..],
        &["migrate"],
        &["install"],
        &["run"],
        &["status"],
        &["explain"],
        &["conflicts", "list"],
        &["conflicts", "resolve"],
        &["deadletters", "list"],
        &["deadletters", "replay"],
        &["pause"],
        &["resume"],
        &["uninstall"],
    ] {
        let words = [words, &["--help"]].concat();
        assert!(help(&words).contains("Examples:\n  syncline "), "{words:?}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let said = syncline(Path::new("syncline.toml"), &["conflicts", "resolve", "7"]);
    assert_eq!(said.status, 2);
    assert!(said.err.contains("--winner"), "{}", said.err);
    assert_eq!(
        syncline(Path::new("syncline.toml"), &["frobnicate"]).status,
        2
    );
}

#[test]
fn a_missing_configuration_says_where_to_begin() {
    let said = syncline(Path::new("/nowhere/syncline.toml"), &["status"]);
    assert_eq!(said.status, 1);
    assert!(
        said.err
            .starts_with("error: the configuration /nowhere/syncline.toml cannot be read")
    );
    assert!(said.err.contains("\n  fix: write it"), "{}", said.err);
}

#[test]
fn each_mistake_of_a_configuration_is_told_with_its_line_and_its_fix() {
    let folder = nowhere();
    let config = folder.path().join("syncline.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text
        .replace("table = ", "tabel = ")
        .replace("postgres = {", "postgrse = {");
    std::fs::write(&config, text).expect("the configuration");
    let said = syncline(&config, &["check"]);
    assert_eq!(said.status, 1);
    for part in ["line 4: ", "line 8: ", "tabel", "postgrse", "    fix: "] {
        assert!(
            said.err.contains(part),
            "{part} is missing in\n{}",
            said.err
        );
    }
    let as_json = syncline(&config, &["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&as_json.out).expect("JSON");
    assert!(
        json["mistakes"]
            .as_array()
            .is_some_and(|list| list.len() >= 2)
    );
}

#[test]
fn an_unknown_tenant_is_answered_with_the_known_ones() {
    let folder = nowhere();
    let config = folder.path().join("syncline.toml");
    let said = syncline(&config, &["status", "--tenant", "globex"]);
    assert_eq!(said.status, 1);
    assert!(
        said.err.contains("globex") && said.err.contains("acme"),
        "{}",
        said.err
    );
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    let folder = nowhere();
    let said = syncline(&folder.path().join("syncline.toml"), &["migrate"]);
    assert_eq!(said.status, 1);
    assert!(
        said.err.contains("Postgres cannot be reached"),
        "{}",
        said.err
    );
    assert!(said.err.contains("fix: start Postgres"), "{}", said.err);
    assert!(!said.err.contains("hush"), "{}", said.err);
}

#[test]
fn an_unreachable_org_is_named_with_what_to_check() {
    let folder = nowhere();
    let said = syncline(&folder.path().join("syncline.toml"), &["check"]);
    assert_eq!(said.status, 1);
    assert!(said.err.contains("fix: check `login_url`"), "{}", said.err);
}

#[test]
fn uninstalling_asks_for_a_clear_yes() {
    let folder = nowhere();
    let said = syncline(&folder.path().join("syncline.toml"), &["uninstall"]);
    assert_eq!(said.status, 1);
    assert!(said.err.contains("--yes"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_sign_in_says_what_to_check() {
    let org: Running = server::start(Org::default(), &Options::default())
        .await
        .expect("a local org");
    let database = format!("postgres://postgres@{NOWHERE}/nothing");
    let other_key = include_str!("../../tests/org/keys/other-private.pem");
    let folder = configured(&org.http_url(), &database, other_key);
    let config = folder.path().join("syncline.toml");
    let said = tokio::task::spawn_blocking(move || syncline(&config, &["check"]))
        .await
        .expect("the program runs");
    assert_eq!(said.status, 1);
    assert!(said.err.contains("fix: check `client_id`"), "{}", said.err);
    assert!(!said.err.contains("PRIVATE KEY"), "{}", said.err);
    org.stop().await;
}
