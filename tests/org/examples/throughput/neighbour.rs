//! A caller with small requests while others keep the org busy: measures its longest wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use tokio::task::JoinHandle;

use crate::target::Target;

/// Pause between two calls.
const REST: Duration = Duration::from_millis(10);

/// A caller that runs until it is stopped.
pub(crate) struct Neighbour {
    calling: JoinHandle<()>,
    longest_us: Arc<AtomicU64>,
}

impl Neighbour {
    /// Starts the calls.
    pub(crate) fn start(org: &Target) -> Self {
        let org = org.clone();
        let longest_us = Arc::new(AtomicU64::new(0));
        let longest = Arc::clone(&longest_us);
        let calling = tokio::spawn(async move {
            loop {
                let start = Instant::now();
                // Errors are ignored here; the measurements report an org that does not answer.
                let _ = org.call(Method::GET, "limits", String::new()).await;
                let waited = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                longest.fetch_max(waited, Ordering::Relaxed);
                tokio::time::sleep(REST).await;
            }
        });
        Self {
            calling,
            longest_us,
        }
    }

    /// Stops and returns the longest answer time.
    pub(crate) fn stop(self) -> Duration {
        self.calling.abort();
        Duration::from_micros(self.longest_us.load(Ordering::Relaxed))
    }
}
