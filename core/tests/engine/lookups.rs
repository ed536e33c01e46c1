//! Lookups to parents that are not synchronised.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use crate::local_org::LocalOrg;
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

async fn wait_out(stage: &Stage) {
    for _ in 0..14 {
        stage.drain().await;
        stage.make_due().await;
    }
}

async fn open_tasks(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select state, code from syncline.sync_task")
        .await
}

/// A record that waits for the parent of a withheld lookup, and for nothing else.
fn missing_parent() -> Json {
    json!({"state": "ready", "code": "missing_parent"})
}

#[tokio::test]
async fn lookup_of_a_parent_deleted_in_salesforce_is_withheld_alone() {
    let stage = Stage::open().await;
    stage
        .sql(
            "alter table account add foreign key (parent_external_id) references account (external_id)",
        )
        .await;
    stage.drain().await;
    let eve = stage
        .org
        .insert("Account", json!({"Name": "Eve", "External_Id__c": "a-1"}));
    let child = json!({"Name": "Ada", "Phone": "1", "ParentId": eve, "External_Id__c": "a-2"});
    let ada = stage.org.insert("Account", child);
    // Salesforce clears the lookup, without an event of it: the child's own event still names the parent.
    stage.org.delete(&eve);
    wait_out(&stage).await;
    let accounts = "select external_id, phone, parent_external_id as parent from account";
    assert_eq!(
        stage.rows(accounts).await,
        [json!({"external_id": "a-2", "phone": "1", "parent": null})]
    );
    stage
        .sql("update account set name = 'Ada Ltd' where external_id = 'a-2'")
        .await;
    stage.org.update(&ada, json!({"Phone": "2"}));
    wait_out(&stage).await;
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada Ltd"));
    assert_eq!(stage.one("select phone from account").await, json!("2"));
    let letters = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.one(letters).await, json!(0));

    stage.org.advance_ms(1_000);
    stage.org.undelete(&eve);
    stage.org.update(&ada, json!({"ParentId": eve}));
    wait_out(&stage).await;
    let parent = "select parent_external_id from account where external_id = 'a-2'";
    assert_eq!(stage.one(parent).await, json!("a-1"));
    stage.assert_equal().await;
}

#[tokio::test]
async fn lookup_of_an_unreadable_parent_is_withheld_alone() {
    let stage = Stage::open().await;
    stage.drain().await;
    stage.org.restrict(&json!({"cannot_view_all": ["Account"]}));
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", ada);
    let lee = json!({"LastName": "Lee", "AccountId": ada, "External_Id__c": "c-1"});
    let lee = stage.org.insert("Contact", lee);
    wait_out(&stage).await;
    let contacts = "select last_name, account_external_id as account from contact";
    assert_eq!(
        stage.rows(contacts).await,
        [json!({"last_name": "Lee", "account": null})]
    );
    stage
        .sql("update contact set email = 'lee@example.com'")
        .await;
    wait_out(&stage).await;
    assert_eq!(
        stage.org.value(&lee, "Email").as_deref(),
        Some("lee@example.com")
    );
    assert_eq!(
        stage.one("select count(*) from syncline.sync_dead_letter as letter join syncline.sync_link as link using (record_id) where link.object = 'Contact' and letter.closed_at is null").await,
        json!(0)
    );

    stage.org.restrict(&json!({}));
    stage.org.advance_ms(1_000);
    stage.org.update(&ada, json!({"Phone": "1"}));
    wait_out(&stage).await;
    stage.assert_equal().await;
    assert_eq!(
        stage.rows(contacts).await,
        [json!({"last_name": "Lee", "account": "a-1"})]
    );
}

