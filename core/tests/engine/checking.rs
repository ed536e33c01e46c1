//! `check` reports where mapping, object and table do not match, and how to correct it.

use syncline::config::Config;
use syncline::engine::check::{Level, check_object};
use syncline::model::column::ColumnType;
use syncline::model::ids::{ColumnName, FieldName, ObjectName, TenantId};
use syncline::model::schema::FieldType;
use syncline::ports::SalesforcePort;
use syncline::ports::operator_store::{ColumnFacts, RelationKind, TableFacts};

use crate::local_org::LocalOrg;
use crate::mapping::{MAPPING, with_line};
use crate::stage::Stage;

/// Returns the facts of a table that matches [`MAPPING`].
fn table() -> TableFacts {
    let columns = [
        ("external_id", "text"),
        ("name", "text"),
        ("phone", "text"),
        ("industry", "text"),
        ("rating", "text"),
        ("revenue", "numeric"),
        ("active", "bool"),
        ("parent_external_id", "text"),
    ];
    TableFacts {
        columns: columns
            .into_iter()
            .map(|(name, type_name)| (ColumnName::parse(name).unwrap(), column(type_name)))
            .collect(),
        kind: RelationKind::Table,
        external_id_unique: true,
        triggers_installed: true,
        was_installed: true,
        ..TableFacts::default()
    }
}

fn column(type_name: &str) -> ColumnFacts {
    column_of(type_name, false)
}

fn column_of(type_name: &str, not_null: bool) -> ColumnFacts {
    ColumnFacts {
        column_type: ColumnType::of(type_name, type_name, false, -1),
        not_null,
        generated: false,
        has_default: false,
        in_primary_key: false,
        enum_values: Vec::new(),
        builtin: true,
    }
}

/// A modifier is the length plus four, or the scale.
fn modified(type_name: &str, modifier: i32) -> ColumnFacts {
    ColumnFacts {
        column_type: ColumnType::of(type_name, type_name, false, modifier + 4),
        ..column(type_name)
    }
}

/// Checks the mapping of Account after `change`, and returns the findings, one line each.
async fn found(
    change: impl FnOnce(
        &mut syncline::ObjectSync,
        &mut syncline::model::schema::ObjectSchema,
        &mut TableFacts,
    ),
) -> Vec<String> {
    let config = Config::parse(MAPPING).unwrap();
    let tenant = TenantId::parse("acme").unwrap();
    let mut sync = config.tenants[&tenant].objects[0].clone();
    let org = LocalOrg::new().client();
    let object = ObjectName::parse("Account").unwrap();
    let mut schema = org.describe(&object).await.unwrap();
    let mut table = table();
    change(&mut sync, &mut schema, &mut table);
    check_object(&sync, &schema, &table)
        .into_iter()
        .map(|finding| {
            let level = match finding.level {
                Level::Error => "error",
                Level::Warning => "warning",
                Level::Note => "note",
            };
            format!("{level}: {}", finding.what)
        })
        .collect()
}

fn field(name: &str) -> FieldName {
    FieldName::parse(name).unwrap()
}

fn named(name: &str) -> ColumnName {
    ColumnName::parse(name).unwrap()
}

#[tokio::test]
async fn correct_mapping_has_no_findings() {
    let none: Vec<String> = Vec::new();
    assert_eq!(found(|_, _, _| {}).await, none);
}

#[tokio::test]
async fn external_id_that_numbers_itself_is_reported() {
    let found = found(|_, _, table| {
        let column = table.columns.get_mut(&named("external_id")).unwrap();
        column.column_type = ColumnType::of("int8", "bigint", false, -1);
        column.has_default = true;
    })
    .await;
    assert!(
        found.iter().any(|what| what.starts_with(
            "warning: column external_id numbers rows by itself and does not know the numbers that come from Salesforce"
        )),
        "{found:?}"
    );
}

#[tokio::test]
async fn missing_field_is_reported() {
    let found = found(|_, schema, _| drop(schema.fields.remove(&field("Phone")))).await;
    assert_eq!(
        found,
        ["error: Phone does not exist in the org or is hidden from our user"]
    );
}

#[tokio::test]
async fn missing_external_id_column_is_reported() {
    let found = found(|_, _, table| drop(table.columns.remove(&named("external_id")))).await;
    assert_eq!(found, ["error: column external_id does not exist"]);
}

#[tokio::test]
async fn external_id_must_be_unique_on_both_sides() {
    let found = found(|_, schema, table| {
        let external_id = schema.fields.get_mut(&field("External_Id__c")).unwrap();
        external_id.unique = false;
        external_id.external_id = false;
        table.external_id_unique = false;
    })
    .await;
    assert_eq!(
        found,
        [
            "error: External_Id__c is not marked as an external id",
            "error: External_Id__c is not unique: two records could have the same external id",
            "error: column external_id has no unique index",
        ]
    );
}

#[tokio::test]
async fn compound_and_file_fields_are_refused() {
    for type_name in ["address", "location", "base64", "anyType"] {
        let found = found(|_, schema, _| {
            let phone = schema.fields.get_mut(&field("Phone")).unwrap();
            let name = type_name.to_owned();
            phone.field_type = FieldType::Unsupported { name };
        });
        let expected = format!("error: fields of type {type_name} cannot be mapped");
        assert_eq!(found.await, [expected]);
    }
}

