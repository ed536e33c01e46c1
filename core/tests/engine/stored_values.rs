//! Values that Salesforce stores or shows otherwise than they were written: each comes to rest equal, or
//! its field stops with the reason, and no write is ever repeated.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use crate::local_org::LocalOrg;
use crate::stage::Stage;

const ORG: &str = r#"
[[object]]
name = "Vault__c"
key_prefix = "a01"

  [[object.field]]
  name = "Key__c"
  type = "string"
  length = 40
  external_id = true
  unique = true
  [[object.field]]
  name = "Text__c"
  type = "string"
  length = 40
  [[object.field]]
  name = "Secret__c"
  type = "encryptedstring"
  mask = "lastFour"
  [[object.field]]
  name = "Html__c"
  type = "textarea"
  length = 32000
  html = true
  [[object.field]]
  name = "Mail__c"
  type = "email"
  [[object.field]]
  name = "When__c"
  type = "datetime"
  [[object.field]]
  name = "Money__c"
  type = "currency"
  precision = 18
  scale = 2
"#;

const VAULT: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "public" }

[[tenant.acme.object]]
object      = "Vault__c"
table       = "vault"
external_id = { field = "Key__c", column = "key" }

[tenant.acme.object.fields]
Text__c   = { column = "text" }
Secret__c = { column = "secret" }
Html__c   = { column = "html" }
Mail__c   = { column = "mail" }
When__c   = { column = "moment" }
Money__c  = { column = "money" }
"#;

const TABLE: &str = "
create table vault (
    key text primary key,
    text text,
    secret text,
    html text,
    mail text,
    moment timestamptz,
    money numeric
)";

const HTML: &str = "<p onclick=\"x()\">it's</p><script>x()</script>";
const SANITISED: &str = "<p>it&#39;s</p>";

async fn vault() -> Stage {
    let org = LocalOrg::of(Org::from_toml(ORG).unwrap());
    let stage = Stage::of(org, VAULT).await;
    stage.sql(TABLE).await;
    stage.install().await;
    stage
}

/// What stopped: `code of field`.
async fn stopped(stage: &Stage) -> Vec<Json> {
    let open = "select code || ' of ' || coalesce(field, 'all') as of
        from syncline.sync_dead_letter where closed_at is null order by 1";
    let rows = stage.rows(open).await;
    rows.into_iter().map(|mut row| row["of"].take()).collect()
}

/// Sweeps, compares and drains again: nothing is written to either side.
async fn assert_rests(stage: &Stage) {
    let versions =
        "select string_agg(key || xmin::text || ctid::text, ',' order by key) from vault";
    let before = (stage.org.writing_calls(), stage.one(versions).await);
    for _ in 0..2 {
        stage.sweep().await;
        stage.drain().await;
        let compared = stage
            .engine
            .reconcile_full(&stage.tenant, stage.deadline())
            .await
            .unwrap();
        assert_eq!((compared.drifted.len(), compared.enqueued), (0, 0));
        stage.drain().await;
    }
    let after = (stage.org.writing_calls(), stage.one(versions).await);
    assert_eq!(after, before, "something was written again");
}

/// Reads one field of a row and of its record.
async fn both(stage: &Stage, key: &str, column: &str, field: &str) -> (Json, Json) {
    let row = format!("select {column} from vault where key = '{key}'");
    let soql = format!("select {field} from Vault__c where Key__c = '{key}'");
    let record = stage.org.query(&soql).remove(0);
    (stage.one(&row).await, record[field].clone())
}

#[tokio::test]
async fn row_that_salesforce_stores_otherwise_is_written_once() {
    let stage = vault().await;
    let html = HTML.replace('\'', "''");
    stage
        .sql(&format!(
            "insert into vault (key, mail) values ('mail', 'Ada@Acme.Example');
            insert into vault (key, moment) values ('when', '2026-05-01 09:30:00.999999Z');
            insert into vault (key, money) values ('cents', 12.3456), ('wide', 12345678901234.5678);
            insert into vault (key, html) values ('html', '{html}')"
        ))
        .await;
    stage.drain().await;
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
    assert_eq!(stage.org.writing_calls(), 1, "all rows in one call");
    for (key, column, field, row, record) in [
        (
            "mail",
            "mail",
            "Mail__c",
            json!("Ada@Acme.Example"),
            json!("ada@acme.example"),
        ),
        (
            "when",
            "moment = '2026-05-01 09:30:00.999999Z'",
            "When__c",
            json!(true),
            json!("2026-05-01T09:30:00.000+0000"),
        ),
        (
            "cents",
            "money::text",
            "Money__c",
            json!("12.3456"),
            json!(12.3456),
        ),
        (
            "wide",
            "money::text",
            "Money__c",
            json!("12345678901234.5678"),
            json!(12_345_678_901_234.568),
        ),
        // The row takes what the sanitiser leaves.
        (
            "html",
            "html",
            "Html__c",
            json!(SANITISED),
            json!(SANITISED),
        ),
    ] {
        assert_eq!(
            both(&stage, key, column, field).await,
            (row, record),
            "{key}"
        );
    }
    assert_rests(&stage).await;
}

#[tokio::test]
async fn record_with_values_beyond_its_field_reaches_the_row_whole() {
    let stage = vault().await;
    stage.drain().await;
    stage.org.insert(
        "Vault__c",
        json!({
            "Key__c": "v", "Mail__c": "Ada@Acme.Example", "When__c": "2026-05-01T09:30:00.999Z",
            "Money__c": 12_345_678_901_234.568, "Html__c": HTML,
        }),
    );
    stage.drain().await;
    let row = "select mail, moment = '2026-05-01 09:30:00Z' as cut, money::text, html from vault";
    assert_eq!(
        stage.rows(row).await,
        [json!({
            "mail": "ada@acme.example", "cut": true, "money": "12345678901234.568", "html": SANITISED,
        })]
    );
    assert_eq!(stage.org.writing_calls(), 0);
    assert_rests(&stage).await;
}

