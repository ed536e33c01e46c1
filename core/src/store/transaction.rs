//! One transaction: its limits, a span for every statement, and errors that name what was attempted.
//!
//! Each statement runs in a span at debug level with the field `statement`, so that slow ones can be found.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Connection as _, FromRow, Postgres, Transaction};
use tokio::time::timeout;
use tracing::instrument;

use super::PgStore;
use super::advice::Server;
use super::connection::{Trust, no_answer, refuses_credentials};
use super::error::{is_contention, refused};
use crate::ports::StoreError;

/// Returns what begins every transaction.
///
/// Sets read committed explicitly, because a database may default to another level. The limits are far below
/// the 180 s of a lease, so that no statement runs longer than its lease. Limits, time zone and the styles of values are
/// local to the transaction.
///
/// Reads customers' rows with row security off: a row that a policy hides from our role would look deleted.
/// Postgres then refuses the read instead, unless the role may see all rows.
///
/// Every statement gets a new query plan: a cached plan from when the tables were empty would scan a whole
/// table for each record of a batch. Batches are large enough for a millisecond of planning, but not for
/// JIT compilation.
fn begin(lock_max: Duration) -> String {
    format!(
        "begin isolation level read committed; \
        set local lock_timeout = {}; \
        set local statement_timeout = '60s'; \
        set local timezone = 'UTC'; \
        set local intervalstyle = 'postgres'; \
        set local bytea_output = 'hex'; \
        set local row_security = off; \
        set local plan_cache_mode = 'force_custom_plan'; \
        set local jit = off",
        lock_max.as_millis()
    )
}

/// How often [`Tx::retry`] makes an attempt again before it returns the error.
const CONTENTION_RETRIES_MAX: usize = 3;

/// A transaction that is rolled back unless it is committed.
pub(crate) struct Tx {
    inner: Transaction<'static, Postgres>,
    server: Arc<Server>,
    statement_cache: bool,
    trust: Trust,
    answer_max: Duration,
}

/// How long a connection may take that is opened to learn why none could be opened.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// How often a call waits for a connection while others use all of them: the tenants of a database share them.
const WAITS_MAX: usize = 3;

impl PgStore {
    /// Opens a transaction. If the server refuses the password, reads it again once.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let opened = match self.open_transaction().await {
            Err(error) if refuses_credentials(&error) && self.renew_url().await? => {
                self.open_transaction().await
            }
            opened => opened,
        };
        let server = Arc::new(self.server());
        Ok(Tx {
            inner: opened.map_err(refused("opening a transaction", &server))?,
            server,
            statement_cache: self.statement_cache,
            trust: self.trust.clone(),
            answer_max: self.answer_max,
        })
    }

    /// Waits longer if other calls use every connection than if none can be opened.
    async fn open_transaction(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        let mut waits = 0;
        loop {
            waits += 1;
            let begin = AssertSqlSafe(begin(self.lock_max));
            let opened = answered(&self.trust, self.answer_max, self.pool.begin_with(begin)).await;
            let are_all_used = self.pool.size() >= self.pool.options().get_max_connections();
            match opened {
                Err(sqlx::Error::PoolTimedOut) if are_all_used && waits < WAITS_MAX => {}
                // The pool tries again until time is up, and forgets why.
                Err(sqlx::Error::PoolTimedOut) if !are_all_used => {
                    let reason = self.connection_failure().await;
                    return Err(reason.unwrap_or(sqlx::Error::PoolTimedOut));
                }
                opened => return opened,
            }
        }
    }
}

impl PgStore {
    /// Returns why no connection can be opened, or `None` if one can be opened now.
    async fn connection_failure(&self) -> Option<sqlx::Error> {
        let options = self.pool.connect_options();
        match timeout(CONNECT_MAX, PgConnection::connect_with(&options)).await {
            Ok(Ok(connection)) => {
                // It was only tried.
                drop(connection);
                None
            }
            Ok(Err(error)) => Some(error),
            Err(_) => Some(no_answer()),
        }
    }
}

/// Waits for an answer, at most so long. An error that condemns the connection condemns all older ones too.
async fn answered<T>(
    trust: &Trust,
    answer_max: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = timeout(answer_max, answer).await;
    answer
        .unwrap_or_else(|_| Err(no_answer()))
        .inspect_err(|error| trust.note(error))
}

