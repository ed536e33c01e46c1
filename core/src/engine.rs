//! The engine: one method per job, called by the functions and the command line.
//!
//! [`SyncEngine`] knows the tenants, each with its store and its org, and the wake-up queue, clock and id
//! source that they share. It decides nothing: jobs observe, ask [`crate::planner`], perform and record.

pub mod check;
pub mod generate;
pub mod in_process;
pub mod plan;
pub mod run;
pub mod sqs;
pub mod system;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::apply::{self, ApplyReport};
use crate::capture::{self, CaptureOptions, CaptureReport};
use crate::config::{CaptureMode, TenantConfig};
use crate::job::Job;
use crate::job::deadline::Deadline;
use crate::job::error::{Error, error_chain};
use crate::job::guard::{LeaseGuard, release_orphans};
use crate::job::outage::OrgNeed;
use crate::job::shared::Shared;
use crate::job::tenant::Tenant;
use crate::model::ids::{ObjectName, SalesforceId, TenantId};
use crate::model::observation::SalesforceObservation;
use crate::ports::comparison::Begin;
use crate::ports::job_store::JobKind;
use crate::reconcile::{
    self, CompareOptions, DriftItem, OnProgress, ReconcileReport, SweepOutcome,
};
use crate::salesforce::RelayedEvent;

use crate::ports::{
    Clock, FencePort, IdSource, MappedObject, SalesforcePort, Store, StoreError, WakeUpPort,
};
use system::{RandomIds, SystemClock};

