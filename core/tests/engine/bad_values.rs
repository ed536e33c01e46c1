//! Values that the other side refuses: their field is parked until its value changes, the other fields
//! are written.

use serde_json::{Value as Json, json};

use crate::mapping::MAPPING;
use crate::stage::Stage;

const TOO_LONG: &str = "update account set phone = repeat('7', 60), name = 'Ada Ltd'";

/// Opens a stage with an account and a contact that are in sync; returns the account's Salesforce id.
async fn agreed() -> (Stage, String) {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql(
            "insert into account (external_id, name, phone) values ('a-1', 'Ada', '1');
            insert into contact (external_id, last_name, email) values ('c-1', 'Day', 'day@acme.example')",
        )
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    (stage, id)
}

/// Returns the open dead letters as `code of field`.
async fn dead_letters(stage: &Stage) -> Vec<Json> {
    let open = "select code || ' of ' || coalesce(field, 'all') as of
        from syncline.sync_dead_letter where closed_at is null order by 1";
    let rows = stage.rows(open).await;
    rows.into_iter().map(|mut row| row["of"].take()).collect()
}

async fn parked(stage: &Stage) -> Json {
    let parked =
        "select string_agg(external_id, ',') from syncline.record_status where state = 'parked'";
    stage.one(parked).await
}

