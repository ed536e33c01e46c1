//! One transaction: its limits, a span for every statement, and errors that name what was attempted.
//!
//! Each statement runs in a span at debug level with the field `statement`, so that slow ones can be found.

use serde::Serialize;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::types::Json;
use sqlx::{FromRow, Postgres, Transaction};
use tracing::instrument;

use super::PgStore;
use super::error::{is_contention, refused};
use crate::ports::StoreError;

/// Begins every transaction.
///
/// Sets read committed explicitly, because a database may default to another level. The limits are far below
/// the 180 s of a lease, so that no statement runs longer than its lease. Limits and time zone are local to
/// the transaction.
///
/// Reads customers' rows with row security off: a row that a policy hides from our role would look deleted.
/// Postgres then refuses the read instead, unless the role may see all rows.
///
/// Every statement gets a new query plan: a cached plan from when the tables were empty would scan a whole
/// table for each record of a batch. Batches are large enough for a millisecond of planning, but not for
/// JIT compilation.
const BEGIN: &str = "begin isolation level read committed; \
    set local lock_timeout = '2s'; \
    set local statement_timeout = '60s'; \
    set local timezone = 'UTC'; \
    set local row_security = off; \
    set local plan_cache_mode = 'force_custom_plan'; \
    set local jit = off";

/// How often [`Tx::retry`] makes an attempt again before it returns the error.
const CONTENTION_RETRIES_MAX: usize = 3;

/// A transaction that is rolled back unless it is committed.
pub(crate) struct Tx {
    inner: Transaction<'static, Postgres>,
    statement_cache: bool,
}

impl PgStore {
    /// Opens a transaction.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = self
            .pool
            .begin_with(BEGIN)
            .await
            .map_err(refused("opening a transaction"))?;
        Ok(Tx {
            inner,
            statement_cache: self.statement_cache,
        })
    }
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
        query
            .persistent(self.statement_cache)
            .execute(&mut *self.inner)
            .await
            .map(|done| done.rows_affected())
            .map_err(refused(what))
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
        self.rows_raw(what, query).await.map_err(refused(what))
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
        query
            .persistent(self.statement_cache)
            .fetch_all(&mut *self.inner)
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
        query
            .persistent(self.statement_cache)
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(refused(what))
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
        query
            .persistent(self.statement_cache)
            .fetch_all(&mut *self.inner)
            .await
            .map_err(refused(what))
    }

    /// Runs statements that take no arguments.
    #[instrument(level = "debug", skip_all, fields(statement = what))]
    pub(crate) async fn script(
        &mut self,
        what: &'static str,
        sql: impl sqlx::SqlSafeStr,
    ) -> Result<(), StoreError> {
        sqlx::raw_sql(sql)
            .execute(&mut *self.inner)
            .await
            .map(|_| ())
            .map_err(refused(what))
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
        sqlx::raw_sql("set constraints all immediate")
            .execute(&mut *self.inner)
            .await
            .map(|_| ())
    }

    /// Sets the savepoint to which [`Tx::back`] returns, and turns row security off for the reads until
    /// [`Tx::begin_writes`].
    pub(crate) async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.script(
            "setting a savepoint",
            "savepoint rows; set local row_security = off",
        )
        .await
    }

    /// Undoes everything since the last [`Tx::savepoint`], its row locks included.
    pub(crate) async fn back(&mut self) -> Result<(), StoreError> {
        self.script(
            "undoing the rows of a batch",
            "rollback to savepoint rows; release savepoint rows",
        )
        .await
    }

    /// Keeps everything since the last [`Tx::savepoint`].
    pub(crate) async fn keep(&mut self) -> Result<(), StoreError> {
        self.script("keeping the rows of a batch", "release savepoint rows")
            .await
    }

    /// Commits.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        self.inner.commit().await.map_err(refused("committing"))
    }

    /// Rolls back.
    pub(crate) async fn rollback(self) -> Result<(), StoreError> {
        self.inner.rollback().await.map_err(refused("rolling back"))
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
