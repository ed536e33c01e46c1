//! The clock and the ids of a real process.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::ports::{Clock, IdSource};

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// Ids and jitter from the thread's random generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(rand::random()).into_uuid()
    }

    fn jitter(&self, below: u64) -> u64 {
        rand::random_range(0..below.max(1))
    }
}
