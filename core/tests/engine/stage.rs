//! One tenant with a new database, a new org, and an engine.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value as Json;
use sqlx::{Connection, PgConnection, PgPool};
use syncline::apply::ApplyReport;
use syncline::capture::{CaptureOptions, CaptureReport};
use syncline::config::{Config, TenantConfig};
use syncline::engine::SyncEngine;
use syncline::engine::check::{Finding, Level};
use syncline::job::deadline::Deadline;
use syncline::model::ids::{ObjectName, TenantId};
use syncline::ports::{SalesforcePort, Store};
use syncline::store::{PgStore, PgStoreOptions};
use throwaway_postgres::TestDatabase;

use crate::local_org::LocalOrg;
use crate::mapping::{MAPPING, TABLES};
use crate::pausing::{PauseAt, PausingSalesforce};

/// Most rounds until all work is done; a stage that needs more will never be done.
const ROUNDS_MAX: usize = 30;

/// A tenant with a database, an org and an engine.
pub(crate) struct Stage {
    pub(crate) org: LocalOrg,
    pub(crate) salesforce: Arc<dyn SalesforcePort>,
    pub(crate) store: PgStore,
    pub(crate) pool: PgPool,
    pub(crate) engine: SyncEngine,
    pub(crate) tenant: TenantId,
    pub(crate) config: TenantConfig,
    /// Dropped with the stage.
    database: TestDatabase,
}

impl Stage {
    /// Opens a stage with the default mapping, migrated and installed.
    pub(crate) async fn open() -> Self {
        Self::with_mapping(MAPPING).await
    }

    /// Opens a stage with this configuration.
    pub(crate) async fn with_mapping(mapping: &str) -> Self {
        let stage = Self::between(LocalOrg::new(), mapping, migrated_tables().await);
        stage.install().await;
        stage
    }

    /// Opens a stage whose database is on a server of this process alone, which can be copied.
    pub(crate) async fn alone() -> Self {
        let database = TestDatabase::alone().await;
        create_tables(database.url().to_owned()).await;
        let stage = Self::between(LocalOrg::new(), MAPPING, database);
        stage.store.migrate().await.unwrap();
        let mapped_objects = stage.engine.mapped_objects(&stage.tenant).await.unwrap();
        stage.store.install(&mapped_objects).await.unwrap();
        // Tests of it reach it by another address.
        stage.sql("delete from syncline.sync_database").await;
        stage
    }

    /// Returns the database.
    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Opens a stage whose org is reached over the network.
    pub(crate) async fn over_the_network() -> Self {
        let org = LocalOrg::served().await;
        let stage = Self::between(org, MAPPING, migrated_tables().await);
        stage.install().await;
        stage
    }

    /// Opens a stage between this org and a database with the control plane, without triggers.
    pub(crate) async fn of(org: LocalOrg, mapping: &str) -> Self {
        Self::between(org, mapping, migrated_tables().await)
    }

    /// Opens a stage whose database has the tables and no control plane.
    pub(crate) async fn prepared(mapping: &str) -> Self {
        Self::between(LocalOrg::new(), mapping, tables().await)
    }

    /// Returns a stage over a copy of the database, with the same org. Ends every connection to this one.
    pub(crate) async fn copy(&self) -> Self {
        let copy = Self::between(self.org.clone(), MAPPING, self.database.copied().await);
        // The first call over an ended connection fails, and has the pool close all of them.
        let _ = self.store.status(&self.tenant).await;
        copy
    }

    /// Returns a stage over a server of its own, with the same org and what a dump of the schema alone makes: tables,
    /// triggers and the control plane, and no row in any of them.
    pub(crate) async fn schema_alone(&self) -> Self {
        let database = TestDatabase::apart().await;
        let preparing = Self::between(self.org.clone(), MAPPING, database.clone());
        // In another order than elsewhere, so that the tables have other oids.
        preparing.store.migrate().await.unwrap();
        create_tables(database.url().to_owned()).await;
        preparing.install().await;
        preparing
            .sql(
                "do $$
                begin
                    execute (
                        select 'truncate ' || string_agg(format('syncline.%I', tablename), ', ')
                        from pg_tables
                        where schemaname = 'syncline'
                    );
                end $$",
            )
            .await;
        Self::between(self.org.clone(), MAPPING, database)
    }

