//! Waits until both sides are equal, by reading both without the engine.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::compare::{Comparison, compare};
use crate::observe::{self, Progress};
use crate::world::World;

/// Interval between two reads.
const REFRESH_EVERY: Duration = Duration::from_millis(300);

/// Differences that a message names.
const LINES_MAX: usize = 10;

/// The expected state of both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Records on either side.
    pub records: usize,
    /// Conflicts that a person must decide.
    pub conflicts: usize,
}

/// The state of both sides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Records in Postgres.
    pub in_postgres: usize,
    /// Records in Salesforce.
    pub in_salesforce: usize,
    /// The status of the control plane.
    pub progress: Progress,
}

/// Waits until both sides hold what they must, nothing is left to do, and they are equal except for
/// the conflicts. `watch` is called with the state of each read.
///
/// # Errors
///
/// When nothing has moved for `patience`; the message names what differs.
pub async fn converge(
    world: &World,
    goal: Goal,
    patience: Duration,
    watch: impl Fn(&Standing),
) -> anyhow::Result<Comparison> {
    let (mut before, mut moved) = (Standing::default(), Instant::now());
    loop {
        let standing = standing(world).await?;
        watch(&standing);
        if has_come(&standing, goal) {
            let comparison = compare(&world.pool, &world.person).await?;
            if comparison.differences == observe::conflicts(&world.pool).await? {
                return Ok(comparison);
            }
        }
        if standing != before {
            (before, moved) = (standing, Instant::now());
        }
        if moved.elapsed() > patience {
            return standstill(world, &standing, goal, patience).await;
        }
        tokio::time::sleep(REFRESH_EVERY).await;
    }
}

/// Returns the state of both sides.
///
/// # Errors
///
/// When a side cannot be read.
pub async fn standing(world: &World) -> anyhow::Result<Standing> {
    let in_postgres: i64 = sqlx::query_scalar(
        "select (select count(*) from account) + (select count(*) from contact)",
    )
    .fetch_one(&world.pool)
    .await?;
    let accounts = world.person.count("Account", "").await?;
    let contacts = world.person.count("Contact", "").await?;
    Ok(Standing {
        in_postgres: usize::try_from(in_postgres)?,
        in_salesforce: usize::try_from(accounts + contacts)?,
        progress: observe::progress(&world.pool).await?,
    })
}

fn has_come(standing: &Standing, goal: Goal) -> bool {
    standing.progress.pending == 0
        && usize::try_from(standing.progress.in_conflict) == Ok(goal.conflicts)
        && standing.in_postgres == goal.records
        && standing.in_salesforce == goal.records
}

async fn standstill(
    world: &World,
    standing: &Standing,
    goal: Goal,
    patience: Duration,
) -> anyhow::Result<Comparison> {
    let differences = compare(&world.pool, &world.person).await?.differences;
    let lines: Vec<String> = differences
        .iter()
        .take(LINES_MAX)
        .map(|difference| format!("  {difference}"))
        .chain(observe::waiting(&world.pool, LINES_MAX).await?)
        .collect();
    bail!(
        "nothing has moved for {} s; wanted {goal:?}, there is {standing:?}; {} differences:\n{}",
        patience.as_secs(),
        differences.len(),
        lines.join("\n")
    )
}
