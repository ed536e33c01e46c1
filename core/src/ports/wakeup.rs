//! The wake-up queue.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::ids::{ObjectName, TenantId};

/// An SQS message: there is work. It never names the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub enum WakeUp {
    /// Apply the object's ready tasks.
    Apply {
        /// Version of the message.
        v: u8,
        /// The tenant.
        tenant: TenantId,
        /// The object.
        object: ObjectName,
        /// The permit that this wake-up uses, so that wake-ups cannot multiply.
        permit: i32,
    },
}

/// The wake-up queue.
#[async_trait]
pub trait WakeUpPort: Send + Sync {
    /// Sends all of `wake_ups`, each after its delay in seconds. A lost wake-up changes nothing: the
    /// sweep sends another.
    async fn send(&self, wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError>;
}

/// The queue refused wake-ups.
#[derive(Debug, thiserror::Error)]
#[error("the wake-up queue refused {count} wake-ups: {reason}")]
pub struct WakeUpError {
    /// How many were refused.
    pub count: usize,
    /// What the queue reported.
    pub reason: String,
}
