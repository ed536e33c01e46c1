//! The demo: thousands of real records between a Salesforce org and Postgres, both ways, through the
//! functions, queue and schedules of the same template that is deployed to AWS.
//!
//! It starts everything, loads, waits, edits, waits, measures, and compares both sides without the
//! engine's help. Exit status 0 means that they are equal except for the conflicts that it lists.

mod edits;
mod keep;
mod probes;
mod progress;
mod report;
mod settle;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use syncline_e2e::converge::Goal;
use syncline_e2e::deployed::Deployed;
use syncline_e2e::in_process::InProcess;
use syncline_e2e::load::Births;
use syncline_e2e::observe::Metered;
use syncline_e2e::world::World;

use edits::Day;
use progress::Progress;
use report::Findings;
use settle::until_equal;

/// Moves real records between a local Salesforce org and Postgres, both ways, and proves both equal.
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave everything running at the end, print its addresses, and deploy changed code again.
    #[arg(long)]
    keep: bool,
    /// Run the engine in this process instead of the deployed functions.
    #[arg(long)]
    in_process: bool,
    /// Airports that are created on each side.
    #[arg(long, default_value_t = 5_000, value_name = "COUNT")]
    records: usize,
}

/// Where the engine runs.
enum Engine {
    Deployed(Box<Deployed>),
    InProcess(InProcess),
}

impl Engine {
    /// Keeps the functions' output, for debugging a failure.
    fn keep_log(&self) {
        let Self::Deployed(deployed) = self else {
            return;
        };
        let kept = std::env::temp_dir().join("syncline-demo-functions.log");
        match std::fs::copy(deployed.aws.functions_log(), &kept) {
            Ok(_) => eprintln!("the log of the functions: {}", kept.display()),
            Err(error) => eprintln!("the log of the functions was not kept: {error}"),
        }
    }

    /// The next sweep would wake a resumed tenant within a minute; this wakes it at once.
    async fn sweep(&self) -> anyhow::Result<()> {
        match self {
            Self::Deployed(deployed) => deployed.wake_sweep().await,
            Self::InProcess(engine) => engine.sweep().await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let shown = tokio::select! {
        shown = show(&arguments) => shown,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("ended by Ctrl-C");
            return ExitCode::from(130);
        }
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments) -> anyhow::Result<()> {
    let progress = Progress::new();
    progress.say("starting Postgres and a local Salesforce org");
    let world = World::start().await?;
    let births = Births::real_records(arguments.records)?;
    load(&progress, &world, &births).await?;

    let before = Metered::read(&world.person).await?;
    let mut engine = start_engine(&progress, &world, arguments.in_process).await?;
    let played = play(&progress, &world, &births, &engine, &before).await;
    if played.is_err() {
        engine.keep_log();
    }
    let differing = played?;
    if arguments.keep {
        keep::keep(&progress, &world, &mut engine).await?;
    }
    progress.say("ending everything");
    if let Engine::InProcess(engine) = engine {
        engine.stop().await;
    }
    anyhow::ensure!(
        differing == 0,
        "the sides differ in {differing} values that no conflict explains"
    );
    Ok(())
}

/// Runs the demo. Returns how many values differ without a conflict that explains it.
async fn play(
    progress: &Progress,
    world: &World,
    births: &Births,
    engine: &Engine,
    before: &Metered,
) -> anyhow::Result<usize> {
    let day = Day::of(births)?;
    let own_calls_before = world.person.calls();
    let mut goal = Goal {
        records: births.accounts() + births.contacts(),
        conflicts: 0,
    };
    progress.say("waiting until both sides hold all of them");
    let started = Instant::now();
    until_equal(progress, world, goal).await?;
    let initial = started.elapsed();

    progress.say("editing, clearing and deleting a few hundred on each side");
    day.edit_each_side(world).await?;
    goal.records -= day.deleted();
    until_equal(progress, world, goal).await?;
    progress.say("editing the same records on both sides, some in the same field");
    day.edit_both_sides(world).await?;
    engine.sweep().await?;
    goal.conflicts = day.conflicts();
    until_equal(progress, world, goal).await?;

    progress.say("timing single edits in both directions");
    let (there, back) = probes::measure(world, &day).await?;
    let comparison = until_equal(progress, world, goal).await?;

    let findings = Findings {
        goal,
        comparison: &comparison,
        metered: Metered::read(&world.person).await?.since(before),
        own_calls: world.person.calls() - own_calls_before,
        initial,
        there,
        back,
    };
    report::print(world, progress, &findings).await
}

async fn load(progress: &Progress, world: &World, births: &Births) -> anyhow::Result<()> {
    progress.say(&format!(
        "{} records are born in Postgres, {} in Salesforce",
        births.accounts_in_postgres.len() + births.contacts_in_postgres.len(),
        births.accounts_in_salesforce.len() + births.contacts_in_salesforce.len()
    ));
    let (rows, records) = tokio::join!(
        births.into_postgres(&world.pool),
        births.into_salesforce(&world.person)
    );
    rows?;
    records?;
    progress.say("installing the control plane and the capture triggers");
    world.install().await
}

async fn start_engine(
    progress: &Progress,
    world: &World,
    in_process: bool,
) -> anyhow::Result<Engine> {
    if in_process {
        progress.say("starting the engine in this process");
        return Ok(Engine::InProcess(InProcess::start(world).await?));
    }
    progress.say("deploying infra/template.yaml with the functions");
    let deployed = Deployed::start(world).await?;
    progress.say("waking capture once; from here on schedules, queue and mapping do the work");
    deployed.wake_capture().await?;
    Ok(Engine::Deployed(Box::new(deployed)))
}
