//! One process of the engine: its connections, its client, and the job that it is at.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use secrecy::SecretString;
use syncline::capture::CaptureOptions;
use syncline::config::TenantConfig;
use syncline::engine::SyncEngine;
use syncline::job::error::Error;
use syncline::model::ids::{ObjectName, TenantId};
use syncline::store::{PgStore, PgStoreOptions};
use tokio::time::timeout;

use crate::clock::{ProcessClock, WorldClock, WorldIds};
use crate::gate::{Fate, Gates};
use crate::script::JobName;
use crate::shapes::SHAPES;
use crate::transport::{self, Route};
use crate::wire::Wire;

/// How often a process must be found at its gates, with other tasks run in between, until it is there for good: a job
/// may have several calls on their way.
pub(crate) const CALM: usize = 8;

/// How often nothing must be under way before Salesforce says that nothing happens.
const QUIET: usize = 2 * CALM;

/// Longest time of one call. No call takes nearly as long, so a job that reaches it hangs.
const STUCK: Duration = Duration::from_secs(60);

/// Longest wait for a lock. Who holds one stands still while another process takes a step: to wait longer changes
/// nothing.
pub(crate) const LOCK_MAX: Duration = Duration::from_millis(20);

/// The time that jobs are given.
const JOB_TIME: Duration = Duration::from_secs(600);

/// A job that fails ends with its error, one that panics with [`PANICKED`].
type Job = Pin<Box<dyn Future<Output = Result<(), String>>>>;

/// How a job ended that panicked.
pub(crate) const PANICKED: &str = "it panicked";

/// A process of the engine.
pub(crate) struct Process {
    pub(crate) engine: SyncEngine,
    pub(crate) store: PgStore,
    /// The name under which it leases work.
    pub(crate) worker: String,
    tenant: TenantId,
    gates: Arc<Gates>,
    /// The folder of its way to Postgres.
    address: String,
    route: Route,
    job: Option<(JobName, Job)>,
}

/// What processes are made of.
pub(crate) struct Parts<'a> {
    pub(crate) wire: &'a Wire,
    pub(crate) route: &'a Route,
    pub(crate) config: &'a TenantConfig,
    pub(crate) clock: &'a WorldClock,
}

/// How far a process came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The job waits at a gate.
    AtGate,
    /// The job has ended, well or with this error.
    Ended(JobName, Option<String>),
    /// There is no job.
    Idle,
}

impl Process {
    /// Starts the process of this number, which no other may have had.
    pub(crate) fn start(parts: &Parts<'_>, number: u64, seed: u64) -> anyhow::Result<Self> {
        let gates = Arc::new(Gates::default());
        let options = PgStoreOptions {
            lock_max: LOCK_MAX,
            // What follows goes by the machine's clock, which must decide nothing: no answer is too late, and no
            // connection is asked before it is used, or each.
            answer_max: Duration::MAX,
            fresh_max: if (seed ^ number).is_multiple_of(2) {
                Duration::ZERO
            } else {
                Duration::MAX
            },
            ..PgStoreOptions::new(SecretString::from(parts.wire.url(number, &gates)))
        };
        let store = PgStore::open(&options)?;
        let worker = format!("process-{number}");
        let client = transport::client(parts.route, &gates, parts.clock);
        let engine = SyncEngine::builder()
            .tenant(
                parts.config.clone(),
                Arc::new(store.clone()),
                Arc::new(client),
            )
            .clock(Arc::new(ProcessClock {
                world: parts.clock.clone(),
                gates: Arc::clone(&gates),
            }))
            .ids(Arc::new(WorldIds::new(seed ^ (number << 32))))
            .worker(&worker)
            .build();
        Ok(Self {
            engine,
            store,
            worker,
            tenant: parts.config.tenant.clone(),
            gates,
            address: parts.wire.address(),
            route: parts.route.clone(),
            job: None,
        })
    }

    /// Lets every call pass from now on, or not any more.
    pub(crate) fn set_open(&self, is_open: bool) {
        self.gates.set_open(is_open);
    }

    /// Returns true if it is at a job.
    pub(crate) fn is_working(&self) -> bool {
        self.job.is_some()
    }

