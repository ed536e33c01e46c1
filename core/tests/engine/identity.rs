//! The identity of records: generated ids, renames, keys that are equal in Salesforce.

use serde_json::{Value as Json, json};

use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

#[tokio::test]
async fn salesforce_record_without_external_id_gets_one_on_both_sides() {
    let stage = Stage::open().await;
    let id = stage.org.insert("Account", json!({"Name": "Ada"}));
    stage.drain().await;
    stage.assert_equal().await;
    let generated = stage.org.value(&id, "External_Id__c").unwrap();
    assert_eq!(
        stage.one("select external_id from account").await,
        json!(generated)
    );
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn row_without_external_id_gets_one_on_both_sides() {
    let stage = Stage::open().await;
    stage.sql("insert into account (name) values ('Ada')").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 1);
    assert!(
        stage
            .one("select external_id from account")
            .await
            .is_string()
    );
}

#[tokio::test]
async fn second_external_id_is_an_ordinary_field() {
    let org = LocalOrg::new();
    let unique = json!({"name": "IATA__c", "type": "string", "length": 80, "external_id": true, "unique": true});
    org.convert("Account", unique);
    let mapping = MAPPING.replace("Phone ", "IATA__c ");
    let stage = Stage::of(org, &mapping).await;
    stage.install().await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', 's-1'), ('a-2', 'Bob', null)")
        .await;
    stage.drain().await;
    let there = json!({"Name": "Cy", "External_Id__c": "a-3", "IATA__c": "s-3"});
    let id = stage.org.insert("Account", there);
    // The create is known by its event alone.
    stage.capture_salesforce().await;
    let named = "select external_id from syncline.sync_link where salesforce_id = ";
    let link = stage.one(&format!("{named} '{id}'")).await;
    assert_eq!(link, json!("a-3"));
    stage.drain().await;
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
    let rows = stage
        .rows("select external_id, phone from account order by external_id")
        .await;
    let row = |external_id, site| json!({"external_id": external_id, "phone": site});
    let rows_expected = [
        row("a-1", json!("s-1")),
        row("a-2", Json::Null),
        row("a-3", json!("s-3")),
    ];
    assert_eq!(rows, rows_expected);
    let links = "select count(*) from syncline.sync_link where object = 'Account'";
    assert_eq!(stage.one(links).await, json!(3));
    assert_eq!(stage.org.count("Account"), 3);
}

#[tokio::test]
async fn changed_key_is_a_rename_not_a_new_record() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.sql("update account set external_id = 'b-1'").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 1);
    assert_eq!(
        stage.org.value(&id, "External_Id__c").as_deref(),
        Some("b-1")
    );

    stage.org.update(&id, json!({"External_Id__c": "c-1"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select external_id from account").await,
        json!("c-1")
    );
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn rows_with_one_canonical_key_are_both_parked() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('ab-1', 'Ada'), ('AB-1', 'Bob'), ('a-2', 'Dora')")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    let dead_letters = stage
        .rows("select code, message from syncline.sync_dead_letter where closed_at is null")
        .await;
    assert!(!dead_letters.is_empty());
    let message = dead_letters[0]["message"].as_str().unwrap();
    assert!(
        message.contains("ab-1") && message.contains("AB-1"),
        "{message}"
    );

    stage
        .sql("delete from account where external_id = 'AB-1'")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn row_and_record_with_one_key_become_one() {
    let stage = Stage::open().await;
    let id = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"}),
    );
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    stage
        .sql("insert into account (external_id, name, revenue) values ('a-1', 'Ada Ltd', 5)")
        .await;
    // The row is applied before the org is read.
    stage.capture_postgres().await;
    stage.apply("Account").await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    assert_eq!(
        stage.org.value(&id, "Name").as_deref(),
        Some("Ada"),
        "nothing was overwritten"
    );
    assert_eq!(
        stage.conflicts().await.len(),
        1,
        "the names differ and the cause is unknown"
    );
    assert_eq!(stage.one("select phone from account").await, json!("1"));
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn record_renamed_before_its_first_row_gets_the_latest_id() {
    let stage = Stage::open().await;
    stage.drain().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.org.update(&ada, json!({"External_Id__c": "a-2"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select external_id from account").await,
        json!("a-2")
    );
}
