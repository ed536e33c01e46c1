//! `generate` maps tables that exist, and lists what does not fit with the statement that mends it.

use serde_json::{Value as Json, json};
use syncline::engine::check::Level;
use syncline::engine::generate::{GenerateOptions, Generated, Pattern, TablePattern};

use crate::local_org::LocalOrg;
use crate::stage::Stage;

const TENANT: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "crm" }
"#;

const TABLES: &str = "
create schema crm;
create table crm.accounts (
    account_no bigint primary key,
    external_id text not null,
    name text not null,
    phone varchar(20),
    \"BillingCity\" text,
    parent_external_id text,
    annual_revenue money,
    opened timestamp,
    number_of_employees integer not null,
    ratin text,
    imported_by text not null,
    \"a\nb\" text
);
create table crm.people (
    id bigint generated always as identity primary key,
    external_id text unique,
    last_name text,
    account text
);
";

async fn stage() -> Stage {
    let stage = Stage::empty(LocalOrg::new(), TENANT).await;
    stage.sql(TABLES).await;
    stage
}

fn tables(names: &[(&str, Option<&str>)]) -> GenerateOptions {
    let tables = names.iter().map(|(name, object)| TablePattern {
        pattern: Pattern::parse(name).unwrap(),
        object: object.map(str::to_owned),
    });
    GenerateOptions {
        tables: tables.collect(),
        ..GenerateOptions::default()
    }
}

async fn generate(stage: &Stage) -> Generated {
    let options = tables(&[("crm.acc*", None), ("people", Some("contact"))]);
    stage
        .engine
        .generate(&stage.tenant, &options)
        .await
        .unwrap()
}

#[tokio::test]
async fn columns_are_mapped_by_their_names() {
    let stage = stage().await;
    let before = stage
        .rows("select * from information_schema.columns where table_schema = 'crm'")
        .await;
    let generated = generate(&stage).await;
    insta::assert_snapshot!(format!("{}\n{}", generated.mapping(), generated.sql()));
    let after = stage
        .rows("select * from information_schema.columns where table_schema = 'crm'")
        .await;
    assert_eq!(before, after, "a table was altered");
}

#[tokio::test]
async fn statements_mend_everything_that_is_found() {
    let mut stage = stage().await;
    stage
        .sql("insert into crm.accounts values (7, 'Z', 'Zoe', null, null, null, null, null, 3, null, 'me')")
        .await;
    let generated = generate(&stage).await;
    let errors = generated.objects.iter().flat_map(|draft| &draft.problems);
    let errors = errors
        .filter(|problem| problem.level == Level::Error)
        .count();
    assert_eq!(errors, 3, "no unique index, two columns that nothing fills");
    for draft in &generated.objects {
        for statement in draft.mending().iter().chain(&draft.extending()) {
            stage.sql(statement).await;
        }
    }
    let generated = generate(&stage).await;
    for draft in &generated.objects {
        assert_eq!(draft.problems, Vec::new(), "{}", draft.sync.object);
        assert_eq!(draft.extending(), Vec::<String>::new());
    }
    let account = generated.mapping();
    for mapped in [
        "AnnualRevenue = {",
        "Opened__c = {",
        "ParentId = {",
        "Fax = {",
    ] {
        assert!(account.contains(mapped), "{mapped}: {account}");
    }
    stage.configure(&format!("{TENANT}\n{account}"));
    stage.install().await;
    assert_eq!(stage.mismatches(&stage.engine).await, Vec::new());

    let parent = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "AnnualRevenue": 10, "External_Id__c": "A"}),
    );
    stage
        .org
        .insert("Contact", json!({"LastName": "Bo", "AccountId": parent}));
    stage.drain().await;
    let refused = stage.tasks().await;
    assert_eq!(refused, Vec::<Json>::new());
}

#[tokio::test]
async fn tables_without_an_object_are_listed() {
    let stage = stage().await;
    stage.sql("create view crm.leads as select 1 as one").await;
    let options = tables(&[
        ("*", None),
        ("nothing", None),
        ("crm.accounts", Some("Acount")),
    ]);
    let generated = stage
        .engine
        .generate(&stage.tenant, &options)
        .await
        .unwrap();
    let listed = generated.skipped.iter().map(|skipped| {
        let fix = skipped.fix.as_deref().unwrap_or("-");
        format!("{}: {}; {fix}", skipped.object, skipped.why)
    });
    insta::assert_snapshot!(listed.collect::<Vec<String>>().join("\n"), @r"
    crm.accounts: the org has no object Acount; did you mean --tables crm.accounts=Account?
    crm.people: the org has no object people; name it: --tables crm.people=OBJECT
    nothing: the database has no such table; correct its name; a table outside the tenant's schema is written as schema.table
    ");

    let lead = Pattern::parse("Lead").unwrap();
    stage.sql("alter view crm.leads rename to lead").await;
    let options = GenerateOptions {
        objects: vec![lead],
        ..GenerateOptions::default()
    };
    let generated = stage
        .engine
        .generate(&stage.tenant, &options)
        .await
        .unwrap();
    assert_eq!(generated.skipped[0].why, "crm.lead is not a table");
    assert!(generated.objects.is_empty());
}
