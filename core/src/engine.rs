//! The engine over its ports: one method per job, called by the functions and the command line.
//!
//! [`SyncEngine`] knows tenants, each with its store and its org, and the wake-up, clock and id
//! source they share. It decides nothing: jobs observe, ask [`crate::planner`], perform and record.

pub mod check;
pub mod deadline;
pub mod error;
pub mod in_process;
pub mod job;
pub(crate) mod orphans;
pub mod ports;
pub mod run;
pub mod sqs;
pub mod system;
pub mod tenant;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::{self, ApplyReport};
use crate::capture::{self, CaptureOptions, CaptureReport};
use crate::config::TenantConfig;
use crate::model::ids::{ObjectName, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;
use crate::reconcile::{self, ReconcileReport, SweepOutcome};
use crate::salesforce::RelayedEvent;

use deadline::Deadline;
use error::Error;
use job::Job;
use orphans::{LeaseGuard, OrphanedLeases};
use ports::{Clock, IdSource, MappedObject, SalesforcePort, StorePort, WakeUpPort};
use system::{RandomIds, SystemClock};
use tenant::Tenant;

/// Keeps the tables and the org of its tenants equal. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct SyncEngine {
    shared: Arc<Shared>,
}

/// What all jobs of one engine share.
pub(crate) struct Shared {
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) wake_up: Arc<dyn WakeUpPort>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) worker: String,
    pub(crate) orphans: Arc<OrphanedLeases>,
    pub(crate) stop: CancellationToken,
}

impl SyncEngine {
    /// Returns a builder with the system's clock, random ids and no wake-up queue.
    pub fn builder() -> SyncEngineBuilder {
        SyncEngineBuilder::default()
    }

    /// Returns the tenants it knows, in order.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.shared.tenants.keys().cloned().collect()
    }

    /// Returns the moment `remaining` from now.
    pub fn deadline_in(&self, remaining: Duration) -> Deadline {
        Deadline::after(self.shared.clock.now_ms(), remaining)
    }

    /// Asks every running job to end at its next safe point. Nothing is lost by it.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Returns the tenant's mapped objects as both live sides have them: types from describe, the
    /// org's identity, the configuration's hash.
    pub async fn mapped_objects(&self, tenant: &TenantId) -> Result<Vec<MappedObject>, Error> {
        Ok(self.job(tenant).await?.mapped_objects().to_vec())
    }

    /// Drains the tenant's outbox and rings for what it found; then, for `options.keep_polling`, waits for
    /// more.
    pub async fn capture_postgres(
        &self,
        tenant: &TenantId,
        options: &CaptureOptions,
    ) -> Result<CaptureReport, Error> {
        capture::postgres::capture(&self.job(tenant).await?, options).await
    }

    /// Drains the tenant's change events (or its polling window) and reads whole objects where their
    /// scope is stale; then, for `options.keep_polling`, waits for more.
    pub async fn capture_salesforce(
        &self,
        tenant: &TenantId,
        options: &CaptureOptions,
    ) -> Result<CaptureReport, Error> {
        capture::salesforce(&self.job(tenant).await?, options).await
    }

    /// Records change events that somebody else delivered and decoded. Durable when it returns.
    pub async fn capture_relayed(
        &self,
        tenant: &TenantId,
        observations: Vec<SalesforceObservation>,
        needs_resync: &[ObjectName],
    ) -> Result<CaptureReport, Error> {
        capture::events::record_relayed(&self.job(tenant).await?, observations, needs_resync).await
    }

    /// Returns the org that the tenant belongs to.
    pub async fn organization(&self, tenant: &TenantId) -> Result<SalesforceId, Error> {
        Ok(self.job(tenant).await?.loaded().organization_id.clone())
    }

    /// Records change events in the envelopes that Salesforce Event Relay puts them in. Durable when it
    /// returns; an event that comes again, or late, changes nothing.
    pub async fn capture_envelopes(
        &self,
        tenant: &TenantId,
        events: &[RelayedEvent],
    ) -> Result<CaptureReport, Error> {
        capture::events::record_envelopes(&self.job(tenant).await?, events).await
    }

    /// Enqueues the rows that stood in the mapped tables before their triggers did. Returns how many.
    pub async fn enqueue_existing_rows(&self, tenant: &TenantId) -> Result<usize, Error> {
        capture::postgres::enqueue_existing_rows(&self.job(tenant).await?).await
    }

    /// Works on the object's due records until none is left or the deadline is near, and rings its own
    /// slot again if some are.
    pub async fn apply(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        deadline: Deadline,
    ) -> Result<ApplyReport, Error> {
        let permit_guard = LeaseGuard::permit(&self.shared, tenant, object, permit);
        let report = apply::apply(&self.job(tenant).await?, object, permit, deadline).await?;
        permit_guard.disarm();
        Ok(report)
    }

    /// Frees what crashed workers left behind, checks the triggers, retires old rows and rings for
    /// whatever is due.
    pub async fn sweep(&self, tenant: &TenantId) -> Result<SweepOutcome, Error> {
        reconcile::sweep(&self.job(tenant).await?).await
    }

    /// Compares what Salesforce changed lately with the rows, and enqueues what differs.
    pub async fn reconcile_incremental(
        &self,
        tenant: &TenantId,
        deadline: Deadline,
    ) -> Result<ReconcileReport, Error> {
        reconcile::incremental(&self.job(tenant).await?, deadline).await
    }

    /// Compares every record of both sides, enqueues what differs and publishes the proof. A run that
    /// meets its deadline goes on where it stopped when called again.
    pub async fn reconcile_full(
        &self,
        tenant: &TenantId,
        deadline: Deadline,
    ) -> Result<ReconcileReport, Error> {
        reconcile::full(&self.job(tenant).await?, deadline).await
    }

    pub(crate) async fn job(&self, tenant: &TenantId) -> Result<Job<'_>, Error> {
        Job::begin(&self.shared, tenant).await
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Shared {
    /// Returns true once the jobs were asked to end.
    pub(crate) fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits, but returns at once when the jobs are asked to end.
    pub(crate) async fn pause(&self, pause: Duration) {
        // Both ends of the wait mean the same to the caller, who asks `stopping`.
        let _ = tokio::time::timeout(pause, self.stop.cancelled()).await;
    }
}