    /// Returns a stage over a physical copy of the server, with the same org.
    pub(crate) fn snapshot(&self) -> Self {
        let copy = self.database.physical_copy();
        Self::between(self.org.clone(), MAPPING, copy)
    }

    /// Opens a stage between this org and an empty database.
    pub(crate) async fn empty(org: LocalOrg, mapping: &str) -> Self {
        Self::between(org, mapping, TestDatabase::empty().await)
    }

    /// Changes the configuration.
    pub(crate) fn configure(&mut self, mapping: &str) {
        let config = Config::parse(mapping).unwrap();
        self.config = config.tenants[&self.tenant].clone();
        self.engine = self.engine_of(self.config.clone());
    }

    fn between(org: LocalOrg, mapping: &str, database: TestDatabase) -> Self {
        let client = Arc::new(org.client());
        let salesforce: Arc<dyn SalesforcePort> =
            PausingSalesforce::new(client, &org, PauseAt::Never);
        let store = open(database.url());
        let pool = PgPool::connect_lazy(database.url()).unwrap();
        let tenant = TenantId::parse("acme").unwrap();
        let config = Config::parse(mapping).unwrap().tenants[&tenant].clone();
        let engine = SyncEngine::builder()
            .tenant(
                config.clone(),
                Arc::new(store.clone()),
                Arc::clone(&salesforce),
            )
            .worker("first")
            .build();
        Self {
            org,
            salesforce,
            store,
            pool,
            engine,
            tenant,
            config,
            database,
        }
    }

    /// Migrates the control plane if needed, and installs the triggers on the tables.
    pub(crate) async fn install(&self) {
        self.store.migrate().await.unwrap();
        let mapped_objects = self.engine.mapped_objects(&self.tenant).await.unwrap();
        self.store.install(&mapped_objects).await.unwrap();
    }

    /// Returns another worker for the same tenant, with these ports.
    pub(crate) fn worker(
        &self,
        name: &str,
        store: Arc<dyn Store>,
        salesforce: Arc<dyn SalesforcePort>,
    ) -> SyncEngine {
        SyncEngine::builder()
            .tenant(self.config.clone(), store, salesforce)
            .worker(name)
            .build()
    }

    /// Returns an engine over the same sides with another configuration.
    pub(crate) fn engine_of(&self, config: TenantConfig) -> SyncEngine {
        SyncEngine::builder()
            .tenant(
                config,
                Arc::new(self.store.clone()),
                Arc::clone(&self.salesforce),
            )
            .worker("other")
            .build()
    }

    /// Returns a store whose database role is this one, with all rights that tables and control plane
    /// can grant.
    pub(crate) async fn store_as(&self, role: &str) -> PgStore {
        self.sql(&format!(
            "create role {role} login;
            grant usage on schema public, syncline to {role};
            grant all on all tables in schema public, syncline to {role};
            grant all on all sequences in schema public, syncline to {role};
            grant execute on all functions in schema syncline to {role}"
        ))
        .await;
        open(&self.database.url_as(role))
    }

    /// Returns a store whose database role is this one.
    pub(crate) fn store_of(&self, role: &str) -> PgStore {
        open(&self.database.url_as(role))
    }

    /// Returns the URL of the database, as the superuser.
    pub(crate) fn url_text(&self) -> &str {
        self.database.url()
    }

    /// Returns the URL of the database as a secret.
    pub(crate) fn url(&self) -> SecretString {
        SecretString::from(self.database.url())
    }

    /// Returns the URL of the database as another role.
    pub(crate) fn url_as(&self, role: &str) -> String {
        self.database.url_as(role)
    }

    /// Returns the name of the database.
    pub(crate) fn database_name(&self) -> &str {
        self.database.name()
    }

    /// Returns a name for a role that no other test uses.
    pub(crate) fn role(&self) -> String {
        format!("{}_app", self.database.name())
    }

    /// Returns what `check` finds, without its notes.
    pub(crate) async fn mismatches(&self, engine: &SyncEngine) -> Vec<Finding> {
        let mut found = engine.check(&self.tenant).await.unwrap();
        found.retain(|finding| finding.level != Level::Note);
        found
    }

