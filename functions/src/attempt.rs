//! One piece of an invocation, kept apart from the others: it may fail, panic or never end, and takes
//! nothing else with it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::deadline::Deadline;

/// Why a piece was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It said why.
    Refused(String),
    /// It panicked.
    Panicked,
    /// It had not ended at the hard end.
    GivenUp,
    /// The soft end came before its turn.
    Untried,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(reason) => f.write_str(reason),
            Self::Panicked => f.write_str("it panicked; the log says where"),
            Self::GivenUp => f.write_str("it was not done at the deadline"),
            Self::Untried => f.write_str("no time was left for it"),
        }
    }
}

/// Makes one attempt within the deadline.
///
/// Whatever state a panic leaves behind belongs to this piece alone: leases and intents outlive it in
/// Postgres and lapse there.
pub async fn attempt<T, F>(deadline: Deadline, make: impl FnOnce() -> F) -> Result<T, Failure>
where
    F: Future<Output = anyhow::Result<T>>,
{
    if deadline.is_over() {
        return Err(Failure::Untried);
    }
    // The panic may come when the future is made or when it is polled.
    let guarded = AssertUnwindSafe(async { make().await }).catch_unwind();
    match tokio::time::timeout_at(deadline.hard().into(), guarded).await {
        Ok(Ok(Ok(done))) => Ok(done),
        Ok(Ok(Err(error))) => Err(Failure::Refused(format!("{error:#}"))),
        Ok(Err(panic)) => {
            forget(panic);
            Err(Failure::Panicked)
        }
        Err(_elapsed) => Err(Failure::GivenUp),
    }
}

/// Drops a panic's payload unread: it may quote values. The panic hook has logged where it happened.
fn forget(panic: Box<dyn Any + Send>) {
    drop(panic);
}
