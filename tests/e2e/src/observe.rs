//! The engine's progress, from its control plane and the org's meters.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use reqwest::Method;
use serde_json::Value;
use sqlx::PgPool;

use crate::compare::{Difference, What};
use crate::mapping::TENANT;
use crate::salesforce::Person;

/// Records by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Both sides are equal.
    pub in_sync: i64,
    /// Work is waiting or under way, uncaptured changes included.
    pub pending: i64,
    /// A person must decide.
    pub in_conflict: i64,
    /// Stopped with a reason.
    pub parked: i64,
}

/// Returns the engine's progress.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn progress(pool: &PgPool) -> anyhow::Result<Progress> {
    let (in_sync, pending, in_conflict, parked): (i64, i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where state = 'in_sync'),
            count(*) filter (where state = 'pending')
                + (select count(*) from syncline.sync_outbox),
            count(*) filter (where state = 'conflict'),
            count(*) filter (where state = 'parked')
        from syncline.record_status
        where tenant = $1",
    )
    .bind(TENANT)
    .fetch_one(pool)
    .await?;
    Ok(Progress {
        in_sync,
        pending,
        in_conflict,
        parked,
    })
}

/// Returns the reasons of at most `most` records that are not in sync.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn waiting(pool: &PgPool, most: usize) -> anyhow::Result<Vec<String>> {
    let rows: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "select object, external_id, state, reason
        from syncline.record_status
        where tenant = $1
        and state in ('pending', 'parked')
        order by since
        limit $2",
    )
    .bind(TENANT)
    .bind(i64::try_from(most)?)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(object, id, state, reason)| {
            format!("  {object} {id} is {state}: {}", reason.unwrap_or_default())
        })
        .collect())
}

/// Returns the open conflicts as differences.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn conflicts(pool: &PgPool) -> anyhow::Result<BTreeSet<Difference>> {
    let rows: Vec<(String, String, Option<String>, bool)> = sqlx::query_as(
        "select conflict.object, link.external_id, conflict.field, link.salesforce_id is null
        from syncline.sync_conflict as conflict
        join syncline.sync_link as link on link.record_id = conflict.record_id
        where conflict.tenant = $1
        and conflict.state = 'open'",
    )
    .bind(TENANT)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(object, external_id, field, gone)| Difference {
            object,
            external_id,
            what: match (field, gone) {
                (Some(field), _) => What::Field(field),
                (None, true) => What::NotInSalesforce,
                (None, false) => What::NotInPostgres,
            },
        })
        .collect())
}

/// Returns counts by name of a query that yields a name and a count.
///
/// # Errors
///
/// When Postgres cannot be read.
async fn counted(pool: &PgPool, sql: &'static str) -> anyhow::Result<BTreeMap<String, i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(TENANT).fetch_all(pool).await?;
    Ok(rows.into_iter().collect())
}

/// Returns how many observations were journaled, by where they came from.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn captured(pool: &PgPool) -> anyhow::Result<BTreeMap<String, i64>> {
    counted(
        pool,
        "select
            case
                when source = 'postgres' then 'Postgres by triggers'
                when stream like 'events:%' then 'Salesforce by change events'
                else 'Salesforce by reading'
            end,
            count(*)
        from syncline.sync_journal
        where tenant = $1
        and source in ('postgres', 'salesforce')
        group by 1",
    )
    .await
}

/// Returns how many writes to Salesforce were made.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn writes_applied(pool: &PgPool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*)
        from syncline.sync_intent
        where tenant = $1
        and state in ('applied', 'confirmed')",
    )
    .bind(TENANT)
    .fetch_one(pool)
    .await?)
}

/// Returns how many times a row was written in Postgres.
///
/// # Errors
///
/// When Postgres cannot be read.
pub async fn rows_written(pool: &PgPool) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(
        "select count(*)
        from syncline.sync_journal
        where tenant = $1
        and source = 'decision'
        and payload -> 'to_postgres' ->> 'write' <> 'none'",
    )
    .bind(TENANT)
    .fetch_one(pool)
    .await?)
}

/// The org's meters.
#[derive(Debug, Clone, Default)]
pub struct Metered {
    /// API calls as Salesforce counts them.
    pub api_calls: i64,
    /// Calls by endpoint.
    pub calls: BTreeMap<String, i64>,
    /// Change events delivered.
    pub events_delivered: i64,
}

impl Metered {
    /// Reads the org's meters.
    ///
    /// # Errors
    ///
    /// If the org is not a local one.
    pub async fn read(person: &Person) -> anyhow::Result<Self> {
        let stats = person.control(Method::GET, "stats", None).await?;
        let calls = stats["calls"]
            .as_object()
            .context("the org counts calls by endpoint")?;
        Ok(Self {
            api_calls: number(&stats["api_calls"]),
            calls: calls
                .iter()
                .map(|(name, count)| (name.clone(), number(count)))
                .collect(),
            events_delivered: number(&stats["events_delivered"]),
        })
    }

    /// Returns what was metered since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            api_calls: self.api_calls - earlier.api_calls,
            calls: self
                .calls
                .iter()
                .map(|(name, count)| {
                    let before = earlier.calls.get(name).copied().unwrap_or_default();
                    (name.clone(), count - before)
                })
                .collect(),
            events_delivered: self.events_delivered - earlier.events_delivered,
        }
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}
