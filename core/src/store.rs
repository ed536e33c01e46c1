//! The control plane and the mapped tables on Postgres: the only SQL of the project.
//!
//! [`PgStore`] performs what the engine asks for and records what it saw; it decides nothing that
//! [`crate::planner`] or [`crate::model`] can decide. Three habits hold everywhere below:
//!
//! - One call is one transaction with a constant number of statements, over arrays.
//! - No session state: limits are local to the transaction, leases live by the database's clock, so
//!   that a pooler may sit in between.
//! - Our own locks are taken in one order: links by record id, then tasks by record id, then rows of
//!   mapped tables by key, and those are skipped when another transaction has locked them.

mod enum_text;
mod error;
mod mapped_table;
mod operations;
mod quote;
mod tables;
mod transaction;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

pub use mapped_table::facts::DuplicateKey;
pub use operations::conflicts::Resolution;
pub use operations::export::AppendResult;
pub use operations::status::{
    LastComparison, ObjectStatus, OutboxStatus, RecordHistory, TenantStatus,
};
pub use operations::timeline::{
    EntryKind, NamedRecord, RecordTimeline, TimelineAnswer, TimelineEntry,
};
pub use tables::capture::CaptureProblem;
pub use tables::checkpoint::CheckpointState;
pub use tables::conflict::{ConflictFilter, SyncConflict};
pub use tables::dead_letter::DeadLetter;
pub use tables::journal::{JournalEntry, JournalPosition};

use crate::ports::StoreError;
use error::refused;

pub use crate::ports::record::LeasedTask;

/// How long a call waits for a connection of the pool.
///
/// Far below the 180 s of a lease: a worker that gets no connection gives its message back in time.
const ACQUIRE_MS: u64 = 10_000;

/// How long an idle connection is kept: longer than the minute between two schedules.
const IDLE_MS: u64 = 120_000;

/// Days after today whose journal partitions a migration makes: over a midnight, until the first sweep.
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
}

/// One tenant database: its control plane and its mapped tables.
#[derive(Debug, Clone)]
pub struct PgStore {
    pool: PgPool,
    statement_cache: bool,
}

impl PgStore {
    /// Prepares a pool for the database. Connections are made when they are needed.
    ///
    /// Fails if the URL is invalid. The error does not show it.
    pub fn open(options: &PgStoreOptions) -> Result<Self, StoreError> {
        let connect: PgConnectOptions = options
            .url
            .expose_secret()
            .parse()
            .map_err(|_| StoreError::Mapping("the Postgres URL is invalid".to_owned()))?;
        let connect = connect.application_name("syncline");
        let connect = if options.statement_cache {
            connect
        } else {
            connect.statement_cache_capacity(0)
        };
        let pool = PgPoolOptions::new()
            .max_connections(options.connections_max)
            .acquire_timeout(Duration::from_millis(ACQUIRE_MS))
            .idle_timeout(Duration::from_millis(IDLE_MS))
            .connect_lazy_with(connect);
        Ok(Self {
            pool,
            statement_cache: options.statement_cache,
        })
    }

    /// Returns a store over a pool that exists already.
    pub fn over(pool: PgPool) -> Self {
        Self {
            pool,
            statement_cache: true,
        }
    }

    /// Brings the schema `syncline` up to date. Doing it twice, or from two places at once, does it
    /// once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut migrator = sqlx::migrate::Migrator {
            migrations: MIGRATIONS.migrations.clone(),
            ..sqlx::migrate::Migrator::DEFAULT
        };
        migrator.create_schema("syncline");
        migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
        match migrator.run(&self.pool).await {
            // Made here already: a partition that a sweep makes while the first writers of that day are
            // writing would refuse the rows that are on their way into the default one.
            Ok(()) => self.make_journal_partitions(DAYS_AHEAD_AT_FIRST).await,
            Err(sqlx::migrate::MigrateError::Execute(error))
            | Err(sqlx::migrate::MigrateError::ExecuteMigration(error, _)) => {
                Err(refused("migrating the control plane")(error))
            }
            Err(other) => Err(StoreError::Database {
                what: "migrating the control plane",
                source: Box::new(other),
            }),
        }
    }

    /// Creates the journal's partitions from today to `days_ahead`, those that are missing.
    async fn make_journal_partitions(&self, days_ahead: i32) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tables::journal::make_partitions(&mut tx, days_ahead).await?;
        tx.commit().await
    }

    /// Closes the pool: waits until no call is under way, then ends every connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
