//! The state that all jobs of one engine share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::model::ids::TenantId;
use crate::ports::{Clock, IdSource, WakeUpPort};

use super::guard::OrphanedLeases;
use super::tenant::Tenant;

/// The state that all jobs of one engine share.
pub(crate) struct Shared {
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) wake_up: Arc<dyn WakeUpPort>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) worker: String,
    /// Whether the worker of this name is proven to have ended.
    pub(crate) has_ended: fn(&str) -> bool,
    pub(crate) orphans: Arc<OrphanedLeases>,
    pub(crate) stop: CancellationToken,
}

impl Shared {
    /// Returns true once the jobs are to end.
    pub(crate) fn stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits, at most until the jobs are to end.
    pub(crate) async fn pause(&self, pause: Duration) {
        // Both ends of the wait mean the same to the caller, which checks `stopping`.
        tokio::select! { biased;
            () = self.stop.cancelled() => {}
            () = self.clock.wait(pause) => {}
        }
    }
}
