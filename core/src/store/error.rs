//! Classifies database errors, without the values that they quote.

use std::fmt;
use std::io::ErrorKind;

use sqlx::postgres::PgDatabaseError;

use super::advice::{Server, fix};
use crate::ports::{OutOfReach, StoreError};

/// An error of Postgres. Details are left out, and messages that may quote values.
#[derive(Debug)]
struct Refusal {
    code: String,
    message: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.message {
            write!(f, "{message}, ")?;
        }
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

/// Returns the function that converts an error of the driver during `what`.
pub(crate) fn refused<'s>(
    what: &'static str,
    server: &'s Server,
) -> impl Fn(sqlx::Error) -> StoreError + use<'s> {
    move |error| classify(what, server, &error)
}

fn classify(what: &'static str, server: &Server, error: &sqlx::Error) -> StoreError {
    let database = |fix: Option<String>, source: Box<dyn std::error::Error + Send + Sync>| {
        StoreError::Database { what, fix, source }
    };
    let unreachable = |reason: String, fix: &str| {
        StoreError::Unreachable(OutOfReach {
            reason: format!("{what}: {reason}"),
            fix: Some(fix.to_owned()),
        })
    };
    match error {
        sqlx::Error::Database(reported) => refusal(what, server, reported.as_ref()),
        sqlx::Error::Io(io) => unreachable(io_text(server, io), START_IT),
        sqlx::Error::Tls(tls) => unreachable(
            format!("TLS with {server} failed: {tls}"),
            "turn TLS on in Postgres and name its certificate with sslrootcert in the URL, or set sslmode=disable \
             there if the network is trusted",
        ),
        sqlx::Error::PoolTimedOut => unreachable(
            format!("no connection to {server} became free in time"),
            "raise `postgres.connections_max`, or try again when less work runs",
        ),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
            unreachable("the pool is closed".to_owned(), START_IT)
        }
        sqlx::Error::Protocol(_) => unreachable(
            format!("{server} does not speak Postgres's protocol"),
            "correct host and port in the URL that `postgres.url` names",
        ),
        sqlx::Error::Decode(_)
        | sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::TypeNotFound { .. } => database(
            Some("run `syncline migrate`: the schema may be older than the program".to_owned()),
            Box::new(Driver("the result does not have the expected columns")),
        ),
        _ => database(None, Box::new(Driver("the driver refused"))),
    }
}

/// What to do if nothing answers.
const START_IT: &str =
    "start Postgres, or correct host and port in the URL that `postgres.url` names";

/// Converts an error that Postgres reported.
fn refusal(
    what: &'static str,
    server: &Server,
    reported: &dyn sqlx::error::DatabaseError,
) -> StoreError {
    let code = reported.code().unwrap_or_default().into_owned();
    let fix = fix(&code, reported.message(), server);
    let refusal = Refusal {
        message: names_only(&code).then(|| reported.message().to_owned()),
        constraint: reported.constraint().map(str::to_owned),
        table: reported.table().map(str::to_owned),
        code,
    };
    match out_of_reach(&refusal.code) {
        true => StoreError::Unreachable(OutOfReach {
            reason: format!("{what}: {refusal}"),
            fix,
        }),
        false => StoreError::Database {
            what,
            fix,
            source: Box::new(refusal),
        },
    }
}

/// Returns why no connection was made, or why it broke.
fn io_text(server: &Server, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("connection refused by {server}"),
        ErrorKind::TimedOut => format!("{server} does not answer"),
        ErrorKind::NotFound => format!("there is no socket of Postgres at {}", server.host),
        _ if error.to_string().contains("lookup address") => {
            format!("the host {} is not known", server.host)
        }
        _ => format!("the connection to {server} broke"),
    }
}

/// Returns whether messages of this SQLSTATE quote names of objects alone, never values: those about
/// authorisation, missing databases and schemas, privileges and syntax, resources, and the operator.
fn names_only(code: &str) -> bool {
    matches!(
        code.get(..2),
        Some("08" | "28" | "3D" | "3F" | "42" | "53" | "55" | "57")
    )
}

