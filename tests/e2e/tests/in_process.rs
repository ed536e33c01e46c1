//! The engine in one process on real sides, while servers fail under it.

use std::time::Duration;

use reqwest::Method;
use syncline_e2e::converge::{Goal, Standing, converge, standing};
use syncline_e2e::in_process::InProcess;
use syncline_e2e::load::Births;
use syncline_e2e::world::World;

/// Airports created on each side: several transactions and calls, yet fast.
const OF_EACH_SIDE: usize = 300;

/// A write whose outcome could not be stored keeps its record leased for three minutes: a longer wait means
/// that something is lost.
const PATIENCE: Duration = Duration::from_secs(270);

fn silent(_: &Standing) {}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_an_expired_session_cost_only_time() -> anyhow::Result<()> {
    let mut world = World::start().await?;
    let births = Births::real_records(OF_EACH_SIDE)?;
    births.into_postgres(&world.pool).await?;
    births.into_salesforce(&world.person).await?;
    world.install().await?;
    let engine = InProcess::start(&world).await?;
    let records = births.accounts() + births.contacts();

    // In the middle: some records have been written, most have not.
    let crossing =
        |standing: &Standing| standing.in_salesforce + standing.in_postgres > records + 50;
    while !crossing(&standing(&world).await?) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world
        .person
        .control(Method::POST, "sessions/expire", None)
        .await?;
    world.postgres().restart().await?;
    world.person = World::sign_in(&world.org).await?;

    let goal = Goal {
        records,
        conflicts: 0,
    };
    let comparison = converge(&world, goal, PATIENCE, silent).await?;
    assert!(comparison.differences.is_empty());
    engine.stop().await;
    Ok(())
}
