//! Why a call of the store failed.

/// The store failed. The call had no effect, unless its documentation differs.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker has the lease now, or the position has moved.
    #[error("the lease of {0} was lost to another worker")]
    LeaseLost(String),
    /// The database cannot be reached or is restarting: try again.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(String),
    /// The database refused a statement.
    #[error("Postgres refused {what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// What it reported.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The mapping does not match the database.
    #[error("{0}")]
    Mapping(String),
}
