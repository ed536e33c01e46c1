//! Are both sides equal, field by field? Read by SQL and by SOQL, without the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Context;
use chrono::DateTime;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool, Row};

use crate::mapping::{Kind, OBJECTS, Object};
use crate::salesforce::{Person, Record};

/// One record's values by field; none is null.
type Values = BTreeMap<&'static str, Option<String>>;

/// One difference between the sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The object.
    pub object: String,
    /// The record.
    pub external_id: String,
    /// What differs.
    pub what: What,
}

/// What differs about a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Only Salesforce has it.
    NotInPostgres,
    /// Only Postgres has it.
    NotInSalesforce,
    /// The field's values differ.
    Field(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            object,
            external_id,
            what,
        } = self;
        match what {
            What::NotInPostgres => write!(f, "{object} {external_id} is not in Postgres"),
            What::NotInSalesforce => write!(f, "{object} {external_id} is not in Salesforce"),
            What::Field(field) => write!(f, "{object} {external_id} differs in {field}"),
        }
    }
}

/// The outcome of a comparison.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Records that at least one side has.
    pub records: usize,
    /// Values that were compared.
    pub values: usize,
    /// What differs.
    pub differences: BTreeSet<Difference>,
}

/// Compares every mapped object.
///
/// # Errors
///
/// When a side cannot be read, or holds a record without an external id.
pub async fn compare(pool: &PgPool, org: &Person) -> anyhow::Result<Comparison> {
    let mut comparison = Comparison::default();
    for object in &OBJECTS {
        let rows = rows_of(pool, object).await?;
        let records = records_of(org, object).await?;
        compare_object(object, &rows, &records, &mut comparison);
    }
    Ok(comparison)
}

fn compare_object(
    object: &Object,
    rows: &BTreeMap<String, Values>,
    records: &BTreeMap<String, Values>,
    comparison: &mut Comparison,
) {
    let ids: BTreeSet<&String> = rows.keys().chain(records.keys()).collect();
    comparison.records += ids.len();
    for id in ids {
        let mut differs = |what| {
            comparison.differences.insert(Difference {
                object: object.object.to_owned(),
                external_id: id.clone(),
                what,
            });
        };
        match (rows.get(id), records.get(id)) {
            (Some(row), Some(record)) => {
                comparison.values += object.fields.len();
                object
                    .fields
                    .iter()
                    .filter(|field| row[field.field] != record[field.field])
                    .for_each(|field| differs(What::Field(field.field.to_owned())));
            }
            (None, _) => differs(What::NotInPostgres),
            (_, None) => differs(What::NotInSalesforce),
        }
    }
}

async fn rows_of(pool: &PgPool, object: &Object) -> anyhow::Result<BTreeMap<String, Values>> {
    let columns: Vec<String> = object
        .fields
        .iter()
        .map(|field| match field.kind {
            Kind::Text | Kind::Number | Kind::Boolean => format!("{}::text", field.column),
            Kind::Moment => format!(
                "to_char({} at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
                field.column
            ),
        })
        .collect();
    let sql = format!(
        "select external_id, {} from {}",
        columns.join(", "),
        object.table
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let id: Option<String> = row.try_get(0)?;
            let id = id.with_context(|| format!("a row of {} has no external id", object.table))?;
            let values = object
                .fields
                .iter()
                .enumerate()
                .map(|(place, field)| {
                    let value: Option<String> = row.try_get(place + 1)?;
                    let value = value.and_then(|text| canonical(field.kind, &text));
                    Ok((field.field, value))
                })
                .collect::<anyhow::Result<Values>>()?;
            Ok((id, values))
        })
        .collect()
}

async fn records_of(org: &Person, object: &Object) -> anyhow::Result<BTreeMap<String, Values>> {
    let paths: Vec<&str> = object.fields.iter().map(|field| field.path).collect();
    let soql = format!(
        "select External_Id__c, {} from {}",
        paths.join(", "),
        object.object
    );
    org.query(&soql)
        .await?
        .iter()
        .map(|record| {
            let id = at(record, "External_Id__c")
                .with_context(|| format!("a record of {} has no external id", object.object))?;
            let values = object
                .fields
                .iter()
                .map(|field| {
                    let value =
                        at(record, field.path).and_then(|text| canonical(field.kind, &text));
                    (field.field, value)
                })
                .collect();
            Ok((id, values))
        })
        .collect()
}

