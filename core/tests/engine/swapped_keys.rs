//! Two records exchange their external ids.

use serde_json::{Value as Json, json};

use crate::stage::Stage;

/// Swaps the external ids of the two rows in one transaction.
const SWAP: &str = "begin;
    update account set external_id = 'swap' where external_id = 'a-1';
    update account set external_id = 'a-1' where external_id = 'a-2';
    update account set external_id = 'a-2' where external_id = 'swap';
    commit";

/// Two accounts in step. Returns their Salesforce ids.
async fn two() -> (Stage, String, String) {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1'), ('a-2', 'Bob', '2')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = |key| stage.org.id_of("Account", key).unwrap();
    let (ada, bob) = (id("a-1"), id("a-2"));
    (stage, ada, bob)
}

async fn names(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select external_id, name from account order by name")
        .await
}

#[tokio::test]
async fn values_go_to_no_row_that_another_record_has_now() {
    let (stage, ada, _) = two().await;
    stage.org.update(&ada, json!({"Phone": "9"}));
    stage.capture_salesforce().await;
    // The record is planned before its row's new external id is captured.
    stage.sql(SWAP).await;
    stage.apply("Account").await;
    let phones = "select name, phone from account order by name";
    assert_eq!(
        stage.rows(phones).await,
        [
            json!({"name": "Ada", "phone": "1"}),
            json!({"name": "Bob", "phone": "2"})
        ]
    );
    stage.make_due().await;
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(
        stage.rows(phones).await,
        [
            json!({"name": "Ada", "phone": "9"}),
            json!({"name": "Bob", "phone": "2"})
        ]
    );
}

#[tokio::test]
async fn swapped_external_ids_reach_salesforce_in_two_steps() {
    let (stage, ada, bob) = two().await;
    let before = stage.org.writing_calls();
    stage
        .sql("update account set phone = '7' where external_id = 'a-1'")
        .await;
    stage.sql(SWAP).await;
    stage.drain().await;
    assert_eq!(
        names(&stage).await,
        [
            json!({"external_id": "a-2", "name": "Ada"}),
            json!({"external_id": "a-1", "name": "Bob"})
        ]
    );
    assert_eq!(
        stage.org.value(&ada, "External_Id__c").as_deref(),
        Some("a-2")
    );
    assert_eq!(
        stage.org.value(&bob, "External_Id__c").as_deref(),
        Some("a-1")
    );
    assert_eq!(stage.org.value(&ada, "Phone").as_deref(), Some("7"));
    assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    stage.assert_equal().await;
    let writes = stage.org.writing_calls() - before;
    assert!(writes <= 4, "{writes} writes");
}

#[tokio::test]
async fn external_ids_that_move_along_a_chain_all_arrive() {
    let (stage, ada, bob) = two().await;
    stage
        .sql("update account set external_id = 'a-3' where external_id = 'a-2'")
        .await;
    stage
        .sql("update account set external_id = 'a-2' where external_id = 'a-1'")
        .await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&ada, "External_Id__c").as_deref(),
        Some("a-2")
    );
    assert_eq!(
        stage.org.value(&bob, "External_Id__c").as_deref(),
        Some("a-3")
    );
    stage.assert_equal().await;
}

#[tokio::test]
async fn new_row_with_another_records_external_id_waits() {
    let (stage, ada, _) = two().await;
    stage
        .org
        .order("locks", &json!({"id": ada, "ms": 10 * 60_000}));
    stage
        .sql("update account set external_id = 'a-3' where external_id = 'a-1'")
        .await;
    stage.drain().await;
    stage.org.end_faults();
    // The rename waits for its next attempt, and a new row takes the external id.
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Cem', '3')")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada"));
    stage.make_due().await;
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.org.value(&ada, "Name").as_deref(), Some("Ada"));
    assert_eq!(
        stage.org.value(&ada, "External_Id__c").as_deref(),
        Some("a-3")
    );
    let cem = stage.org.id_of("Account", "a-1").unwrap();
    assert_eq!(stage.org.value(&cem, "Name").as_deref(), Some("Cem"));
    stage.assert_equal().await;
}

fn named(key: &str) -> Json {
    json!({"Name": key, "External_Id__c": key})
}

/// Two accounts that were captured, have no rows yet, and have exchanged their external ids since, which is not captured.
/// Returns the id of the first, too.
async fn swapped_without_rows() -> (Stage, String) {
    let stage = Stage::open().await;
    let one = stage.org.insert("Account", named("a-1"));
    let other = stage.org.insert("Account", named("a-2"));
    stage.capture_salesforce().await;
    for (id, key) in [(&one, "a-3"), (&other, "a-1"), (&one, "a-2")] {
        stage.org.update(id, json!({"External_Id__c": key}));
    }
    (stage, one)
}

