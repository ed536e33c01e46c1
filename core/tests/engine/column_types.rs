//! Columns of every type that people have: values come to rest equal after one write, what a column would
//! change is not written, and one value that cannot be taken stops no other.

use salesforce_org::Org;
use serde_json::{Value as Json, json};

use crate::local_org::LocalOrg;
use crate::mapping::MAPPING;
use crate::stage::Stage;

/// An object with a field of every kind.
const ORG: &str = r#"
[[object]]
name = "Gauge__c"
key_prefix = "a01"

  [[object.field]]
  name = "Key__c"
  type = "string"
  length = 40
  external_id = true
  unique = true
  [[object.field]]
  name = "Text__c"
  type = "string"
  length = 10
  [[object.field]]
  name = "Code__c"
  type = "string"
  length = 40
  [[object.field]]
  name = "Email__c"
  type = "email"
  [[object.field]]
  name = "Choices__c"
  type = "multipicklist"
  values = ["red", "green", "blue"]
  [[object.field]]
  name = "Number__c"
  type = "double"
  precision = 18
  scale = 15
  [[object.field]]
  name = "Money__c"
  type = "currency"
  precision = 18
  scale = 2
  [[object.field]]
  name = "Percent__c"
  type = "percent"
  precision = 5
  scale = 1
  [[object.field]]
  name = "Whole__c"
  type = "int"
  [[object.field]]
  name = "Flag__c"
  type = "boolean"
  [[object.field]]
  name = "Day__c"
  type = "date"
  [[object.field]]
  name = "Moment__c"
  type = "datetime"
  [[object.field]]
  name = "Clock__c"
  type = "time"
"#;

const GAUGE: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "public" }

[[tenant.acme.object]]
object      = "Gauge__c"
table       = "gauge"
external_id = { field = "Key__c", column = "key" }

[tenant.acme.object.fields]
Text__c    = { column = "text" }
Code__c    = { column = "code" }
Email__c   = { column = "email" }
Choices__c = { column = "choices" }
Number__c  = { column = "number" }
Money__c   = { column = "money" }
Percent__c = { column = "percent" }
Whole__c   = { column = "whole" }
Flag__c    = { column = "flag" }
Day__c     = { column = "day" }
Moment__c  = { column = "moment" }
Clock__c   = { column = "clock" }
"#;

/// A table as people have it.
const TABLE: &str = "
create domain address as varchar(80) not null;
create table gauge (
    key char(12) primary key,
    text char(20) not null,
    code text,
    email address,
    choices text[] not null,
    number double precision,
    money numeric(18, 2),
    percent real,
    whole bigint,
    flag boolean,
    day date,
    moment timestamp,
    clock time(3)
)";

async fn stage_of(table: &str) -> Stage {
    let org = LocalOrg::of(Org::from_toml(ORG).unwrap());
    let stage = Stage::of(org, GAUGE).await;
    stage.sql(table).await;
    stage.install().await;
    stage
}

/// What stopped: `code of field`.
async fn stopped(stage: &Stage) -> Vec<Json> {
    let open = "select code || ' of ' || coalesce(field, 'all') as of
        from syncline.sync_dead_letter where closed_at is null order by 1";
    let rows = stage.rows(open).await;
    rows.into_iter().map(|mut row| row["of"].take()).collect()
}

/// The version of the one row: it changes with every write.
async fn row_version(stage: &Stage) -> Json {
    stage
        .one("select xmin::text || ctid::text from gauge")
        .await
}

