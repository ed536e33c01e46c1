//! Moves the tenant's fence, by which two physical copies of one database notice each other.
//!
//! A physical copy has all that its original knows, so nothing inside tells them apart. Outside there is one value.
//! Each copy remembers what it wrote there last; the one that finds another value is not alone, and stops.

use std::time::Duration;

use tokio::time::timeout;

use crate::ports::database::DatabaseState;
use crate::ports::fence::{FenceClaim, FenceMove};
use crate::ports::job_store::Control;
use crate::ports::{FencePort, FenceUnreachable, IdSource};

use super::error::Error;
use super::tenant::Tenant;

/// How often the fence is moved: so long two copies may work side by side before one of them stops.
const MOVED_EVERY_MS: i64 = 60 * 1_000;

/// How long jobs go on while the fence cannot be reached. Longer than most outages; a copy in a network from which it
/// cannot be reached was made at least so long ago, as a rule, and never begins.
const UNREACHABLE_MS_MAX: i64 = 15 * 60 * 1_000;

/// How often, and how long each time, a job waits for the first move of another one.
const FIRST_MOVE_WAITS_MAX: u32 = 20;
const FIRST_MOVE_WAIT: Duration = Duration::from_millis(250);

/// How long one move may take.
const MOVE_MAX: Duration = Duration::from_secs(20);

impl Tenant {
    /// Moves the fence if it is due. Fails if another copy of the database has moved it, or if it was out of reach for too
    /// long. `control` is what this run has read of the tenant.
    pub(super) async fn pass_fence(
        &self,
        control: Control,
        ids: &dyn IdSource,
    ) -> Result<(), Error> {
        let Some(fence) = &self.fence else {
            return Ok(());
        };
        if is_within(control.fence_age_ms, MOVED_EVERY_MS) {
            return Ok(());
        }
        let tenant = &self.config.tenant;
        let claimed = self
            .store
            .claim_fence(tenant, &ids.uuid().to_string(), MOVED_EVERY_MS)
            .await?;
        match claimed {
            Some(claim) => {
                let moved = timeout(MOVE_MAX, move_fence(&**fence, &claim)).await;
                let moved = moved.unwrap_or_else(|_| FenceMove::Unknown {
                    reason: "no answer in time".to_owned(),
                });
                if let FenceMove::Unread { reason } | FenceMove::Unknown { reason } = &moved {
                    tracing::warn!(tenant = %tenant, reason, "the fence cannot be reached");
                }
                self.store.settle_fence(tenant, &claim, &moved).await?;
            }
            None => self.wait_for_first_move().await?,
        }
        let control = self.store.control(tenant).await?;
        self.require_database(&control)?;
        if is_within(control.fence_age_ms, UNREACHABLE_MS_MAX) {
            return Ok(());
        }
        Err(Error::DatabaseHeld {
            tenant: tenant.clone(),
            state: Box::new(DatabaseState::FenceUnreachable),
        })
    }

    /// Waits while another process moves the fence for the first time, as at the start of all jobs at once.
    async fn wait_for_first_move(&self) -> Result<(), Error> {
        for _ in 0..FIRST_MOVE_WAITS_MAX {
            let control = self.store.control(&self.config.tenant).await?;
            if control.database.hold().is_some() || control.fence_age_ms.is_some() {
                break;
            }
            tokio::time::sleep(FIRST_MOVE_WAIT).await;
        }
        Ok(())
    }
}

fn is_within(age_ms: Option<i64>, age_ms_max: i64) -> bool {
    age_ms.is_some_and(|age_ms| age_ms <= age_ms_max)
}

async fn move_fence(fence: &dyn FencePort, claim: &FenceClaim) -> FenceMove {
    let read = match fence.read().await {
        Ok(read) => read,
        Err(FenceUnreachable { reason }) => return FenceMove::Unread { reason },
    };
    if let Some(found) = &read
        && !claim.takes_over
        && !claim.known.contains(&found.value)
    {
        return FenceMove::Lost {
            found: Some(found.value.clone()),
        };
    }
    match fence.replace(read.as_ref(), &claim.next).await {
        Ok(true) => FenceMove::Moved,
        Ok(false) => FenceMove::Lost { found: None },
        Err(FenceUnreachable { reason }) => FenceMove::Unknown { reason },
    }
}