    /// Runs SQL as a user of the database.
    pub(crate) async fn sql(&self, statement: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Reads one value without the engine.
    pub(crate) async fn one(&self, query: &str) -> Json {
        let wrapped =
            format!("select to_jsonb(found) -> 'value' from (select ({query}) as value) as found");
        let found: Option<Json> = sqlx::query_scalar(sqlx::AssertSqlSafe(wrapped))
            .fetch_one(&self.pool)
            .await
            .unwrap();
        found.unwrap_or(Json::Null)
    }

    /// Reads rows without the engine.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Json> {
        let wrapped = format!("select to_jsonb(found) from ({query}) as found");
        sqlx::query_scalar(sqlx::AssertSqlSafe(wrapped))
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) fn deadline(&self) -> Deadline {
        self.engine.deadline_in(Duration::from_secs(600))
    }

    pub(crate) async fn capture_postgres(&self) -> CaptureReport {
        let options = CaptureOptions::draining(self.deadline());
        let captured = self.engine.capture_postgres(&self.tenant, &options).await;
        captured.unwrap()
    }

    pub(crate) async fn capture_salesforce(&self) -> CaptureReport {
        let options = CaptureOptions::draining(self.deadline());
        let captured = self.engine.capture_salesforce(&self.tenant, &options).await;
        captured.unwrap()
    }

    pub(crate) async fn apply(&self, object: &str) -> ApplyReport {
        self.apply_by(&self.engine, object).await
    }

    pub(crate) async fn apply_by(&self, engine: &SyncEngine, object: &str) -> ApplyReport {
        let object = ObjectName::parse(object).unwrap();
        let applied = engine
            .apply(&self.tenant, &object, 0, self.deadline())
            .await;
        applied.unwrap()
    }

    /// Runs all jobs repeatedly until there is no more work.
    pub(crate) async fn drain(&self) {
        for _ in 0..ROUNDS_MAX {
            let postgres = self.capture_postgres().await;
            let salesforce = self.capture_salesforce().await;
            let mut leased = 0;
            for object in &self.config.objects {
                leased += self.apply(object.object.as_str()).await.leased;
            }
            if postgres.counts.seen + salesforce.counts.seen + salesforce.scanned + leased == 0 {
                return;
            }
        }
        panic!("the stage does not come to rest: {:?}", self.tasks().await);
    }

    /// Like `drain`, for a polled org. Overlapping polls return the same records again, so it ends when
    /// nothing is leased.
    pub(crate) async fn drain_polling(&self) {
        for _ in 0..ROUNDS_MAX {
            let postgres = self.capture_postgres().await;
            let salesforce = self.capture_salesforce().await;
            let mut leased = 0;
            for object in &self.config.objects {
                leased += self.apply(object.object.as_str()).await.leased;
            }
            if postgres.counts.seen + salesforce.dirty + leased == 0 {
                return;
            }
        }
        panic!("the stage does not come to rest: {:?}", self.tasks().await);
    }

    /// Makes every waiting task due now.
    pub(crate) async fn make_due(&self) {
        self.sql(
            "update syncline.sync_task set due_at = now() where state = 'ready';
            update syncline.sync_outage set retry_at = now()",
        )
        .await;
    }

    /// Lets seconds pass for everything that waits.
    pub(crate) async fn pass_seconds(&self, seconds: u32) {
        self.sql(&format!(
            "update syncline.sync_task set due_at = due_at - interval '{seconds} seconds';
            update syncline.sync_outage set retry_at = retry_at - interval '{seconds} seconds';
            update syncline.sync_schema set described_at = described_at - interval '{seconds} seconds'"
        ))
        .await;
    }

    /// Lets so much time pass since the org was described that the next process asks it again.
    pub(crate) async fn age_schemas(&self) {
        self.sql("update syncline.sync_schema set described_at = described_at - interval '1 hour'")
            .await;
    }

    /// Makes every lease of a record expire.
    pub(crate) async fn expire_leases(&self) {
        self.sql(
            "update syncline.sync_task set lease_until = syncline.clock() - interval '1 second'
            where state = 'leased';
            update syncline.sync_intent set deadline = syncline.clock() - interval '1 second'
            where state = 'open'",
        )
        .await;
    }

