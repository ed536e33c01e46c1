//! A running org, a client for it, and a database with a mapped table.

use std::sync::Arc;

use salesforce_org::server::{self, Running};
use salesforce_org::{Org, local};
use secrecy::SecretString;
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, PgPool};
use syncline::force_sync::{ObjectSync, Owner, PgStore, SyncEngine, migrate};
use syncline::salesforce::{HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions};
use throwaway_postgres::TestDatabase;

const TABLE: &str = "create table account (
    id bigint generated always as identity primary key,
    external_id text unique,
    name text,
    phone text
)";

pub(crate) const TENANT: &str = "acme";

pub(crate) struct Stand {
    pub(crate) org: Running,
    pub(crate) pool: PgPool,
    pub(crate) store: PgStore,
    /// Dropped with the stand.
    _database: TestDatabase,
}

impl Stand {
    /// Starts both sides and migrates the control plane.
    pub(crate) async fn open() -> Self {
        let database = TestDatabase::empty().await;
        let pool = PgPool::connect_lazy(database.url()).unwrap();
        sqlx::raw_sql(TABLE).execute(&pool).await.unwrap();
        migrate(&pool).await.unwrap();
        Self {
            org: serve().await,
            store: PgStore::new(pool.clone()),
            pool,
            _database: database,
        }
    }

    /// Returns an engine over both sides.
    pub(crate) fn engine(&self) -> SyncEngine {
        SyncEngine::builder(client(&self.org))
            .postgres(self.store.clone())
            .tenant(TENANT)
            .object(account())
            .reconcile_batch_size(10)
            .apply_batch_size(10)
            .build()
            .unwrap()
    }

    /// Sets the org's clock back: what changed just now may still differ, because its event is on its way.
    pub(crate) fn live_ten_minutes_ago(&self) {
        self.org.with_org(|org| org.advance_ms(-600_000));
    }

    /// Runs SQL as a user of the database.
    pub(crate) async fn sql(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Runs a query that returns one text.
    pub(crate) async fn text(&self, query: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_optional(&self.pool)
            .await
            .unwrap()
    }

    /// Creates an account as a Salesforce user.
    pub(crate) fn insert(&self, fields: &Json) -> String {
        let inserted = self
            .org
            .with_org(|org| org.insert_as(local::PERSON, "Account", fields));
        inserted.unwrap().to_string()
    }
}

/// Returns the mapping that every test uses.
pub(crate) fn account() -> ObjectSync {
    ObjectSync::new("Account")
        .external_id("External_Id__c")
        .table("public.account")
        .column("Name", "name")
        .field_owner("Phone", Owner::Postgres)
}

/// Starts an org without records.
pub(crate) async fn serve() -> Running {
    let options = server::Options::default();
    server::start(Org::default(), &options).await.unwrap()
}

/// Returns a client of the org.
pub(crate) fn client(org: &Running) -> HttpSalesforce {
    let secret = SecretString::from(local::CLIENT_SECRET);
    let login = Login::ClientCredentials { secret };
    let mut options = SalesforceOptions::new(&org.http_url(), local::CLIENT_ID, login, "62.0");
    options.pubsub_url = org.grpc_url();
    HttpSalesforce::new(options, Arc::new(MemoryTokenStore::default())).unwrap()
}