fn gauge(stage: &Stage, fields: &str) -> Json {
    let mut rows = stage.org.query(&format!("select {fields} from Gauge__c"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

#[tokio::test]
async fn row_in_any_spelling_is_written_once_and_rests() {
    let stage = stage_of(TABLE).await;
    stage
        .sql(
            "insert into gauge values ('g-1', ' 😀😀😀😀😀', '', 'Ada@Acme.Example', '{green,blue,green}',
                0.123456789012345, 12.50, 12.5, 12345678, null, '1700-01-01',
                '2026-05-01 09:30:00.999999', '23:59:59.999')",
        )
        .await;
    let row = row_version(&stage).await;
    stage.drain().await;
    assert_eq!(stage.tasks().await, Vec::<Json>::new());
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.org.writing_calls(), 1, "no second write");
    assert_eq!(row_version(&stage).await, row, "the row stays as it is");
    let there = gauge(
        &stage,
        "Text__c, Code__c, Email__c, Choices__c, Number__c, Whole__c, Flag__c, Day__c, Moment__c, Clock__c",
    );
    let expected = [
        ("Text__c", json!("😀😀😀😀😀")),
        ("Code__c", json!(null)),
        ("Email__c", json!("ada@acme.example")),
        ("Choices__c", json!("green;blue")),
        ("Whole__c", json!(12_345_678)),
        ("Flag__c", json!(false)),
        ("Day__c", json!("1700-01-01")),
        ("Moment__c", json!("2026-05-01T09:30:00.000+0000")),
        ("Clock__c", json!("23:59:59.999Z")),
    ];
    for (field, value) in expected {
        assert_eq!(there[field], value, "{field}");
    }
}

#[tokio::test]
async fn record_is_written_once_into_columns_of_every_type() {
    let stage = stage_of(TABLE).await;
    stage.drain().await;
    let record = json!({
        "Key__c": "g-1", "Text__c": null, "Code__c": "007", "Email__c": null, "Choices__c": "blue;red",
        "Number__c": 0.5, "Money__c": 1.25, "Percent__c": 12.5, "Whole__c": -7, "Flag__c": true,
        "Day__c": "4000-12-31", "Moment__c": "1969-12-31T23:59:59.000Z", "Clock__c": "00:00:00.000Z",
    });
    stage.org.insert("Gauge__c", record);
    stage.drain().await;
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    let row = row_version(&stage).await;
    stage.drain().await;
    assert_eq!(row_version(&stage).await, row, "no second write");
    assert_eq!(stage.org.writing_calls(), 0);
    assert_eq!(
        stage.rows("select key::text, text::text, code, email, choices, number, money, percent, whole, flag, day, moment, clock from gauge").await,
        [json!({
            "key": "g-1", "text": "", "code": "007", "email": "", "choices": ["blue", "red"],
            "number": 0.5, "money": 1.25, "percent": 12.5, "whole": -7, "flag": true, "day": "4000-12-31",
            "moment": "1969-12-31T23:59:59", "clock": "00:00:00",
        })]
    );
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.compared, report.drifted.len()), (1, 0));
}

#[tokio::test]
async fn value_that_a_column_would_change_parks_its_field() {
    let columns = "create table gauge (key text primary key, text char(20), code bigint, email text,
        choices text, number numeric(18, 1), money numeric, percent real, whole int, flag bool, day date,
        moment timestamptz, clock time(0))";
    let stage = stage_of(columns).await;
    stage.drain().await;
    let record = json!({
        "Key__c": "g-1", "Text__c": "same", "Code__c": "007", "Number__c": 1.25, "Clock__c": "09:30:00.500Z",
    });
    let id = stage.org.insert("Gauge__c", record);
    stage.drain().await;
    let row = "select text::text, code, number, clock from gauge";
    assert_eq!(
        stage.rows(row).await,
        [json!({"text": "same", "code": null, "number": null, "clock": null})]
    );
    assert_eq!(stage.org.writing_calls(), 0);
    let message = "select message from syncline.sync_dead_letter where closed_at is null";
    let message = stage.one(message).await.as_str().unwrap().to_owned();
    for reason in [
        "code",
        "number",
        "clock",
        "keeps 1 digits",
        "in another way",
    ] {
        assert!(message.contains(reason), "{reason}: {message}");
    }

    let edit = json!({"Code__c": "7", "Number__c": 1.5, "Clock__c": "09:30:00.000Z"});
    stage.org.update(&id, edit);
    stage.drain().await;
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(
        stage.rows(row).await,
        [json!({"text": "same", "code": 7, "number": 1.5, "clock": "09:30:00"})]
    );
}

#[tokio::test]
async fn key_the_column_cannot_take_stops_only_its_record() {
    let columns = "create table gauge (key bigint primary key, text text, code text, email text, choices text,
        number numeric, money numeric, percent numeric, whole int, flag bool, day date, moment timestamptz,
        clock time)";
    let stage = stage_of(columns).await;
    stage.drain().await;
    for key in ["1", "two", "3"] {
        stage
            .org
            .insert("Gauge__c", json!({"Key__c": key, "Text__c": key}));
    }
    stage.drain().await;
    let keys = "select string_agg(key::text, ',' order by key) from gauge";
    assert_eq!(stage.one(keys).await, json!("1,3"));
    assert_eq!(stopped(&stage).await, ["invalid_value of all"]);
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!((report.complete, report.compared), (true, 3));
}

#[tokio::test]
async fn columns_that_cannot_hold_their_field_are_found_by_check() {
    let columns = "create table gauge (key char(12) primary key, text text[], code interval, email int4range,
        choices jsonb, number money, money double precision, percent real, whole text, flag smallint,
        day timestamptz, moment date, clock timetz)";
    let stage = stage_of(columns).await;
    let found = stage.mismatches(&stage.engine).await;
    let mut found: Vec<String> = found
        .iter()
        .map(|finding| format!("{:?}: {}", finding.level, finding.what))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "Error: column choices of type jsonb cannot hold Choices__c",
            "Error: column clock of type time with time zone cannot hold Clock__c",
            "Error: column code of type interval cannot hold Code__c",
            "Error: column day of type timestamp with time zone cannot hold Day__c",
            "Error: column email of type int4range cannot hold Email__c",
            "Error: column flag of type smallint cannot hold Flag__c",
            "Error: column moment of type date cannot hold Moment__c",
            "Error: column number of type money cannot hold Number__c",
            "Error: column text of type text[] cannot hold Text__c",
            "Error: column whole of type text cannot hold Whole__c",
            "Warning: column key holds 12 characters, Key__c 40: longer values are parked",
            "Warning: column percent of type real keeps six digits: values with more are parked",
        ]
    );
}

