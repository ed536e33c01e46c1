//! A change and its parts.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::error::ForceSyncError;
use crate::model::key::SyncKeyError;
use crate::model::{self, hash};

/// The identity of a record on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncKey {
    key: model::SyncKey,
}

impl SyncKey {
    /// Returns the key. Fails if a part is empty, or if tenant or object is not a valid name.
    pub fn new(
        tenant: impl Into<String>,
        object_name: impl Into<String>,
        external_id: impl Into<String>,
    ) -> Result<Self, ForceSyncError> {
        let key = model::SyncKey::new(&tenant.into(), &object_name.into(), &external_id.into())?;
        Ok(Self { key })
    }

    /// Returns the tenant.
    pub fn tenant(&self) -> &str {
        self.key.tenant.as_str()
    }

    /// Returns the object's API name.
    pub fn object_name(&self) -> &str {
        self.key.object.as_str()
    }

    /// Returns the external id as it was given.
    pub fn external_id(&self) -> &str {
        &self.key.external_id
    }
}

impl From<SyncKeyError> for ForceSyncError {
    fn from(error: SyncKeyError) -> Self {
        match error {
            SyncKeyError::Empty { part } => Self::EmptySyncKeyPart {
                part: match part {
                    "object" => "object_name",
                    "external id" => "external_id",
                    part => part,
                },
            },
            error
            @ (SyncKeyError::Identifier(_) | SyncKeyError::NotANumber | SyncKeyError::Nul) => {
                Self::invalid("sync key", error)
            }
        }
    }
}

/// The side that a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceSystem {
    /// The Salesforce org.
    Salesforce,
    /// The Postgres tables.
    Postgres,
}

impl SourceSystem {
    /// Returns the value that is stored in the journal.
    pub const fn as_db_value(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::Postgres => "postgres",
        }
    }
}

impl From<SourceSystem> for model::Side {
    fn from(source: SourceSystem) -> Self {
        match source {
            SourceSystem::Salesforce => Self::Salesforce,
            SourceSystem::Postgres => Self::Postgres,
        }
    }
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOperation {
    /// Creates or updates the record.
    Upsert,
    /// Deletes the record.
    Delete,
}

impl ChangeOperation {
    /// Returns the stored value of the operation.
    pub const fn as_db_value(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

impl From<ChangeOperation> for model::ChangeOperation {
    fn from(operation: ChangeOperation) -> Self {
        match operation {
            ChangeOperation::Upsert => Self::Update,
            ChangeOperation::Delete => Self::Delete,
        }
    }
}

/// Where a change was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceCursor {
    /// A replay id of change events.
    SalesforceReplayId(i64),
    /// A position in Postgres.
    PostgresLsn(String),
    /// The name of a snapshot.
    Snapshot(String),
}

impl SourceCursor {
    /// Returns the cursor with its kind as a prefix.
    pub fn as_db_value(&self) -> String {
        match self {
            Self::SalesforceReplayId(id) => format!("salesforce-replay-id:{id}"),
            Self::PostgresLsn(position) => format!("postgres-lsn:{position}"),
            Self::Snapshot(name) => format!("snapshot:{name}"),
        }
    }
}

impl From<&SourceCursor> for model::SourceCursor {
    fn from(cursor: &SourceCursor) -> Self {
        match cursor {
            SourceCursor::SalesforceReplayId(id) => {
                Self::SalesforceReplayId(id.to_be_bytes().to_vec())
            }
            SourceCursor::PostgresLsn(position) => Self::OutboxId(position.clone()),
            SourceCursor::Snapshot(name) => Self::Snapshot(name.clone()),
        }
    }
}

/// One observed change of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeEnvelope {
    sync_key: SyncKey,
    source: SourceSystem,
    operation: ChangeOperation,
    cursor: Option<SourceCursor>,
    observed_at: DateTime<Utc>,
    payload: Json,
}

impl ChangeEnvelope {
    /// Returns a change without a cursor.
    pub const fn new(
        sync_key: SyncKey,
        source: SourceSystem,
        operation: ChangeOperation,
        observed_at: DateTime<Utc>,
        payload: Json,
    ) -> Self {
        Self {
            sync_key,
            source,
            operation,
            cursor: None,
            observed_at,
            payload,
        }
    }

    /// Sets where the change was seen.
    #[must_use]
    pub fn with_cursor(mut self, cursor: SourceCursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Returns the record's key.
    pub const fn sync_key(&self) -> &SyncKey {
        &self.sync_key
    }

    /// Returns the side that the change comes from.
    pub const fn source(&self) -> SourceSystem {
        self.source
    }

    /// Returns the kind of the change.
    pub const fn operation(&self) -> ChangeOperation {
        self.operation
    }

    /// Returns where the change was seen, if that is known.
    pub const fn cursor(&self) -> Option<&SourceCursor> {
        self.cursor.as_ref()
    }

    /// Returns when the change was seen.
    pub const fn observed_at(&self) -> DateTime<Utc> {
        self.observed_at
    }

    /// Returns the payload.
    pub const fn payload(&self) -> &Json {
        &self.payload
    }

    /// Returns the BLAKE3 hash of the payload's canonical JSON.
    pub fn payload_hash(&self) -> [u8; 32] {
        payload_hash(&self.payload)
    }

    /// Returns true if the payload and `other` have equal content.
    pub fn payload_hash_matches(&self, other: &Json) -> bool {
        self.payload_hash() == payload_hash(other)
    }

    /// Returns the engine's form of the change, seen at `cursor`.
    pub(super) fn seen_at(&self, cursor: model::SourceCursor) -> model::ChangeEnvelope {
        let is_delete = self.operation == ChangeOperation::Delete;
        model::ChangeEnvelope {
            key: self.sync_key.key.clone(),
            source: self.source.into(),
            operation: self.operation.into(),
            cursor,
            tombstone: is_delete,
            payload: if is_delete {
                Json::Null
            } else {
                self.payload.clone()
            },
        }
    }
}

/// Returns the BLAKE3 hash of a payload's canonical JSON: equal content, equal hash.
pub fn payload_hash(payload: &Json) -> [u8; 32] {
    *blake3::hash(hash::canonical_json(payload).as_bytes()).as_bytes()
}