#[tokio::test]
async fn value_that_automation_cuts_after_its_write_comes_back_once() {
    let stage = vault().await;
    for (field, cut) in [("Text__c", json!("cut")), ("Money__c", json!(12.35))] {
        stage
            .org
            .flow(json!({"object": "Vault__c", "when_field_changes": field, "set": {field: cut}}));
    }
    stage
        .sql("insert into vault (key, text, money) values ('v', 'cut me', 12.3456)")
        .await;
    stage.drain().await;
    let values = "select text, money::text from vault";
    let cut = [json!({"text": "cut", "money": "12.35"})];
    assert_eq!(stage.rows(values).await, cut);
    assert_eq!(stage.org.writing_calls(), 1);
    assert_rests(&stage).await;

    // The same result again: Salesforce answers 200, and its event does not name the field.
    stage.sql("update vault set text = 'cut me again'").await;
    stage.drain().await;
    assert_eq!(stage.org.writing_calls(), 2);
    stage
        .sql(
            "update syncline.sync_intent set updated_at = syncline.clock() - interval '16 minutes'
            where state = 'applied'",
        )
        .await;
    stage.sweep().await;
    stage.drain().await;
    assert_eq!(
        stage.rows(values).await,
        cut,
        "what no event echoes is read"
    );
    assert_eq!(stage.org.writing_calls(), 2);
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_rests(&stage).await;
}

#[tokio::test]
async fn masked_value_never_reaches_row_base_or_write() {
    let stage = vault().await;
    stage.drain().await;
    let secret = "4111-1111-1234";
    let record = json!({"Key__c": "v", "Secret__c": secret, "Text__c": "a"});
    let id = stage.org.insert("Vault__c", record);
    stage.drain().await;
    let row = "select text, secret from vault";
    assert_eq!(
        stage.rows(row).await,
        [json!({"text": "a", "secret": null})]
    );
    assert_eq!(stopped(&stage).await, ["unreadable_value of Secret__c"]);

    // The other fields go on in both directions; the row's own secret is kept, and not sent.
    stage
        .sql("update vault set text = 'b', secret = 'mine'")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Text__c").as_deref(), Some("b"));
    stage
        .org
        .update(&id, json!({"Text__c": "c", "Money__c": 1}));
    stage.drain().await;
    assert_eq!(
        stage.rows(row).await,
        [json!({"text": "c", "secret": "mine"})]
    );
    assert_eq!(stage.org.value(&id, "Secret__c").as_deref(), Some(secret));
    assert_eq!(stopped(&stage).await, ["unreadable_value of Secret__c"]);
    for table in [
        "sync_link",
        "sync_intent",
        "sync_journal",
        "sync_conflict",
        "sync_dead_letter",
    ] {
        let masked =
            format!("select count(*) from syncline.{table} as it where it::text like '%****%'");
        assert_eq!(stage.one(&masked).await, json!(0), "{table}");
    }
    let calls = stage.org.writing_calls();
    stage.sweep().await;
    stage.drain().await;
    assert_eq!(stage.org.writing_calls(), calls);
}

#[tokio::test]
async fn masked_value_is_read_once_our_user_may_see_it() {
    let stage = vault().await;
    stage.drain().await;
    stage.org.insert(
        "Vault__c",
        json!({"Key__c": "v", "Secret__c": "4111-1111-1234"}),
    );
    stage.drain().await;
    stage.org.restrict(&json!({"view_encrypted_data": true}));
    let dead_letter = stage.store.dead_letters(&stage.tenant, None, 1).await;
    let dead_letter = dead_letter.unwrap()[0].dead_letter_id;
    let replayed = stage
        .store
        .replay_dead_letter(&stage.tenant, dead_letter)
        .await;
    assert!(replayed.unwrap());
    stage.drain().await;
    let row = stage.one("select secret from vault").await;
    assert_eq!(row, json!("4111-1111-1234"));
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.org.writing_calls(), 0);
    assert_rests(&stage).await;
}

#[tokio::test]
async fn check_names_the_encrypted_field_and_the_permission() {
    let stage = vault().await;
    let found = async || {
        let found = stage.engine.check(&stage.tenant).await.unwrap();
        let lines = found
            .iter()
            .filter(|one| one.field.is_some())
            .map(|one| format!("{:?}: {}; {}", one.level, one.what, one.fix));
        lines.collect::<Vec<String>>()
    };
    // Without a record, too: the org says what our user may see.
    assert_eq!(
        found().await,
        [
            "Error: the org shows our user only masked values of the encrypted field Secret__c; grant the \
          integration user the permission \"View Encrypted Data\", or leave the field out"
        ]
    );
    stage.org.restrict(&json!({"view_encrypted_data": true}));
    stage
        .org
        .insert("Vault__c", json!({"Key__c": "v", "Secret__c": "4711"}));
    assert_eq!(found().await, Vec::<String>::new());
    stage
        .org
        .insert("Vault__c", json!({"Key__c": "w", "Secret__c": "**1234"}));
    assert_eq!(
        found().await,
        [
            "Warning: values of the encrypted field Secret__c look masked, although our user may see it: they \
          are parked; correct these values in the org, or leave the field out"
        ]
    );
}
