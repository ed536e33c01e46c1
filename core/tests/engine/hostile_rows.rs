//! Tables that refuse rows in every way that a user's schema can: one row never stops another.

use serde_json::{Value as Json, json};

use crate::mapping::MAPPING;
use crate::stage::Stage;

/// Salesforce accounts `a-1` to `a-<count>`, each with its number as phone.
fn created_in_salesforce(stage: &Stage, count: usize) -> Vec<String> {
    (1..=count)
        .map(|number| {
            let fields = json!({
                "External_Id__c": format!("a-{number}"),
                "Name": format!("Account {number}"),
                "Phone": number.to_string(),
            });
            stage.org.insert("Account", fields)
        })
        .collect()
}

async fn rows_of(stage: &Stage, column: &str) -> Vec<Json> {
    let rows = stage
        .rows(&format!(
            "select external_id, {column} as value from account order by length(external_id), external_id"
        ))
        .await;
    rows.into_iter()
        .map(|row| json!([row["external_id"], row["value"]]))
        .collect()
}

async fn parked(stage: &Stage) -> Vec<Json> {
    let rows = stage
        .rows(
            "select link.external_id, letter.code, letter.field
            from syncline.sync_dead_letter as letter
            join syncline.sync_link as link using (record_id)
            where letter.closed_at is null
            order by link.external_id",
        )
        .await;
    rows.into_iter()
        .map(|row| json!([row["external_id"], row["code"], row["field"]]))
        .collect()
}

async fn waiting(stage: &Stage) -> Vec<Json> {
    let tasks = stage.tasks().await;
    let ready = tasks.into_iter().filter(|task| task["state"] == "ready");
    ready.map(|task| task["code"].clone()).collect()
}

/// Makes all waiting writes due, as often as a record may wait.
async fn wait_out(stage: &Stage) {
    for _ in 0..12 {
        stage.make_due().await;
        stage.drain().await;
    }
}

#[tokio::test]
async fn any_error_of_a_trigger_parks_its_row_alone() {
    for (state, code) in [
        ("P0001", "row_refused"),
        ("P0002", "row_refused"),
        ("P0004", "row_refused"),
        ("42501", "row_refused"),
        ("42703", "row_refused"),
        ("0A000", "row_refused"),
        ("XX000", "row_refused"),
        ("ZZ999", "row_refused"),
        ("22012", "invalid_value"),
        ("23514", "constraint_violation"),
    ] {
        let stage = Stage::with_mapping(MAPPING).await;
        stage
            .sql(&format!(
                "create function refuse() returns trigger language plpgsql as $$ begin
                    if new.external_id = 'a-7' then raise sqlstate '{state}'; end if;
                    return new;
                end $$;
                create trigger refuse before insert on account for each row execute function refuse()"
            ))
            .await;
        created_in_salesforce(&stage, 20);
        stage.drain().await;
        assert_eq!(rows_of(&stage, "name").await.len(), 19, "{state}");
        assert_eq!(
            parked(&stage).await,
            [json!(["a-7", code, null])],
            "{state}"
        );
        assert_eq!(waiting(&stage).await, Vec::<Json>::new(), "{state}");
    }
}

