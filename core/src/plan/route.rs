//! By which lane many plans travel to Salesforce.

use serde::{Deserialize, Serialize};

/// A way to Salesforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyLane {
    /// Nothing to write.
    Noop,
    /// A person must decide first.
    Conflict,
    /// Single calls for urgent or contested rows, sObject Collections for all others.
    Rest,
    /// Composite graph: records that depend on each other.
    CompositeGraph,
    /// Bulk API 2.0.
    Bulk,
}