/// Returns whether the code means a connection failure, a server that has become read-only, shutdown, start-up,
/// or too many connections.
fn out_of_reach(code: &str) -> bool {
    code.starts_with("08") || code.starts_with("57P0") || matches!(code, "53300" | "25006")
}

/// Returns the error of a call that lost a race for the same new record and must be repeated.
pub(crate) fn contended(what: &'static str) -> StoreError {
    StoreError::Database {
        what,
        fix: None,
        source: Box::new(Refusal {
            code: "40001".to_owned(),
            message: None,
            constraint: None,
            table: None,
        }),
    }
}

/// Returns whether repeating the call may help: after a deadlock, a serialization failure or a lock timeout.
pub(crate) fn is_contention(error: &StoreError) -> bool {
    match error {
        StoreError::Database { source, .. } => source
            .downcast_ref::<Refusal>()
            .is_some_and(|refusal| matches!(refusal.code.as_str(), "40P01" | "40001" | "55P03")),
        StoreError::LeaseLost(_) | StoreError::Unreachable(_) | StoreError::Mapping(_) => false,
    }
}

/// Returns the error for invalid content of the control plane.
pub(crate) fn corrupt(error: impl fmt::Display) -> StoreError {
    StoreError::Mapping(format!(
        "the control plane has content that this version does not write: {error}"
    ))
}

/// Why Postgres refused one row of a mapped table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowRefusal {
    /// What to do about it.
    pub(crate) kind: RefusalKind,
    /// The constraint or column, if Postgres names one.
    pub(crate) place: Option<String>,
    /// The column, if Postgres names one.
    pub(crate) column: Option<String>,
    /// Postgres's message, without values that it quotes. A trigger's own message is kept as it is, and may quote
    /// values: for the dead letter, never for a log.
    pub(crate) message: String,
    /// The key that another row has or lacks, if Postgres reports it.
    pub(crate) key: Option<Box<RefusedKey>>,
}

/// A key that was refused. Its detail quotes values, so it is shown only if every column is mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedKey {
    /// Schema and table of the constraint.
    pub(crate) table: Option<(String, String)>,
    /// The columns, as Postgres writes them; an index may have expressions.
    pub(crate) columns: Vec<String>,
    /// Postgres's sentence with the values.
    pub(crate) detail: String,
}

impl RefusedKey {
    fn of(reported: &PgDatabaseError) -> Option<Self> {
        let detail = reported.detail()?;
        // "Key (one, other)=(1, 2) already exists.", in the server's language.
        let (_, key) = detail.split_once('(')?;
        let (columns, _) = key.split_once(")=(")?;
        let unquoted = |column: &str| {
            let quoted = column
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            quoted.map_or_else(|| column.to_owned(), |name| name.replace("\"\"", "\""))
        };
        Some(Self {
            table: reported
                .schema()
                .zip(reported.table())
                .map(|(schema, table)| (schema.to_owned(), table.to_owned())),
            columns: columns.split(", ").map(unquoted).collect(),
            detail: detail.to_owned(),
        })
    }
}

/// The kind of a refusal, which decides what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    /// The referenced row does not exist yet.
    ParentMissing,
    /// Rows of another table still point to the row that is to be deleted.
    StillReferenced,
    /// Another row has the value, which must be unique.
    ValueTaken,
    /// The value does not fit the column (class 22).
    ValueRejected,
    /// A constraint rejects the row (class 23).
    ConstraintRejected,
    /// Any other error for a row: by a trigger, a rule, a policy, a missing privilege.
    Raised,
    /// Another transaction holds a lock: try later.
    Contended,
    /// The statement took longer than it may.
    TimedOut,
}

