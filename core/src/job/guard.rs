//! Releases leases and permits of jobs that failed, panicked or were dropped.
//!
//! They would expire anyway, and safety does not depend on this module. It only saves other workers the
//! wait: a guard that is dropped while armed puts its lease on a list, and [`release_orphans`] releases
//! the leases on the list.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::ids::{ObjectName, TenantId};

use crate::ports::job_store::{StreamLease, WritesSent};
use crate::ports::record::LeasedTask;
use crate::ports::{MappedObject, StoreError};

use super::shared::Shared;

/// Leases and permits that were dropped without a release.
#[derive(Default)]
pub(crate) struct OrphanedLeases {
    leases: Mutex<Vec<OrphanedLease>>,
}

/// One lease or permit.
enum OrphanedLease {
    Stream(StreamLease),
    Records(Box<MappedObject>, Vec<LeasedTask>, WritesSent),
    Permit(TenantId, ObjectName, i32),
}

impl OrphanedLease {
    fn tenant(&self) -> &TenantId {
        match self {
            Self::Stream(lease) => &lease.tenant,
            Self::Records(mapped, _, _) => &mapped.tenant,
            Self::Permit(tenant, _, _) => tenant,
        }
    }
}

impl OrphanedLeases {
    fn add(&self, orphan: OrphanedLease) {
        let mut all = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(orphan);
    }

    fn take_all(&self) -> Vec<OrphanedLease> {
        let mut all = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

/// Guards the stream lease of a running job.
pub(crate) struct StreamGuard {
    orphans: Arc<OrphanedLeases>,
    lease: StreamLease,
    leased_at_ms: i64,
    is_released: bool,
}

impl StreamGuard {
    pub(super) fn new(shared: &Shared, lease: StreamLease, now_ms: i64) -> Self {
        Self {
            orphans: Arc::clone(&shared.orphans),
            lease,
            leased_at_ms: now_ms,
            is_released: false,
        }
    }

    /// Returns true if the lease is older than `age_ms`.
    pub(super) fn is_due(&self, now_ms: i64, age_ms: i64) -> bool {
        now_ms - self.leased_at_ms >= age_ms
    }

    /// Replaces the lease by its renewal.
    pub(super) fn renewed(&mut self, lease: StreamLease, now_ms: i64) {
        self.lease = lease;
        self.leased_at_ms = now_ms;
    }

    /// Disarms the guard: the lease was released.
    pub(super) fn disarm(mut self) {
        self.is_released = true;
    }
}

impl Deref for StreamGuard {
    type Target = StreamLease;

    fn deref(&self) -> &StreamLease {
        &self.lease
    }
}

impl DerefMut for StreamGuard {
    fn deref_mut(&mut self) -> &mut StreamLease {
        &mut self.lease
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if !self.is_released {
            self.orphans.add(OrphanedLease::Stream(self.lease.clone()));
        }
    }
}

/// Guards leased records, or a wake-up's permit, of a running job.
pub(crate) struct LeaseGuard {
    orphans: Arc<OrphanedLeases>,
    orphan: Option<OrphanedLease>,
}

impl LeaseGuard {
    /// Takes all leases from the list, each with its own guard: a lease that cannot be released now returns
    /// to the list.
    fn orphans(shared: &Shared) -> Vec<Self> {
        let orphans = shared.orphans.take_all().into_iter();
        orphans.map(|orphan| Self::new(shared, orphan)).collect()
    }

    /// Guards the records of one round.
    pub(crate) fn records(shared: &Shared, mapped: &MappedObject, leases: &[LeasedTask]) -> Self {
        Self::new(
            shared,
            OrphanedLease::Records(Box::new(mapped.clone()), leases.to_vec(), WritesSent::No),
        )
    }

    /// Guards the permit of the current wake-up.
    pub(crate) fn permit(
        shared: &Shared,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Self {
        Self::new(
            shared,
            OrphanedLease::Permit(tenant.clone(), object.clone(), permit),
        )
    }

    fn new(shared: &Shared, orphan: OrphanedLease) -> Self {
        Self {
            orphans: Arc::clone(&shared.orphans),
            orphan: Some(orphan),
        }
    }

    /// Notes that writes of these records may have been sent.
    pub(crate) fn mark_writes_sent(&mut self) {
        if let Some(OrphanedLease::Records(_, _, writes_sent)) = &mut self.orphan {
            *writes_sent = WritesSent::Maybe;
        }
    }

    /// Disarms the guard: the lease was released.
    pub(crate) fn disarm(mut self) {
        self.orphan = None;
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        if let Some(orphan) = self.orphan.take() {
            self.orphans.add(orphan);
        }
    }
}

/// Releases the leases and permits on the list, and returns how many. Records whose write may still be on
/// its way stay leased.
///
/// A lease that cannot be released now stays on the list for the next call, even if this call is dropped.
pub(crate) async fn release_orphans(shared: &Shared) -> usize {
    let mut released = 0;
    let mut out_of_reach = BTreeSet::new();
    for guard in LeaseGuard::orphans(shared) {
        let Some(orphan) = &guard.orphan else {
            continue;
        };
        if out_of_reach.contains(orphan.tenant()) {
            continue;
        }
        match release(shared, orphan).await {
            Ok(()) => {
                released += 1;
                guard.disarm();
            }
            Err(error) => {
                tracing::warn!(
                    tenant = %orphan.tenant(), %error,
                    "a lease of an ended job cannot be released now; it expires by itself"
                );
                out_of_reach.insert(orphan.tenant().clone());
            }
        }
    }
    released
}

async fn release(shared: &Shared, orphan: &OrphanedLease) -> Result<(), StoreError> {
    let Some(tenant) = shared.tenants.get(orphan.tenant()) else {
        return Ok(());
    };
    match orphan {
        OrphanedLease::Stream(lease) => tenant.store.release_stream(lease).await,
        OrphanedLease::Records(mapped, leases, writes_sent) => {
            let store = &tenant.store;
            store.abandon_tasks(mapped, leases, *writes_sent).await
        }
        OrphanedLease::Permit(tenant_id, object, permit) => {
            tenant.store.free_permit(tenant_id, object, *permit).await
        }
    }
}