impl Tx {
    /// Runs an attempt, which opens and commits its own transaction, and repeats it after a deadlock, a lost
    /// race or a lock timeout. The failed attempt was rolled back.
    pub(crate) async fn retry<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        for _ in 0..CONTENTION_RETRIES_MAX {
            match attempt().await {
                Err(error) if is_contention(&error) => {}
                done => return done,
            }
        }
        attempt().await
    }

    /// Runs a statement and returns the number of rows it changed.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn run(
        &mut self,
        what: &'static str,
        query: Query<'_, Postgres, PgArguments>,
    ) -> Result<u64, StoreError> {
        let query = query.persistent(self.statement_cache);
        answered(
            &self.trust,
            self.answer_max,
            query.execute(&mut *self.inner),
        )
        .await
        .map(|done| done.rows_affected())
        .map_err(refused(what, &self.server))
    }

    /// Runs a query and returns its rows.
    pub(crate) async fn rows<T>(
        &mut self,
        what: &'static str,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        self.rows_raw(what, query)
            .await
            .map_err(refused(what, &self.server))
    }

    /// Runs a query and returns its rows, or the driver's error as it is.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn rows_raw<T>(
        &mut self,
        what: &'static str,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Vec<T>, sqlx::Error>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        let query = query.persistent(self.statement_cache);
        answered(
            &self.trust,
            self.answer_max,
            query.fetch_all(&mut *self.inner),
        )
        .await
    }

    /// Runs a query and returns its one row, if there is one.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn row<T>(
        &mut self,
        what: &'static str,
        query: QueryAs<'_, Postgres, T, PgArguments>,
    ) -> Result<Option<T>, StoreError>
    where
        T: Send + Unpin + for<'r> FromRow<'r, PgRow>,
    {
        let query = query.persistent(self.statement_cache);
        answered(
            &self.trust,
            self.answer_max,
            query.fetch_optional(&mut *self.inner),
        )
        .await
        .map_err(refused(what, &self.server))
    }

    /// Runs a query and returns the first column of its rows.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn values<T>(
        &mut self,
        what: &'static str,
        query: QueryScalar<'_, Postgres, T, PgArguments>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: Send + Unpin,
        (T,): for<'r> FromRow<'r, PgRow>,
    {
        let query = query.persistent(self.statement_cache);
        answered(
            &self.trust,
            self.answer_max,
            query.fetch_all(&mut *self.inner),
        )
        .await
        .map_err(refused(what, &self.server))
    }

    /// Runs statements that take no arguments.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn script(
        &mut self,
        what: &'static str,
        sql: impl sqlx::SqlSafeStr,
    ) -> Result<(), StoreError> {
        let script = sqlx::raw_sql(sql).execute(&mut *self.inner);
        answered(&self.trust, self.answer_max, script)
            .await
            .map(|_| ())
            .map_err(refused(what, &self.server))
    }

    /// Prepares for writes to customers' tables, until [`Tx::check_constraints`]: turns row security on for
    /// their triggers, and defers every deferrable constraint.
    pub(crate) async fn begin_writes(&mut self) -> Result<(), StoreError> {
        self.script(
            "preparing to write rows",
            "set local row_security = on; set constraints all deferred",
        )
        .await
    }

    /// Checks the deferred constraints. Returns the driver's error unchanged.
    #[instrument(level = "debug", skip_all, fields(statement = "checking constraints"))]
    pub(crate) async fn check_constraints(&mut self) -> Result<(), sqlx::Error> {
        let check = sqlx::raw_sql("set constraints all immediate").execute(&mut *self.inner);
        answered(&self.trust, self.answer_max, check)
            .await
            .map(|_| ())
    }

    /// Sets the savepoint to which [`Tx::rollback_to_savepoint`] returns, and turns row security off for the reads until
    /// [`Tx::begin_writes`].
    pub(crate) async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.script(
            "setting a savepoint",
            "savepoint rows; set local row_security = off",
        )
        .await
    }

    /// Undoes everything since the last [`Tx::savepoint`], its row locks included.
    pub(crate) async fn rollback_to_savepoint(&mut self) -> Result<(), StoreError> {
        self.script(
            "undoing the rows of a batch",
            "rollback to savepoint rows; release savepoint rows",
        )
        .await
    }

    /// Keeps everything since the last [`Tx::savepoint`].
    pub(crate) async fn release_savepoint(&mut self) -> Result<(), StoreError> {
        self.script("keeping the rows of a batch", "release savepoint rows")
            .await
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        answered(&self.trust, self.answer_max, self.inner.commit())
            .await
            .map_err(refused("committing", &self.server))
    }

    /// Rolls back.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        answered(&self.trust, self.answer_max, self.inner.rollback())
            .await
            .map_err(refused("rolling back", &self.server))
    }
}

/// Binds rows as one JSON array, for `jsonb_to_recordset`.
pub(crate) fn recordset<T: Serialize>(rows: &[T]) -> Json<&[T]> {
    Json(rows)
}

/// Returns milliseconds as an interval, to add to the database's own clock.
pub(crate) fn interval(ms: i64) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: ms.saturating_mul(1_000),
    }
}
