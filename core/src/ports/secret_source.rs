//! Where a secret comes from, to read it again after it was refused: rotation needs no restart.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;

/// The secret could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret cannot be read again: {reason}")]
pub struct SecretUnreadable {
    /// What went wrong, without the secret.
    pub reason: String,
}

type ReadSecret =
    dyn Fn() -> BoxFuture<'static, Result<SecretString, SecretUnreadable>> + Send + Sync;

/// Reads a secret again.
#[derive(Clone)]
pub struct SecretSource {
    read: Arc<ReadSecret>,
    place: String,
}

impl SecretSource {
    /// Returns a source that calls `read`; `place` is the address of the secret, such as `env:NAME`.
    pub fn new(
        place: &str,
        read: impl Fn() -> BoxFuture<'static, Result<SecretString, SecretUnreadable>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self {
            read: Arc::new(read),
            place: place.to_owned(),
        }
    }

    /// Reads the secret.
    pub(crate) async fn read(&self) -> Result<SecretString, SecretUnreadable> {
        (self.read)().await
    }

    /// Returns the address of the secret.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretSource")
    }
}
