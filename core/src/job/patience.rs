//! Makes an attempt again while Postgres is out of reach.

use std::time::Duration;

use crate::model::ids::TenantId;
use crate::ports::StoreError;

use super::deadline::Deadline;
use super::error::Error;
use super::shared::Shared;

/// Pauses between two attempts: a restart takes a second or two, a failover half a minute.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// How long attempts are made.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    /// Until the jobs are to end, or little time is left: what was not committed is read again by the next run.
    WhileRunning,
    /// To the last moment: only this process knows what it records.
    ToTheEnd,
}

impl Patience {
    /// Makes the attempt until Postgres answers, at most until `end`. `attempt` gets the number of attempts before
    /// it.
    pub(crate) async fn attempt<T, F>(
        self,
        shared: &Shared,
        tenant: &TenantId,
        end: Deadline,
        attempt: impl Fn(u32) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut pause = PAUSE_MIN;
        let mut retries = 0;
        loop {
            let done = attempt(retries).await;
            let Err(Error::Store(StoreError::Unreachable(reason))) = &done else {
                return done;
            };
            let left = end.remaining(shared.clock.now_ms());
            if !self.may_pause(shared, left, pause) {
                return done;
            }
            tracing::warn!(%tenant, %reason, "Postgres is out of reach; it is tried again");
            match self {
                Self::WhileRunning => shared.pause(pause).await,
                Self::ToTheEnd => shared.clock.wait(pause).await,
            }
            pause = (pause * 2).min(PAUSE_MAX);
            retries += 1;
        }
    }

    fn may_pause(self, shared: &Shared, left: Duration, pause: Duration) -> bool {
        match self {
            Self::WhileRunning => !shared.stopping() && left > pause + PAUSE_MAX,
            Self::ToTheEnd => left > pause,
        }
    }
}
