//! Foreign keys of mapped tables: our write to one row never removes or edits another record.

use serde_json::{Value as Json, json};

use crate::stage::Stage;

/// An account `a-1` with contacts and an account `a-2`, in step. Returns the Salesforce ids of the accounts.
async fn family(foreign_key: &str, contacts: usize) -> (Stage, String, String) {
    let stage = Stage::open().await;
    stage
        .sql(&format!(
            "alter table contact add constraint of_account
                foreign key (account_external_id) references account (external_id) {foreign_key};
            insert into account (external_id, name) values ('a-1', 'Ada'), ('a-2', 'Bob');
            insert into contact (external_id, last_name, account_external_id)
                select 'c-' || n, 'Lee', 'a-1' from generate_series(1, {contacts}) as n"
        ))
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = |key| stage.org.id_of("Account", key).unwrap();
    let (first, second) = (id("a-1"), id("a-2"));
    (stage, first, second)
}

async fn parents(stage: &Stage) -> Vec<Json> {
    stage
        .rows("select account_external_id as parent, count(*) from contact group by 1 order by 1")
        .await
}

async fn open_letters(stage: &Stage) -> Json {
    let open = "select count(*) from syncline.sync_dead_letter where closed_at is null";
    stage.one(open).await
}

#[tokio::test]
async fn merge_repoints_children_before_the_loser_goes() {
    for foreign_key in [
        "on delete cascade",
        "on delete restrict",
        "on delete set null",
    ] {
        let (stage, first, second) = family(foreign_key, 40).await;
        stage.org.merge(&second, &first);
        stage.drain().await;
        assert_eq!(
            parents(&stage).await,
            [json!({"parent": "a-2", "count": 40})],
            "{foreign_key}"
        );
        assert_eq!(stage.org.count("Contact"), 40, "{foreign_key}");
        assert_eq!(stage.conflicts().await, Vec::<Json>::new(), "{foreign_key}");
        assert_eq!(open_letters(&stage).await, json!(0), "{foreign_key}");
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn children_go_before_their_parent_by_their_own_deletes() {
    let (stage, first, _) = family("on delete cascade", 3).await;
    // Salesforce deletes the contacts with their account; only the account's event has arrived.
    stage.org.delete(&first);
    stage.capture_salesforce().await;
    stage.apply("Account").await;
    assert_eq!(stage.one("select count(*) from contact").await, json!(3));
    let waiting = stage.tasks().await;
    let parent = waiting.iter().find(|task| task["object"] == "Account");
    assert_eq!(parent.unwrap()["code"], json!("waits_for_children"));
    assert_eq!(waiting.len(), 4, "each child is read: {waiting:?}");

    stage.drain().await;
    assert_eq!(stage.one("select count(*) from contact").await, json!(0));
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
    assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    stage.assert_equal().await;
}

#[tokio::test]
async fn cascade_through_an_unmapped_table_waits_for_children() {
    let (stage, first, _) = family("on delete set null", 0).await;
    stage
        .sql(
            "create table membership (id int primary key, account text not null references account (external_id) on delete cascade);
            alter table contact add column membership int references membership on delete cascade;
            insert into membership values (1, 'a-1');
            insert into contact (external_id, last_name, membership) values ('c-1', 'Lee', 1)",
        )
        .await;
    stage.drain().await;
    stage.org.delete(&first);
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from contact").await, json!(1));
    assert_eq!(stage.one("select count(*) from account").await, json!(2));
    assert_eq!(stage.tasks().await[0]["code"], json!("waits_for_children"));

    stage.sql("update contact set membership = null").await;
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
    stage.assert_equal().await;
}

#[tokio::test]
async fn row_that_another_keeps_is_parked_until_that_lets_go_of_it() {
    let (stage, first, _) = family("on delete restrict", 0).await;
    stage
        .sql("insert into contact (external_id, last_name) values ('c-1', 'Lee')")
        .await;
    stage.drain().await;
    // A person links the contact to an account that Salesforce has deleted: it cannot take that, and keeps no account.
    stage.org.delete(&first);
    stage
        .sql("update contact set account_external_id = 'a-1'")
        .await;
    stage.drain().await;
    let letters = "select object, code from syncline.sync_dead_letter where closed_at is null";
    assert_eq!(stage.rows(letters).await, Vec::<Json>::new());
    for _ in 0..20 {
        stage.make_due().await;
        stage.drain().await;
    }
    let message = "select message from syncline.sync_dead_letter where closed_at is null and object = 'Account'";
    assert_eq!(
        stage.one(message).await,
        json!(
            "rows of public.contact depend on its row: delete them, or let them point to another row"
        )
    );
    assert_eq!(stage.one("select count(*) from account").await, json!(2));

    stage
        .sql("update contact set account_external_id = 'a-2'")
        .await;
    stage.drain().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
    assert_eq!(open_letters(&stage).await, json!(0));
    stage.assert_equal().await;
}

#[tokio::test]
async fn our_delete_in_salesforce_takes_no_other_record_along() {
    for foreign_key in ["on delete cascade", "on delete set null"] {
        let (stage, _, _) = family(foreign_key, 3).await;
        // Two contacts go in their own right; the third is repointed in the same transaction.
        stage
            .sql(
                "begin;
                update contact set account_external_id = 'a-2' where external_id = 'c-3';
                delete from account where external_id = 'a-1';
                commit",
            )
            .await;
        stage.capture_postgres().await;
        stage.apply("Account").await;
        assert_eq!(stage.org.count("Contact"), 3, "{foreign_key}");
        assert_eq!(stage.org.count("Account"), 2, "{foreign_key}");
        let tasks = stage.tasks().await;
        let parent = tasks.iter().find(|task| task["object"] == "Account");
        assert_eq!(parent.unwrap()["code"], json!("waits_for_children"));

        stage.drain().await;
        assert_eq!(stage.org.count("Account"), 1, "{foreign_key}");
        let left = match foreign_key {
            "on delete cascade" => 1,
            _ => 3,
        };
        assert_eq!(stage.org.count("Contact"), left, "{foreign_key}");
        assert_eq!(
            stage.one("select count(*) from contact").await,
            json!(left),
            "{foreign_key}"
        );
        assert_eq!(stage.tasks().await, Vec::<Json>::new());
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn delete_waits_for_a_record_that_was_linked_meanwhile() {
    let (stage, first, second) = family("on delete set null", 0).await;
    stage
        .sql("insert into contact (external_id, last_name) values ('c-1', 'Lee')")
        .await;
    stage.drain().await;
    let contact = stage.org.id_of("Contact", "c-1").unwrap();
    stage
        .org
        .update(&contact, json!({"AccountId": first, "LastName": "Kim"}));
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    stage.drain().await;
    // Each attempt reads the account first.
    for _ in 0..20 {
        stage.make_due().await;
        stage.apply("Account").await;
    }
    assert_eq!(
        stage.org.value(&contact, "LastName").as_deref(),
        Some("Kim")
    );
    let letters = stage
        .rows("select object, code, message from syncline.sync_dead_letter where closed_at is null and object = 'Account'")
        .await;
    let message = "Salesforce would delete records of Contact with it: delete them, or let them point to another record";
    assert_eq!(
        letters,
        [json!({"object": "Account", "code": "waits_for_children", "message": message})]
    );

    // The event of the contact wakes the delete.
    stage.org.update(&contact, json!({"AccountId": second}));
    stage.drain().await;
    assert_eq!(open_letters(&stage).await, json!(0));
    assert_eq!(stage.org.count("Account"), 1);
    stage.assert_equal().await;
}

#[tokio::test]
async fn lookup_that_cannot_be_read_holds_deletes_alone() {
    let (stage, _, second) = family("on delete cascade", 1).await;
    stage
        .org
        .restrict(&json!({"hidden_fields": ["Contact.AccountId"]}));
    stage
        .sql("delete from account where external_id = 'a-1'")
        .await;
    stage.capture_postgres().await;
    stage.apply("Account").await;
    stage
        .sql("update account set name = 'Bob Ltd' where external_id = 'a-2'")
        .await;
    stage.capture_postgres().await;
    stage.make_due().await;
    stage.apply("Account").await;
    assert_eq!(stage.org.count("Account"), 2);
    assert_eq!(stage.org.value(&second, "Name").as_deref(), Some("Bob Ltd"));

    stage.org.restrict(&json!({}));
    stage.make_due().await;
    stage.drain().await;
    assert_eq!(stage.org.count("Account"), 1);
    stage.assert_equal().await;
}

#[tokio::test]
async fn deletes_with_children_cost_one_read_for_all() {
    let (stage, _, _) = family("on delete cascade", 0).await;
    stage
        .sql("insert into account (external_id, name) select 'b-' || n, 'Ada' from generate_series(1, 60) as n")
        .await;
    stage.drain().await;
    let queries = || stage.org.calls()["GET /query"];
    let before = queries();
    stage
        .sql("delete from account where external_id between 'b-1' and 'b-3'")
        .await;
    stage.drain().await;
    assert_eq!(queries() - before, 1);
    stage.assert_equal().await;
}

#[tokio::test]
async fn reference_that_our_delete_clears_is_no_edit() {
    for foreign_key in ["on delete set null", "on delete set default"] {
        let stage = Stage::open().await;
        stage
            .sql(&format!(
                "alter table account alter parent_external_id set default 'a-5';
                alter table account add foreign key (parent_external_id) references account (external_id) {foreign_key};
                insert into account (external_id, name, parent_external_id)
                    select 'a-' || n, 'Ada', case when n between 2 and 4 then 'a-1' end from generate_series(1, 5) as n"
            ))
            .await;
        stage.drain().await;
        stage.assert_equal().await;
        let ids: Vec<String> = (1..=5)
            .map(|n| stage.org.id_of("Account", &format!("a-{n}")).unwrap())
            .collect();
        // Salesforce clears the lookups of the children without an event.
        stage.org.delete(&ids[0]);
        stage.capture_salesforce().await;
        stage.apply("Account").await;
        stage.org.update(&ids[1], json!({"ParentId": ids[4]}));
        stage.org.delete(&ids[2]);
        stage.drain().await;
        assert_eq!(stage.conflicts().await, Vec::<Json>::new(), "{foreign_key}");
        assert_eq!(open_letters(&stage).await, json!(0), "{foreign_key}");
        // No edit in Postgres undoes what Salesforce cleared.
        assert_eq!(stage.org.value(&ids[3], "ParentId"), None, "{foreign_key}");
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn table_that_references_itself_loses_no_live_row() {
    for foreign_key in ["on delete cascade", "on delete set null", ""] {
        let stage = Stage::open().await;
        stage
            .sql(&format!(
                "alter table account add foreign key (parent_external_id) references account (external_id) {foreign_key};
                insert into account (external_id, name, parent_external_id)
                    values ('a-1', 'Ada', null), ('a-2', 'Bob', 'a-1'), ('a-3', 'Eve', 'a-2')"
            ))
            .await;
        stage.drain().await;
        stage.assert_equal().await;
        let ids = ["a-1", "a-2"].map(|key| stage.org.id_of("Account", key).unwrap());
        stage.org.delete(&ids[0]);
        stage.org.delete(&ids[1]);
        for _ in 0..4 {
            stage.drain().await;
            stage.make_due().await;
        }
        assert_eq!(
            stage
                .rows("select external_id, parent_external_id as parent from account")
                .await,
            [json!({"external_id": "a-3", "parent": null})],
            "{foreign_key}"
        );
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn children_follow_the_rename_of_their_parent() {
    for foreign_key in ["on update cascade", "on update set null", "none"] {
        let (stage, first, _) = family("on update cascade", 3).await;
        stage
            .sql("alter table contact drop constraint of_account")
            .await;
        if foreign_key != "none" {
            stage
                .sql(&format!(
                    "alter table contact add foreign key (account_external_id) references account (external_id) {foreign_key}"
                ))
                .await;
        }
        stage.org.update(&first, json!({"External_Id__c": "a-9"}));
        stage.drain().await;
        assert_eq!(
            parents(&stage).await,
            [json!({"parent": "a-9", "count": 3})],
            "{foreign_key}"
        );
        assert_eq!(stage.conflicts().await, Vec::<Json>::new());
        stage.assert_equal().await;
    }
}

#[tokio::test]
async fn children_follow_a_rename_made_in_postgres() {
    let (stage, first, _) = family("on update cascade", 3).await;
    stage
        .sql("alter table contact drop constraint of_account")
        .await;
    stage
        .sql("update account set external_id = 'a-9' where external_id = 'a-1'")
        .await;
    stage.drain().await;
    assert_eq!(
        stage.org.value(&first, "External_Id__c").as_deref(),
        Some("a-9")
    );
    assert_eq!(
        parents(&stage).await,
        [json!({"parent": "a-9", "count": 3})]
    );
    stage.assert_equal().await;
}

#[tokio::test]
async fn child_of_a_renamed_parent_is_deleted_without_a_conflict() {
    let (stage, first, _) = family("on update cascade", 1).await;
    let contact = stage.org.id_of("Contact", "c-1").unwrap();
    stage.org.update(&first, json!({"External_Id__c": "a-9"}));
    stage.org.delete(&contact);
    stage.drain().await;
    assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    assert_eq!(stage.one("select count(*) from contact").await, json!(0));
    stage.assert_equal().await;
}

#[tokio::test]
async fn lookup_that_a_delete_clears_in_salesforce_is_cleared_here() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name, parent_external_id) values ('a-1', 'Ada', null), ('a-2', 'Bob', 'a-1'), ('a-3', 'Cyd', 'a-1')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let parents = "select string_agg(coalesce(parent_external_id, '-'), ' ' order by external_id) from account";
    let id = stage.org.id_of("Account", "a-1").unwrap();
    stage.org.delete(&id);
    stage.drain().await;
    assert_eq!(stage.one(parents).await, json!("- -"));
    stage.assert_equal().await;

    // The same by a delete of ours.
    stage
        .sql("update account set parent_external_id = 'a-2' where external_id = 'a-3'")
        .await;
    stage.drain().await;
    stage
        .sql("delete from account where external_id = 'a-2'")
        .await;
    stage.drain().await;
    assert_eq!(stage.one(parents).await, json!("-"));
    stage.assert_equal().await;
}
