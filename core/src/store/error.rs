//! What an error of the database means, without the values it quotes.

use std::fmt;

use crate::ports::StoreError;

/// What Postgres reported, without messages and details: they quote values.
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

/// The driver failed, not Postgres.
#[derive(Debug)]
struct Driver(&'static str);

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Driver {}

/// Returns the function that turns an error of the driver, met while doing `what`, into ours.
pub(crate) fn refused(what: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| classify(what, &error)
}

fn classify(what: &'static str, error: &sqlx::Error) -> StoreError {
    let database =
        |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Database { what, source };
    match error {
        sqlx::Error::Database(reported) => {
            let code = reported.code().unwrap_or_default().into_owned();
            let refusal = Refusal {
                constraint: reported.constraint().map(str::to_owned),
                table: reported.table().map(str::to_owned),
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
            StoreError::Unreachable(format!("{what}: the server broke the protocol"))
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
pub(crate) fn contended(what: &'static str) -> StoreError {
    StoreError::Database {
        what,
        source: Box::new(Refusal {
            code: "40001".to_owned(),
            constraint: None,
            table: None,
        }),
    }
}

/// Returns whether waiting a little and doing the same again may help: deadlock, serialization,
/// lock timeout.
pub(crate) fn is_contention(error: &StoreError) -> bool {
    match error {
        StoreError::Database { source, .. } => source
            .downcast_ref::<Refusal>()
            .is_some_and(|refusal| matches!(refusal.code.as_str(), "40P01" | "40001" | "55P03")),
        StoreError::LeaseLost(_) | StoreError::Unreachable(_) | StoreError::Mapping(_) => false,
    }
}

/// Returns the error for content of the control plane that this program never writes.
pub(crate) fn corrupt(error: impl fmt::Display) -> StoreError {
    StoreError::Mapping(format!(
        "the control plane holds something that was not written by this version: {error}"
    ))
}

/// Why Postgres refused one row of a mapped table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowRefusal {
    /// What to do about it.
    pub(crate) kind: RefusalKind,
    /// The constraint or column that refused, where Postgres names one.
    pub(crate) place: Option<String>,
    /// The column alone.
    pub(crate) column: Option<String>,
    /// What Postgres reported. Quotes values: for the dead letter, never for a log.
    pub(crate) message: String,
}

/// What a refusal of a row calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The row it points to is not there yet.
    ParentMissing,
    /// The value does not fit the column (class 22).
    ValueRejected,
    /// A constraint rejects the row (class 23), or a trigger of the customer's does (P0001).
    ConstraintRejected,
    /// Another transaction is in the way: later.
    Contended,
}

/// Returns why the row was refused, or the error itself if it is not about a row.
pub(crate) fn row_refusal(error: sqlx::Error) -> Result<RowRefusal, StoreError> {
    let sqlx::Error::Database(reported) = &error else {
        return Err(refused("writing rows")(error));
    };
    let code = reported.code().unwrap_or_default();
    let kind = match code.as_ref() {
        "23503" => RefusalKind::ParentMissing,
        "40P01" | "40001" | "55P03" | "57014" => RefusalKind::Contended,
        "P0001" | "44000" | "428C9" => RefusalKind::ConstraintRejected,
        code if code.starts_with("22") => RefusalKind::ValueRejected,
        code if code.starts_with("23") => RefusalKind::ConstraintRejected,
        _ => return Err(refused("writing rows")(error)),
    };
    let reported = reported.downcast_ref::<sqlx::postgres::PgDatabaseError>();
    Ok(RowRefusal {
        kind,
        place: reported
            .constraint()
            .or_else(|| reported.column())
            .map(str::to_owned),
        column: reported.column().map(str::to_owned),
        message: match reported.detail() {
            Some(detail) => format!("{} ({detail})", reported.message()),
            None => reported.message().to_owned(),
        },
    })
}