/// Keeps the tables and the org of its tenants equal. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct SyncEngine {
    shared: Arc<Shared>,
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

    /// Returns the deadline `remaining` from now.
    pub fn deadline_in(&self, remaining: Duration) -> Deadline {
        Deadline::after(self.shared.clock.now_ms(), remaining)
    }

    /// Asks every running job to end at its next safe point. Nothing is lost.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Returns the tenant's mapped objects, with field types from describe, the org's identity and the
    /// configuration's hash.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn mapped_objects(&self, tenant: &TenantId) -> Result<Vec<MappedObject>, Error> {
        Ok(self.job(tenant).await?.mapped_objects().to_vec())
    }

    /// Has the next job of each tenant describe every object, whatever other processes were told a moment ago.
    pub fn describe_again(&self) {
        for tenant in self.shared.tenants.values() {
            tenant.reload_now();
        }
    }

    /// Fails if a side lacks a mapped field, and names the correction. The jobs go on without such fields; an
    /// operator who installs a mapping wants to know.
    pub async fn require_every_field(&self, tenant: &TenantId) -> Result<(), Error> {
        self.describe_again();
        for mapped in self.job(tenant).await?.mapped_objects() {
            for (field, one) in &mapped.configured.fields {
                if mapped.sync.fields.contains_key(field) {
                    continue;
                }
                if !mapped.schema.fields.contains_key(field) {
                    return Err(Error::UnknownField {
                        tenant: tenant.clone(),
                        object: mapped.sync.object.clone(),
                        field: field.clone(),
                    });
                }
                let table = &mapped.sync.table;
                return Err(Error::Store(StoreError::Mapping(format!(
                    "table {}.{} has no column {}, but the mapping names it",
                    table.schema, table.table, one.column
                ))));
            }
        }
        Ok(())
    }

    /// Drains the tenant's outbox and wakes apply; then waits for more for `options.keep_polling`.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn capture_postgres(
        &self,
        tenant: &TenantId,
        options: &CaptureOptions,
    ) -> Result<CaptureReport, Error> {
        self.noted(tenant, (JobKind::CapturePostgres, None), async {
            let job = &capture::begin(&self.shared, tenant, options).await?;
            capture::patiently(job, options, || capture::postgres::capture(job, options)).await
        })
        .await
    }

    /// Drains the tenant's change events (or its polling window) and reads objects that need a resync; then
    /// waits for more for `options.keep_polling`.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn capture_salesforce(
        &self,
        tenant: &TenantId,
        options: &CaptureOptions,
    ) -> Result<CaptureReport, Error> {
        self.noted(tenant, (JobKind::CaptureSalesforce, None), async {
            let job = &capture::begin(&self.shared, tenant, options).await?;
            let needs = match job.tenant.config.capture {
                CaptureMode::Pubsub => OrgNeed::Events,
                CaptureMode::Poll | CaptureMode::Relay => OrgNeed::Calls,
            };
            let captured = capture::patiently(job, options, || capture::salesforce(job, options));
            job.with_org(needs, captured).await
        })
        .await
    }

    /// Records change events that the caller received and decoded. Durable when it returns.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
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

    /// Records change events in the envelopes of Salesforce Event Relay. Durable when it returns. A duplicate
    /// or late event changes nothing.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn capture_envelopes(
        &self,
        tenant: &TenantId,
        events: &[RelayedEvent],
    ) -> Result<CaptureReport, Error> {
        capture::events::record_envelopes(&self.job(tenant).await?, events).await
    }

    /// Enqueues the rows that are older than the triggers of their tables. Returns how many.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn enqueue_existing_rows(&self, tenant: &TenantId) -> Result<usize, Error> {
        capture::postgres::enqueue_existing_rows(&self.job(tenant).await?).await
    }

    /// Works on the object's due records until all are done or the deadline is near. If some remain, it
    /// sends the wake-up of its own permit again.
    #[tracing::instrument(skip_all, fields(tenant = %tenant, object = %object, permit))]
    pub async fn apply(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        deadline: Deadline,
    ) -> Result<ApplyReport, Error> {
        let permit_guard = LeaseGuard::permit(&self.shared, tenant, object, permit);
        let applied = self
            .noted(
                tenant,
                (JobKind::Apply, Some(object)),
                Box::pin(async {
                    let mut job = self.job(tenant).await?;
                    let applied = apply::apply(&mut job, object, permit, deadline).await;
                    applied.inspect_err(|_| job.tenant.reload_soon())
                }),
            )
            .await;
        // A database that is not the tenant's is left as it is, its permits included.
        if applied.as_ref().is_err_and(Error::is_database_held) || applied.is_ok() {
            permit_guard.disarm();
        }
        applied
    }

    /// Ends the leases of crashed workers, checks the triggers, deletes old rows and wakes apply for due work.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn sweep(&self, tenant: &TenantId) -> Result<SweepOutcome, Error> {
        self.noted(tenant, (JobKind::Sweep, None), async {
            reconcile::sweep(&self.job(tenant).await?).await
        })
        .await
    }

    /// Compares recent changes in Salesforce with the rows, and enqueues what differs.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn reconcile_incremental(
        &self,
        tenant: &TenantId,
        deadline: Deadline,
    ) -> Result<ReconcileReport, Error> {
        self.noted(tenant, (JobKind::CompareRecent, None), async {
            let job = self.job(tenant).await?;
            job.with_org(OrgNeed::Calls, reconcile::incremental(&job, deadline))
                .await
        })
        .await
    }

    /// Compares every record of both sides, enqueues what nothing explains and publishes the result. A run that
    /// reaches its deadline continues there with the next call.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn reconcile_full(
        &self,
        tenant: &TenantId,
        deadline: Deadline,
    ) -> Result<ReconcileReport, Error> {
        let options = CompareOptions {
            object: None,
            begin: Begin::Now,
        };
        self.compare(tenant, &options, deadline, &mut |_| {}).await
    }

    /// Compares every record of both sides as [`SyncEngine::reconcile_full`] does, of the chosen objects, and calls
    /// `on_progress` after each page.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn compare(
        &self,
        tenant: &TenantId,
        options: &CompareOptions,
        deadline: Deadline,
        on_progress: OnProgress<'_>,
    ) -> Result<ReconcileReport, Error> {
        self.noted(tenant, (JobKind::Compare, None), async {
            let job = self.job(tenant).await?;
            let compared = reconcile::full(&job, options, deadline, on_progress);
            job.with_org(OrgNeed::Calls, compared).await
        })
        .await
    }

    /// Finds records of the tenant that differ between the live sides and should not. Each also differed on a
    /// second read and has no open work. Enqueues nothing.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn detect_drift(
        &self,
        tenant: &TenantId,
        deadline: Deadline,
    ) -> Result<Vec<DriftItem>, Error> {
        reconcile::detect(&self.job(tenant).await?, deadline).await
    }

    /// Marks drifted records to be read again on both sides, and wakes apply for them. Writes no record.
    /// Returns how many were enqueued.
    #[tracing::instrument(skip_all, fields(tenant = %tenant))]
    pub async fn enqueue_repair(
        &self,
        tenant: &TenantId,
        items: &[DriftItem],
    ) -> Result<usize, Error> {
        reconcile::repair(&self.job(tenant).await?, items).await
    }

    /// Sends a wake-up for every object of the tenant with due work and a free permit. Returns how many.
    pub async fn wake_up_for_due_work(&self, tenant: &TenantId) -> Result<usize, Error> {
        self.job(tenant).await?.wake_up_for_due_work().await
    }

    /// Releases leases and permits of jobs that failed, panicked or were dropped, so that other workers need
    /// not wait until they expire. Returns how many. Records whose write may still be on its way stay leased.
    ///
    /// A lease that cannot be released now is kept for the next call, even if this call is dropped. Safety
    /// does not depend on it.
    pub async fn release_orphaned_leases(&self) -> usize {
        release_orphans(self.shared()).await
    }

    /// Does a job and notes how it ended, so that `syncline status` reports a job that fails or does not run. A
    /// note that cannot be written changes nothing: the job then looks older than it is. Nothing is written to a
    /// database that is not the tenant's.
    async fn noted<T>(
        &self,
        tenant: &TenantId,
        kind: (JobKind, Option<&ObjectName>),
        job: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let done = Box::pin(job).await;
        let error = done.as_ref().err().map(|error| error_chain(error));
        let is_held = done.as_ref().is_err_and(Error::is_database_held);
        if let Some(known) = self.shared.tenants.get(tenant).filter(|_| !is_held) {
            let noted = known.store.note_job(tenant, kind, error.as_deref()).await;
            if let Err(error) = noted {
                tracing::warn!(tenant = %tenant, %error, "how a job ended cannot be noted now");
            }
        }
        done
    }

    pub(crate) async fn job(&self, tenant: &TenantId) -> Result<Job<'_>, Error> {
        Job::begin(&self.shared, tenant).await
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