    /// Postgres ends every connection of the engine.
    pub(crate) async fn cut_connections(&self) {
        self.sql(
            "select pg_terminate_backend(pid)
            from pg_stat_activity
            where datname = current_database()
            and application_name = 'syncline'",
        )
        .await;
    }

    /// Sweeps once.
    pub(crate) async fn sweep(&self) {
        self.engine.sweep(&self.tenant).await.unwrap();
    }

    /// Returns the open tasks, for messages of failing tests.
    pub(crate) async fn tasks(&self) -> Vec<Json> {
        self.rows(
            "select link.object, link.external_id, task.state, task.attempts, task.code, task.reason
            from syncline.sync_task as task
            join syncline.sync_link as link using (record_id)
            order by link.object, link.external_id",
        )
        .await
    }

    /// Returns the open conflicts by field.
    pub(crate) async fn conflicts(&self) -> Vec<Json> {
        self.rows("select field, base_value, postgres_value, salesforce_value from syncline.sync_conflict where state = 'open' order by field")
            .await
    }

    /// Asserts that both sides, read without the engine, have the same accounts and contacts, and that no
    /// task is left.
    pub(crate) async fn assert_equal(&self) {
        assert_eq!(self.tasks().await, Vec::<Json>::new(), "work is left");
        assert_eq!(self.accounts_here().await, self.accounts_there());
        assert_eq!(self.contacts_here().await, self.contacts_there());
    }

    async fn accounts_here(&self) -> Vec<Json> {
        let mut rows = self
            .rows(
                "select external_id, name, phone, industry, rating, trim_scale(revenue) as revenue, active,
                    parent_external_id as parent from account order by external_id collate \"C\"",
            )
            .await;
        rows.iter_mut().for_each(plain_number);
        rows
    }

    fn accounts_there(&self) -> Vec<Json> {
        let mut rows: Vec<Json> = self
            .org
            .query(
                "select External_Id__c, Name, Phone, Industry, Rating, AnnualRevenue, Active__c, \
                 Parent.External_Id__c from Account",
            )
            .iter()
            .map(|row| {
                serde_json::json!({
                    "external_id": row["External_Id__c"],
                    "name": row["Name"],
                    "phone": row["Phone"],
                    "industry": row["Industry"],
                    "rating": row["Rating"],
                    "revenue": row["AnnualRevenue"],
                    "active": row["Active__c"],
                    "parent": row["Parent"]["External_Id__c"],
                })
            })
            .collect();
        rows.iter_mut().for_each(plain_number);
        rows.sort_by_key(|row| row["external_id"].to_string());
        rows
    }

    async fn contacts_here(&self) -> Vec<Json> {
        self.rows(
            "select external_id, last_name, email, account_external_id as account
            from contact order by external_id collate \"C\"",
        )
        .await
    }

    fn contacts_there(&self) -> Vec<Json> {
        let mut rows: Vec<Json> = self
            .org
            .query("select External_Id__c, LastName, Email, Account.External_Id__c from Contact")
            .iter()
            .map(|row| {
                serde_json::json!({
                    "external_id": row["External_Id__c"],
                    "last_name": row["LastName"],
                    "email": row["Email"],
                    "account": row["Account"]["External_Id__c"],
                })
            })
            .collect();
        rows.sort_by_key(|row| row["external_id"].to_string());
        rows
    }
}

/// Returns a database with the tables alone.
async fn tables() -> TestDatabase {
    TestDatabase::prepared("tables", create_tables).await
}

/// Returns a database with the tables and the control plane.
async fn migrated_tables() -> TestDatabase {
    TestDatabase::prepared("migrated_tables", async |url| {
        let store = open(&url);
        store.migrate().await.unwrap();
        store.close().await;
        create_tables(url).await;
    })
    .await
}

async fn create_tables(url: String) {
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(TABLES)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

fn open(url: &str) -> PgStore {
    let options = PgStoreOptions::new(SecretString::from(url));
    PgStore::open(&options).unwrap()
}

/// Normalises the revenue, so that `1.0` equals `1`.
fn plain_number(row: &mut Json) {
    if let Some(number) = row["revenue"].as_number() {
        let text = number.to_string();
        let trimmed = match text.split_once('.') {
            Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => &text,
        };
        row["revenue"] = Json::from(trimmed.to_owned());
    }
}
