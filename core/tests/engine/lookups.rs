//! Lookups to parents that are not synchronised.

use serde_json::json;

use crate::mapping::{MAPPING, with_line};
use crate::stage::Stage;

/// A contact whose account does not match the filter of accounts. Returns the account's Salesforce id.
fn with_foreign_account(stage: &Stage) -> String {
    let eve = stage.org.insert(
        "Account",
        json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-1"}),
    );
    stage.org.insert(
        "Contact",
        json!({"LastName": "Lee", "AccountId": eve, "External_Id__c": "c-1"}),
    );
    eve
}

#[tokio::test]
async fn lookup_of_a_filtered_out_parent_is_withheld_alone() {
    let stage = Stage::with_mapping(&with_line("where = \"Type = 'Customer'\"")).await;
    stage.drain().await;
    let eve = with_foreign_account(&stage);
    for _ in 0..8 {
        stage.drain().await;
        stage.make_due().await;
    }
    let contacts = "select last_name, account_external_id as account from contact";
    assert_eq!(
        stage.rows(contacts).await,
        [json!({"last_name": "Lee", "account": null})]
    );
    // Its other fields are synchronised, both ways.
    stage
        .sql("update contact set email = 'lee@example.com'")
        .await;
    stage.drain().await;
    let there = "select Email from Contact";
    assert_eq!(stage.org.query(there)[0]["Email"], json!("lee@example.com"));
    assert_eq!(
        stage
            .rows("select state, code from syncline.sync_task")
            .await,
        [json!({"state": "ready", "code": "missing_parent"})]
    );

    stage.org.advance_ms(1_000);
    stage.org.update(&eve, json!({"Type": "Customer"}));
    stage.drain().await;
    assert_eq!(
        stage.rows(contacts).await,
        [json!({"last_name": "Lee", "account": "a-1"})]
    );
    assert_eq!(stage.tasks().await, Vec::<serde_json::Value>::new());
}

#[tokio::test]
async fn lookup_to_a_row_that_does_not_exist_is_withheld_alone() {
    let stage = Stage::open().await;
    stage.drain().await;
    stage
        .sql(
            "insert into contact (external_id, last_name, account_external_id)
            values ('c-1', 'Lee', 'a-1')",
        )
        .await;
    for _ in 0..14 {
        stage.drain().await;
        stage.make_due().await;
    }
    let there = "select LastName, Account.External_Id__c from Contact";
    assert_eq!(stage.org.query(there)[0]["LastName"], json!("Lee"));
    assert_eq!(
        stage
            .rows("select state, code from syncline.sync_task")
            .await,
        [json!({"state": "ready", "code": "missing_parent"})]
    );

    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.org.query(there)[0]["Account"]["External_Id__c"],
        json!("a-1")
    );
}

#[tokio::test]
async fn edit_of_a_lookup_alone_waits_for_its_parent() {
    let stage = Stage::open().await;
    stage
        .sql("insert into contact (external_id, last_name) values ('c-1', 'Lee')")
        .await;
    stage.drain().await;
    stage
        .sql("update contact set account_external_id = 'a-1'")
        .await;
    for _ in 0..20 {
        stage.drain().await;
        stage.make_due().await;
    }
    assert_eq!(
        stage
            .rows("select state, code from syncline.sync_task")
            .await,
        [json!({"state": "ready", "code": "missing_parent"})]
    );
    let letters = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.one(letters).await, json!(0));
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn parked_child_is_woken_by_the_row_of_its_parent() {
    let stage = Stage::open().await;
    stage
        .sql(
            "alter table contact add foreign key (account_external_id) references account (external_id);
            alter table account add constraint closed check (external_id <> 'a-1')",
        )
        .await;
    stage.drain().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.org.insert(
        "Contact",
        json!({"LastName": "Lee", "AccountId": ada, "External_Id__c": "c-1"}),
    );
    for _ in 0..20 {
        stage.drain().await;
        stage.make_due().await;
    }
    let parked = "select link.external_id, task.state, task.code
        from syncline.sync_task as task join syncline.sync_link as link using (record_id) order by 1";
    assert_eq!(
        stage.rows(parked).await,
        [
            json!({"external_id": "a-1", "state": "parked", "code": "constraint_violation"}),
            json!({"external_id": "c-1", "state": "parked", "code": "missing_parent"}),
        ]
    );

    // A person mends the parent alone.
    stage
        .sql("alter table account drop constraint closed")
        .await;
    let letters = stage
        .store
        .dead_letters(&stage.tenant, None, 9)
        .await
        .unwrap();
    let of_parent = letters
        .iter()
        .find(|letter| letter.code == "constraint_violation")
        .unwrap();
    let replayed = stage
        .store
        .replay_dead_letter(&stage.tenant, of_parent.dead_letter_id);
    assert!(replayed.await.unwrap());
    stage.drain().await;
    stage.assert_equal().await;
    let open = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.one(open).await, json!(0));
}

#[tokio::test]
async fn lookup_follows_a_parent_renamed_on_the_other_side() {
    let stage = Stage::open().await;
    let id = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    // The row names the account as it is called there; meanwhile it gets another external id in Salesforce.
    stage
        .sql(
            "insert into contact (external_id, last_name, account_external_id)
            values ('c-1', 'Lee', 'a-1')",
        )
        .await;
    stage.org.update(&id, json!({"External_Id__c": "a-2"}));
    for _ in 0..4 {
        stage.drain().await;
        stage.make_due().await;
    }
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select account_external_id from contact").await,
        json!("a-2")
    );
}

#[tokio::test]
async fn integer_lookup_follows_a_parent_renamed_on_the_other_side() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "alter table account alter external_id type bigint using external_id::bigint;
            alter table contact alter account_external_id type bigint using account_external_id::bigint",
        )
        .await;
    stage.install().await;
    let id = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "1001"}));
    stage.drain().await;
    stage
        .sql(
            "insert into contact (external_id, last_name, account_external_id)
            values ('c-1', 'Lee', 1001)",
        )
        .await;
    stage.org.update(&id, json!({"External_Id__c": "1002"}));
    for _ in 0..4 {
        stage.drain().await;
        stage.make_due().await;
    }
    let there = "select Account.External_Id__c from Contact";
    assert_eq!(
        stage.org.query(there)[0]["Account"]["External_Id__c"],
        json!("1002")
    );
    assert_eq!(
        stage.one("select account_external_id from contact").await,
        json!(1002)
    );
    assert_eq!(stage.tasks().await, Vec::<serde_json::Value>::new());
}