    /// Begins a job and runs it to its first gate.
    pub(crate) async fn begin(&mut self, name: JobName) -> anyhow::Result<Progress> {
        let (engine, tenant) = (self.engine.clone(), self.tenant.clone());
        let options = CaptureOptions::draining(engine.deadline_in(JOB_TIME));
        let job = async move {
            match name {
                JobName::CapturePostgres => {
                    engine.capture_postgres(&tenant, &options).await.map(drop)
                }
                JobName::CaptureSalesforce => {
                    engine.capture_salesforce(&tenant, &options).await.map(drop)
                }
                JobName::Apply(place) => {
                    let object = ObjectName::parse(SHAPES[place].object)
                        .expect("objects of the worlds have names");
                    engine
                        .apply(&tenant, &object, 0, options.deadline)
                        .await
                        .map(drop)
                }
                JobName::Sweep => engine.sweep(&tenant).await.map(drop),
                JobName::CompareRecent => engine
                    .reconcile_incremental(&tenant, options.deadline)
                    .await
                    .map(drop),
                JobName::Compare => engine
                    .reconcile_full(&tenant, options.deadline)
                    .await
                    .map(drop),
                JobName::Release => {
                    engine.release_orphaned_leases().await;
                    Ok(())
                }
            }
        };
        let job = AssertUnwindSafe(job)
            .catch_unwind()
            .map(|ended| match ended {
                Ok(ended) => ended.map_err(|error: Error| error.to_string()),
                Err(_) => Err(PANICKED.to_owned()),
            });
        self.job = Some((name, Box::pin(job)));
        self.settle().await
    }

    /// Decides what becomes of the next call, and runs the job to its next gate. Returns the call, too.
    pub(crate) async fn turn(
        &mut self,
        pick: u64,
        fate: Fate,
    ) -> anyhow::Result<(Option<String>, Progress)> {
        let call = self.gates.release(pick, fate);
        Ok((call, self.settle().await?))
    }

    /// Gives the job up. Its connections stay. Returns which job it was.
    pub(crate) async fn abandon(&mut self) -> anyhow::Result<Option<JobName>> {
        let name = self.job.take().map(|(name, _)| name);
        self.calm_down().await?;
        Ok(name)
    }

    /// Returns the server processes of its connections.
    pub(crate) fn connections(&self) -> Vec<i32> {
        self.gates.connections()
    }

    /// Returns the server processes of connections that were cut since the last call.
    pub(crate) fn take_cut(&self) -> Vec<i32> {
        self.gates.take_cut()
    }

    /// Ends the process: its job, its memory and its connections. Returns its gates, which get to know which
    /// connections were cut.
    pub(crate) fn kill(self) -> Arc<Gates> {
        self.gates.kill();
        self.gates
    }

    /// Runs the job until it stands at a gate or has ended.
    async fn settle(&mut self) -> anyhow::Result<Progress> {
        let Some((name, job)) = &mut self.job else {
            return Ok(Progress::Idle);
        };
        let name = *name;
        let (mut calm, mut quiet) = (0, 0);
        let ended = loop {
            let is_busy = self.gates.is_busy();
            let is_at_gate = !is_busy && self.gates.waiting() > 0;
            if is_busy || is_at_gate {
                quiet = 0;
            } else {
                quiet += 1;
            }
            if quiet == QUIET {
                self.route.keep_alive();
            }
            if is_busy || quiet > 2 * QUIET {
                calm = 0;
                tokio::select! { biased;
                    ended = &mut *job => break ended,
                    () = self.gates.changed() => {}
                    () = tokio::time::sleep(STUCK) => anyhow::bail!("{name:?} hangs"),
                }
            } else {
                calm = if is_at_gate { calm + 1 } else { 0 };
                if calm > CALM {
                    return Ok(Progress::AtGate);
                }
                tokio::select! { biased;
                    ended = &mut *job => break ended,
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        self.job = None;
        self.calm_down().await?;
        let error = ended.err().map(|error| self.told(&error));
        Ok(Progress::Ended(name, error))
    }

    /// Returns an error as the story tells it: without the address, which differs every time.
    fn told(&self, error: &str) -> String {
        error.replace(&self.address, "the server")
    }

    /// Lets what an ended job has left behind finish: connections roll back and return to their pool.
    async fn calm_down(&self) -> anyhow::Result<()> {
        let mut calm = 0;
        while calm < CALM {
            if self.gates.release(0, Fate::Pass).is_some() {
                calm = 0;
            } else if self.gates.is_busy() {
                calm = 0;
                timeout(STUCK, self.gates.changed())
                    .await
                    .context("a connection hangs")?;
            } else {
                calm += 1;
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
