//! A real Postgres for tests: one server per run, one database per test.
//!
//! Where `SYNCLINE_TEST_POSTGRES` holds the URL of a server, tests share that one: nextest starts it
//! once per run (`scripts/test-postgres`). Otherwise, as under plain `cargo test`, each test process
//! starts a server of its own; see [`server`]. What many tests start from is prepared once per server,
//! in a template database, and copied: a copy takes a fraction of the time of the migrations.

mod server;
mod shared;

use std::env;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use server::Server;
use shared::SharedServer;

/// The server that the tests of this process use, unless they ask for their own.
static SERVER: OnceLock<Place> = OnceLock::new();

/// The server of this process alone.
static OWN: OnceLock<Place> = OnceLock::new();

/// Numbers the databases of this process.
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// SQLSTATE of a database that does not exist.
const UNKNOWN_DATABASE: &str = "3D000";

/// A database of one test. It is dropped with its last clone.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    url: String,
    name: String,
    /// Drops the database on a server that outlives this process.
    _on_shared: Option<Arc<shared::DropOnExit>>,
    /// A server that has this database alone ends with it.
    server: Option<Arc<Server>>,
}

impl TestDatabase {
    /// Makes an empty database.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or it does not start: the message says what to install.
    pub async fn empty() -> Self {
        Self::empty_at(place()).await
    }

    /// Makes an empty database on a server of this process alone, for what the transactions of other
    /// databases would disturb: they share the server's transaction ids.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or it does not start: the message says what to install.
    pub async fn alone() -> Self {
        Self::empty_at(own()).await
    }

    /// Makes an empty database with an encoding other than UTF8.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or it does not know the encoding.
    pub async fn encoded(encoding: &str) -> Self {
        let place = place();
        let mut admin = place.connect("postgres").await;
        let template = format!("template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'");
        let created = Self::copy_of(&template, place, &mut admin).await;
        created.expect("the superuser can create a database")
    }

    async fn empty_at(place: &Place) -> Self {
        let mut admin = place.connect("postgres").await;
        let created = Self::copy_of("template0", place, &mut admin).await;
        created.expect("the superuser can create a database")
    }

    /// Makes a database that starts as `prepare` left an empty one.
    ///
    /// `prepare` runs once per server and `kind`. It gets the URL of an empty database and must close
    /// every connection that it opens: Postgres copies only a database without connections.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or the database cannot be prepared or copied.
    pub async fn prepared(kind: &str, prepare: impl AsyncFnOnce(String)) -> Self {
        let template = format!("template_{kind}");
        let place = place();
        let mut admin = place.connect("postgres").await;
        match Self::copy_of(&template, place, &mut admin).await {
            Err(sqlx::Error::Database(error))
                if error.code().as_deref() == Some(UNKNOWN_DATABASE) =>
            {
                make_template(&template, place, &mut admin, prepare).await;
                let created = Self::copy_of(&template, place, &mut admin).await;
                created.expect("a template without connections can be copied")
            }
            created => created.expect("a template without connections can be copied"),
        }
    }

    /// Makes a physical copy of the server of this process alone, and returns this database in it.
    ///
    /// # Panics
    ///
    /// If the database was not made by [`TestDatabase::alone`], or the server cannot be copied.
    pub fn physical_copy(&self) -> Self {
        let Place::Own(server) = own() else {
            panic!("the server of this process alone is shared with no one");
        };
        let copy = server.copied();
        let url = copy.url(&self.name);
        Self {
            url,
            name: self.name.clone(),
            _on_shared: None,
            server: Some(Arc::new(copy)),
        }
    }

    /// Makes an empty database on one more server, which ends with it.
    ///
    /// # Panics
    ///
    /// If there is no Postgres, or it does not start: the message says what to install.
    pub async fn apart() -> Self {
        let place = Place::Own(Server::start());
        let database = Self::empty_at(&place).await;
        let Place::Own(server) = place else {
            panic!("the server of this database alone is shared with no one");
        };
        Self {
            server: Some(Arc::new(server)),
            ..database
        }
    }

