//! What one run of one job works with: a tenant, its scopes, the time, and the bell.

use std::sync::Arc;

use crate::model::ids::{ObjectName, TenantId};

use super::abandoned::HeldStream;
use super::error::ForceSyncError;
use super::ports::store::{StreamName, WakeUp};
use super::ports::{Doorbell, ObjectScope, SalesforcePort, StorePort};
use super::tenant::{Scopes, Tenant, scope_of};
use super::{Shared, SyncEngine};

/// Version of the doorbell message.
const DOORBELL_VERSION: u8 = 1;

/// Most doorbells of one object that may be waiting or answered at a time: two to work and two to
/// follow, so that one tenant never takes a function's whole concurrency.
const SLOTS_MAX: i32 = 4;

/// Due tasks that are worth a doorbell of their own: one round of apply.
const TASKS_PER_SLOT: i64 = 2_000;

/// The ring for work that falls due soon, after the slots of due work. What waits longer than the minute
/// between two sweeps is rung for by a sweep.
pub(crate) const WAKE_UP: WakeUp = WakeUp {
    slot: SLOTS_MAX,
    within_ms: 60_000,
};

/// How long a rung slot counts as taken. Longer than an apply works, so that a slot lapses only when
/// its message was lost.
pub(crate) const RUNG_MS: i64 = 180_000;

/// How long a stream's lease lasts. Renewed at a third of it by whoever holds it, so a capture that
/// is merely slow keeps it, and one that died is replaced within two minutes.
pub(crate) const STREAM_LEASE_MS: i64 = 120_000;

/// One run of one job for one tenant.
pub(crate) struct Job<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) tenant: &'a Tenant,
    loaded: Arc<Scopes>,
    /// Who holds the streams of this run: two runs in one process are two owners.
    owner: String,
}

impl<'a> Job<'a> {
    pub(crate) async fn begin(
        shared: &'a Shared,
        tenant: &TenantId,
    ) -> Result<Self, ForceSyncError> {
        let tenant = shared
            .tenants
            .get(tenant)
            .ok_or_else(|| ForceSyncError::UnknownTenant(tenant.clone()))?;
        let loaded = tenant.scopes(shared.clock.now_ms()).await?;
        Ok(Self {
            shared,
            tenant,
            loaded,
            owner: format!("{}/{}", shared.worker, shared.ids.uuid()),
        })
    }

    pub(crate) fn id(&self) -> &TenantId {
        &self.tenant.config.tenant
    }

    pub(crate) fn store(&self) -> &dyn StorePort {
        &*self.tenant.store
    }

    pub(crate) fn salesforce(&self) -> &dyn SalesforcePort {
        &*self.tenant.salesforce
    }

    pub(crate) fn scopes(&self) -> &[ObjectScope] {
        &self.loaded.list
    }

    pub(crate) fn loaded(&self) -> &Scopes {
        &self.loaded
    }

    pub(crate) fn scope(&self, object: &ObjectName) -> Result<&ObjectScope, ForceSyncError> {
        scope_of(self.scopes(), object).ok_or_else(|| ForceSyncError::UnknownObject {
            tenant: self.id().clone(),
            object: object.clone(),
        })
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.shared.clock.now_ms()
    }

    /// Takes a stream's lease for this run. None: somebody else holds it.
    pub(crate) async fn acquire(
        &self,
        stream: &StreamName,
    ) -> Result<Option<HeldStream>, ForceSyncError> {
        let lease = self
            .store()
            .acquire_stream(self.id(), stream, &self.owner, STREAM_LEASE_MS)
            .await?;
        Ok(lease.map(|lease| HeldStream::new(self.shared, lease)))
    }

    /// Renews a lease of this run. False if somebody else holds the stream now, or has moved it.
    pub(crate) async fn renew(&self, held: &mut HeldStream) -> Result<bool, ForceSyncError> {
        let renewed = self
            .store()
            .acquire_stream(self.id(), &held.stream, &self.owner, STREAM_LEASE_MS)
            .await?;
        let Some(lease) = renewed else {
            return Ok(false);
        };
        let is_unmoved = lease.position == held.position;
        **held = lease;
        Ok(is_unmoved)
    }

    /// Gives a lease back. That it could not be given back only delays the next owner, so it is logged,
    /// not returned.
    pub(crate) async fn release(&self, held: HeldStream) {
        match self.store().release_stream(&held).await {
            Ok(()) => held.was_given_back(),
            Err(error) => tracing::warn!(
                tenant = %self.id(), stream = %held.stream.0, %error,
                "a stream's lease cannot be given back now"
            ),
        }
    }

    /// Rings for every object with due work that has a free slot. Returns how many rings. A queue that
    /// does not take them changes nothing: the sweep rings again once the slots lapse.
    pub(crate) async fn ring_for_due_work(&self) -> Result<usize, ForceSyncError> {
        let claimed = self
            .store()
            .claim_doorbells(self.id(), SLOTS_MAX, TASKS_PER_SLOT, RUNG_MS)
            .await?;
        let rings: Vec<(Doorbell, u32)> = claimed
            .into_iter()
            .map(|(object, slot)| (self.doorbell(object, slot), 0))
            .collect();
        self.ring(&rings).await;
        Ok(rings.len())
    }

    /// Rings one slot again after `delay_seconds`.
    pub(crate) async fn ring_again(&self, object: &ObjectName, slot: i32, delay_seconds: u32) {
        self.ring(&[(self.doorbell(object.clone(), slot), delay_seconds)])
            .await;
    }

    fn doorbell(&self, object: ObjectName, slot: i32) -> Doorbell {
        Doorbell::Apply {
            v: DOORBELL_VERSION,
            tenant: self.id().clone(),
            object,
            slot,
        }
    }

    async fn ring(&self, rings: &[(Doorbell, u32)]) {
        if rings.is_empty() {
            return;
        }
        if let Err(error) = self.shared.doorbell.ring(rings).await {
            tracing::warn!(
                tenant = %self.id(), count = error.count, %error,
                "rings were not taken; the sweep rings again when their slots lapse"
            );
        }
    }
}

impl SyncEngine {
    /// Rings for every object of the tenant that has due work and a free slot. Returns how many rings.
    pub async fn ring_for_due_work(&self, tenant: &TenantId) -> Result<usize, ForceSyncError> {
        self.job(tenant).await?.ring_for_due_work().await
    }
}
