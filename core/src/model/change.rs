//! One observed change, as evidence.

use serde::{Deserialize, Serialize};

use super::cursor::SourceCursor;
use super::key::SyncKey;

/// A side: where a change came from or where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceSystem {
    /// The Salesforce org.
    Salesforce,
    /// The Postgres tables.
    Postgres,
}

/// What happened to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOperation {
    /// Created.
    Insert,
    /// Changed.
    Update,
    /// Deleted.
    Delete,
    /// Brought back from the recycle bin.
    Undelete,
    /// Seen by a read, not by a change.
    Snapshot,
}

/// One observed change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEnvelope {
    /// Whose change it is.
    pub key: SyncKey,
    /// The side it was observed on.
    pub source: SourceSystem,
    /// What happened.
    pub operation: ChangeOperation,
    /// Where it was seen.
    pub cursor: SourceCursor,
    /// True when the record no longer exists on that side.
    pub tombstone: bool,
    /// The fields it carried, canonical JSON object; `null` for a tombstone.
    pub payload: serde_json::Value,
}