#[tokio::test]
async fn value_too_long_parks_only_its_field_until_corrected() {
    let (stage, id) = agreed().await;
    stage.sql(TOO_LONG).await;
    stage.drain().await;
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Ada Ltd"));
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("1"));
    assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);
    assert_eq!(parked(&stage).await, json!("a-1"));

    // Edits of other fields are written on both sides; the field stays parked.
    stage.sql("update account set revenue = 12").await;
    stage.org.update(&id, json!({"Industry": "Energy"}));
    stage.drain().await;
    assert_eq!(
        stage.org.value(&id, "AnnualRevenue").as_deref(),
        Some("12.0")
    );
    let industry = stage.one("select industry from account").await;
    assert_eq!(industry, json!("Energy"));
    assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);

    stage.sql("update account set phone = '77'").await;
    stage.drain().await;
    assert_eq!(dead_letters(&stage).await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn new_row_is_created_without_its_invalid_value() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name, phone) values ('a-1', 'Ada', repeat('7', 60))",
        )
        .await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    assert_eq!(stage.org.value(&id, "Phone"), None);
    assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);
    stage.sql("update account set phone = '7'").await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn owner_overwrites_value_that_could_not_be_sent() {
    let (stage, id) = agreed().await;
    stage.org.update(&id, json!({"Industry": "Energy"}));
    stage.drain().await;
    stage
        .sql("update account set industry = repeat('x', 300)")
        .await;
    stage.drain().await;
    let industry = stage.one("select industry from account").await;
    assert_eq!(industry, json!("Energy"));
    assert_eq!(dead_letters(&stage).await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn unsendable_value_and_remote_edit_conflict_in_that_field() {
    let (stage, id) = agreed().await;
    stage.sql(TOO_LONG).await;
    stage.org.update(&id, json!({"Phone": "2"}));
    stage.drain().await;
    let conflicts = stage.conflicts().await;
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!(conflicts[0]["field"], json!("Phone"));
    assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Ada Ltd"));
    stage.sql("update account set phone = '2'").await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn value_salesforce_refuses_parks_its_field_until_corrected() {
    let (stage, _) = agreed().await;
    let contact = stage.org.id_of("Contact", "c-1").unwrap();
    stage
        .sql("update contact set email = 'no-address', last_name = 'Dale'")
        .await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&contact, "LastName").as_deref(),
        Some("Dale")
    );
    assert_eq!(
        dead_letters(&stage).await,
        ["INVALID_EMAIL_ADDRESS of Email"]
    );
    assert_eq!(parked(&stage).await, json!("c-1"));

    stage.sql("update contact set last_name = 'Dean'").await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&contact, "LastName").as_deref(),
        Some("Dean")
    );
    assert_eq!(
        dead_letters(&stage).await,
        ["INVALID_EMAIL_ADDRESS of Email"]
    );

    stage
        .sql("update contact set email = 'dean@acme.example'")
        .await;
    stage.drain().await;
    assert_eq!(dead_letters(&stage).await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn contact_is_created_without_the_value_salesforce_refuses() {
    let stage = Stage::open().await;
    stage
        .sql("insert into contact (external_id, last_name, email) values ('c-1', 'Day', 'no-address')")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Contact"), 1);
    assert_eq!(
        dead_letters(&stage).await,
        ["INVALID_EMAIL_ADDRESS of Email"]
    );
    let calls = stage.org.writing_calls();
    stage.sweep().await;
    stage.drain().await;
    assert_eq!(
        stage.org.writing_calls(),
        calls,
        "a parked value is not sent again"
    );
    stage
        .sql("update contact set email = 'day@acme.example'")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn value_the_table_refuses_parks_its_column_until_changed() {
    let (stage, id) = agreed().await;
    stage
        .sql("alter table account alter column phone type varchar(5)")
        .await;
    stage
        .org
        .update(&id, json!({"Phone": "7777777", "Name": "Ada Ltd"}));
    stage.drain().await;
    let row = stage.rows("select name, phone from account").await;
    assert_eq!(row, [json!({"name": "Ada Ltd", "phone": "1"})]);
    assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);
    assert_eq!(parked(&stage).await, json!("a-1"));

    stage.sql("update account set revenue = 12").await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&id, "AnnualRevenue").as_deref(),
        Some("12.0")
    );
    assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);

    stage.org.update(&id, json!({"Phone": "77"}));
    stage.drain().await;
    assert_eq!(dead_letters(&stage).await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn row_is_inserted_without_the_columns_the_table_refuses() {
    let stage = Stage::open().await;
    stage
        .sql(
            "alter table account alter column phone type varchar(5);
            alter table account add constraint no_loss check (revenue >= 0)",
        )
        .await;
    stage.drain().await;
    stage.org.insert(
        "Account",
        json!({"Name": "Ada", "Phone": "7777777", "AnnualRevenue": -5, "External_Id__c": "a-1"}),
    );
    stage.drain().await;
    let row = stage.rows("select name, phone, revenue from account").await;
    assert_eq!(
        row,
        [json!({"name": "Ada", "phone": null, "revenue": null})]
    );
    let message = "select message from syncline.sync_dead_letter where closed_at is null";
    let message = stage.one(message).await.as_str().unwrap().to_owned();
    assert!(
        message.contains("phone") && message.contains("no_loss"),
        "{message}"
    );

    stage
        .sql(
            "alter table account alter column phone type text;
            alter table account drop constraint no_loss",
        )
        .await;
    let dead_letter = stage.store.dead_letters(&stage.tenant, None, 1).await;
    let dead_letter = dead_letter.unwrap()[0].dead_letter_id;
    let replayed = stage
        .store
        .replay_dead_letter(&stage.tenant, dead_letter)
        .await;
    assert!(replayed.unwrap());
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn default_instead_of_a_refused_value_is_no_edit() {
    for default in [
        "default 'none'",
        "default 'none', alter column phone set not null",
    ] {
        let stage = Stage::open().await;
        stage
            .sql(&format!(
                "create type phone_kind as enum ('none', 'mobile');
                alter table account alter column phone type phone_kind using phone::phone_kind;
                alter table account alter column phone set {default}"
            ))
            .await;
        stage.drain().await;
        let id = stage.org.insert(
            "Account",
            json!({"Name": "Ada", "Phone": "satellite", "External_Id__c": "a-1"}),
        );
        stage.drain().await;
        let row = stage.rows("select name, phone from account").await;
        assert_eq!(row, [json!({"name": "Ada", "phone": "none"})]);
        assert_eq!(stage.conflicts().await, Vec::<Json>::new());
        assert_eq!(dead_letters(&stage).await, ["invalid_value of Phone"]);

        stage.sql("update account set name = 'Ada Ltd'").await;
        stage.drain().await;
        assert_eq!(stage.conflicts().await, Vec::<Json>::new());
        assert_eq!(stage.org.value(&id, "Name").as_deref(), Some("Ada Ltd"));
        assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("satellite"));

        stage
            .sql("alter type phone_kind add value 'satellite'")
            .await;
        let dead_letter = stage.store.dead_letters(&stage.tenant, None, 1).await;
        let dead_letter = dead_letter.unwrap()[0].dead_letter_id;
        let replayed = stage.store.replay_dead_letter(&stage.tenant, dead_letter);
        assert!(replayed.await.unwrap());
        stage.drain().await;
        stage.assert_equal().await;
    }
}
