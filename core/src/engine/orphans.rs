//! What a job still held when it ended without a word: it failed, it panicked, or it was given up.
//!
//! Leases and slots lapse by themselves, and nothing rests on this module for safety. It spares
//! everybody the minutes until then: what is dropped without having been given back is remembered here
//! and given back by [`SyncEngine::release_orphaned_leases`].

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::ids::{ObjectName, TenantId};

use super::{Shared, SyncEngine};
use crate::ports::job_store::{StreamLease, WritesSent};
use crate::ports::record::LeasedTask;
use crate::ports::{MappedObject, StoreError};

/// What was dropped without having been given back.
#[derive(Default)]
pub(crate) struct OrphanedLeases {
    orphan: Mutex<Vec<OrphanedLease>>,
}

/// One thing that was held.
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
        let mut all = self.orphan.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(orphan);
    }

    fn take_all(&self) -> Vec<OrphanedLease> {
        let mut all = self.orphan.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

/// A stream's lease in the hands of a job.
pub(crate) struct StreamGuard {
    orphans: Arc<OrphanedLeases>,
    lease: StreamLease,
    is_released: bool,
}

impl StreamGuard {
    pub(super) fn new(shared: &Shared, lease: StreamLease) -> Self {
        Self {
            orphans: Arc::clone(&shared.orphans),
            lease,
            is_released: false,
        }
    }

    /// Notes that nothing is left to be given back.
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

/// Leased records, or a wake-up's slot, in the hands of a job.
pub(crate) struct LeaseGuard {
    orphans: Arc<OrphanedLeases>,
    orphan: Option<OrphanedLease>,
}

impl LeaseGuard {
    /// Holds all that was abandoned, each thing by itself: what is not given back now either is
    /// abandoned once more.
    fn orphans(shared: &Shared) -> Vec<Self> {
        let orphan = shared.orphans.take_all().into_iter();
        orphan.map(|orphan| Self::new(shared, orphan)).collect()
    }

    /// Holds the records of one round.
    pub(crate) fn records(shared: &Shared, mapped: &MappedObject, leases: &[LeasedTask]) -> Self {
        Self::new(
            shared,
            OrphanedLease::Records(Box::new(mapped.clone()), leases.to_vec(), WritesSent::No),
        )
    }

    /// Holds the slot of the wake-up that is being answered.
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

    /// Notes that writes of these records may leave from now on.
    pub(crate) fn mark_writes_sent(&mut self) {
        if let Some(OrphanedLease::Records(_, _, writes_sent)) = &mut self.orphan {
            *writes_sent = WritesSent::Perhaps;
        }
    }

    /// Notes that nothing is left to be given back.
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

impl SyncEngine {
    /// Gives back what jobs held when they failed, panicked or were given up, so that others need not
    /// wait until it lapses. Returns how many leases and slots. Records whose write may still be on
    /// its way stay leased.
    ///
    /// What cannot be given back now is kept for the next call, also when the caller has no more time
    /// and drops this one half way. No call is needed for safety.
    pub async fn release_orphaned_leases(&self) -> usize {
        let mut released = 0;
        let mut out_of_reach = BTreeSet::new();
        for held in LeaseGuard::orphans(self.shared()) {
            let Some(orphan) = &held.orphan else { continue };
            if out_of_reach.contains(orphan.tenant()) {
                continue;
            }
            match give_back(self.shared(), orphan).await {
                Ok(()) => {
                    released += 1;
                    held.disarm();
                }
                Err(error) => {
                    tracing::warn!(
                        tenant = %orphan.tenant(), %error,
                        "what a job left behind cannot be given back now; it lapses by itself"
                    );
                    out_of_reach.insert(orphan.tenant().clone());
                }
            }
        }
        released
    }
}

async fn give_back(shared: &Shared, orphan: &OrphanedLease) -> Result<(), StoreError> {
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
