//! Waiting with a progress display until both sides are equal.

use std::time::Duration;

use syncline_e2e::compare::Comparison;
use syncline_e2e::converge::{self, Goal};
use syncline_e2e::world::World;

use crate::progress::Progress;

/// How long both sides may stay unchanged without being equal: the leases of a crashed worker expire after three
/// minutes, and the next sweep wakes their records.
const STANDSTILL_MAX: Duration = Duration::from_secs(270);

/// Waits until both sides hold the expected records and are equal except for the conflicts.
///
/// # Errors
///
/// When nothing has moved for too long; the message names what differs.
pub(crate) async fn until_equal(
    progress: &Progress,
    world: &World,
    goal: Goal,
) -> anyhow::Result<Comparison> {
    let bar = |name| progress.bar(name, u64::try_from(goal.records).unwrap_or(u64::MAX));
    let (in_salesforce, in_postgres, in_step) =
        (bar("in Salesforce"), bar("in Postgres"), bar("in sync"));
    converge::converge(world, goal, STANDSTILL_MAX, |standing| {
        in_salesforce.set(u64::try_from(standing.in_salesforce).unwrap_or_default());
        in_postgres.set(u64::try_from(standing.in_postgres).unwrap_or_default());
        in_step.set(u64::try_from(standing.progress.in_sync).unwrap_or_default());
    })
    .await
}
