//! Waiting until nothing is left to do, judged from outside: both sides read and compared.

use std::time::{Duration, Instant};

use syncline_e2e::compare::{Comparison, compare};
use syncline_e2e::observe::{self, Progress};
use syncline_e2e::world::World;

use crate::stage::Stage;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long both sides may stand still without being equal.
const STANDSTILL_MAX: Duration = Duration::from_secs(150);

/// What both sides must come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    /// Accounts on either side.
    pub(crate) accounts: usize,
    /// Contacts on either side.
    pub(crate) contacts: usize,
    /// Conflicts that a person must decide.
    pub(crate) conflicts: usize,
}

/// Where both sides are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    in_postgres: i64,
    in_salesforce: u64,
    progress: Progress,
}

/// Waits until both sides hold what they must and are equal but for the conflicts.
///
/// # Errors
///
/// When nothing has moved for too long; the text says what differs.
pub(crate) async fn until_equal(
    stage: &Stage,
    world: &World,
    goal: Goal,
) -> anyhow::Result<Comparison> {
    let records = u64::try_from(goal.accounts + goal.contacts).unwrap_or(u64::MAX);
    let in_salesforce = stage.bar("in Salesforce", records);
    let in_postgres = stage.bar("in Postgres", records);
    let in_sync = stage.bar("in step", records);
    let (mut before, mut moved) = (Counts::default(), Instant::now());
    loop {
        let counts = count(world).await?;
        in_salesforce.set(counts.in_salesforce);
        in_postgres.set(counts.in_postgres.unsigned_abs());
        in_sync.set(counts.progress.in_sync.unsigned_abs());
        if has_come(&counts, goal) {
            let comparison = compare(&world.pool, &world.person).await?;
            let conflicts = observe::conflicts(&world.pool).await?;
            if comparison.differences == conflicts {
                return Ok(comparison);
            }
        }
        if counts != before {
            (before, moved) = (counts, Instant::now());
        }
        if moved.elapsed() > STANDSTILL_MAX {
            return Err(standstill(world, &counts, goal).await);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn has_come(counts: &Counts, goal: Goal) -> bool {
    let records = goal.accounts + goal.contacts;
    counts.progress.pending == 0
        && counts.progress.in_conflict == i64::try_from(goal.conflicts).unwrap_or(i64::MAX)
        && counts.in_postgres == i64::try_from(records).unwrap_or(i64::MAX)
        && counts.in_salesforce == u64::try_from(records).unwrap_or(u64::MAX)
}

async fn count(world: &World) -> anyhow::Result<Counts> {
    let in_postgres: i64 = sqlx::query_scalar(
        "select (select count(*) from account) + (select count(*) from contact)",
    )
    .fetch_one(&world.pool)
    .await?;
    let accounts = world.person.count("Account", "").await?;
    let contacts = world.person.count("Contact", "").await?;
    Ok(Counts {
        in_postgres,
        in_salesforce: accounts + contacts,
        progress: observe::progress(&world.pool).await?,
    })
}

async fn standstill(world: &World, counts: &Counts, goal: Goal) -> anyhow::Error {
    let differences = match compare(&world.pool, &world.person).await {
        Ok(comparison) => comparison.differences,
        Err(error) => return error,
    };
    let told: Vec<String> = differences
        .iter()
        .take(10)
        .map(|difference| format!("  {difference}"))
        .collect();
    anyhow::anyhow!(
        "nothing has moved for {} s; wanted {goal:?}, there is {counts:?}; {} differences:\n{}",
        STANDSTILL_MAX.as_secs(),
        differences.len(),
        told.join("\n")
    )
}
