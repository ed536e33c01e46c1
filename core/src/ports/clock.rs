//! Time, ids and jitter.

use std::time::Duration;

use async_trait::async_trait;

/// The time.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;

    /// Waits so long, in the time of this clock.
    async fn wait(&self, pause: Duration);
}

/// Random ids and jitter.
pub trait IdSource: Send + Sync {
    /// Returns a new unique id.
    fn uuid(&self) -> uuid::Uuid;
    /// Returns a number in `0..below`, for jitter.
    fn jitter(&self, below: u64) -> u64;
}
