//! What a job still held when it ended without a word: it failed, it panicked, or it was given up.
//!
//! Leases and slots lapse by themselves, and nothing rests on this module for safety. It spares
//! everybody the minutes until then: what is dropped without having been given back is remembered here
//! and given back by [`SyncEngine::give_back_abandoned`].

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::ids::{ObjectName, TenantId};

use super::ports::store::{LeasedTask, StreamLease, WritesLeft};
use super::ports::{ObjectScope, StoreError};
use super::{Shared, SyncEngine};

/// What was dropped without having been given back.
#[derive(Default)]
pub(crate) struct Abandoned {
    left: Mutex<Vec<Left>>,
}

/// One thing that was held.
enum Left {
    Stream(StreamLease),
    Records(Box<ObjectScope>, Vec<LeasedTask>, WritesLeft),
    Slot(TenantId, ObjectName, i32),
}

impl Left {
    fn tenant(&self) -> &TenantId {
        match self {
            Self::Stream(lease) => &lease.tenant,
            Self::Records(scope, _, _) => &scope.tenant,
            Self::Slot(tenant, _, _) => tenant,
        }
    }
}

impl Abandoned {
    fn add(&self, left: Left) {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(left);
    }

    fn take_all(&self) -> Vec<Left> {
        let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *all)
    }
}

/// A stream's lease in the hands of a job.
pub(crate) struct HeldStream {
    abandoned: Arc<Abandoned>,
    lease: StreamLease,
    is_given_back: bool,
}

impl HeldStream {
    pub(super) fn new(shared: &Shared, lease: StreamLease) -> Self {
        Self {
            abandoned: Arc::clone(&shared.abandoned),
            lease,
            is_given_back: false,
        }
    }

    /// Notes that nothing is left to be given back.
    pub(super) fn was_given_back(mut self) {
        self.is_given_back = true;
    }
}

impl Deref for HeldStream {
    type Target = StreamLease;

    fn deref(&self) -> &StreamLease {
        &self.lease
    }
}

impl DerefMut for HeldStream {
    fn deref_mut(&mut self) -> &mut StreamLease {
        &mut self.lease
    }
}

impl Drop for HeldStream {
    fn drop(&mut self) {
        if !self.is_given_back {
            self.abandoned.add(Left::Stream(self.lease.clone()));
        }
    }
}

/// Leased records, or a doorbell's slot, in the hands of a job.
pub(crate) struct Held {
    abandoned: Arc<Abandoned>,
    left: Option<Left>,
}

impl Held {
    /// Holds all that was abandoned, each thing by itself: what is not given back now either is
    /// abandoned once more.
    fn abandoned(shared: &Shared) -> Vec<Self> {
        let left = shared.abandoned.take_all().into_iter();
        left.map(|left| Self::new(shared, left)).collect()
    }

    /// Holds the records of one round.
    pub(crate) fn records(shared: &Shared, scope: &ObjectScope, leases: &[LeasedTask]) -> Self {
        Self::new(
            shared,
            Left::Records(Box::new(scope.clone()), leases.to_vec(), WritesLeft::No),
        )
    }

    /// Holds the slot of the doorbell that is being answered.
    pub(crate) fn slot(shared: &Shared, tenant: &TenantId, object: &ObjectName, slot: i32) -> Self {
        Self::new(shared, Left::Slot(tenant.clone(), object.clone(), slot))
    }

    fn new(shared: &Shared, left: Left) -> Self {
        Self {
            abandoned: Arc::clone(&shared.abandoned),
            left: Some(left),
        }
    }

    /// Notes that writes of these records may leave from now on.
    pub(crate) fn writes_leave(&mut self) {
        if let Some(Left::Records(_, _, writes_left)) = &mut self.left {
            *writes_left = WritesLeft::Perhaps;
        }
    }

    /// Notes that nothing is left to be given back.
    pub(crate) fn was_given_back(mut self) {
        self.left = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(left) = self.left.take() {
            self.abandoned.add(left);
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
    pub async fn give_back_abandoned(&self) -> usize {
        let mut given_back = 0;
        let mut out_of_reach = BTreeSet::new();
        for held in Held::abandoned(self.shared()) {
            let Some(left) = &held.left else { continue };
            if out_of_reach.contains(left.tenant()) {
                continue;
            }
            match give_back(self.shared(), left).await {
                Ok(()) => {
                    given_back += 1;
                    held.was_given_back();
                }
                Err(error) => {
                    tracing::warn!(
                        tenant = %left.tenant(), %error,
                        "what a job left behind cannot be given back now; it lapses by itself"
                    );
                    out_of_reach.insert(left.tenant().clone());
                }
            }
        }
        given_back
    }
}

async fn give_back(shared: &Shared, left: &Left) -> Result<(), StoreError> {
    let Some(tenant) = shared.tenants.get(left.tenant()) else {
        return Ok(());
    };
    match left {
        Left::Stream(lease) => tenant.store.release_stream(lease).await,
        Left::Records(scope, leases, writes_left) => {
            let store = &tenant.store;
            store.abandon_tasks(scope, leases, *writes_left).await
        }
        Left::Slot(tenant_id, object, slot) => {
            tenant.store.free_doorbell(tenant_id, object, *slot).await
        }
    }
}
