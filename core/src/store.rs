//! The control plane and the mapped tables on Postgres: the only SQL of the project.
//!
//! [`PgStore`] performs the engine's calls; it decides nothing that [`crate::planner`] or [`crate::model`]
//! can decide. Three rules apply to all of it:
//!
//! - One call is one transaction with a constant number of statements, over arrays.
//! - No session state: limits are local to the transaction, leases use the database's clock. So any pooler
//!   may be used.
//! - Our own locks are taken in one order: links by record id, then tasks by record id, then rows of
//!   mapped tables by key, and those are skipped when another transaction has locked them.

mod advice;
mod connection;
mod enum_text;
mod error;
mod mapped_table;
mod operations;
mod quote;
pub(crate) mod table_definition;
mod tables;
mod transaction;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use mapped_table::facts::DuplicateKey;
pub use operations::conflicts::Resolution;
pub use operations::discarded_values::{DiscardedValue, Restored};
pub use operations::install::InstallOptions;
pub use operations::journal::AppendResult;
pub use operations::status::{
    ObjectStatus, OutboxStatus, PublishedComparison, RecordHistory, TenantStatus,
};
pub use operations::timeline::{
    EntryKind, NamedRecord, RecordTimeline, TimelineAnswer, TimelineEntry,
};
pub use table_definition::{Choices, Index, NewColumn, NewTable};
pub use tables::capture::CaptureProblem;
pub use tables::checkpoint::CheckpointState;
pub use tables::conflict::{ConflictFilter, SyncConflict};
pub use tables::dead_letter::DeadLetter;
pub use tables::job::JobStatus;
pub use tables::journal::JournalEntry;

use crate::ports::{OperatorStore, OutOfReach, SecretSource, StoreError};
use advice::{Server, check_scheme, url_problem};
use connection::Trust;
use error::refused;

pub use crate::ports::record::LeasedTask;

/// How long a call waits for a connection of the pool.
///
/// Far below the 180 s of a lease, so that a worker without a connection returns its message in time.
const ACQUIRE_MAX: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: longer than the minute between two schedules.
const IDLE_MS: u64 = 120_000;

/// Days after today whose journal partitions a migration creates: enough until the first sweep.
const DAYS_AHEAD_AT_FIRST: i32 = 1;

/// The table that lists the migrations that have run.
const MIGRATIONS_TABLE: &str = "syncline.sync_migration";

/// Schema changes, in order, embedded.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// How to reach a tenant's Postgres.
#[derive(Debug, Clone)]
pub struct PgStoreOptions {
    /// Connection URL, with the password.
    pub url: SecretString,
    /// Prepared statements may be cached on the connection; off for transaction poolers.
    pub statement_cache: bool,
    /// Most connections of this process.
    pub connections_max: u32,
    /// Longest wait for a connection: until one of the pool is free, or a server that is starting answers.
    pub acquire_max: Duration,
    /// Longest wait for the answer to one statement, by this process's clock: a connection that died without a
    /// word never answers, and the server's own limit does not end it.
    pub answer_max: Duration,
    /// Longest wait of a statement for a lock that another transaction holds.
    pub lock_max: Duration,
    /// How long an idle connection counts as one that answers: after that it is asked before it is used.
    pub fresh_max: Duration,
    /// Where the URL is read again if the server refuses the password, because it was replaced.
    pub url_source: Option<SecretSource>,
}

impl PgStoreOptions {
    /// Returns the options for a database, with defaults for everything else.
    pub fn new(url: SecretString) -> Self {
        Self {
            url,
            statement_cache: true,
            connections_max: CONNECTIONS_MAX,
            acquire_max: ACQUIRE_MAX,
            answer_max: ANSWER_MAX,
            lock_max: LOCK_MAX,
            fresh_max: FRESH_MAX,
            url_source: None,
        }
    }

    /// Returns which database it is, by user, address and name: those of one database may share a store. Fails if
    /// the URL is invalid.
    pub fn database(&self) -> Result<String, StoreError> {
        let connect = connect_options(&self.url, self.statement_cache)?;
        Ok(format!("{}@{}", connect.get_username(), endpoint(&connect)))
    }
}

/// Connections of a process that names no other number.
const CONNECTIONS_MAX: u32 = 4;

/// Longest wait for the answer to one statement: a little more than the server's own limit of 60 s.
const ANSWER_MAX: Duration = Duration::from_secs(65);

/// Longest wait for a lock: far below the 180 s of a lease, and longer than what an ordinary transaction takes.
const LOCK_MAX: Duration = Duration::from_secs(2);

/// How long an idle connection counts as one that answers.
const FRESH_MAX: Duration = Duration::from_secs(1);

/// One tenant database: its control plane and its mapped tables.
#[derive(Debug, Clone)]
pub struct PgStore {
    pool: PgPool,
    statement_cache: bool,
    trust: Trust,
    answer_max: Duration,
    lock_max: Duration,
    url_source: Option<SecretSource>,
}

