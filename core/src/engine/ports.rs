//! What the engine reaches the world through: store, Salesforce, wake-up, clock, ids.
//!
//! Every call is coarse and set-based, so that a simulator can stand in for each port. Nothing here
//! decides: deciding is `plan`'s, and the store calls it with exactly the rows it has locked.

pub mod salesforce;
pub mod store;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::model::ids::{ObjectName, TenantId};

pub use salesforce::{EventStream, SalesforceError, SalesforcePort};
pub use store::{MappedObject, RecordPlanner, StoreError, StorePort};

/// An SQS message that says "there is work", never what.
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
        /// The slot this ring occupies: wake-ups cannot multiply.
        permit: i32,
    },
}

/// The queue, as far as the engine rings it.
#[async_trait]
pub trait WakeUpPort: Send + Sync {
    /// Rings all of `wake_ups`, each after its delay in seconds. A lost ring changes nothing: the
    /// sweep rings again.
    async fn send(&self, wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError>;
}

/// The queue did not take a ring.
#[derive(Debug, thiserror::Error)]
#[error("the wake-up queue did not take {count} of the rings: {reason}")]
pub struct WakeUpError {
    /// How many were not taken.
    pub count: usize,
    /// What the queue new.
    pub reason: String,
}

/// The time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch.
    fn now_ms(&self) -> i64;
}

/// Randomness, where identity or jitter needs it.
pub trait IdSource: Send + Sync {
    /// Returns a new unique id.
    fn uuid(&self) -> uuid::Uuid;
    /// Returns a number in `0..below`, for jitter.
    fn jitter(&self, below: u64) -> u64;
}