/// Lets the accounts come to rest, and checks that they have these rows and no work is left.
async fn assert_rows(stage: &Stage, rows: [Json; 2]) {
    for _ in 0..2 {
        stage.make_due().await;
        stage.drain().await;
    }
    let found = "select external_id, name from account order by external_id";
    assert_eq!(stage.rows(found).await, rows);
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn swapped_names_of_records_without_rows_stop_no_neighbour() {
    let (stage, one) = swapped_without_rows().await;
    stage.org.delete(&one);
    stage.org.insert("Account", named("a-4"));
    // One has no row any more, and the other gets the first row, under the name of the one.
    stage.drain().await;
    let rows = [
        json!({"external_id": "a-1", "name": "a-2"}),
        json!({"external_id": "a-4", "name": "a-4"}),
    ];
    assert_rows(&stage, rows).await;
}

#[tokio::test]
async fn swapped_names_give_no_row_to_another_record() {
    let (stage, _) = swapped_without_rows().await;
    // One record is read again and shows the name that the other is still known by.
    stage
        .sql(
            "update syncline.sync_task set needs_refresh = true where record_id = (
            select record_id from syncline.sync_link where external_id = 'a-2')",
        )
        .await;
    stage.apply("Account").await;
    let rows = [
        json!({"external_id": "a-1", "name": "a-2"}),
        json!({"external_id": "a-2", "name": "a-1"}),
    ];
    assert_rows(&stage, rows).await;
}

#[tokio::test]
async fn name_given_to_another_row_leads_to_it_no_more() {
    let (stage, ada, _) = two().await;
    // What is refused in the same batch divides it, so that one row is renamed before the other is looked for.
    stage
        .sql("alter table account add check (length(external_id) < 10)")
        .await;
    let cid = stage.org.insert("Account", named("a-3"));
    stage.capture_salesforce().await;
    stage
        .org
        .update(&cid, json!({"External_Id__c": "a-3-that-is-too-long"}));
    stage.org.update(&ada, json!({"External_Id__c": "a-3"}));
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    let found = "select external_id, name from account order by external_id";
    assert_eq!(
        stage.rows(found).await,
        [
            json!({"external_id": "a-2", "name": "Bob"}),
            json!({"external_id": "a-3", "name": "Ada"})
        ]
    );
    let touched = "select count(*) from syncline.sync_conflict";
    assert_eq!(stage.one(touched).await, json!(0));
    let parked = "select string_agg(task.code, ',')
        from syncline.sync_task as task join syncline.sync_link as link using (record_id)
        where link.salesforce_id is not null and task.state = 'parked'";
    assert_eq!(stage.one(parked).await, json!("constraint_violation"));
}

#[tokio::test]
async fn row_whose_write_a_trigger_takes_keeps_its_external_id() {
    let (stage, ada, bob) = two().await;
    stage
        .sql(
            "create function ignore() returns trigger language plpgsql
            as $$ begin if new.phone = 'bad' then return null; end if; return new; end $$;
            create trigger ignore before update on account for each row execute function ignore()",
        )
        .await;
    stage.org.update(&ada, json!({"External_Id__c": null}));
    stage.org.update(&bob, json!({"External_Id__c": "a-1"}));
    stage
        .org
        .update(&ada, json!({"External_Id__c": "a-2", "Phone": "bad"}));
    stage.drain().await;
    for _ in 0..20 {
        stage.make_due().await;
        stage.drain().await;
    }
    let unnamed = "select count(*) from account where external_id is null";
    assert_eq!(stage.one(unnamed).await, json!(0));
    assert_eq!(stage.org.count("Account"), 2);

    stage.org.update(&ada, json!({"Phone": "1"}));
    stage.capture_salesforce().await;
    let letters = stage.store.dead_letters(&stage.tenant, None, 9).await;
    for letter in letters.unwrap() {
        let replayed = stage
            .store
            .replay_dead_letter(&stage.tenant, letter.dead_letter_id);
        replayed.await.unwrap();
    }
    stage.drain().await;
    assert_eq!(
        names(&stage).await,
        [
            json!({"external_id": "a-2", "name": "Ada"}),
            json!({"external_id": "a-1", "name": "Bob"})
        ]
    );
    stage.assert_equal().await;
}
