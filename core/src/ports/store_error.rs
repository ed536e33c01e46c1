//! Why a call of the store failed.

use std::fmt;

/// The store failed. The call had no effect, unless its documentation differs.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker has the lease now, or the position has moved.
    #[error("the lease of {0} was lost to another worker")]
    LeaseLost(String),
    /// The database cannot be reached or is restarting: try again.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(OutOfReach),
    /// The database refused a statement.
    #[error("Postgres refused {what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// What to do about it, if the refusal shows that.
        fix: Option<String>,
        /// What it reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The mapping does not match the database.
    #[error("{0}")]
    Mapping(String),
}

impl StoreError {
    /// Returns what to do about it, if the error shows that.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Unreachable(OutOfReach { fix, .. }) | Self::Database { fix, .. } => {
                fix.as_deref()
            }
            Self::LeaseLost(_) | Self::Mapping(_) => None,
        }
    }
}

/// Why the database cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfReach {
    /// What happened, with host and port where they are known.
    pub reason: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