    /// Returns the folder of the socket of the server of this process alone, or of this database alone.
    pub fn socket_folder(&self) -> PathBuf {
        match (&self.server, own()) {
            (Some(server), _) => server.socket_folder().to_owned(),
            (None, Place::Own(server)) => server.socket_folder().to_owned(),
            (None, Place::Shared(_)) => panic!("the server of this process alone is not shared"),
        }
    }

    /// Makes a copy of this database on the same server, after it has ended every connection to it.
    ///
    /// # Panics
    ///
    /// If the database is not on the server of the tests, or a connection does not end.
    pub async fn copied(&self) -> Self {
        let place = place();
        let mut admin = place.connect("postgres").await;
        let end = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1";
        sqlx::query(end)
            .bind(&self.name)
            .execute(&mut admin)
            .await
            .expect("the superuser can end connections");
        let copied = Self::copy_of(&self.name, place, &mut admin).await;
        copied.expect("a database without connections can be copied")
    }

    async fn copy_of(
        template: &str,
        place: &Place,
        admin: &mut PgConnection,
    ) -> Result<Self, sqlx::Error> {
        let name = unused_name();
        // Only a log of whole pages would make the other strategy safer, and this server has none.
        let create = format!("create database {name} template {template} strategy file_copy");
        sqlx::query(AssertSqlSafe(create)).execute(admin).await?;
        let on_shared = match place {
            Place::Shared(server) => Some(Arc::new(server.drop_on_exit(&name))),
            Place::Own(_) => None,
        };
        Ok(Self {
            url: place.url(&name),
            name,
            _on_shared: on_shared,
            server: None,
        })
    }

    /// Returns the connection URL, as the superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the database's name. Roles belong to the whole server: a test that creates one names it
    /// after its database.
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

/// Where the databases of this process are.
#[derive(Debug)]
enum Place {
    Shared(SharedServer),
    Own(Server),
}

impl Place {
    fn url(&self, database: &str) -> String {
        match self {
            Self::Shared(server) => server.url(database),
            Self::Own(server) => server.url(database),
        }
    }

    async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url(database))
            .await
            .expect("the server accepts connections")
    }
}

fn place() -> &'static Place {
    SERVER.get_or_init(|| match env::var(shared::VARIABLE) {
        Ok(url) if !url.is_empty() => Place::Shared(SharedServer::at(&url)),
        Ok(_) | Err(_) => Place::Own(Server::start()),
    })
}

fn own() -> &'static Place {
    OWN.get_or_init(|| Place::Own(Server::start()))
}

/// Prepares a template unless another process has done so meanwhile.
async fn make_template(
    template: &str,
    place: &Place,
    admin: &mut PgConnection,
    prepare: impl AsyncFnOnce(String),
) {
    // Excludes other processes that miss the same template. Held until `admin` is closed, or here.
    execute(
        admin,
        &format!("select pg_advisory_lock(hashtext('{template}'))"),
    )
    .await;
    let known: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
        .bind(template)
        .fetch_optional(&mut *admin)
        .await
        .expect("the catalogue can be read");
    if known.is_none() {
        let draft = format!("{template}_draft");
        execute(
            admin,
            &format!("drop database if exists {draft} with (force)"),
        )
        .await;
        execute(
            admin,
            &format!("create database {draft} template template0"),
        )
        .await;
        prepare(place.url(&draft)).await;
        // The name appears when the template is complete, never before.
        execute(
            admin,
            &format!("alter database {draft} rename to {template}"),
        )
        .await;
    }
    execute(
        admin,
        &format!("select pg_advisory_unlock(hashtext('{template}'))"),
    )
    .await;
}

async fn execute(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Returns a name that no other process of this run uses: process ids repeat, so the time is part of it.
fn unused_name() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    format!("test_{}_{}_{number}", process::id(), since.as_micros())
}
