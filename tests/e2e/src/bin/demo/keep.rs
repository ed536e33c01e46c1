//! Keeps the stack running until Ctrl-C: prints its addresses and deploys changed code again.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use syncline_e2e::scripts;
use syncline_e2e::world::World;

use crate::Engine;
use crate::progress::Progress;

/// Interval between two checks of the sources.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// The sources of the functions.
const SOURCES: [&str; 9] = [
    "core/Cargo.toml",
    "core/build.rs",
    "core/proto",
    "core/src",
    "functions/Cargo.toml",
    "functions/src",
    "migrations",
    "infra/template.yaml",
    "Cargo.lock",
];

/// Keeps everything running until the process ends.
///
/// # Errors
///
/// When there is nothing to deploy to.
pub(crate) async fn keep(
    progress: &Progress,
    world: &World,
    engine: &mut Engine,
) -> anyhow::Result<()> {
    introduce(world, engine);
    let Engine::Deployed(deployed) = engine else {
        return std::future::pending().await;
    };
    let mut built = newest_source();
    loop {
        tokio::time::sleep(REFRESH_EVERY).await;
        let now = newest_source();
        if now == built {
            continue;
        }
        built = now;
        progress.say("the code changed: building and deploying it");
        match deployed.redeploy().await {
            Ok(()) => progress.say("deployed"),
            Err(error) => progress.say(&format!("not deployed: {error:#}")),
        }
    }
}

fn introduce(world: &World, engine: &Engine) {
    let config = world.config().display().to_string();
    println!();
    println!("Postgres     {}", world.postgres().url());
    println!("Salesforce   {}", world.org.http_url());
    println!(
        "             consumer key {}",
        salesforce_org::local::CLIENT_ID
    );
    println!(
        "             consumer secret {} (client credentials, as {})",
        salesforce_org::local::CLIENT_SECRET,
        salesforce_org::local::INTEGRATION_USER
    );
    println!("Pub/Sub      {}", world.org.grpc_url());
    if let Engine::Deployed(deployed) = engine {
        for (name, value) in deployed.aws.environment() {
            println!("AWS          export {name}={value}");
        }
        println!("Logs         {}", deployed.aws.functions_log().display());
    }
    println!("Operator     cargo run -p syncline-cli -- --config {config} status");
    println!("Ctrl-C ends everything.");
}

/// Returns when a source was last changed.
fn newest_source() -> Option<SystemTime> {
    let root = scripts::root();
    SOURCES
        .iter()
        .filter_map(|source| newest(&root.join(source)))
        .max()
}

fn newest(path: &Path) -> Option<SystemTime> {
    let own = path.metadata().ok()?.modified().ok();
    let within = path.read_dir().ok().and_then(|entries| {
        let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.iter().filter_map(|path| newest(path)).max()
    });
    own.max(within)
}
