//! Isolates one part of an invocation: if it fails, panics or never ends, the others continue.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::time_limits::TimeLimits;

/// Why a part was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It failed, for this reason.
    Refused(String),
    /// It panicked.
    Panicked,
    /// It still ran when time was up.
    Abandoned,
    /// No time was left to start it.
    Untried,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::Panicked => f.write_str("it panicked; see the log for the place"),
            Self::Abandoned => f.write_str("it was not done at the deadline"),
            Self::Untried => f.write_str("no time was left for it"),
        }
    }
}

/// Makes one attempt within the limits.
///
/// Only this part is affected by a panic: its leases and intents stay in Postgres and expire there.
pub async fn attempt<T, F>(limits: TimeLimits, make: impl FnOnce() -> F) -> Result<T, Failure>
where
    F: Future<Output = anyhow::Result<T>>,
{
    if limits.is_over() {
        return Err(Failure::Untried);
    }
    // The panic may occur when the future is created or when it is polled.
    let guarded = AssertUnwindSafe(async { make().await }).catch_unwind();
    match tokio::time::timeout(limits.until_abandoned(), guarded).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(Failure::Refused(format!("{error:#}"))),
        Ok(Err(panic)) => {
            forget(panic);
            Err(Failure::Panicked)
        }
        Err(_elapsed) => Err(Failure::Abandoned),
    }
}

/// Drops a panic's payload unread, because it may quote values. The panic hook has logged the place.
fn forget(panic: Box<dyn Any + Send>) {
    drop(panic);
}
