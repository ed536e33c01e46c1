//! The one error of the façade.

use super::capture::PubSubError;
use crate::ports::StoreError;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ForceSyncError {
    /// Postgres refused a statement or cannot be reached.
    #[error("the database failed: {0}")]
    Database(#[from] StoreError),
    /// The engine could not do its job.
    #[error(transparent)]
    Engine(#[from] crate::Error),
    /// The journal accepts only changes with a source cursor.
    #[error("the change has no source cursor")]
    MissingSourceCursor,
    /// A part of a sync key is empty.
    #[error("the {part} of a sync key is empty")]
    EmptySyncKeyPart {
        /// Which part.
        part: &'static str,
    },
    /// The requested item does not exist.
    #[error("there is no such {entity}")]
    NotFound {
        /// What was requested.
        entity: &'static str,
    },
    /// A required part of the engine is missing.
    #[error("the configuration lacks {field}")]
    MissingConfiguration {
        /// What is missing.
        field: &'static str,
    },
    /// A lease cannot last that long.
    #[error("the duration of the lease is out of range")]
    InvalidLeaseDuration,
    /// The event subscription ended.
    #[error("the event stream failed: {0}")]
    PubSub(Box<PubSubError>),
    /// A name or value cannot be converted.
    #[error("{field} is not valid: {value}")]
    InvalidStoredValue {
        /// What was converted.
        field: &'static str,
        /// The value, or the reason.
        value: String,
    },
}

impl ForceSyncError {
    /// Returns the error for a value that cannot be converted.
    pub(super) fn invalid(field: &'static str, why: impl std::fmt::Display) -> Self {
        Self::InvalidStoredValue {
            field,
            value: why.to_string(),
        }
    }
}

impl From<PubSubError> for ForceSyncError {
    fn from(error: PubSubError) -> Self {
        Self::PubSub(Box::new(error))
    }
}
