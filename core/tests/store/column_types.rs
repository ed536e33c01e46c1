//! The type table on a real Postgres: what a column holds comes back equal, and what it would change is
//! refused before it is written.

use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use syncline::model::canonical::{from_postgres, to_postgres_json};
use syncline::model::column::ColumnType;
use syncline::model::schema::FieldType;
use syncline::model::value::Value;

use crate::world::World;

#[path = "../../planner/tests/paths/values.rs"]
mod values;

/// Types of columns, those among them that hold nothing.
const TYPES: [&str; 26] = [
    "text",
    "varchar(120)",
    "char(120)",
    "color",
    "text[]",
    "varchar(80)[]",
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "numeric",
    "numeric(30, 2)",
    "real",
    "double precision",
    "date",
    "timestamp",
    "timestamptz",
    "timestamp(0)",
    "time",
    "time(2)",
    "uuid",
    "money",
    "interval",
    "jsonb",
    "short_text",
    "cents",
];

/// Returns the types as the engine reads them from the catalogue, with their SQL names.
async fn column_types(connection: &mut PgConnection) -> Vec<(ColumnType, String)> {
    let columns: Vec<String> = TYPES
        .iter()
        .enumerate()
        .map(|(place, name)| format!("c{place} {name}"))
        .collect();
    let create = format!(
        "create type color as enum ('Acme', '007', '42');
        create domain short_text as varchar(80);
        create domain cents as numeric(30, 2) check (value > -1e20);
        create table of_every_type ({})",
        columns.join(", ")
    );
    sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *connection)
        .await
        .unwrap();
    let rows = sqlx::query(
        "select
            base.typname::text as name,
            format_type(base.oid, -1) as sql_name,
            base.typtype = 'e' as is_enum,
            case when own.typtype = 'd' then own.typtypmod else atttypmod end as modifier,
            format_type(base.oid, case when own.typtype = 'd' then own.typtypmod else atttypmod end) as written
        from pg_attribute
        join pg_type as own on own.oid = atttypid
        join pg_type as base on base.oid = case when own.typtype = 'd' then own.typbasetype else own.oid end
        where attrelid = 'of_every_type'::regclass
        and attnum > 0
        order by attnum",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    rows.iter()
        .map(|row| {
            let column = ColumnType::of(
                row.get("name"),
                row.get("sql_name"),
                row.get("is_enum"),
                row.get("modifier"),
            );
            (column, row.get("written"))
        })
        .collect()
}

/// Writes a value to a column of this type and reads it back; none if Postgres refuses it.
async fn through(connection: &mut PgConnection, written: &str, json: &Json) -> Option<Json> {
    let sql = format!(
        "select to_jsonb(row) -> 'value' from jsonb_to_record($1) as row (value {written})"
    );
    let mut tx = connection.begin().await.unwrap();
    let read: Result<Option<Json>, sqlx::Error> = sqlx::query_scalar(AssertSqlSafe(sql))
        .bind(json!({ "value": json }))
        .fetch_one(&mut *tx)
        .await;
    tx.rollback().await.unwrap();
    read.ok().map(Option::unwrap_or_default)
}

#[tokio::test]
async fn column_holds_a_value_exactly_if_it_comes_back_equal() {
    let mut world = World::new().await;
    let connection = &mut world.user;
    let mut held = 0;
    for (column, written) in column_types(connection).await {
        for case in values::cases() {
            if !column.fits(&case.field) {
                continue;
            }
            let value = Value::from_json(&case.canonical).unwrap();
            let json = column.wire(false, to_postgres_json(&case.field, &value));
            let back = through(connection, &written, &json).await;
            // In Postgres a lookup's column holds an external id, which any text is.
            let equal = back
                .as_ref()
                .map(|back| from_postgres(&case.field, back) == Ok(value.clone()));
            let holds = column.holds(&case.field, &value);
            let what = format!("{written}: {value:?} came back as {back:?}");
            // What Postgres refuses by itself is left to it.
            if let Some(equal) = equal {
                let expected = equal || no_room(&case.field, &value);
                assert_eq!(holds.is_ok(), expected, "{what}");
            }
            held += usize::from(equal == Some(true));
        }
    }
    assert!(held > 100, "{held} values were held");
}

/// Salesforce may show more than a row may send.
fn no_room(field: &FieldType, value: &Value) -> bool {
    from_postgres(field, &to_postgres_json(field, value)).is_err()
}

#[tokio::test]
async fn null_and_empty_text_are_equal_in_every_text_column() {
    let mut world = World::new().await;
    let connection = &mut world.user;
    for (column, written) in column_types(connection).await {
        let field = FieldType::Text { length: 80 };
        if column.is_text() {
            let json = column.wire(true, Json::Null);
            let back = through(connection, &written, &json).await.unwrap();
            assert_eq!(from_postgres(&field, &back), Ok(Value::Null), "{written}");
        }
    }
}