impl PgStore {
    /// Prepares a pool for the database. Connections are opened when they are needed.
    ///
    /// Fails if the URL is invalid. The error does not contain the URL.
    pub fn open(options: &PgStoreOptions) -> Result<Self, StoreError> {
        let connect = connect_options(&options.url, options.statement_cache)?;
        let trust = Trust::default();
        let pool = trust
            .guard(PgPoolOptions::new(), options.fresh_max)
            .max_connections(options.connections_max)
            .acquire_timeout(options.acquire_max)
            .idle_timeout(Duration::from_millis(IDLE_MS))
            .connect_lazy_with(connect);
        Ok(Self {
            pool,
            statement_cache: options.statement_cache,
            trust,
            answer_max: options.answer_max,
            lock_max: options.lock_max,
            url_source: options.url_source.clone(),
        })
    }

    /// Reads the connection URL again, for connections that are opened from now on. Returns false if there is
    /// nowhere to read it.
    async fn renew_url(&self) -> Result<bool, StoreError> {
        let Some(source) = &self.url_source else {
            return Ok(false);
        };
        let url = source.read().await;
        let url = url.map_err(|error| {
            StoreError::Unreachable(OutOfReach {
                reason: error.to_string(),
                fix: None,
            })
        })?;
        let connect = connect_options(&url, self.statement_cache)?;
        self.pool.set_connect_options(connect);
        tracing::info!("Postgres refused the password; the secret was read again");
        Ok(true)
    }

    /// Returns where connections lead: host or socket, port and name, no user and no secret.
    fn endpoint(&self) -> String {
        endpoint(&self.pool.connect_options())
    }

    /// Returns a store over a pool that exists already.
    pub fn over(pool: PgPool) -> Self {
        Self {
            pool,
            statement_cache: true,
            trust: Trust::default(),
            answer_max: ANSWER_MAX,
            lock_max: LOCK_MAX,
            url_source: None,
        }
    }

    /// Migrates the schema `syncline`. May be repeated and run concurrently.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.require_usable_database().await?;
        let mut migrator = sqlx::migrate::Migrator {
            migrations: MIGRATIONS.migrations.clone(),
            ..sqlx::migrate::Migrator::DEFAULT
        };
        // To create it, even where it exists, takes a right on the whole database.
        if !self.has_control_plane().await? {
            migrator.create_schema("syncline");
        }
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        match migrator.run(&self.pool).await {
            // Created here already: creating a partition while other transactions insert rows of its day into
            // the default partition would fail.
            Ok(()) => self.make_journal_partitions(DAYS_AHEAD_AT_FIRST).await,
            Err(sqlx::migrate::MigrateError::Execute(error))
            | Err(sqlx::migrate::MigrateError::ExecuteMigration(error, _)) => {
                Err(refused("migrating the control plane", &self.server())(error))
            }
            Err(other) => Err(StoreError::Database {
                what: "migrating the control plane",
                fix: Some("use the version of the program that migrated this database last, or a newer one".to_owned()),
                source: Box::new(other),
            }),
        }
    }

    /// Returns where and as whom it connects.
    fn server(&self) -> Server {
        let connect = self.pool.connect_options();
        let socket = connect.get_socket().map(|path| path.display().to_string());
        Server {
            host: socket.unwrap_or_else(|| connect.get_host().to_owned()),
            port: connect.get_port(),
            user: connect.get_username().to_owned(),
            database: connect
                .get_database()
                .unwrap_or_else(|| connect.get_username())
                .to_owned(),
            url_place: self
                .url_source
                .as_ref()
                .map(|source| source.place().to_owned())
                .unwrap_or_default(),
        }
    }

    /// Returns whether the schema `syncline` exists, migrated or not.
    async fn has_control_plane(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found: Vec<bool> = tx
            .values(
                "looking for the control plane",
                sqlx::query_scalar("select true from pg_namespace where nspname = 'syncline'"),
            )
            .await?;
        tx.rollback().await?;
        Ok(!found.is_empty())
    }

    /// Creates the missing partitions of the journal from today to `days_ahead`.
    async fn make_journal_partitions(&self, days_ahead: i32) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tables::journal::make_partitions(&mut tx, days_ahead).await?;
        tx.commit().await
    }

    /// Closes the pool: waits for running calls, then closes every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Returns host or socket, port and name of a connection.
fn endpoint(connect: &PgConnectOptions) -> String {
    let socket = connect.get_socket().map(|path| path.display().to_string());
    format!(
        "{}:{}/{}",
        socket.unwrap_or_else(|| connect.get_host().to_owned()),
        connect.get_port(),
        connect.get_database().unwrap_or_default()
    )
}

/// Returns how to connect. Fails if the URL is invalid; the error does not contain the URL.
fn connect_options(
    url: &SecretString,
    statement_cache: bool,
) -> Result<PgConnectOptions, StoreError> {
    let invalid = |problem: String| {
        StoreError::Mapping(format!(
            "the URL that `postgres.url` names is invalid: {problem}"
        ))
    };
    check_scheme(url.expose_secret()).map_err(invalid)?;
    let connect: Result<PgConnectOptions, sqlx::Error> = url.expose_secret().parse();
    let connect = connect.map_err(|error| invalid(url_problem(&error)))?;
    let connect = connect.application_name("syncline");
    Ok(if statement_cache {
        connect
    } else {
        connect.statement_cache_capacity(0)
    })
}
