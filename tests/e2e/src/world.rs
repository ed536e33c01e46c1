//! The two sides: a throwaway Postgres with the mapped tables, and a local org with a user.
//!
//! The engine does not run here yet. [`World::install`] creates the control plane and the triggers,
//! like an operator; [`crate::deployed`] and [`crate::in_process`] then do the work.

use std::path::{Path, PathBuf};

use anyhow::Context;
use salesforce_org::server::{self, Options, Running};
use salesforce_org::{Org, local};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::TenantId;
use tempfile::TempDir;

use crate::mapping::{Capture, Places, TABLES, TENANT, configuration};
use crate::postgres::Cluster;
use crate::salesforce::Person;

/// Connections of the application that edits rows and of the comparison.
const CONNECTIONS: u32 = 5;

/// Both sides, empty but for the tables.
pub struct World {
    /// The application's connections to Postgres.
    pub pool: PgPool,
    /// The org, with its control endpoints.
    pub org: Running,
    /// A user of the org; not the engine's user.
    pub person: Person,
    /// The operator's folder: configuration and secrets.
    folder: TempDir,
    /// The last field, because it must be dropped after everything that uses it.
    postgres: Cluster,
}

impl World {
    /// Starts both sides.
    ///
    /// # Errors
    ///
    /// When either does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let postgres = Cluster::start().await?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect(postgres.url())
            .await
            .context("Postgres runs and cannot be reached")?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        let org = server::start(Org::default(), &Options::default()).await?;
        let person = Self::sign_in(&org).await?;
        let folder = tempfile::Builder::new()
            .prefix("syncline.")
            .tempdir()
            .context("a folder for the configuration")?;
        let world = Self {
            pool,
            org,
            person,
            folder,
            postgres,
        };
        world.write_settings()?;
        Ok(world)
    }

    /// Signs a user in to the org.
    ///
    /// # Errors
    ///
    /// When the org refuses.
    pub async fn sign_in(org: &Running) -> anyhow::Result<Person> {
        Person::sign_in(
            &org.http_url(),
            local::CLIENT_ID,
            local::PERSON,
            local::PRIVATE_KEY,
        )
        .await
    }

    /// Returns the Postgres server.
    pub fn postgres(&self) -> &Cluster {
        &self.postgres
    }

    /// Returns the operator's `syncline.toml`; its secrets are files beside it.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("syncline.toml")
    }

    /// Returns the folder of the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the configuration for functions, which keep their secrets elsewhere.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn config_of_functions(&self, secret: &str, capture: Capture) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(format!("{capture:?}.toml"));
        let places = Places {
            capture,
            ..self.places(secret, "env:DATABASE_URL")
        };
        std::fs::write(&path, configuration(&places))?;
        Ok(path)
    }

    /// Returns the operator's wiring: everything except a queue.
    pub fn operator(&self, target: WakeUpTarget) -> Instance {
        Instance::new(&self.config().display().to_string(), Path::new("."), target)
    }

    /// Does what `syncline migrate` and `syncline install` do.
    ///
    /// # Errors
    ///
    /// When a side refuses.
    pub async fn install(&self) -> anyhow::Result<()> {
        let tenant = tenant();
        let operator = self.operator(WakeUpTarget::Silent);
        let store = operator.store(&tenant).await?;
        store.migrate().await?;
        let engine = operator.engine(&tenant).await?;
        store
            .install(&engine.mapped_objects(&tenant).await?)
            .await?;
        engine.enqueue_existing_rows(&tenant).await?;
        Ok(())
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let folder = self.folder.path();
        let key = folder.join("salesforce.pem");
        let url = folder.join("database.url");
        std::fs::write(&key, local::PRIVATE_KEY)?;
        std::fs::write(&url, self.postgres.url())?;
        let places = self.places(
            &format!("file:{}", key.display()),
            &format!("file:{}", url.display()),
        );
        std::fs::write(self.config(), configuration(&places))?;
        Ok(())
    }

    fn places(&self, secret: &str, database: &str) -> Places {
        Places {
            login_url: self.org.http_url(),
            pubsub_url: self.org.grpc_url(),
            client_id: local::CLIENT_ID.to_owned(),
            username: local::INTEGRATION_USER.to_owned(),
            secret: secret.to_owned(),
            database: database.to_owned(),
            capture: Capture::Pubsub,
        }
    }
}

/// Returns the tenant of everything here.
pub fn tenant() -> TenantId {
    TenantId::parse(TENANT).expect("the name of the demo's tenant is legal")
}