/// Returns the text of a scalar, through relationships; none for null on the way.
fn at(record: &Record, path: &str) -> Option<String> {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    match (record.get(first)?, rest) {
        (Value::Object(parent), Some(rest)) => at(parent, rest),
        (Value::String(text), None) => Some(text.clone()),
        (Value::Number(number), None) => Some(number.to_string()),
        (Value::Bool(boolean), None) => Some(boolean.to_string()),
        _ => None,
    }
}

/// Returns the one form of a value; none for an empty text, which both sides hold as null.
fn canonical(kind: Kind, text: &str) -> Option<String> {
    match kind {
        Kind::Text => {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Kind::Number => Some(plain_number(text)),
        Kind::Boolean => Some((text == "true" || text == "t").to_string()),
        Kind::Moment => Some(
            DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z")
                .or_else(|_| DateTime::parse_from_rfc3339(text))
                .map_or_else(
                    |_| text.to_owned(),
                    |moment| moment.timestamp_millis().to_string(),
                ),
        ),
    }
}

/// Writes a decimal without exponent, leading or trailing zeros.
fn plain_number(text: &str) -> String {
    let (mantissa, exponent) = text
        .split_once(['e', 'E'])
        .map_or((text, 0), |(mantissa, exponent)| {
            (mantissa, exponent.parse::<i32>().unwrap_or(0))
        });
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", mantissa),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut digits = format!("{whole}{fraction}");
    let mut point = i32::try_from(whole.len()).unwrap_or(i32::MAX) + exponent;
    while point <= 0 {
        digits.insert(0, '0');
        point += 1;
    }
    let point = usize::try_from(point).unwrap_or(1);
    while digits.len() < point {
        digits.push('0');
    }
    let (whole, fraction) = digits.split_at(point);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    match fraction.trim_end_matches('0') {
        "" if whole == "0" => "0".to_owned(),
        "" => format!("{sign}{whole}"),
        fraction => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_reads_alike_from_both_sides() {
        for (text, plain) in [
            ("3435.000", "3435"),
            ("3435", "3435"),
            ("3435.0", "3435"),
            ("-101.473911000000000", "-101.473911"),
            ("1.2E3", "1200"),
            ("5e-3", "0.005"),
            ("-0.0", "0"),
            ("0.50", "0.5"),
        ] {
            assert_eq!(plain_number(text), plain, "{text}");
        }
    }

    #[test]
    fn a_moment_reads_alike_from_both_sides() {
        let from_salesforce = canonical(Kind::Moment, "2026-05-01T09:30:00.000+0000");
        let from_postgres = canonical(Kind::Moment, "2026-05-01T09:30:00.000Z");
        assert!(from_salesforce.is_some());
        assert_eq!(from_salesforce, from_postgres);
    }

    #[test]
    fn each_difference_is_found_and_named() {
        let object = Object {
            object: "Account",
            table: "account",
            fields: &crate::mapping::ACCOUNT.fields[..1],
        };
        let side = |rows: &[(&str, &str)]| -> BTreeMap<String, Values> {
            rows.iter()
                .map(|(id, name)| {
                    let values = [("Name", Some((*name).to_owned()))].into();
                    ((*id).to_owned(), values)
                })
                .collect()
        };
        let mut comparison = Comparison::default();
        let postgres = side(&[("a", "Ada"), ("b", "Bob"), ("c", "Cy")]);
        let salesforce = side(&[("a", "Ada"), ("b", "Rob"), ("d", "Di")]);
        compare_object(&object, &postgres, &salesforce, &mut comparison);
        let lines: Vec<String> = comparison
            .differences
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "Account b differs in Name",
                "Account c is not in Salesforce",
                "Account d is not in Postgres"
            ]
        );
    }
}
