//! One observed change, as evidence, and the validation of outbox rows.

use serde::{Deserialize, Serialize};

use super::canonical::trimmed;
use super::cursor::SourceCursor;
use super::hash::canonical_hash;
use super::ids::{IdentifierError, ObjectName, TenantId};
use super::key::SyncKey;

/// A side: where a change came from or where a write goes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Side {
    /// The Salesforce org.
    Salesforce,
    /// The Postgres tables.
    Postgres,
}

impl Side {
    /// Returns the other side.
    pub fn other(self) -> Self {
        match self {
            Self::Salesforce => Self::Postgres,
            Self::Postgres => Self::Salesforce,
        }
    }
}

/// What happened to the record.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct ChangeEnvelope {
    /// Whose change it is.
    pub key: SyncKey,
    /// The side it was observed on.
    pub source: Side,
    /// What happened.
    pub operation: ChangeOperation,
    /// Where it was seen.
    pub cursor: SourceCursor,
    /// True when the record no longer exists on that side.
    #[serde(default)]
    pub tombstone: bool,
    /// The fields it carried, canonical JSON object; `null` for a tombstone.
    #[serde(default)]
    #[cfg_attr(feature = "typescript", ts(type = "Json"))]
    pub payload: serde_json::Value,
}

impl ChangeEnvelope {
    /// Returns the BLAKE3 hash of the payload's canonical JSON: equal content, equal hash.
    pub fn payload_hash(&self) -> String {
        canonical_hash(&self.payload)
    }
}

/// What happened to the row, as the outbox names it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OutboxOperation {
    /// A row was inserted.
    Insert,
    /// A row was changed.
    Update,
    /// A row was deleted.
    Delete,
    /// The whole table was emptied.
    Truncate,
    /// A row existed before the mapping did.
    Backfill,
    /// Rows changed, and which ones is not known.
    Uncaptured,
}

/// An outbox row before validation: any application may have written it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutboxRow<'a> {
    /// Its id in the outbox.
    pub outbox_id: i64,
    /// The tenant it names.
    pub tenant: &'a str,
    /// The object it names.
    pub object: &'a str,
    /// The operation it names.
    pub operation: &'a str,
    /// NEW external id, OLD for a delete.
    pub external_id: Option<&'a str>,
    /// Primary key, given when the row has no external id yet.
    pub local_key: Option<&'a serde_json::Value>,
    /// The row was deleted.
    pub tombstone: bool,
    /// A position that the application gave.
    pub cursor: Option<&'a str>,
}

/// The parts of a valid outbox row.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidOutbox {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// What happened.
    pub operation: OutboxOperation,
    /// The application's position, else the row's id in the outbox.
    pub cursor: SourceCursor,
}

/// Why an outbox row becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxRefusal {
    /// A part is missing.
    #[error("its {part} is empty")]
    Empty {
        /// Which one.
        part: &'static str,
    },
    /// A part is not an identifier.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
    /// The operation is unknown.
    #[error("its operation is not insert, update, delete, truncate, backfill or uncaptured")]
    UnknownOperation,
    /// The cursor already names its source.
    #[error("its cursor is already encoded: give the bare position")]
    CursorEncoded,
    /// Only a delete leaves a tombstone, and it always does.
    #[error("its operation {operation} and tombstone {tombstone} contradict each other")]
    Contradiction {
        /// The operation.
        operation: &'static str,
        /// The tombstone.
        tombstone: bool,
    },
}

impl OutboxRefusal {
    /// Returns a stable code for the dead letter.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "outbox_empty_part",
            Self::Identifier(_) => "outbox_bad_identifier",
            Self::UnknownOperation => "outbox_unknown_operation",
            Self::CursorEncoded => "outbox_cursor_encoded",
            Self::Contradiction { .. } => "outbox_contradiction",
        }
    }
}

/// Validates an outbox row. An invalid row becomes a dead letter with the reason.
///
/// A row without an external id is valid if it has its primary key: it gets a generated id. A truncate names
/// no row, nor does a change that could not be captured.
pub fn validate_outbox(row: &OutboxRow<'_>) -> Result<ValidOutbox, OutboxRefusal> {
    let empty = |part| OutboxRefusal::Empty { part };
    let blank = |text: &str| trimmed(text).is_empty();
    if blank(row.tenant) {
        return Err(empty("tenant"));
    }
    if blank(row.object) {
        return Err(empty("object"));
    }
    let operation: OutboxOperation = row
        .operation
        .parse()
        .map_err(|_| OutboxRefusal::UnknownOperation)?;
    let keyed = match (operation, row.external_id) {
        (OutboxOperation::Truncate | OutboxOperation::Uncaptured, _) => true,
        (_, Some(external_id)) => !blank(external_id),
        (_, None) => row.local_key.is_some_and(serde_json::Value::is_object),
    };
    if !keyed {
        return Err(empty("external id"));
    }
    if row.cursor.is_some_and(blank) {
        return Err(empty("cursor"));
    }
    if row.cursor.is_some_and(SourceCursor::is_encoded) {
        return Err(OutboxRefusal::CursorEncoded);
    }
    let agrees = match operation {
        OutboxOperation::Insert | OutboxOperation::Update | OutboxOperation::Backfill => {
            !row.tombstone
        }
        OutboxOperation::Delete => row.tombstone,
        OutboxOperation::Truncate | OutboxOperation::Uncaptured => true,
    };
    if !agrees {
        return Err(OutboxRefusal::Contradiction {
            operation: operation.as_str(),
            tombstone: row.tombstone,
        });
    }
    Ok(ValidOutbox {
        tenant: TenantId::parse(row.tenant)?,
        object: ObjectName::parse(row.object)?,
        operation,
        cursor: SourceCursor::OutboxId(
            row.cursor
                .map_or_else(|| row.outbox_id.to_string(), str::to_owned),
        ),
    })
}
