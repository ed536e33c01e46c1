//! Runs all jobs in this process.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use syncline::SyncEngine;
use syncline::config::TenantConfig;
use syncline::engine::in_process::{self, SentWakeUps};
use syncline::host::error::HostError;
use syncline::host::instance::Instance;
use syncline::host::renewal::RenewedInstance;
use syncline::job::error::error_chain;
use syncline::model::ids::TenantId;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Common;
use crate::outcome::{Outcome, warn};

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

/// How often the configuration is read again.
const CONFIG_POLL: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C or SIGTERM, then ends every job at its next safe point. Each tenant has an engine of its own:
/// one that cannot run yet is tried again, and the others run meanwhile. Tenants whose configuration has changed start
/// again with the new one.
pub(super) async fn run(common: &Common) -> anyhow::Result<Outcome> {
    let Context { instance, tenants } = context(common).await?;
    let mut engines = Vec::with_capacity(tenants.len());
    for tenant in &tenants {
        engines.push((tenant.clone(), build(&instance, tenant).await));
    }
    let none_can_run = engines.iter().all(|(_, built)| built.is_err());
    let instance = Arc::new(instance);
    let stop = CancellationToken::new();
    let mut fleet = Fleet::new(stop.clone());
    for (tenant, built) in engines {
        match built {
            Err(error) if none_can_run => return Err(error.into()),
            built => {
                let config = instance.tenant(&tenant).await?;
                fleet.start(&instance, config, Some(built));
            }
        }
    }
    let names: Vec<&str> = tenants.iter().map(TenantId::as_str).collect();
    warn(&format!("running for {}; Ctrl-C ends it", names.join(", ")));
    let stopping = tokio::spawn(stop_on_signal(stop.clone()));
    let renewed = RenewedInstance::new(instance, CONFIG_POLL);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(CONFIG_POLL) => {}
        }
        // A place that does not answer must not delay the end.
        let instance = tokio::select! {
            () = stop.cancelled() => break,
            instance = renewed.current() => instance,
        };
        let all = &instance.config().await?.tenants;
        let only = common.tenant.as_deref();
        let selected = all.values();
        let selected =
            selected.filter(|config| only.is_none_or(|only| only == config.tenant.as_str()));
        fleet.change_to(&instance, &selected.collect::<Vec<&TenantConfig>>());
    }
    fleet.end().await;
    stopping.abort();
    let json = tenants
        .iter()
        .map(|tenant| json!({"tenant": tenant, "ended": true}));
    Ok(Outcome::well(json.collect(), "ended".to_owned()))
}

/// The jobs of all tenants.
struct Fleet {
    running: BTreeMap<TenantId, Running>,
    /// Jobs of tenants that were removed, until they have ended.
    ending: JoinSet<()>,
    stop: CancellationToken,
}

/// The jobs of one tenant, with the configuration that they use.
struct Running {
    config: TenantConfig,
    stop: CancellationToken,
    jobs: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        // A panic was reported when it happened.
        let _ = self.jobs.await;
    }
}

impl Fleet {
    /// Returns a fleet without tenants, whose jobs end with `stop`.
    fn new(stop: CancellationToken) -> Self {
        Self {
            running: BTreeMap::new(),
            ending: JoinSet::new(),
            stop,
        }
    }

    /// Starts the jobs of a tenant, once those that use its former configuration have ended.
    fn start(
        &mut self,
        instance: &Arc<Instance>,
        config: &TenantConfig,
        built: Option<Result<Built, HostError>>,
    ) {
        let (tenant, instance) = (config.tenant.clone(), Arc::clone(instance));
        let stop = self.stop.child_token();
        let former = self.running.remove(&tenant);
        let (runs_as, ends_at) = (tenant.clone(), stop.clone());
        let jobs = tokio::spawn(async move {
            if let Some(former) = former {
                former.end().await;
            }
            run_tenant(instance, runs_as, built, ends_at).await;
        });
        let config = config.clone();
        self.running.insert(tenant, Running { config, stop, jobs });
    }

    /// Ends tenants that are configured no more, and starts those that are new or have changed.
    fn change_to(&mut self, instance: &Arc<Instance>, tenants: &[&TenantConfig]) {
        let is_kept = |name: &TenantId| tenants.iter().any(|config| config.tenant == *name);
        let removed: Vec<TenantId> = self.running.keys().cloned().collect();
        for tenant in removed.into_iter().filter(|name| !is_kept(name)) {
            warn(&format!("{tenant} is configured no more; its jobs end"));
            if let Some(running) = self.running.remove(&tenant) {
                self.ending.spawn(running.end());
            }
        }
        for config in tenants {
            let running = self.running.get(&config.tenant);
            if running.is_none_or(|running| running.config != **config) {
                warn(&format!(
                    "{} runs with the new configuration from now on",
                    config.tenant
                ));
                self.start(instance, config, None);
            }
        }
    }

    /// Ends all jobs.
    async fn end(mut self) {
        for (_, running) in std::mem::take(&mut self.running) {
            running.end().await;
        }
        while self.ending.join_next().await.is_some() {}
    }
}

async fn build(instance: &Instance, tenant: &TenantId) -> Result<Built, HostError> {
    let (wake_up, sent_wake_ups) = in_process::channel();
    let engine = instance.engine_with(tenant, Arc::new(wake_up)).await?;
    Ok((engine, sent_wake_ups))
}

/// Runs one tenant until `stop`, first with the engine that is built, if there is one.
async fn run_tenant(
    instance: Arc<Instance>,
    tenant: TenantId,
    mut built: Option<Result<Built, HostError>>,
    stop: CancellationToken,
) {
    let start = || {
        let (instance, tenant, stop) = (Arc::clone(&instance), tenant.clone(), stop.clone());
        let built = built.take();
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
        warn(&format!(
            "{tenant} has panicked and is started again in {pause:?}; please report it"
        ));
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
    warn(&format!(
        "{tenant} cannot run yet and is tried again: {reason}"
    ));
}

/// Cancels `stop` at the first signal, and ends the process at the second one.
pub(super) async fn stop_on_signal(stop: CancellationToken) {
    // If no handler can be set, a signal ends the process at once; this loses nothing either.
    if stop_signal().await.is_err() {
        return;
    }
    stop.cancel();
    warn("ending; a second signal ends it at once");
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
