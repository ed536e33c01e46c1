//! Runs all jobs in this process.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syncline::SyncEngine;
use syncline::engine::in_process::{self, SentWakeUps};
use syncline::host::error::HostError;
use syncline::host::instance::Instance;
use syncline::job::error::error_chain;
use syncline::model::ids::TenantId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Common;
use crate::outcome::Outcome;

use super::{Context, context};

/// The exit status of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// How long to wait before a tenant that cannot run is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(15);

/// First and longest pause before a tenant is started again whose jobs ended by a panic.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(200);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(300);

/// The engine of one tenant and the receiving end of its wake-ups.
type Built = (SyncEngine, SentWakeUps);

/// Runs until Ctrl-C or SIGTERM, then ends every job at its next safe point. Each tenant has an engine of its own:
/// one that cannot run yet is tried again, and the others run meanwhile.
pub(super) async fn run(common: &Common) -> anyhow::Result<Outcome> {
    let Context { instance, tenants } = context(common).await?;
    let mut engines = Vec::with_capacity(tenants.len());
    for tenant in &tenants {
        engines.push((tenant.clone(), build(&instance, tenant).await));
    }
    let none_can_run = engines.iter().all(|(_, built)| built.is_err());
    let instance = Arc::new(instance);
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    for (tenant, built) in engines {
        match built {
            Err(error) if none_can_run => return Err(error.into()),
            built => {
                running.spawn(run_tenant(
                    Arc::clone(&instance),
                    tenant,
                    built,
                    stop.clone(),
                ));
            }
        }
    }
    let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    eprintln!("running for {}; Ctrl-C ends it", names.join(", "));
    let stopping = tokio::spawn(stop_on_signal(stop));
    while running.join_next().await.is_some() {}
    stopping.abort();
    Ok(Outcome::well(json!({"ended": true}), "ended".to_owned()))
}

async fn build(instance: &Instance, tenant: &TenantId) -> Result<Built, HostError> {
    let (wake_up, sent_wake_ups) = in_process::channel();
    let engine = instance.engine_with(tenant, Arc::new(wake_up)).await?;
    Ok((engine, sent_wake_ups))
}

/// Runs one tenant until `stop`, with a new engine if the first one panics.
async fn run_tenant(
    instance: Arc<Instance>,
    tenant: TenantId,
    built: Result<Built, HostError>,
    stop: CancellationToken,
) {
    let mut first = Some(built);
    let start = || {
        let (instance, tenant, stop) = (Arc::clone(&instance), tenant.clone(), stop.clone());
        let built = first.take();
        async move {
            let built = match built {
                Some(built) => built,
                None => build(&instance, &tenant).await,
            };
            keep_running(instance, tenant, built, stop).await;
        }
    };
    keep_alive(&tenant, &stop, start).await;
}

/// Runs a tenant until it ends, and starts it again if it panics. Returns how often it was started again.
async fn keep_alive<F>(
    tenant: &TenantId,
    stop: &CancellationToken,
    mut start: impl FnMut() -> F,
) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pause = RESTART_PAUSE_MIN;
    let mut restarts = 0;
    loop {
        let began = Instant::now();
        if tokio::spawn(start()).await.is_ok() {
            return restarts;
        }
        if began.elapsed() >= RESTART_PAUSE_MAX {
            pause = RESTART_PAUSE_MIN;
        }
        eprintln!("{tenant} has panicked and is started again in {pause:?}; please report it");
        tokio::select! {
            () = stop.cancelled() => return restarts,
            () = tokio::time::sleep(pause) => {}
        }
        restarts += 1;
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
    }
}

/// Runs the jobs of one tenant until `stop`. Builds its engine again while that fails.
async fn keep_running(
    instance: Arc<Instance>,
    tenant: TenantId,
    mut built: Result<Built, HostError>,
    stop: CancellationToken,
) {
    let (engine, sent_wake_ups) = loop {
        match built {
            Ok(built) => break built,
            Err(error) => report(&tenant, &error),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TRY_AGAIN) => {}
        }
        built = build(&instance, &tenant).await;
    };
    // Reports a mistake on either side now, not in the log of the third retry. The jobs run anyway.
    if let Err(error) = engine.mapped_objects(&tenant).await {
        report(&tenant, &error);
    }
    let stopper = engine.clone();
    let stopping = tokio::spawn(async move {
        stop.cancelled().await;
        stopper.stop();
    });
    engine.run(sent_wake_ups).await;
    stopping.abort();
}

fn report(tenant: &TenantId, error: &(dyn std::error::Error + 'static)) {
    let reason = error_chain(error);
    eprintln!("{tenant} cannot run yet and is tried again: {reason}");
}

/// Cancels `stop` at the first signal, and ends the process at the second one.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    // If no handler can be set, a signal ends the process at once; this loses nothing either.
    if stop_signal().await.is_err() {
        return;
    }
    stop.cancel();
    eprintln!("ending; a second signal ends it at once");
    if stop_signal().await.is_ok() {
        std::process::exit(INTERRUPTED);
    }
}

/// Waits for Ctrl-C, or for SIGTERM, by which services, containers and clusters end a process.
async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tenant_that_panics_is_started_again() {
        let tenant = TenantId::parse("acme").unwrap();
        let stop = CancellationToken::new();
        let mut started = 0;
        let restarts = keep_alive(&tenant, &stop, || {
            started += 1;
            let fails = started == 1;
            async move { assert!(!fails, "it fails once") }
        });
        assert_eq!(restarts.await, 1);
        assert_eq!(started, 2);
    }

    #[tokio::test]
    async fn stopped_tenant_is_not_started_again() {
        let tenant = TenantId::parse("acme").unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let restarts = keep_alive(&tenant, &stop, || async { panic!("it fails") });
        assert_eq!(restarts.await, 0);
    }
}
