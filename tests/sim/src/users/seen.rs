//! What users see of both sides.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use salesforce_org::{Org, Request, local};
use serde_json::{Value as Json, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::shapes::{KEY, SHAPES, Shape};

/// A record as a user sees it: its values by the names of [`KEY`], the fields, `External_Id__c`, `parent` and, in
/// Salesforce, `Id`.
pub(crate) type Seen = BTreeMap<&'static str, Json>;

/// The records of one object on one side, by key.
pub(crate) type SeenRecords = BTreeMap<String, Seen>;

/// The key of accounts outside the filter, which are no records of a world.
pub(super) const OUTSIDE: &str = "outside";

/// Returns a text of a record.
pub(crate) fn text(record: &Seen, field: &str) -> String {
    record[field].as_str().unwrap_or_default().to_owned()
}

pub(super) fn column(shape: &Shape, field: &str) -> &'static str {
    let known = shape.fields.iter().find(|(known, _)| *known == field);
    match known {
        Some((_, column)) => column,
        None if field == shape.lookup.0 => shape.lookup.1,
        None => "external_id",
    }
}

/// Returns a value in SQL: values of worlds contain no quotes.
pub(super) fn literal(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| "null".to_owned(), |value| format!("'{value}'"))
}

/// Reads the rows of a table that match and are not marked as deleted, and locks them if the condition says so.
pub(super) async fn rows(
    connection: &mut PgConnection,
    shape: &Shape,
    condition: &str,
) -> Result<Vec<Seen>, sqlx::Error> {
    let [(first, first_column), (second, second_column)] = shape.fields;
    let query = format!(
        "select fax, external_id, {first_column}, nullif(rtrim({second_column}::text), ''), {} from {} where deleted_at is null and {condition}",
        shape.lookup.1, shape.table
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let names = [KEY.0, "External_Id__c", first, second, "parent"];
    rows.iter()
        .map(|row| {
            let value = |place: usize| {
                row.try_get::<Option<String>, _>(place)
                    .map(|value| json!(value))
            };
            names
                .iter()
                .enumerate()
                .map(|(place, name)| Ok((*name, value(place)?)))
                .collect()
        })
        .collect()
}

/// Locks and returns the rows that go by this name, and those that name it as their parent. `None` if the engine or
/// another user holds one of them.
pub(super) async fn before(connection: &mut PgConnection, name: &str) -> Option<Vec<SeenRecords>> {
    let mut before = Vec::new();
    for shape in &SHAPES {
        let mine = format!(
            "(external_id = {name} or {} = {name}) for update",
            shape.lookup.1
        );
        let rows = rows(connection, shape, &mine).await.ok()?;
        before.push(
            rows.into_iter()
                .map(|row| (text(&row, KEY.0), row))
                .collect(),
        );
    }
    Some(before)
}

/// Reads the live records of every object.
pub(super) fn all_records(org: &mut Org) -> anyhow::Result<Vec<SeenRecords>> {
    let of = |shape: &Shape| {
        let records = records(org, shape)?.into_iter();
        Ok(records
            .map(|record| (text(&record, KEY.0), record))
            .collect())
    };
    SHAPES.iter().map(of).collect()
}

/// Reads the live records of an object.
pub(super) fn records(org: &mut Org, shape: &Shape) -> anyhow::Result<Vec<Seen>> {
    let [(first, _), (second, _)] = shape.fields;
    let soql = format!(
        "select+Id,{},External_Id__c,{first},{second},{},{}+from+{}",
        KEY.0, shape.lookup.0, shape.lookup.2, shape.object
    );
    let answer = answer(org, &soql)?;
    let (relation, field) = shape
        .lookup
        .2
        .split_once('.')
        .context("a lookup has a path")?;
    let records = answer["records"]
        .as_array()
        .with_context(|| answer.to_string())?;
    let read = |record: &Json| {
        let mut seen: Seen = ["Id", KEY.0, "External_Id__c", first, second]
            .into_iter()
            .map(|name| (name, record[name].clone()))
            .collect();
        let parent = &record[relation][field];
        seen.insert("parent", parent.clone());
        // The account of a child may be outside the filter.
        let is_outside = parent.is_null() && !record[shape.lookup.0].is_null();
        seen.insert("is_outside", json!(is_outside));
        seen
    };
    let records = records.iter().map(read);
    Ok(records
        .filter(|record| text(record, KEY.0) != OUTSIDE)
        .collect())
}

/// Counts the records that an org holds or held.
pub(crate) fn records_of_all(org: &mut Org) -> anyhow::Result<usize> {
    let counts = SHAPES.iter().map(|shape| Ok(ever(org, shape)?.len()));
    counts.sum()
}

/// Returns the keys of all records of an object, those that were deleted, too.
pub(super) fn ever(org: &mut Org, shape: &Shape) -> anyhow::Result<BTreeSet<String>> {
    let soql = format!("select+{}+from+{}", KEY.0, shape.object);
    let found = ask(org, "queryAll", &soql)?;
    let found = found["records"].as_array().cloned().unwrap_or_default();
    let keys = found
        .iter()
        .filter_map(|record| record[KEY.0].as_str().map(str::to_owned));
    Ok(keys.collect())
}

/// Asks the org as a user.
pub(super) fn answer(org: &mut Org, soql: &str) -> anyhow::Result<Json> {
    ask(org, "query", soql)
}

fn ask(org: &mut Org, resource: &str, soql: &str) -> anyhow::Result<Json> {
    let token = org
        .open_session(local::PERSON)
        .context("the org has users")?;
    let request =
        Request::new("GET", &format!("/services/data/v62.0/{resource}?q={soql}")).bearer(&token);
    Ok(org.request(&request).to_json())
}