#[tokio::test]
async fn columns_that_would_lose_values_are_reported() {
    let found = found(|_, _, table| {
        let columns = &mut table.columns;
        columns.insert(named("revenue"), modified("numeric", 1));
        columns.insert(named("name"), modified("varchar", 50));
        columns.insert(named("phone"), column("timestamptz"));
    })
    .await;
    assert_eq!(
        found,
        [
            "error: column revenue keeps 1 digits after the point, AnnualRevenue 2: values with more are parked",
            "warning: column name holds 50 characters, Name 255: longer values are parked",
            "error: column phone of type timestamptz cannot hold Phone",
        ]
    );
}

#[tokio::test]
async fn read_only_field_is_an_error_if_postgres_owns_it() {
    let found = found(|_, schema, _| {
        for name in ["Phone", "Rating", "Industry"] {
            schema.fields.get_mut(&field(name)).unwrap().updateable = false;
        }
    })
    .await;
    assert_eq!(
        found,
        [
            "warning: Phone cannot be updated in Salesforce: edits in Postgres wait until it can be again",
            "error: Rating is owned by Postgres but cannot be updated in Salesforce",
        ]
    );
}

#[tokio::test]
async fn duplicate_keys_and_missing_triggers_are_reported() {
    let found = found(|_, _, table| {
        table.triggers_installed = false;
        table.duplicate_keys = vec![("ab-1".to_owned(), "AB-1".to_owned())];
    })
    .await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("\"ab-1\" and \"AB-1\""), "{found:?}");
    assert!(
        found[1].contains("triggers of public.account are not installed"),
        "{found:?}"
    );
}

#[tokio::test]
async fn soft_delete_column_is_checked_for_filter_exits_too() {
    let column = named("gone_at");
    for (facts, expected) in [
        (None, Some("does not exist in public.account")),
        (
            Some(column_of("bool", false)),
            Some("cannot be set to the time"),
        ),
        (Some(column_of("timestamptz", true)), Some("refuses null")),
        (Some(column_of("timestamptz", false)), None),
    ] {
        let found = found(|sync, _, table| {
            sync.filter = Some("Type = 'Customer'".to_owned());
            sync.on_filter_exit = syncline::config::OnFilterExit::SoftDelete;
            sync.deletes.column = Some(column.clone());
            table
                .columns
                .extend(facts.map(|facts| (column.clone(), facts)));
        })
        .await;
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        let reported = expected.is_none_or(|expected| found[0].contains(expected));
        assert!(reported, "{found:?}");
    }
}

/// Returns the findings of `check` about the filter, one line each.
async fn found_of_filter(stage: &Stage) -> Vec<String> {
    let found = stage.engine.check(&stage.tenant).await.unwrap();
    let of_filter = found.into_iter().filter(|one| one.what.contains("filter"));
    of_filter
        .map(|one| {
            let object = one.object.as_ref().map(ObjectName::as_str);
            assert_eq!((object, &one.field), (Some("Account"), &None));
            format!("{:?}: {} ({})", one.level, one.what, one.fix)
        })
        .collect()
}

#[tokio::test]
async fn filter_that_the_org_refuses_is_reported_with_its_message() {
    for (filter, message) in [
        ("Typ = 'Customer'", "No such column 'Typ'"),
        ("Type = Customer", "MALFORMED_QUERY"),
        ("Type = 'Customer' order by Name", "MALFORMED_QUERY"),
    ] {
        let line = format!("where = \"{filter}\"");
        let stage = Stage::prepared(&with_line(&line)).await;
        let found = found_of_filter(&stage).await;
        let [found] = found.as_slice() else {
            panic!("one finding: {found:?}")
        };
        assert!(
            found.starts_with("Error: the org refuses the filter: "),
            "{found}"
        );
        assert!(found.contains(message), "{found}");
        assert!(found.contains("correct `where`"), "{found}");
    }
}

#[tokio::test]
async fn filter_that_matches_nothing_is_a_warning() {
    let stage = Stage::prepared(&with_line("where = \"Type = 'Customer'\"")).await;
    stage.org.insert(
        "Account",
        serde_json::json!({"Name": "Eve", "Type": "Prospect"}),
    );
    let found = found_of_filter(&stage).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("Warning: no record in the org matches the filter"),
        "{found:?}"
    );
    stage.org.insert(
        "Account",
        serde_json::json!({"Name": "Ada", "Type": "Customer"}),
    );
    assert_eq!(found_of_filter(&stage).await, Vec::<String>::new());
}

#[tokio::test]
async fn real_table_is_checked_before_and_after_correction() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "alter table account drop constraint account_external_id_key;
            alter table account alter column revenue type numeric(10, 1);
            alter table account drop column phone;
            insert into account (external_id) values ('ab-1'), ('AB-1')",
        )
        .await;
    let found = stage.engine.check(&stage.tenant).await.unwrap();
    let what: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    for expected in [
        "column external_id has no unique index",
        "column phone does not exist",
        "column revenue keeps 1 digits",
        "triggers of public.account are not installed",
        "are equal for Salesforce",
    ] {
        assert!(
            what.iter().any(|what| what.contains(expected)),
            "{expected}: {what:?}"
        );
    }
    stage
        .sql(
            "delete from account;
            alter table account add unique (external_id), add column phone text,
            alter column revenue type numeric(18, 2)",
        )
        .await;
    stage.install().await;
    assert_eq!(stage.mismatches(&stage.engine).await, Vec::new());
}
