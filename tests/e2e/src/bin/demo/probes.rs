//! How long an edit takes to be seen on the other side, measured from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::PgPool;
use syncline_e2e::salesforce::Person;
use syncline_e2e::world::World;

use crate::edits::{Day, Ids, set};

/// Interval between two edits of one side.
const EDIT_EVERY: Duration = Duration::from_millis(150);

/// Interval between two reads of the other side: the precision of a measured time.
const REFRESH_EVERY: Duration = Duration::from_millis(40);

/// How long to wait for an edit.
const WAIT_MAX: Duration = Duration::from_secs(90);

/// Measured times, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies(Vec<Duration>);

impl Latencies {
    /// Returns the time that `percent` of the edits did not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let last = self.0.len().checked_sub(1)?;
        let place = (self.0.len() * percent).div_ceil(100).saturating_sub(1);
        self.0.get(place.min(last)).copied()
    }

    /// Returns how many were measured.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// Times edits on both sides at once: from Postgres to Salesforce, and from Salesforce to Postgres.
///
/// # Errors
///
/// When a side refuses, or an edit is not seen for too long.
pub(crate) async fn measure(world: &World, day: &Day) -> anyhow::Result<(Latencies, Latencies)> {
    let ids = Ids::read(&world.person).await?;
    let (there, back) = tokio::join!(
        postgres_to_salesforce(world, &day.probed_in_postgres),
        salesforce_to_postgres(world, &ids, &day.probed_in_salesforce)
    );
    Ok((there?, back?))
}

async fn postgres_to_salesforce(world: &World, ids: &[String]) -> anyhow::Result<Latencies> {
    let edits = async {
        let mut made = BTreeMap::new();
        for id in ids {
            set(
                &world.pool,
                "account",
                "description",
                &probe(id),
                std::slice::from_ref(id),
            )
            .await?;
            made.insert(id.clone(), Instant::now());
            tokio::time::sleep(EDIT_EVERY).await;
        }
        anyhow::Ok(made)
    };
    let seen = until_seen(ids, async || seen_in_salesforce(&world.person, ids).await);
    let (made, seen) = tokio::join!(edits, seen);
    Ok(between(&made?, &seen?))
}

async fn salesforce_to_postgres(
    world: &World,
    known: &Ids,
    ids: &[String],
) -> anyhow::Result<Latencies> {
    let edits = async {
        let mut made = BTreeMap::new();
        for id in ids {
            let update =
                known.accounts(std::slice::from_ref(id), "Description", json!(probe(id)))?;
            world.person.update("Account", &update).await?;
            made.insert(id.clone(), Instant::now());
            tokio::time::sleep(EDIT_EVERY).await;
        }
        anyhow::Ok(made)
    };
    let seen = until_seen(ids, async || seen_in_postgres(&world.pool, ids).await);
    let (made, seen) = tokio::join!(edits, seen);
    Ok(between(&made?, &seen?))
}

/// Reads until every probe was seen, and returns when each was first seen.
async fn until_seen(
    ids: &[String],
    needs_refresh: impl AsyncFn() -> anyhow::Result<BTreeSet<String>>,
) -> anyhow::Result<BTreeMap<String, Instant>> {
    let started = Instant::now();
    let mut seen = BTreeMap::new();
    while seen.len() < ids.len() {
        anyhow::ensure!(
            started.elapsed() < WAIT_MAX,
            "{} of {} timed edits were not seen on the other side within {} s",
            ids.len() - seen.len(),
            ids.len(),
            WAIT_MAX.as_secs()
        );
        let now_seen = needs_refresh().await?;
        let now = Instant::now();
        for id in now_seen {
            seen.entry(id).or_insert(now);
        }
        tokio::time::sleep(REFRESH_EVERY).await;
    }
    Ok(seen)
}

async fn seen_in_salesforce(person: &Person, ids: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
    let soql = format!(
        "select External_Id__c, Description from Account where External_Id__c in ({})",
        quoted.join(", ")
    );
    let records = person.query(&soql).await?;
    Ok(records
        .iter()
        .filter_map(|record| {
            let id = record.get("External_Id__c")?.as_str()?;
            let description = record.get("Description")?.as_str()?;
            (description == probe(id)).then(|| id.to_owned())
        })
        .collect())
}

async fn seen_in_postgres(pool: &PgPool, ids: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let rows: Vec<(String, Option<String>)> =
        sqlx::query_as("select external_id, description from account where external_id = any($1)")
            .bind(ids)
            .fetch_all(pool)
            .await?;
    Ok(rows
        .into_iter()
        .filter(|(id, description)| description.as_deref() == Some(probe(id).as_str()))
        .map(|(id, _)| id)
        .collect())
}

fn probe(id: &str) -> String {
    format!("timed edit of {id}")
}

/// An edit counts from its commit; one that was seen before the commit was answered took no time.
fn between(made: &BTreeMap<String, Instant>, seen: &BTreeMap<String, Instant>) -> Latencies {
    let mut times: Vec<Duration> = made
        .iter()
        .filter_map(|(id, made)| Some(seen.get(id)?.saturating_duration_since(*made)))
        .collect();
    times.sort_unstable();
    Latencies(times)
}
