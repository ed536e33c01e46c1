//! What one run of one job works with: a tenant, its mapped objects, the time, and the wake-ups.

pub mod deadline;
pub mod error;
mod fence;
pub(crate) mod guard;
pub(crate) mod measured;
pub(crate) mod outage;
pub(crate) mod patience;
pub(crate) mod shared;
pub(crate) mod tenant;

use std::sync::Arc;

use crate::model::ids::{ObjectName, TenantId};

use crate::ports::job_store::DelayedWakeUp;
use crate::ports::{MappedObject, SalesforcePort, Store, StreamName, WakeUp};

use error::Error;
use guard::StreamGuard;
use shared::Shared;
use tenant::{MappedObjects, Tenant, mapped_object};

/// Version of the wake-up message.
const WAKE_UP_VERSION: u8 = 1;

/// Most wake-ups of one object that may be in flight at a time: two that work and two that wait, so that
/// one tenant never takes a function's whole concurrency.
const PERMITS_MAX: i32 = 4;

/// Due tasks for each wake-up: one round of apply.
const TASKS_PER_PERMIT: i64 = 2_000;

/// The wake-up for work that falls due soon; its permit comes after those of due work. What falls due
/// after the next sweep, one minute away, is left to the sweep.
pub(crate) const DELAYED_WAKE_UP: DelayedWakeUp = DelayedWakeUp {
    permit: PERMITS_MAX,
    within_ms: 60_000,
};

/// How long a permit counts as taken. Longer than an apply works, so that a permit expires only if its
/// message was lost.
pub(crate) const PERMIT_MS: i64 = 180_000;

/// How long a stream's lease lasts. Its owner renews it after a third of that time, so a slow capture
/// keeps it, and a dead one is replaced within two minutes.
const STREAM_LEASE_MS: i64 = 120_000;

/// One run of one job for one tenant.
pub(crate) struct Job<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) tenant: &'a Tenant,
    loaded: Arc<MappedObjects>,
    /// Owner of this run's stream leases: two runs in one process are two owners.
    owner: String,
}

impl<'a> Job<'a> {
    /// Begins a run. Fails, before anything is read or written, if the connected database is not the tenant's.
    pub(crate) async fn begin(shared: &'a Shared, tenant: &TenantId) -> Result<Self, Error> {
        let tenant = shared
            .tenants
            .get(tenant)
            .ok_or_else(|| Error::UnknownTenant(tenant.clone()))?;
        tenant.enter_database(&*shared.ids).await?;
        let loaded = tenant.mapped_objects(shared.clock.now_ms()).await?;
        Ok(Self {
            shared,
            tenant,
            loaded,
            owner: format!("{}/{}", shared.worker, shared.ids.uuid()),
        })
    }

    /// Describes the org again if a person has replayed work since it was described for this run. Called after tasks are
    /// leased, so that a replayed one is planned with what the sides allow now.
    pub(crate) async fn note_replays(&mut self) -> Result<(), Error> {
        let replays = self.store().replays(self.id()).await?;
        if !self.loaded.include(replays) {
            self.tenant.note_replays(replays);
            self.loaded = self.tenant.mapped_objects(self.now_ms()).await?;
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> &TenantId {
        &self.tenant.config.tenant
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.tenant.store
    }

    pub(crate) fn salesforce(&self) -> &dyn SalesforcePort {
        &*self.tenant.salesforce
    }

    pub(crate) fn mapped_objects(&self) -> &[MappedObject] {
        &self.loaded.list
    }

    pub(crate) fn loaded(&self) -> &MappedObjects {
        &self.loaded
    }

    pub(crate) fn mapped(&self, object: &ObjectName) -> Result<&MappedObject, Error> {
        mapped_object(self.mapped_objects(), object).ok_or_else(|| Error::UnknownObject {
            tenant: self.id().clone(),
            object: object.clone(),
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// Acquires a stream's lease for this run, also from a worker that is proven to have ended. Returns `None` if
    /// another worker has it.
    pub(crate) async fn acquire(&self, stream: &StreamName) -> Result<Option<StreamGuard>, Error> {
        let store = self.store();
        let mut lease = store
            .acquire_stream(self.id(), stream, &self.owner, STREAM_LEASE_MS)
            .await?;
        if lease.is_none()
            && let Some(owner) = store.stream_owner(self.id(), stream).await?
            && (self.shared.has_ended)(&owner)
        {
            store.end_leases_of(self.id(), &owner).await?;
            lease = store
                .acquire_stream(self.id(), stream, &self.owner, STREAM_LEASE_MS)
                .await?;
        }
        Ok(lease.map(|lease| StreamGuard::new(self.shared, lease, self.now_ms())))
    }

    /// Renews a lease of this run once a third of its time has passed. Returns false if another worker has
    /// acquired the stream or moved its position.
    pub(crate) async fn keep(&self, guard: &mut StreamGuard) -> Result<bool, Error> {
        if !guard.is_due(self.now_ms(), STREAM_LEASE_MS / 3) {
            return Ok(true);
        }
        let renewed = self
            .store()
            .acquire_stream(self.id(), &guard.stream, &self.owner, STREAM_LEASE_MS)
            .await?;
        let Some(lease) = renewed else {
            return Ok(false);
        };
        let is_unmoved = lease.position == guard.position;
        guard.renewed(lease, self.now_ms());
        Ok(is_unmoved)
    }

    /// Releases a lease. A failure only delays the next owner, so it is logged and not returned.
    pub(crate) async fn release(&self, guard: StreamGuard) {
        match self.store().release_stream(&guard).await {
            Ok(()) => guard.disarm(),
            Err(error) => tracing::warn!(
                tenant = %self.id(), stream = %guard.stream, %error,
                "a stream's lease cannot be released now; it expires by itself"
            ),
        }
    }

    /// Sends a wake-up for every object with due work and a free permit. Returns how many. A queue that
    /// refuses them changes nothing: the sweep sends them again when the permits expire.
    pub(crate) async fn wake_up_for_due_work(&self) -> Result<usize, Error> {
        let claimed = self
            .store()
            .claim_permits(self.id(), PERMITS_MAX, TASKS_PER_PERMIT, PERMIT_MS)
            .await?;
        let wake_ups: Vec<(WakeUp, u32)> = claimed
            .into_iter()
            .map(|(object, permit)| (self.wake_up(object, permit), 0))
            .collect();
        self.send(&wake_ups).await;
        Ok(wake_ups.len())
    }

    /// Sends the wake-up of one permit again after `delay_seconds`.
    pub(crate) async fn wake_up_again(&self, object: &ObjectName, permit: i32, delay_seconds: u32) {
        self.send(&[(self.wake_up(object.clone(), permit), delay_seconds)])
            .await;
    }

    fn wake_up(&self, object: ObjectName, permit: i32) -> WakeUp {
        WakeUp::Apply {
            v: WAKE_UP_VERSION,
            tenant: self.id().clone(),
            object,
            permit,
        }
    }

    async fn send(&self, wake_ups: &[(WakeUp, u32)]) {
        if wake_ups.is_empty() {
            return;
        }
        if let Err(error) = self.shared.wake_up.send(wake_ups).await {
            tracing::warn!(
                tenant = %self.id(), count = error.count, %error,
                "the queue refused wake-ups; the sweep sends them again when their permits expire"
            );
        }
    }
}