#[tokio::test]
async fn lookup_of_a_parent_of_another_type_is_withheld_alone() {
    const ORG: &str = "
        [org]
        features = [\"activities\"]
        [[object]]
        name = \"Task\"
        [[object.field]]
        name = \"External_Id__c\"
        type = \"string\"
        length = 255
        external_id = true
        unique = true
    ";
    let contact = MAPPING
        .rfind("[[tenant.acme.object]]")
        .expect("the second object");
    let tasks = "[[tenant.acme.object]]
object      = \"Task\"
table       = \"todo\"
external_id = { field = \"External_Id__c\", column = \"external_id\" }

[tenant.acme.object.fields]
Subject = { column = \"subject\" }
WhatId  = { column = \"account_external_id\", references = \"Account\" }
";
    let mapping = format!("{}{tasks}", &MAPPING[..contact]);
    let org = LocalOrg::of(Org::from_toml(ORG).unwrap());
    let stage = Stage::of(org, &mapping).await;
    stage
        .sql("create table todo (external_id text primary key, subject text, account_external_id text)")
        .await;
    stage.install().await;
    stage.drain().await;
    let ada = stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let deal = stage.org.insert(
        "Opportunity",
        json!({"Name": "Deal", "StageName": "Prospecting", "CloseDate": "2026-12-01"}),
    );
    let call = json!({"Subject": "Call", "WhatId": deal, "External_Id__c": "t-1"});
    let call = stage.org.insert("Task", call);
    wait_out(&stage).await;
    let todo = "select subject, account_external_id as account from todo";
    assert_eq!(
        stage.rows(todo).await,
        [json!({"subject": "Call", "account": null})]
    );
    stage.sql("update todo set subject = 'Call back'").await;
    wait_out(&stage).await;
    assert_eq!(
        stage.org.value(&call, "Subject").as_deref(),
        Some("Call back")
    );
    assert_eq!(
        stage.org.value(&call, "WhatId").as_deref(),
        Some(deal.as_str())
    );
    assert_eq!(open_tasks(&stage).await, [missing_parent()]);

    stage.org.advance_ms(1_000);
    stage.org.update(&call, json!({"WhatId": ada}));
    wait_out(&stage).await;
    assert_eq!(
        stage.rows(todo).await,
        [json!({"subject": "Call back", "account": "a-1"})]
    );
    assert_eq!(open_tasks(&stage).await, Vec::<Json>::new());
}

#[tokio::test]
async fn rows_lookup_to_a_deleted_or_foreign_parent_is_withheld_alone() {
    // The external id of an account that was deleted, and one of a contact.
    for parent in ["a-1", "c-9"] {
        let stage = Stage::open().await;
        stage
            .sql(
                "insert into account (external_id, name) values ('a-1', 'Ada');
                insert into contact (external_id, last_name) values ('c-1', 'Lee'), ('c-9', 'Day')",
            )
            .await;
        stage.drain().await;
        stage.sql("delete from account").await;
        stage.drain().await;
        assert_eq!(stage.org.count("Account"), 0);
        stage
            .sql(&format!(
                "update contact set account_external_id = '{parent}', email = 'lee@example.com'
                where external_id = 'c-1'"
            ))
            .await;
        wait_out(&stage).await;
        let lee = stage.org.id_of("Contact", "c-1").unwrap();
        assert_eq!(
            stage.org.value(&lee, "Email").as_deref(),
            Some("lee@example.com")
        );
        assert_eq!(open_tasks(&stage).await, [missing_parent()]);
        stage
            .sql(&format!(
                "insert into account (external_id, name) values ('{parent}', 'Ada')"
            ))
            .await;
        stage.drain().await;
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn rows_lookup_to_an_unreadable_parent_is_withheld_alone() {
    let stage = Stage::open().await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.drain().await;
    stage.org.restrict(&json!({"cannot_view_all": ["Account"]}));
    stage
        .sql(
            "insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Lee', 'a-1')",
        )
        .await;
    wait_out(&stage).await;
    let lee = stage.org.id_of("Contact", "c-1").unwrap();
    assert_eq!(stage.org.value(&lee, "AccountId"), None);
    assert_eq!(open_tasks(&stage).await, [missing_parent()]);
    stage
        .sql("update contact set email = 'lee@example.com'")
        .await;
    wait_out(&stage).await;
    assert_eq!(
        stage.org.value(&lee, "Email").as_deref(),
        Some("lee@example.com")
    );

    // Nothing tells that our user may see it now: it is asked again once an hour.
    stage.org.restrict(&json!({}));
    stage
        .sql("update syncline.sync_intent set created_at = created_at - interval '61 minutes'")
        .await;
    wait_out(&stage).await;
    stage.assert_equal().await;
    assert!(stage.org.value(&lee, "AccountId").is_some());
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
            alter table contact alter account_external_id set not null;
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
async fn row_refused_without_its_parent_is_written_without_the_lookup() {
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
    for number in 1..=2 {
        stage.org.insert(
            "Contact",
            json!({"LastName": "Lee", "AccountId": ada, "External_Id__c": format!("c-{number}")}),
        );
    }
    wait_out(&stage).await;
    let contacts =
        "select external_id, account_external_id as account from contact order by external_id";
    assert_eq!(
        stage.rows(contacts).await,
        [
            json!({"external_id": "c-1", "account": null}),
            json!({"external_id": "c-2", "account": null})
        ]
    );
    let parked = "select link.external_id from syncline.sync_task as task
        join syncline.sync_link as link using (record_id) where task.state = 'parked'";
    assert_eq!(
        stage.rows(parked).await,
        [json!({"external_id": "a-1"})],
        "the parent alone"
    );
    let lee = stage.org.id_of("Contact", "c-1").unwrap();
    stage
        .sql("update contact set email = 'lee@example.com' where external_id = 'c-1'")
        .await;
    wait_out(&stage).await;
    assert_eq!(
        stage.org.value(&lee, "Email").as_deref(),
        Some("lee@example.com")
    );
    assert_eq!(
        stage.org.value(&lee, "AccountId").as_deref(),
        Some(ada.as_str())
    );

    stage
        .sql("alter table account drop constraint closed")
        .await;
    stage.org.update(&ada, json!({"Name": "Ada Ltd"}));
    stage.drain().await;
    stage.assert_equal().await;
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
