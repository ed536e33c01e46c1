//! The output of `syncline explain`, for a fixed history.

use std::process::{Command, Output};

use throwaway_postgres::TestDatabase;

/// Two records with the same external id, and the history of the first.
const HISTORY: &str = r#"
insert into syncline.sync_link (record_id, tenant, object, external_id, canonical_id, salesforce_id, agreed, remote_state) values
    ('11111111-1111-4111-8111-111111111111', 'acme', 'Account', 'A-1', 'a-1', '001000000000001AAA', true, '{"presence": "present", "presence_version": {}, "fields": {}}'),
    ('22222222-2222-4222-8222-222222222222', 'acme', 'Contact', 'A-1', 'a-1', null, false, '{"presence": "unseen", "presence_version": {}, "fields": {}}');

insert into syncline.sync_rules (rules_hash, rules) values
    ('rules-1', '{"object": "Account", "table": {"schema": "public", "table": "account"}, "external_id": {"field": "Key__c", "column": "key"}, "fields": {"Name": {"column": "name"}}}');

insert into syncline.sync_journal (journaled_at, tenant, object, record_id, source, operation, payload, status, config_hash) values
    ('2026-05-01T09:00:00Z', 'acme', 'Account', '11111111-1111-4111-8111-111111111111', 'postgres', 'update', '{"name": "Eve", "amount": 12345678901234567.89}', null, 'config-1'),
    ('2026-05-01T09:00:01Z', 'acme', 'Account', '11111111-1111-4111-8111-111111111111', 'salesforce', 'changed', '{"Name": "Ida"}', 'applied', 'config-1'),
    ('2026-05-01T09:00:02Z', 'acme', 'Account', '11111111-1111-4111-8111-111111111111', 'decision', 'conflict',
        '{"to_postgres": {"write": "none"}, "to_salesforce": {"write": "update", "fields": {"Phone": "2"}}, "base_advance": {},
          "conflicts": [{"field": "Name", "base": "Ada", "postgres": "Eve", "salesforce": "Ida"}], "discarded": [],
          "explanation": {"record": "conflict", "fields": {"Name": "conflict", "Phone": "postgres_changed"}},
          "input": {"external_id": "A-1", "base": {"Name": "Ada"}, "postgres": {"Name": "Eve"}, "salesforce": {"Name": "Ida"}},
          "rules": "rules-1"}', null, 'config-1');

insert into syncline.sync_conflict (record_id, tenant, object, field, state, base_value, postgres_value, salesforce_value, config_hash, opened_at, closed_at, resolution) values
    ('11111111-1111-4111-8111-111111111111', 'acme', 'Account', 'Name', 'resolved', '"Ada"', '"Eve"', '"Ida"', 'config-1', '2026-05-01T09:00:02Z', '2026-05-01T09:05:00Z', 'postgres');

insert into syncline.sync_intent (intent_id, record_id, tenant, object, fencing_token, action, fields, state, deadline, config_hash, refusal, created_at, updated_at) values
    ('33333333-3333-4333-8333-333333333333', '11111111-1111-4111-8111-111111111111', 'acme', 'Account', 1, 'update', '{"Phone": "2"}', 'refused', '2026-05-01T09:03:00Z', 'config-1', '{"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION"}', '2026-05-01T09:00:03Z', '2026-05-01T09:00:04Z');

insert into syncline.sync_discarded_value (record_id, tenant, object, field, side, value, rule, config_hash, logged_at) values
    ('11111111-1111-4111-8111-111111111111', 'acme', 'Account', 'Name', 'salesforce', '"Ida"', 'resolved_by_a_person', 'config-1', '2026-05-01T09:05:00Z');

insert into syncline.sync_dead_letter (tenant, object, record_id, origin, code, field, message, attempts, created_at, closed_at, outcome) values
    ('acme', 'Account', '11111111-1111-4111-8111-111111111111', 'task', 'validation', 'Phone', 'Salesforce refuses the phone number', 1, '2026-05-01T09:00:05Z', '2026-05-01T10:00:00Z', 'replayed');
"#;

struct Scene {
    // Dropped with the scene.
    _database: TestDatabase,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let database = TestDatabase::empty().await;
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!(
            r#"
[tenant.acme]
salesforce = {{ login_url = "http://127.0.0.1:1", client_id = "c", auth = "client_credentials", secret = "env:NONE" }}
postgres = {{ url = "file:{}" }}

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = {{ field = "Key__c", column = "key" }}

[tenant.acme.object.fields]
Name = {{ column = "name" }}
"#,
            folder.path().join("database.url").display()
        );
        std::fs::write(folder.path().join("database.url"), database.url()).expect("a file");
        std::fs::write(folder.path().join("syncline.toml"), config).expect("a file");
        let mut connection = database.connect().await;
        let scene = Self {
            _database: database,
            folder,
        };
        let (status, printed) = scene.syncline(&["migrate"]).await;
        assert_eq!(status, 0, "{printed}");
        sqlx::raw_sql(HISTORY)
            .execute(&mut connection)
            .await
            .expect("a history is written");
        scene
    }

    /// Runs the program and returns its status and its output, errors included.
    async fn syncline(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command
            .args(words)
            .env("SYNCLINE_CONFIG", self.folder.path().join("syncline.toml"))
            .env_remove("RUST_LOG");
        let Output {
            status,
            stdout,
            stderr,
        } = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("the program is waited for")
            .expect("the program runs");
        let printed = [stdout, stderr].concat();
        (
            status.code().expect("it ends by itself"),
            String::from_utf8(printed).expect("it prints UTF-8"),
        )
    }
}

#[tokio::test]
async fn history_is_shown_in_order() {
    let scene = Scene::new().await;
    let (status, printed) = scene
        .syncline(&["explain", "a-1", "--object", "Account"])
        .await;
    assert_eq!(status, 0, "{printed}");
    insta::assert_snapshot!(printed);
}

#[tokio::test]
async fn json_decisions_contain_their_input() {
    let scene = Scene::new().await;
    let (status, printed) = scene
        .syncline(&["explain", "001000000000001", "--json"])
        .await;
    assert_eq!(status, 0, "{printed}");
    assert!(printed.contains("12345678901234567.89"), "no digit is lost");
    let mut json: serde_json::Value = serde_json::from_str(&printed).expect("it is JSON");
    let decided = json["entries"]
        .as_array_mut()
        .and_then(|entries| entries.iter_mut().find(|entry| entry["kind"] == "decided"))
        .expect("a decision")
        .take();
    insta::assert_snapshot!(format!("{decided:#}"));
    let rules = decided["rules"].as_str().expect("a hash");
    assert_eq!(json["rules"][rules]["object"], "Account");
    assert_eq!(json["external_id"], "A-1");
}

#[tokio::test]
async fn unknown_and_ambiguous_keys_are_errors() {
    let scene = Scene::new().await;
    let (status, printed) = scene.syncline(&["explain", "A-2"]).await;
    assert_eq!(status, 1);
    assert!(
        printed.contains("no record is known by \"A-2\""),
        "{printed}"
    );
    let (status, printed) = scene.syncline(&["explain", "A-1"]).await;
    assert_eq!(status, 1);
    assert!(
        printed.contains("name one with --object or --tenant: Account of acme, Contact of acme"),
        "{printed}"
    );
}
