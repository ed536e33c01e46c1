//! Where in a source's stream a change was seen.

/// A position in a source: opaque for Salesforce, a number for Postgres, a name for snapshots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceCursor {
    /// Replay id: opaque bytes, never compared by order (Pub/Sub API guide, "Event Message Durability").
    SalesforceReplayId(Vec<u8>),
    /// Outbox id or log position.
    PostgresLsn(String),
    /// A read outside any stream: a page of a scan, a look.
    Snapshot(String),
}
