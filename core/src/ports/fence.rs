//! A value outside the database that only one of its copies can go on moving.

use async_trait::async_trait;

/// The fence of a tenant: one text that is replaced by compare-and-set.
#[async_trait]
pub trait FencePort: Send + Sync {
    /// Returns the value; `None` if it was never set.
    async fn read(&self) -> Result<Option<FenceValue>, FenceUnreachable>;

    /// Replaces the value that was read. Returns false if another writer has replaced it meanwhile.
    async fn replace(
        &self,
        read: Option<&FenceValue>,
        value: &str,
    ) -> Result<bool, FenceUnreachable>;
}

/// The value of a fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceValue {
    /// The text.
    pub value: String,
    /// Increases by one with each write, where the fence counts them.
    pub version: i64,
}

/// The fence cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the fence cannot be used: {reason}")]
pub struct FenceUnreachable {
    /// What went wrong.
    pub reason: String,
}

/// The right to move the fence, which one process of the database has at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceClaim {
    /// The value that it is to get.
    pub next: String,
    /// The values that this database may have written last.
    pub known: Vec<String>,
    /// A person decided that this database goes on, whoever has moved the fence.
    pub takes_over: bool,
}

/// What became of the fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceMove {
    /// It has the claimed value.
    Moved,
    /// Another copy of the database has moved it.
    Lost {
        /// The value that was found; absent if it was replaced while we did.
        found: Option<String>,
    },
    /// It cannot be read, so it was not written.
    Unread {
        /// Why.
        reason: String,
    },
    /// It may have been written.
    Unknown {
        /// Why that is not known.
        reason: String,
    },
}