/// Builds a [`SyncEngine`].
#[derive(Default)]
pub struct SyncEngineBuilder {
    tenants: BTreeMap<TenantId, Tenant>,
    wake_up: Option<Arc<dyn WakeUpPort>>,
    clock: Option<Arc<dyn Clock>>,
    ids: Option<Arc<dyn IdSource>>,
    worker: Option<String>,
    has_ended: Option<fn(&str) -> bool>,
}

impl SyncEngineBuilder {
    /// Adds a tenant with its configuration, its Postgres and its org.
    #[must_use]
    pub fn tenant(
        mut self,
        config: TenantConfig,
        store: Arc<dyn Store>,
        salesforce: Arc<dyn SalesforcePort>,
    ) -> Self {
        let tenant = config.tenant.clone();
        self.tenants
            .insert(tenant, Tenant::new(config, store, salesforce));
        self
    }

    /// Sets the fence of a tenant that was added before.
    #[must_use]
    pub fn fence(mut self, tenant: &TenantId, fence: Arc<dyn FencePort>) -> Self {
        if let Some(tenant) = self.tenants.get_mut(tenant) {
            tenant.fence = Some(fence);
        }
        self
    }

    /// Sets the queue that wakes apply. Without one, the caller runs apply itself.
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

    /// Sets the worker's name, which owns its leases; unique among running workers. Random unless set.
    #[must_use]
    pub fn worker(mut self, worker: &str) -> Self {
        self.worker = Some(worker.to_owned());
        self
    }

    /// Sets how to tell that the worker of a lease has ended without releasing it. Unless set, its leases expire.
    #[must_use]
    pub fn has_ended(mut self, has_ended: fn(&str) -> bool) -> Self {
        self.has_ended = Some(has_ended);
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
                has_ended: self.has_ended.unwrap_or(|_| false),
                orphans: Arc::default(),
                stop: CancellationToken::new(),
            }),
        }
    }
}
