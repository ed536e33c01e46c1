//! Connections that cannot be trusted any more.
//!
//! A pool keeps connections that look fine: to a server that has become read-only, or to one that does not
//! answer any more. The first error that shows it makes every connection of the pool distrusted that is older
//! than that moment; the pool closes them instead of lending them again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use tokio::time::timeout;

/// How long an idle connection may take to answer before it is lent.
const PING_MAX: Duration = Duration::from_secs(3);

/// Since when the connections of a pool are trusted.
#[derive(Debug, Clone, Default)]
pub(super) struct Trust {
    distrusted: Arc<Mutex<Option<Instant>>>,
}

impl Trust {
    /// Distrusts every connection that was opened until now.
    pub(super) fn distrust_all(&self) {
        let mut distrusted = self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *distrusted = Some(Instant::now());
    }

    /// Distrusts every connection if the error shows that theirs cannot be used: it is read-only, broken, or
    /// does not answer.
    pub(super) fn note(&self, error: &sqlx::Error) {
        if condemns(error) {
            self.distrust_all();
        }
    }

    fn trusts(&self, age: Duration) -> bool {
        let distrusted = *self
            .distrusted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        distrusted.is_none_or(|distrusted| age < distrusted.elapsed())
    }

    /// Returns the options with hooks that close distrusted connections, both those that wait in the pool and
    /// those that return to it. One that was idle for longer than `fresh` is lent after it has answered.
    pub(super) fn guard(&self, options: PgPoolOptions, fresh: Duration) -> PgPoolOptions {
        let (lent, returned) = (self.clone(), self.clone());
        options
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let trust = lent.clone();
                Box::pin(async move {
                    if !trust.trusts(about.age) {
                        return Err(distrusted());
                    }
                    if about.idle_for > fresh {
                        trust.question(connection).await?;
                    }
                    Ok(true)
                })
            })
            .after_release(move |_, about| {
                let is_trusted = returned.trusts(about.age);
                Box::pin(async move {
                    match is_trusted {
                        true => Ok(true),
                        // Not closed politely: it may not answer.
                        false => Err(distrusted()),
                    }
                })
            })
    }

    /// Fails unless the connection answers soon.
    async fn question(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let answer = timeout(PING_MAX, connection.ping()).await;
        let answer = answer.unwrap_or_else(|_| Err(no_answer()));
        if answer.is_err() {
            self.distrust_all();
        }
        answer
    }
}

/// Returns whether the server refused our credentials.
pub(super) fn refuses_credentials(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

/// Returns the error of a statement without an answer.
pub(super) fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the server does not answer",
    ))
}

fn distrusted() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::NotConnected,
        "the connection is not trusted any more",
    ))
}

fn condemns(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(reported) => {
            let code = reported.code().unwrap_or_default();
            code == "25006" || code.starts_with("08") || code.starts_with("57P")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_opened_before_the_error_are_distrusted() {
        let trust = Trust::default();
        assert!(trust.trusts(Duration::from_secs(60)));
        trust.note(&sqlx::Error::PoolTimedOut);
        assert!(trust.trusts(Duration::from_secs(60)));
        trust.note(&no_answer());
        assert!(!trust.trusts(Duration::from_secs(60)));
        std::thread::yield_now();
        assert!(trust.trusts(Duration::ZERO));
    }
}