#[tokio::test]
async fn empty_text_fills_columns_that_refuse_null() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "alter table account alter column phone set not null, alter column industry set default 'Other',
                alter column industry set not null",
        )
        .await;
    stage.install().await;
    stage.drain().await;
    let id = stage.org.insert(
        "Account",
        json!({"Name": "Ada", "External_Id__c": "a-1", "Phone": null}),
    );
    stage.drain().await;
    let row = "select phone, industry from account";
    assert_eq!(
        stage.rows(row).await,
        [json!({"phone": "", "industry": ""})]
    );
    for phone in [json!("1"), json!(null)] {
        stage.org.update(&id, json!({"Phone": phone}));
        stage.drain().await;
    }
    assert_eq!(
        stage.rows(row).await,
        [json!({"phone": "", "industry": ""})]
    );
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.org.writing_calls(), 0);
}

#[tokio::test]
async fn unreadable_value_parks_its_field_until_it_can_be_read() {
    let stage = stage_of(TABLE).await;
    stage.drain().await;
    let record = json!({"Key__c": "g-1", "Money__c": 1, "Whole__c": 1});
    let id = stage.org.insert("Gauge__c", record);
    stage.drain().await;

    // The engine still knows a number.
    stage.org.convert(
        "Gauge__c",
        json!({"name": "Money__c", "type": "string", "length": 20}),
    );
    let edit = json!({"Money__c": "one and a half", "Whole__c": 2});
    stage.org.update(&id, edit);
    stage.drain().await;
    let row = "select money::float8 as money, whole from gauge";
    assert_eq!(stage.rows(row).await, [json!({"money": 1, "whole": 2})]);
    assert_eq!(stopped(&stage).await, ["unreadable_value of Money__c"]);
    stage.sql("update gauge set money = 3, whole = 3").await;
    stage.drain().await;
    let there = gauge(&stage, "Money__c, Whole__c");
    assert_eq!(
        (&there["Money__c"], &there["Whole__c"]),
        (&json!("one and a half"), &json!(3))
    );
    assert_eq!(stopped(&stage).await, ["unreadable_value of Money__c"]);
    let report = stage
        .engine
        .reconcile_full(&stage.tenant, stage.deadline())
        .await
        .unwrap();
    assert_eq!(
        (report.compared, report.allowed, report.enqueued),
        (1, 1, 0)
    );
    let classes = "select classes from syncline.sync_comparison where object = 'Gauge__c'";
    assert_eq!(stage.one(classes).await, json!({"unreadable": 1}));

    stage.org.update(&id, json!({"Money__c": "3.00"}));
    stage.drain().await;
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.rows(row).await, [json!({"money": 3, "whole": 3})]);
}

#[tokio::test]
async fn case_of_a_text_counts_in_a_citext_column() {
    let stage = Stage::of(LocalOrg::of(Org::from_toml(ORG).unwrap()), GAUGE).await;
    stage
        .sql(
            "create extension citext;
            create table gauge (key citext primary key, text citext, code citext, email citext, choices citext,
                number numeric, money numeric, percent numeric, whole int, flag bool, day date,
                moment timestamptz, clock time)",
        )
        .await;
    stage.install().await;
    stage
        .sql("insert into gauge (key, text, email, choices) values ('g-1', 'red', 'ada@acme.example', 'red;blue')")
        .await;
    stage.drain().await;
    let there = |stage: &Stage| {
        let record = gauge(stage, "Key__c, Text__c, Email__c, Choices__c");
        ["Key__c", "Text__c", "Email__c", "Choices__c"].map(|field| record[field].clone())
    };
    let mail = json!("ada@acme.example");
    let choices = json!("red;blue");
    let sent = [json!("g-1"), json!("red"), mail.clone(), choices.clone()];
    assert_eq!(there(&stage), sent);

    // Equal for the column, another text for Salesforce; an e-mail has no case on either side.
    stage
        .sql("update gauge set text = 'RED', email = 'Ada@Acme.Example'")
        .await;
    stage.drain().await;
    assert_eq!(there(&stage), [json!("g-1"), json!("RED"), mail, choices]);
    let id = stage.org.query("select Id from Gauge__c").remove(0)["Id"].clone();
    stage
        .org
        .update(id.as_str().unwrap(), json!({"Text__c": "Red"}));
    stage.drain().await;
    assert_eq!(
        stage
            .rows("select key::text, text::text, email::text from gauge")
            .await,
        [json!({"key": "g-1", "text": "Red", "email": "Ada@Acme.Example"})]
    );
    assert_eq!(stopped(&stage).await, Vec::<Json>::new());
    assert_eq!(stage.org.writing_calls(), 2);
}
