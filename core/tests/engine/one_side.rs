//! Changes of one side are written to the other.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn row_changes_arrive_in_salesforce() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name, phone, revenue, active)
            values ('a-1', 'Ada', '1', 12.50, true), ('a-2', 'Bob', null, null, false)",
        )
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);

    stage
        .sql("update account set name = 'Ada Ltd', phone = null where external_id = 'a-1'")
        .await;
    stage.drain().await;
    stage.assert_equal().await;

    stage
        .sql("delete from account where external_id = 'a-2'")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 1);
}

#[tokio::test]
async fn record_changes_arrive_in_postgres() {
    let stage = Stage::open().await;
    let ada = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "Phone": "1", "Industry": "Energy", "External_Id__c": "a-1"}),
    );
    let bob = stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(2));

    stage.org.update(
        &ada,
        json!({"Name": "Ada Ltd", "Phone": null, "AnnualRevenue": 12.5}),
    );
    stage.drain().await;
    stage.assert_equal().await;
    let phone = "select phone from account where external_id = 'a-1'";
    assert_eq!(stage.one(phone).await, json!(null));

    stage.org.delete(&bob);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn echo_of_our_own_write_causes_nothing() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    let calls = stage.org.writing_calls();
    assert_eq!(calls, 1, "one create");

    stage.sql("update account set name = 'Ada Ltd'").await;
    stage.drain().await;
    assert_eq!(stage.org.writing_calls(), calls + 1, "one update");
    assert_eq!(
        stage
            .one("select count(*) from syncline.sync_intent where state <> 'confirmed'")
            .await,
        json!(0),
        "every write has been echoed"
    );
}

#[tokio::test]
async fn row_written_by_the_engine_is_not_captured() {
    let stage = Stage::open().await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    stage.capture_salesforce().await;
    assert_eq!(stage.apply("Account").await.rows_written, 1);
    assert_eq!(stage.capture_postgres().await.counts.seen, 0);
    assert_eq!(stage.org.writing_calls(), 0);
}

#[tokio::test]
async fn existing_rows_are_enqueued_on_request() {
    let stage = Stage::prepared(crate::mapping::MAPPING).await;
    stage
        .sql("insert into account (external_id, name) select 'a-' || n, 'Account ' || n from generate_series(1, 250) as n")
        .await;
    stage.install().await;
    let enqueued = stage.engine.enqueue_existing_rows(&stage.tenant).await;
    assert_eq!(enqueued.unwrap(), 250);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 250);
    assert_eq!(stage.org.writing_calls(), 2, "200 records a call");
}

#[tokio::test]
async fn records_older_than_the_subscription_are_read_completely() {
    let stage = Stage::open().await;
    for n in 0..120 {
        let name = format!("Account {n}");
        stage.org.insert(
            "Account",
            json!({"Name": name, "External_Id__c": format!("a-{n}")}),
        );
    }
    // Their events have expired.
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(120));
}

#[tokio::test]
async fn child_follows_its_parent_in_both_directions() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Ada', 'a-1');
            insert into account (external_id, name) values ('a-1', 'Ada Ltd')",
        )
        .await;
    stage.capture_postgres().await;
    // The child is applied first: its parent does not exist yet, so it waits.
    let applied = stage.apply("Contact").await;
    assert_eq!((applied.applied, applied.requeued), (0, 1), "{applied:?}");
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;

    let parent = stage.org.insert(
        "Account",
        json!({"Name": "Bob Ltd", "External_Id__c": "a-2"}),
    );
    stage.org.insert(
        "Contact",
        json!({"LastName": "Bob", "AccountId": parent, "External_Id__c": "c-2"}),
    );
    stage.capture_salesforce().await;
    stage.apply("Contact").await;
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    let account = "select account_external_id from contact where external_id = 'c-2'";
    assert_eq!(stage.one(account).await, json!("a-2"));
}

#[tokio::test]
async fn invalid_rows_park_without_stopping_others() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', repeat('x', 300)),
            ('a-3', null), ('a-4', 'Dora')",
        )
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 2);
    let codes = stage.rows("select code, field from syncline.sync_dead_letter where closed_at is null order by code").await;
    assert_eq!(codes.len(), 2, "{codes:?}");
    assert_eq!(codes[1]["code"], json!("invalid_value"));
    assert_eq!(codes[1]["field"], json!("Name"));

    stage
        .sql("update account set name = 'Mended' where external_id in ('a-2', 'a-3')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 4);
}

#[tokio::test]
async fn paused_tenant_is_captured_but_not_applied() {
    let stage = Stage::open().await;
    stage
        .store
        .set_paused(&stage.tenant, true, Some("maintenance"))
        .await
        .unwrap();
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    assert_eq!(stage.capture_postgres().await.dirty, 1);
    let applied = stage.apply("Account").await;
    assert!(applied.paused);
    assert_eq!(applied.leased, 0);
    stage
        .store
        .set_paused(&stage.tenant, false, None)
        .await
        .unwrap();
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn late_commit_is_not_skipped() {
    let stage = Stage::open().await;
    let mut late = stage.pool.begin().await.unwrap();
    sqlx::query("insert into account (external_id, name) values ('a-1', 'Late')")
        .execute(&mut *late)
        .await
        .unwrap();
    stage
        .sql("insert into account (external_id, name) values ('a-2', 'Early')")
        .await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    late.commit().await.unwrap();
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.count("Account"), 2);
}

#[tokio::test]
async fn uncommitted_edit_is_neither_awaited_nor_overwritten() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1'), ('a-2', 'Bob', '1')")
        .await;
    stage.drain().await;
    let mut edit = stage.pool.begin().await.unwrap();
    sqlx::query("update account set name = 'Ada Ltd' where external_id = 'a-1'")
        .execute(&mut *edit)
        .await
        .unwrap();
    for external_id in ["a-1", "a-2"] {
        let id = stage.org.id_of("Account", external_id).unwrap();
        stage
            .org
            .update(&id, json!({"Phone": "2", "Name": "There"}));
    }
    stage.capture_salesforce().await;
    let applied = stage.apply("Account").await;
    assert_eq!(
        (applied.rows_written, applied.requeued),
        (1, 1),
        "{applied:?}"
    );
    edit.commit().await.unwrap();
    stage.make_due().await;
    stage.drain().await;
    // Both changed the name: this is a conflict, and neither value is lost.
    assert_eq!(stage.conflicts().await.len(), 1);
    let row = stage
        .rows("select name, phone from account where external_id = 'a-1'")
        .await;
    assert_eq!(row, vec![json!({"name": "Ada Ltd", "phone": "2"})]);
}

#[tokio::test]
async fn writes_of_a_users_trigger_are_captured() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name) values ('a-1', 'Ada');
            insert into contact (external_id, last_name, account_external_id) values ('c-1', 'Ada', 'a-1')",
        )
        .await;
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage
        .sql(
            "create function rename_contacts() returns trigger language plpgsql as $$
            begin update contact set last_name = new.name where account_external_id = new.external_id; return new; end $$;
            create trigger rename_contacts after update on account for each row execute function rename_contacts()",
        )
        .await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.update(&id, json!({"Name": "Bob"}));
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select last_name from contact").await,
        json!("Bob")
    );
}

#[tokio::test]
async fn create_that_finds_an_unknown_record_reads_it() {
    let stage = Stage::open().await;
    stage.drain().await;
    let there = json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"});
    stage.org.insert("Account", there);
    // Its create event has expired unread.
    stage.org.advance_ms(salesforce_org::RETENTION_MS + 60_000);
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select phone from account").await, json!("1"));
    assert_eq!(stage.org.count("Account"), 1);
}
