//! Unusual names that Postgres allows: every statement quotes them.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, PgConnection};
use syncline::config::{DeleteMode, ObjectSync};
use syncline::model::ids::{ColumnName, FieldName, RelationName, TableName};

use crate::mapping::MAPPING;
use crate::stage::Stage;

/// Names that are words of SQL, end a quoted name or a literal, or are as long as Postgres keeps them.
const HOSTILE: [&str; 10] = [
    "select",
    "User",
    "a\"; drop table account; --",
    "it's",
    "back\\slash\\",
    "$1 %s {} ?",
    "a.b",
    " ",
    "line\nbreak\ttab",
    "\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\
     \u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}\u{6f22}",
];

/// Columns that every table has.
const SYSTEM_COLUMNS: [&str; 7] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "id"];

fn name() -> impl Strategy<Value = String> {
    let any =
        "[a-zA-Z0-9_\"'\\\\ ;$.%{}()\\[\\]:,?*/\n-~\u{e9}\u{df}\u{6f22}\u{1f600}\u{301}]{1,63}";
    prop_oneof![
        proptest::sample::select(HOSTILE.to_vec()).prop_map(str::to_owned),
        any.prop_map(|text: String| {
            let mut length = text.len().min(63);
            while !text.is_char_boundary(length) {
                length -= 1;
            }
            text[..length].to_owned()
        }),
    ]
    .prop_filter("Postgres keeps it for itself", |name| {
        !SYSTEM_COLUMNS.contains(&name.as_str()) && !name.starts_with("pg_")
    })
}

/// A schema, a table, and the columns of the external id, of two fields and of the mark of deleted rows.
fn names() -> impl Strategy<Value = [String; 6]> {
    let six = [name(), name(), name(), name(), name(), name()];
    six.prop_filter("a table has each column once", |names| {
        let columns = &names[2..];
        (1..columns.len()).all(|place| !columns[..place].contains(&columns[place]))
    })
}

/// Runs a statement whose names Postgres itself has quoted.
async fn run(connection: &mut PgConnection, pattern: &str, names: &[String]) -> Option<Json> {
    let sql: String = sqlx::query_scalar("select format($1, variadic $2::text[])")
        .bind(pattern)
        .bind(names)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let rows: Vec<Json> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    rows.into_iter().next()
}

fn renamed(sync: &ObjectSync, [schema, table, key, name, phone, mark]: &[String; 6]) -> ObjectSync {
    let relation = |name: &str| RelationName::parse(name).unwrap();
    let column = |name: &str| ColumnName::parse(name).unwrap();
    let mut sync = sync.clone();
    sync.table = TableName {
        schema: relation(schema),
        table: relation(table),
    };
    sync.external_id.column = column(key);
    sync.fields
        .retain(|field, _| ["Name", "Phone"].contains(&field.as_str()));
    for (field, own) in [("Name", name), ("Phone", phone)] {
        let field = FieldName::parse(field).unwrap();
        sync.fields.get_mut(&field).unwrap().column = column(own);
    }
    sync.deletes.mode = DeleteMode::Soft;
    sync.deletes.column = Some(column(mark));
    sync
}

async fn both_ways(names: &[String; 6]) {
    let mut stage = Stage::prepared(MAPPING).await;
    stage.store.migrate().await.unwrap();
    let sync = renamed(&stage.config.objects[0], names);
    stage.config.objects = vec![sync];
    stage.engine = stage.engine_of(stage.config.clone());
    let mut user = stage.database().connect().await;
    let user = &mut user;
    run(user, "create schema if not exists %1$I", names).await;
    let table = "create table %1$I.%2$I (id bigint generated always as identity primary key,
        %3$I text unique, %4$I text, %5$I text, %6$I timestamptz)";
    run(user, table, names).await;
    let mapped = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
    stage.store.install(&mapped).await.unwrap();
    assert_eq!(stage.mismatches(&stage.engine).await, []);

    let insert = "insert into %1$I.%2$I (%3$I, %4$I, %5$I) values ('n-1', 'Ada', '1')";
    run(user, insert, names).await;
    stage.drain().await;
    let id = stage.org.id_of("Account", "n-1").expect("it was created");
    stage.org.update(&id, json!({"Name": "Ada 2"}));
    run(user, "update %1$I.%2$I set %5$I = '2'", names).await;
    stage.drain().await;
    let row =
        "select jsonb_build_array(%4$I, %5$I, %6$I is null) from %1$I.%2$I where %3$I = 'n-1'";
    assert_eq!(
        run(user, row, names).await,
        Some(json!(["Ada 2", "2", true]))
    );
    assert_eq!(stage.org.value(&id, "Phone").as_deref(), Some("2"));

    let compared = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert!(compared.complete && compared.enqueued == 0, "{compared:?}");
    stage.org.delete(&id);
    stage.drain().await;
    assert_eq!(
        run(user, row, names).await,
        Some(json!(["Ada 2", "2", false]))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn any_legal_name_works_both_ways(names in names()) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(both_ways(&names));
    }
}
