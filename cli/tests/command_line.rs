//! The output of the program: help, mistakes and unreachable sides.

use std::path::Path;
use std::process::{Command, Output};

use salesforce_org::server::{self, Options, Running};
use salesforce_org::{Org, local};

/// A port on which nothing listens: port 1 is reserved.
const NOWHERE: &str = "127.0.0.1:1";

struct Printed {
    status: i32,
    out: String,
    err: String,
}

fn syncline(config: &Path, words: &[&str]) -> Printed {
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
    Printed {
        status: status.code().expect("it ends by itself"),
        out: String::from_utf8(stdout).expect("it prints UTF-8"),
        err: String::from_utf8(stderr).expect("it prints UTF-8"),
    }
}

fn help(words: &[&str]) -> String {
    let printed = syncline(Path::new("syncline.toml"), words);
    assert_eq!(printed.status, 0, "{}", printed.err);
    printed.out
}

/// Returns a folder with a configuration for sides at these addresses.
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
        // A refused port is tried again for seconds: the server may be starting.
        &format!("postgres://postgres:hush@{NOWHERE}/nothing?host=/nowhere"),
        local::PRIVATE_KEY,
    )
}

#[test]
fn help_shows_the_first_steps() {
    insta::assert_snapshot!(help(&["--help"]));
}

#[test]
fn every_command_has_help_with_an_example() {
    for words in [
        &["check"][..],
        &["generate"],
        &["migrate"],
        &["install"],
        &["run"],
        &["compare"],
        &["status"],
        &["explain"],
        &["conflicts", "list"],
        &["conflicts", "resolve"],
        &["deadletters", "list"],
        &["deadletters", "replay"],
        &["deletes", "approve"],
        &["pause"],
        &["resume"],
        &["uninstall"],
    ] {
        let words = [words, &["--help"]].concat();
        assert!(help(&words).contains("Examples:\n  syncline "), "{words:?}");
    }
}

#[test]
fn wrong_command_line_has_exit_status_2() {
    let printed = syncline(Path::new("syncline.toml"), &["conflicts", "resolve", "7"]);
    assert_eq!(printed.status, 2);
    assert!(printed.err.contains("--winner"), "{}", printed.err);
    assert_eq!(
        syncline(Path::new("syncline.toml"), &["frobnicate"]).status,
        2
    );
}

#[test]
fn missing_configuration_is_reported_with_a_fix() {
    let printed = syncline(Path::new("/nowhere/syncline.toml"), &["status"]);
    assert_eq!(printed.status, 1);
    assert!(
        printed
            .err
            .starts_with("error: the configuration /nowhere/syncline.toml cannot be read")
    );
    assert!(printed.err.contains("\n  fix: write it"), "{}", printed.err);
}

#[test]
fn configuration_mistakes_are_printed_with_line_and_fix() {
    let folder = nowhere();
    let config = folder.path().join("syncline.toml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let text = text
        .replace("table = ", "tabel = ")
        .replace("postgres = {", "postgrse = {");
    std::fs::write(&config, text).expect("the configuration");
    let printed = syncline(&config, &["check"]);
    assert_eq!(printed.status, 1);
    for part in ["line 4: ", "line 8: ", "tabel", "postgrse", "    fix: "] {
        assert!(
            printed.err.contains(part),
            "{part} is missing in\n{}",
            printed.err
        );
    }
    let as_json = syncline(&config, &["check", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&as_json.out).expect("JSON");
    assert!(
        json[0]["mistakes"]
            .as_array()
            .is_some_and(|list| list.len() >= 2)
    );
}

#[test]
fn unknown_tenant_lists_the_known_ones() {
    let folder = nowhere();
    let config = folder.path().join("syncline.toml");
    let printed = syncline(&config, &["status", "--tenant", "globex"]);
    assert_eq!(printed.status, 1);
    assert!(
        printed.err.contains("globex") && printed.err.contains("acme"),
        "{}",
        printed.err
    );
}

#[test]
fn unreachable_database_never_shows_its_password() {
    let folder = nowhere();
    let printed = syncline(&folder.path().join("syncline.toml"), &["migrate"]);
    assert_eq!(printed.status, 1);
    assert!(
        printed.err.contains("Postgres cannot be reached"),
        "{}",
        printed.err
    );
    assert!(
        printed.err.contains("fix: start Postgres"),
        "{}",
        printed.err
    );
    assert!(!printed.err.contains("hush"), "{}", printed.err);
}

#[test]
fn unreachable_org_is_reported_with_a_fix() {
    let folder = nowhere();
    let printed = syncline(&folder.path().join("syncline.toml"), &["check"]);
    assert_eq!(printed.status, 1);
    assert!(
        printed.err.contains("fix: check `login_url`"),
        "{}",
        printed.err
    );
}

#[test]
fn uninstall_requires_yes() {
    let folder = nowhere();
    let printed = syncline(&folder.path().join("syncline.toml"), &["uninstall"]);
    assert_eq!(printed.status, 1);
    assert!(printed.err.contains("--yes"), "{}", printed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_login_is_reported_with_a_fix() {
    let org: Running = server::start(Org::default(), &Options::default())
        .await
        .expect("a local org");
    let database = format!("postgres://postgres@{NOWHERE}/nothing");
    let other_key = include_str!("../../tests/org/keys/other-private.pem");
    let folder = configured(&org.http_url(), &database, other_key);
    let config = folder.path().join("syncline.toml");
    let printed = tokio::task::spawn_blocking(move || syncline(&config, &["check"]))
        .await
        .expect("the program runs");
    assert_eq!(printed.status, 1);
    assert!(
        printed.err.contains("fix: check `client_id`"),
        "{}",
        printed.err
    );
    assert!(!printed.err.contains("PRIVATE KEY"), "{}", printed.err);
    org.stop().await;
}