/// Puts a [`SyncEngine`] together.
#[derive(Default)]
pub struct SyncEngineBuilder {
    tenants: BTreeMap<TenantId, Tenant>,
    wake_up: Option<Arc<dyn WakeUpPort>>,
    clock: Option<Arc<dyn Clock>>,
    ids: Option<Arc<dyn IdSource>>,
    worker: Option<String>,
}

impl SyncEngineBuilder {
    /// Adds a tenant with its configuration, its Postgres and its org.
    #[must_use]
    pub fn tenant(
        mut self,
        config: TenantConfig,
        store: Arc<dyn StorePort>,
        salesforce: Arc<dyn SalesforcePort>,
    ) -> Self {
        let tenant = config.tenant.clone();
        self.tenants
            .insert(tenant, Tenant::new(config, store, salesforce));
        self
    }

    /// Sets the queue that wakes apply. Without one nothing is rung and the caller drives apply.
    #[must_use]
    pub fn wake_up(mut self, wake_up: Arc<dyn WakeUpPort>) -> Self {
        self.wake_up = Some(wake_up);
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the source of ids and jitter.
    #[must_use]
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Sets the name that leases are taken under; unique among running workers. Random unless set.
    #[must_use]
    pub fn worker(mut self, worker: &str) -> Self {
        self.worker = Some(worker.to_owned());
        self
    }

    /// Returns the engine.
    pub fn build(self) -> SyncEngine {
        let ids = self.ids.unwrap_or_else(|| Arc::new(RandomIds));
        let worker = self
            .worker
            .unwrap_or_else(|| format!("worker-{}", ids.uuid()));
        SyncEngine {
            shared: Arc::new(Shared {
                tenants: self.tenants,
                wake_up: self
                    .wake_up
                    .unwrap_or_else(|| Arc::new(in_process::NoWakeUps)),
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
                ids,
                worker,
                orphans: Arc::default(),
                stop: CancellationToken::new(),
            }),
        }
    }
}
