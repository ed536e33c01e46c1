//! One piece of an invocation, kept apart from the others: if it fails, panics or never ends, the others
//! go on.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::time_limits::TimeLimits;

/// Why a piece was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It failed, for this reason.
    Refused(String),
    /// It panicked.
    Panicked,
    /// It still ran when time was up.
    Abandoned,
    /// No time was left when its turn came.
    Untried,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::Panicked => f.write_str("it panicked; the log says where"),
            Self::Abandoned => f.write_str("it was not done at the deadline"),
            Self::Untried => f.write_str("no time was left for it"),
        }
    }
}

/// Makes one attempt within the limits.
///
/// State that a panic leaves behind belongs to this piece alone: its leases and intents stay in Postgres
/// and expire there.
pub async fn attempt<T, F>(limits: TimeLimits, make: impl FnOnce() -> F) -> Result<T, Failure>
where
    F: Future<Output = anyhow::Result<T>>,
{
    if limits.is_over() {
        return Err(Failure::Untried);
    }
    // The panic may come when the future is made or when it is polled.
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

/// Drops a panic's payload unread: it may quote values. The panic hook has logged where it happened.
fn forget(panic: Box<dyn Any + Send>) {
    drop(panic);
}
