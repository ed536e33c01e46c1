//! A fresh database on a running server.
use secrecy::SecretString;
use sqlx::PgPool;
use syncline::store::{PgStore, PgStoreOptions};

pub(crate) struct TestDatabase { url: String }
impl TestDatabase {
    pub(crate) async fn create() -> Self {
        let server = std::env::var("ENGINE_TEST_URL").unwrap_or("postgres://postgres@127.0.0.1:49771/postgres".into());
        let name = format!("t{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, format!("{:?}{:?}", std::thread::current().id(), std::time::SystemTime::now()).as_bytes()).simple());
        let pool = PgPool::connect(&server).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database {name}"))).execute(&pool).await.unwrap();
        pool.close().await;
        Self { url: server.replace("/postgres", &format!("/{name}")).replacen(&format!("/{name}"), "/postgres", if server.matches("/postgres").count() > 1 {1} else {0}) }
    }
    pub(crate) fn store(&self) -> PgStore {
        PgStore::open(&PgStoreOptions { url: SecretString::from(self.url.clone()), statement_cache: true, connections_max: 4 }).unwrap()
    }
    pub(crate) fn pool(&self) -> PgPool { sqlx::postgres::PgPoolOptions::new().max_connections(3).connect_lazy(&self.url).unwrap() }
}