#[tokio::test]
async fn deferred_constraint_parks_only_the_row_it_refuses() {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql(
            "create table dialing (phone text primary key);
            insert into dialing select n::text from generate_series(1, 30) as n where n <> 13;
            alter table account add constraint dials foreign key (phone) references dialing
                deferrable initially deferred",
        )
        .await;
    created_in_salesforce(&stage, 20);
    stage.drain().await;
    assert_eq!(rows_of(&stage, "phone").await.len(), 19);
    assert_eq!(waiting(&stage).await, [json!("missing_parent")]);
    stage.sql("insert into dialing values ('13')").await;
    wait_out(&stage).await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn children_are_written_with_their_parents_beside_a_refused_row() {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql(
            "alter table account add constraint parent foreign key (parent_external_id)
                references account (external_id) deferrable initially deferred;
            alter table account add constraint short check (length(industry) < 20)",
        )
        .await;
    let ids = created_in_salesforce(&stage, 12);
    for (child, parent) in ids.iter().zip(&ids[1..]) {
        stage.org.update(child, json!({"ParentId": parent}));
    }
    stage
        .org
        .update(&ids[5], json!({"Industry": "longer than any industry is"}));
    stage.drain().await;
    assert_eq!(rows_of(&stage, "name").await.len(), 12);
    assert_eq!(
        parked(&stage).await,
        [json!(["a-6", "constraint_violation", "Industry"])]
    );
    assert_eq!(waiting(&stage).await, Vec::<Json>::new());
    stage.org.update(&ids[5], json!({"Industry": "Energy"}));
    stage.drain().await;
    stage.assert_equal().await;
}

#[tokio::test]
async fn rows_swap_unique_values() {
    for column in [
        "phone text unique",
        "phone text not null unique",
        "phone varchar(8) not null unique",
        "phone bigint not null unique",
        "phone integer unique",
    ] {
        let stage = Stage::with_mapping(MAPPING).await;
        stage
            .sql(&format!(
                "alter table account drop column phone; alter table account add column {column}"
            ))
            .await;
        stage.install().await;
        let ids = created_in_salesforce(&stage, 6);
        stage.drain().await;
        stage.org.update(&ids[0], json!({"Phone": "2"}));
        stage.org.update(&ids[1], json!({"Phone": "1"}));
        // A ring of three, and one that takes what another one leaves.
        stage.org.update(&ids[2], json!({"Phone": "4"}));
        stage.org.update(&ids[3], json!({"Phone": "5"}));
        stage.org.update(&ids[4], json!({"Phone": "3"}));
        stage.drain().await;
        let phones: Vec<Json> = rows_of(&stage, "phone::text").await;
        let expected = ["2", "1", "4", "5", "3", "6"];
        let expected: Vec<Json> = (1..)
            .zip(expected)
            .map(|(number, phone)| json!([format!("a-{number}"), phone]))
            .collect();
        assert_eq!(phones, expected, "{column}");
        assert_eq!(stage.tasks().await, Vec::<Json>::new(), "{column}");
    }
}

#[tokio::test]
async fn taken_unique_value_waits_then_stops_its_field_alone() {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql("create unique index phones on account (phone)")
        .await;
    stage
        .sql("insert into account (external_id, name, phone) values ('mine', 'Mine', '2')")
        .await;
    stage.drain().await;
    created_in_salesforce(&stage, 3);
    stage.drain().await;
    assert_eq!(waiting(&stage).await, [json!("duplicate_value")]);
    wait_out(&stage).await;
    assert_eq!(rows_of(&stage, "name").await.len(), 4);
    assert_eq!(
        parked(&stage).await,
        [json!(["a-2", "duplicate_value", "Phone"])]
    );
    let said = stage
        .one("select message from syncline.sync_dead_letter")
        .await;
    let said = said.as_str().unwrap();
    assert!(said.contains("(phone)=(2)"), "a mapped value: {said}");
}

#[tokio::test]
async fn taken_key_is_tried_a_few_times_then_stops_its_record_alone() {
    let stage = Stage::prepared(MAPPING).await;
    // The table takes 'A-2' and 'a-2' for one key, and the row of it was never captured.
    stage
        .sql(
            "create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            alter table account drop constraint account_external_id_key;
            create unique index one_key on account (external_id collate nocase);
            insert into account (external_id, name) values ('A-2', 'Mine')",
        )
        .await;
    stage.install().await;
    created_in_salesforce(&stage, 3);
    stage.drain().await;
    assert_eq!(rows_of(&stage, "name").await.len(), 3);
    assert_eq!(waiting(&stage).await, [json!("key_taken")]);
    let wait = "select due_at - updated_at >= interval '300 milliseconds' from syncline.sync_task";
    assert_eq!(stage.one(wait).await, json!(true), "it waits");
    let mut rounds = 0;
    while parked(&stage).await.is_empty() {
        rounds += 1;
        assert!(rounds < 12, "it does not end");
        stage.make_due().await;
        stage.apply("Account").await;
    }
    assert_eq!(
        parked(&stage).await,
        [json!(["a-2", "duplicate_value", null])]
    );
    stage.make_due().await;
    assert_eq!(stage.apply("Account").await.leased, 0, "it is parked");
    assert_eq!(stage.org.count("Account"), 3);
}

#[tokio::test]
async fn suppressed_insert_stops_its_record_with_the_true_reason() {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql(
            "create function no() returns trigger language plpgsql as $$ begin
                if new.external_id = 'a-2' then return null; end if;
                return new;
            end $$;
            create trigger no before insert on account for each row execute function no()",
        )
        .await;
    created_in_salesforce(&stage, 3);
    stage.drain().await;
    wait_out(&stage).await;
    assert_eq!(rows_of(&stage, "name").await.len(), 2);
    assert_eq!(
        parked(&stage).await,
        [json!(["a-2", "row_write_suppressed", null])]
    );
}

#[tokio::test]
async fn values_of_unmapped_columns_stay_out_of_dead_letters() {
    for (obstacle, kept) in [
        (
            "create unique index u1 on account (secret)",
            ["\"u1\"", "columns secret"],
        ),
        (
            "create function read_it() returns trigger language plpgsql as $$
            begin perform new.secret::int; return new; end $$;
            create trigger read_it before insert on account for each row execute function read_it()",
            ["type integer", "…"],
        ),
        (
            "alter table account add column size int generated always as (secret::int) stored",
            ["type integer", "…"],
        ),
    ] {
        let stage = Stage::with_mapping(MAPPING).await;
        stage
            .sql(
                "insert into account (external_id, name) values ('mine', 'Mine');
                alter table account add column secret text default '12345';
                alter table account alter column secret set default 'MARKUNMAPPED'",
            )
            .await;
        stage.drain().await;
        if obstacle.starts_with("create unique") {
            stage.sql("update account set secret = 'MARKUNMAPPED'").await;
        }
        stage.sql(obstacle).await;
        created_in_salesforce(&stage, 1);
        stage.drain().await;
        wait_out(&stage).await;
        let said = "select string_agg(message, ' ') from syncline.sync_dead_letter";
        let said = stage.one(said).await;
        let said = said.as_str().expect(obstacle);
        assert!(!said.contains("MARK"), "{said}");
        assert!(kept.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[tokio::test]
async fn partitioned_table_reports_the_real_conflict() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "drop table account;
            create table account (
                id bigint generated always as identity, external_id text, name text, phone text, industry text,
                rating text, revenue numeric, active boolean not null default false, parent_external_id text,
                deleted_at timestamptz, primary key (external_id, id)
            ) partition by hash (external_id);
            create table account_0 partition of account for values with (modulus 2, remainder 0);
            create table account_1 partition of account for values with (modulus 2, remainder 1);
            create unique index phones on account_0 (phone);
            create unique index phones_too on account_1 (phone)",
        )
        .await;
    stage.install().await;
    let ids = created_in_salesforce(&stage, 4);
    stage.drain().await;
    for id in &ids {
        stage.org.update(id, json!({"Phone": "same"}));
    }
    stage.drain().await;
    wait_out(&stage).await;
    let parked = parked(&stage).await;
    assert!(!parked.is_empty());
    assert!(
        parked.iter().all(|one| one[1] == "duplicate_value"),
        "{parked:?}"
    );
    assert_eq!(waiting(&stage).await, Vec::<Json>::new());
}

#[tokio::test]
async fn parent_is_deleted_after_its_children() {
    let stage = Stage::with_mapping(MAPPING).await;
    stage
        .sql(
            "create table invoice (id int primary key, account text references account (external_id))",
        )
        .await;
    let ids = created_in_salesforce(&stage, 3);
    stage.drain().await;
    stage.sql("insert into invoice values (1, 'a-1')").await;
    stage.org.delete(&ids[0]);
    stage.org.delete(&ids[1]);
    stage.drain().await;
    assert_eq!(rows_of(&stage, "name").await.len(), 2);
    assert_eq!(waiting(&stage).await, [json!("still_referenced")]);
    stage.sql("delete from invoice").await;
    wait_out(&stage).await;
    assert_eq!(rows_of(&stage, "name").await.len(), 1);
    stage.assert_equal().await;
}

#[tokio::test]
async fn redirected_delete_stops_its_rows_alone() {
    for redirect in [
        "create rule keep as on delete to account do instead update account set active = true where id = old.id",
        "create function keep() returns trigger language plpgsql as $$ begin return null; end $$;
         create trigger keep before delete on account for each row execute function keep()",
    ] {
        let stage = Stage::with_mapping(MAPPING).await;
        let ids = created_in_salesforce(&stage, 4);
        stage.drain().await;
        stage.sql(redirect).await;
        stage.org.delete(&ids[0]);
        stage.org.update(&ids[1], json!({"Name": "Travels"}));
        stage.drain().await;
        let names = rows_of(&stage, "name").await;
        assert_eq!(names[1], json!(["a-2", "Travels"]));
        assert_eq!(parked(&stage).await.len(), 1);
        assert_eq!(parked(&stage).await[0][0], json!("a-1"));
        assert_eq!(waiting(&stage).await, Vec::<Json>::new());
    }
}
