//! `check` on real tables: what records and rows would trip over, before the first one does.

use std::sync::Arc;

use serde_json::json;
use syncline::engine::check::Finding;
use syncline::model::ids::ObjectName;

use crate::mapping::MAPPING;
use crate::stage::Stage;

async fn findings(stage: &Stage) -> Vec<Finding> {
    stage.mismatches(&stage.engine).await
}

/// Asserts that exactly one finding has this text, and returns what to do about it.
fn fix_of(found: &[Finding], what: &str) -> String {
    let matching: Vec<&Finding> = found.iter().filter(|one| one.what.contains(what)).collect();
    let [one] = matching.as_slice() else {
        panic!("one finding with {what:?}: {found:#?}")
    };
    one.fix.clone()
}

/// Returns a stage whose contacts take their account from the column `account_id`, added by this SQL.
async fn with_account_column(sql: &str) -> Stage {
    let mapping = MAPPING.replace("account_external_id", "account_id");
    let stage = Stage::prepared(&mapping).await;
    stage.sql(sql).await;
    stage.install().await;
    stage
}

#[tokio::test]
async fn lookup_mapped_to_a_local_key_is_an_error() {
    let stage =
        with_account_column("alter table contact add account_id bigint references account (id)")
            .await;
    let found = findings(&stage).await;
    let fix = fix_of(
        &found,
        "column account_id references account.id, not account.external_id",
    );
    assert!(fix.contains("values of account.external_id"), "{fix}");
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[tokio::test]
async fn lookup_column_of_another_type_is_an_error() {
    let stage = with_account_column("alter table contact add account_id bigint").await;
    fix_of(
        &findings(&stage).await,
        "column account_id is of type bigint, but account.external_id, the external id of Account, is of type text",
    );
}

#[tokio::test]
async fn lookup_without_any_parent_is_an_error() {
    let stage = with_account_column(
        "alter table contact add account_id text;
        insert into account (external_id) values ('a-1');
        insert into contact (external_id, account_id) values ('c-1', '17'), ('c-2', null)",
    )
    .await;
    let what = "column account_id has values, but none of them is in account.external_id";
    fix_of(&findings(&stage).await, what);
    stage
        .sql("update contact set account_id = 'a-1' where external_id = 'c-2'")
        .await;
    let found = findings(&stage).await;
    assert!(
        !found.iter().any(|one| one.what.contains(what)),
        "{found:#?}"
    );
}

#[tokio::test]
async fn lookup_to_a_mapped_parent_needs_references() {
    let mapping = MAPPING.replace(
        "{ column = \"account_external_id\", references = \"Account\" }",
        "{ column = \"account_external_id\" }",
    );
    let stage = Stage::with_mapping(&mapping).await;
    let fix = fix_of(
        &findings(&stage).await,
        "AccountId points to Account, which is mapped, but has no `references`",
    );
    assert!(fix.contains("references = \"Account\""), "{fix}");
}

#[tokio::test]
async fn choices_and_rights_that_one_side_lacks_are_named() {
    let mapping = MAPPING.replace("Active__c     = { column = \"active\" }\n", "");
    let mapping = with_line_in(
        &mapping,
        "BillingGeocodeAccuracy = { column = \"clean\" }\n",
    );
    let stage = Stage::prepared(&mapping).await;
    stage
        .sql(
            "create type rating as enum ('Hot', 'Warm', 'Boiling');
            create type clean as enum ('Unknown', 'Spotless');
            alter table account alter rating type rating using rating::rating, add clean clean",
        )
        .await;
    stage.install().await;
    stage
        .org
        .restrict(&json!({"cannot_delete": ["Account"], "cannot_create": ["Contact"]}));
    let found = findings(&stage).await;
    fix_of(
        &found,
        "rating of type rating lacks 1 of the values of Rating (Cold)",
    );
    let refused =
        "the restricted picklist BillingGeocodeAccuracy lacks 1 of the values of clean (Spotless)";
    fix_of(&found, refused);
    let fix = fix_of(
        &found,
        "our user lacks the right Delete on Account: deletes of rows are parked",
    );
    assert!(fix.contains("deletes.mode = \"ignore\""), "{fix}");
    fix_of(&found, "our user lacks the right Create on Contact");
}

#[tokio::test]
async fn rows_without_a_required_value_are_counted() {
    let stage = Stage::open().await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', ''), ('a-2', null), ('a-3', 'Ada')")
        .await;
    fix_of(
        &findings(&stage).await,
        "2 rows have no value in name, which Name requires: they are parked",
    );
}

#[tokio::test]
async fn captured_object_that_is_not_mapped_is_named() {
    let stage = Stage::open().await;
    let mut config = stage.config.clone();
    config
        .objects
        .retain(|sync| sync.object.as_str() == "Account");
    let found = stage.mismatches(&stage.engine_of(config)).await;
    let fix = fix_of(
        &found,
        "capture of Contact is installed, but it is not mapped",
    );
    assert!(fix.contains("--remove-unmapped"), "{fix}");
}

#[tokio::test]
async fn unknown_object_is_named_with_a_similar_one() {
    let stage = Stage::open().await;
    let mut config = stage.config.clone();
    config.objects[0].object = ObjectName::parse("Acount").unwrap();
    let found = stage.mismatches(&stage.engine_of(config)).await;
    let fix = fix_of(&found, "the org has no object Acount");
    assert!(fix.contains("did you mean Account?"), "{fix}");
}

/// Returns the mapping with one more field of Account.
fn with_line_in(mapping: &str, line: &str) -> String {
    let first = "Name          = { column = \"name\" }\n";
    mapping.replacen(first, &format!("{first}{line}"), 1)
}

#[tokio::test]
async fn column_that_needs_a_value_must_be_mapped() {
    let stage = Stage::open().await;
    stage
        .sql(
            "alter table account
                add region text not null default 'north',
                add number bigint generated by default as identity,
                add owner text not null",
        )
        .await;
    let found = findings(&stage).await;
    fix_of(
        &found,
        "column owner refuses null, has no default and is not mapped",
    );
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[tokio::test]
async fn required_field_must_be_mapped() {
    let stage =
        Stage::with_mapping(&MAPPING.replace("LastName  = { column = \"last_name\" }\n", "")).await;
    let found = findings(&stage).await;
    fix_of(&found, "LastName is required in Salesforce but not mapped");
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[tokio::test]
async fn external_id_column_may_refuse_null() {
    let stage = Stage::open().await;
    stage
        .sql("alter table account alter external_id set not null")
        .await;
    assert_eq!(findings(&stage).await, []);
}

#[tokio::test]
async fn missing_privileges_are_named_as_grants() {
    let stage = Stage::open().await;
    let role = stage.role();
    let store = Arc::new(stage.store_as(&role).await);
    let engine = stage.worker(&role, store, Arc::clone(&stage.salesforce));
    assert_eq!(stage.mismatches(&engine).await, []);
    stage
        .sql(&format!(
            "revoke all on account from {role};
            grant select (external_id, name), update on account to {role};
            drop trigger syncline_capture_contact on contact"
        ))
        .await;
    let found = stage.mismatches(&engine).await;
    let fixes: Vec<&str> = found.iter().map(|one| one.fix.as_str()).collect();
    for grant in [
        format!("run: grant select on public.account to {role}"),
        format!("run: grant insert, update on public.account to {role}"),
        format!("run: grant delete on public.account to {role}"),
    ] {
        assert!(fixes.contains(&grant.as_str()), "{grant}: {fixes:#?}");
    }
    let what = "our role lacks INSERT, UPDATE on public.account";
    assert!(found.iter().any(|one| one.what == what), "{found:#?}");
    let install = fix_of(&found, "triggers of public.contact are not installed");
    assert!(
        install.contains("a role that may act as its owner, postgres"),
        "only an owner can install: {install}"
    );
    let superuser = |fix: &&str| fix.contains("grant postgres");
    assert!(!fixes.iter().any(superuser), "{fixes:#?}");
}

#[tokio::test]
async fn sequences_functions_and_control_plane_are_checked_too() {
    let stage = Stage::open().await;
    stage
        .sql("alter table account add number serial; create table unrelated (id serial)")
        .await;
    let role = stage.role();
    let store = Arc::new(stage.store_as(&role).await);
    let engine = stage.worker(&role, store, Arc::clone(&stage.salesforce));
    assert_eq!(stage.mismatches(&engine).await, []);
    stage
        .sql(&format!(
            "revoke usage, update on all sequences in schema public from {role};
            revoke execute on function syncline.new_id() from {role};
            revoke delete on syncline.sync_task from {role}"
        ))
        .await;
    let found = stage.mismatches(&engine).await;
    let fixes: Vec<&str> = found.iter().map(|one| one.fix.as_str()).collect();
    assert_eq!(
        fixes,
        [
            format!(
                "run: grant select, insert, update, delete on all tables in schema syncline to {role}"
            ),
            format!("run: grant execute on all functions in schema syncline to {role}"),
            format!("run: grant usage on sequence public.account_number_seq to {role}"),
        ]
    );
}

#[tokio::test]
async fn database_that_cannot_be_migrated_is_reported() {
    let stage = Stage::prepared(MAPPING).await;
    let (role, database) = (stage.role(), stage.database_name().to_owned());
    stage
        .sql(&format!(
            "create role {role} login; grant usage on schema public to {role};
            grant all on all tables in schema public to {role}"
        ))
        .await;
    let store = Arc::new(stage.store_of(&role));
    let engine = stage.worker(&role, store, Arc::clone(&stage.salesforce));
    let found = stage.mismatches(&engine).await;
    let fix = fix_of(
        &found,
        &format!("our role lacks CREATE on database {database}"),
    );
    assert_eq!(
        fix,
        format!("run: grant create on database {database} to {role}")
    );
}

#[tokio::test]
async fn missing_column_is_the_only_finding_and_names_a_similar_one() {
    let stage = Stage::open().await;
    stage
        .sql("alter table account rename column phone to phones")
        .await;
    let found = findings(&stage).await;
    let fix = fix_of(&found, "column phone does not exist");
    assert!(fix.starts_with("did you mean phones?"), "{fix}");
    assert_eq!(found.len(), 1, "{found:#?}");

    let mapping = MAPPING
        .replace("= \"account\"", "= \"acount\"")
        .replace("LastName ", "LastNme ");
    let stage = Stage::prepared(&mapping).await;
    let found = findings(&stage).await;
    let fix = fix_of(&found, "the table public.acount does not exist");
    assert!(fix.starts_with("did you mean public.account?"), "{fix}");
    let fix = fix_of(&found, "LastNme does not exist in the org");
    assert!(fix.starts_with("did you mean LastName?"), "{fix}");
}

#[tokio::test]
async fn view_is_not_called_missing() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql("alter table account rename to account_data; create view account as select * from account_data")
        .await;
    let fix = fix_of(&findings(&stage).await, "public.account is not a table");
    assert!(fix.contains("the table behind it"), "{fix}");
}

#[tokio::test]
async fn rows_with_longer_texts_than_the_field_are_counted() {
    let stage = Stage::open().await;
    stage
        .sql(
            "insert into account (external_id, name, phone)
            values ('a-1', 'Ada', repeat('1', 41)), ('a-2', 'Bob', repeat('1', 40)), ('a-3', 'Eve', null)",
        )
        .await;
    fix_of(
        &findings(&stage).await,
        "1 rows have a longer text in phone than Phone holds",
    );
}

#[tokio::test]
async fn unique_index_advice_fits_a_partitioned_table() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "drop table account;
            create table account (
                id bigint generated always as identity, external_id text, name text, phone text, industry text,
                rating text, revenue numeric, active boolean default false, parent_external_id text,
                region text default 'north'
            ) partition by list (region);
            create table account_north partition of account for values in ('north')",
        )
        .await;
    let fix = fix_of(
        &findings(&stage).await,
        "column external_id has no unique index",
    );
    assert!(fix.contains("in every partition"), "{fix}");
}