/// Returns why the row was refused, or the error itself if it is not about a row.
///
/// A customer's trigger may raise any SQLSTATE, so every error counts as the row's except those that
/// are about the server, the connection or the transaction as a whole.
pub(crate) fn row_refusal(error: sqlx::Error) -> Result<RowRefusal, StoreError> {
    let sqlx::Error::Database(reported) = &error else {
        return Err(refused("writing rows", &Server::default())(error));
    };
    let code = reported.code().unwrap_or_default();
    let Some(kind) = refusal_kind(&code) else {
        return Err(refused("writing rows", &Server::default())(error));
    };
    let reported = reported.downcast_ref::<PgDatabaseError>();
    // The detail of other refusals is the whole row, unmapped columns included.
    let names_key = matches!(
        kind,
        RefusalKind::ParentMissing | RefusalKind::StillReferenced | RefusalKind::ValueTaken
    );
    let state = match kind {
        RefusalKind::Raised => format!(" [SQLSTATE {code}]"),
        _ => String::new(),
    };
    // The author of a trigger chose what its own messages show.
    let is_own_message = reported.routine() == Some("exec_stmt_raise");
    let message = match quotes_values(&code) && !is_own_message {
        true => without_quoted(reported.message()),
        false => reported.message().to_owned(),
    };
    Ok(RowRefusal {
        kind,
        place: reported
            .constraint()
            .or_else(|| reported.column())
            .map(str::to_owned),
        column: reported.column().map(str::to_owned),
        message: format!("{message}{state}"),
        key: RefusedKey::of(reported).filter(|_| names_key).map(Box::new),
    })
}

/// Returns whether Postgres's own messages with this SQLSTATE quote values: those about invalid data, and about
/// the syntax of SQL that a trigger builds. They may come from columns that are not mapped, through generated
/// columns, indexes and triggers.
fn quotes_values(code: &str) -> bool {
    code.starts_with("22") || code == "42601"
}

/// Returns the message without what is between its first and its last quotation mark, in any language.
fn without_quoted(message: &str) -> String {
    const MARKS: [char; 9] = ['"', '“', '”', '„', '«', '»', '‹', '›', '「'];
    let first = message.find(MARKS);
    let last = message.rfind(|mark| MARKS.contains(&mark) || mark == '」');
    match first.zip(last) {
        Some((first, last)) => {
            let after = message[last..].chars().next().map_or(0, char::len_utf8);
            format!("{}\"…\"{}", &message[..first], &message[last + after..])
        }
        None => message.to_owned(),
    }
}

/// Returns what an error with this SQLSTATE calls for, or none if it is not about a row: connection
/// failures (08), a read-only or aborted transaction (25), resources (53), shutdown (57P), the system
/// (58).
fn refusal_kind(code: &str) -> Option<RefusalKind> {
    Some(match code {
        "23503" => RefusalKind::ParentMissing,
        "23505" | "23P01" => RefusalKind::ValueTaken,
        "40P01" | "40001" | "55P03" => RefusalKind::Contended,
        "57014" => RefusalKind::TimedOut,
        // A value of a generated or identity column, or one that a view's check option rejects.
        "428C9" | "44000" => RefusalKind::ConstraintRejected,
        _ => match code.get(..2) {
            Some("08" | "25" | "53" | "58") => return None,
            Some("57") if code.starts_with("57P") => return None,
            Some("22") => RefusalKind::ValueRejected,
            Some("23") => RefusalKind::ConstraintRejected,
            _ => RefusalKind::Raised,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_cut_out_of_messages() {
        for (message, cut) in [
            (
                "invalid input syntax for type integer: \"a \"b\" c\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "value \"12\" is out of range for type smallint",
                "value \"…\" is out of range for type smallint",
            ),
            (
                "ungültige Eingabe für Typ integer: »x«",
                "ungültige Eingabe für Typ integer: \"…\"",
            ),
            ("division by zero", "division by zero"),
        ] {
            assert_eq!(without_quoted(message), cut);
        }
    }

    #[test]
    fn only_errors_of_server_and_transaction_are_not_the_rows() {
        for code in ["08006", "25006", "25P02", "53100", "57P01", "58030"] {
            assert_eq!(refusal_kind(code), None, "{code}");
        }
        for code in [
            "P0001", "P0002", "42501", "42703", "0A000", "54000", "XX000", "ZZ999", "",
        ] {
            assert_eq!(refusal_kind(code), Some(RefusalKind::Raised), "{code}");
        }
    }
}
