//! A real Postgres for tests: one server per test process, one database per test.
//!
//! The server's binaries are those of `SYNCLINE_PG_BIN`, else the newest under
//! `/usr/lib/postgresql`, else those on the path. The first process initializes a data directory;
//! every later one copies it, which takes a tenth of the time. A server listens on a socket of its
//! own and on no port. It ends when the test process ends, however that happens: a watcher waits
//! for the end of a pipe that only the test process holds.

mod server;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use server::Server;

/// The server of this process.
static SERVER: OnceLock<Server> = OnceLock::new();

/// Numbers the databases of this process.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// An empty database. It goes with the server when the process ends.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    url: String,
    name: String,
}

impl TestDatabase {
    /// Makes an empty database, on the server of this process, which is started first if need be.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or it does not start: the message says what to install.
    pub async fn new() -> Self {
        let server = SERVER.get_or_init(Server::start);
        let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres"))
            .await
            .expect("the server that has just started accepts connections");
        sqlx::query(AssertSqlSafe(format!(
            "create database {name} template template0"
        )))
        .execute(&mut connection)
        .await
        .expect("the superuser of a fresh server can create a database");
        Self {
            url: server.url(&name),
            name,
        }
    }

    /// Returns the connection URL, as the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the connection URL as another role, which the test has created; it needs no password.
    pub fn url_as(&self, role: &str) -> String {
        self.url.replacen("postgres@", &format!("{role}@"), 1)
    }

    /// Opens a connection, as the superuser.
    ///
    /// # Panics
    ///
    /// If the server does not accept it.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url)
            .await
            .expect("the server accepts connections")
    }
}
