//! What an error of the database means, without the values it quotes.

use std::fmt;

use crate::engine::ports::StoreError;

/// What Postgres said, as far as it holds no value: messages and details quote them.
#[derive(Debug)]
struct Refusal {
    code: String,
    constraint: Option<String>,
    table: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}", self.code)?;
        if let Some(constraint) = &self.constraint {
            write!(f, ", constraint {constraint}")?;
        }
        if let Some(table) = &self.table {
            write!(f, ", table {table}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// The driver could not do it, for a reason that is not Postgres's.
#[derive(Debug)]
struct Driver(&'static str);

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Driver {}

/// Returns the function that turns an error of the driver, met while doing `what`, into ours.
pub(super) fn refused(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| classify(what, &error)
}

fn classify(what: &'static str, error: &sqlx::Error) -> StoreError {
    let database =
        |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Database { what, source };
    match error {
        sqlx::Error::Database(said) => {
            let code = said.code().unwrap_or_default().into_owned();
            let refusal = Refusal {
                constraint: said.constraint().map(str::to_owned),
                table: said.table().map(str::to_owned),
                code,
            };
            if out_of_reach(&refusal.code) {
                StoreError::Unreachable(format!("{what}: {refusal}"))
            } else {
                database(Box::new(refusal))
            }
        }
        sqlx::Error::Io(_) => StoreError::Unreachable(format!("{what}: the connection broke")),
        sqlx::Error::Tls(_) => StoreError::Unreachable(format!("{what}: TLS failed")),
        sqlx::Error::PoolTimedOut => {
            StoreError::Unreachable(format!("{what}: no connection in time"))
        }
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            StoreError::Unreachable(format!("{what}: the pool is closed"))
        }
        sqlx::Error::Protocol(_) => {
            StoreError::Unreachable(format!("{what}: the server spoke out of turn"))
        }
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. } => database(Box::new(Driver(
            "the answer does not have the form that was expected",
        ))),
        _ => database(Box::new(Driver("the driver refused"))),
    }
}

/// Connection failures, shutdown, start-up, and a server without room for one more.
fn out_of_reach(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P0") || code == "53300"
}

/// Returns the error of a call that met another session on the same new record: do it again.
pub(super) fn contended(what: &'static str) -> StoreError {
    StoreError::Database {
        what,
        source: Box::new(Refusal {
            code: "40001".to_owned(),
            constraint: None,
            table: None,
        }),
    }
}

/// How often a call is made again after a deadlock or a lost race, before the caller hears of it.
pub(super) const CONTENTION_RETRIES_MAX: usize = 3;

/// Returns whether waiting a little and doing the same again may help: deadlock, serialization,
/// lock timeout.
pub(super) fn is_contention(error: &StoreError) -> bool {
    match error {
        StoreError::Database { source, .. } => source
            .downcast_ref::<Refusal>()
            .is_some_and(|refusal| matches!(refusal.code.as_str(), "40P01" | "40001" | "55P03")),
        StoreError::LeaseLost(_) | StoreError::Unreachable(_) | StoreError::Mapping(_) => false,
    }
}

/// Why Postgres refused one row of a mapped table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowRefusal {
    /// What to do about it.
    pub(super) kind: RefusalKind,
    /// The constraint or column that refused, where Postgres names one.
    pub(super) place: Option<String>,
    /// The column alone.
    pub(super) column: Option<String>,
    /// What Postgres new. Quotes values: for the dead letter, never for a log.
    pub(super) message: String,
}

/// What a refusal of a row calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// The row it points to is not there yet.
    ParentMissing,
    /// The value does not fit the column (class 22).
    ValueRejected,
    /// A constraint says no (class 23), or a trigger of the customer's (P0001).
    ConstraintRejected,
    /// Somebody is in the way: later.
    Contended,
}

/// Returns why the row was refused, or the error itself if it is not about a row.
pub(super) fn row_refusal(error: sqlx::Error) -> Result<RowRefusal, StoreError> {
    let sqlx::Error::Database(said) = &error else {
        return Err(refused("writing rows")(error));
    };
    let code = said.code().unwrap_or_default();
    let kind = match code.as_ref() {
        "23503" => RefusalKind::ParentMissing,
        "40P01" | "40001" | "55P03" | "57014" => RefusalKind::Contended,
        "P0001" | "44000" | "428C9" => RefusalKind::ConstraintRejected,
        code if code.starts_with("22") => RefusalKind::ValueRejected,
        code if code.starts_with("23") => RefusalKind::ConstraintRejected,
        _ => return Err(refused("writing rows")(error)),
    };
    let said = said.downcast_ref::<sqlx::postgres::PgDatabaseError>();
    Ok(RowRefusal {
        kind,
        place: said
            .constraint()
            .or_else(|| said.column())
            .map(str::to_owned),
        column: said.column().map(str::to_owned),
        message: match said.detail() {
            Some(detail) => format!("{} ({detail})", said.message()),
            None => said.message().to_owned(),
        },
    })
}
