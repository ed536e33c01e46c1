//! Moves a row to Salesforce and an edit back, between a throwaway Postgres and a local org.
//!
//! `cargo run -p syncline --example both_ways`

use std::{error::Error, sync::Arc, time::Duration};

use salesforce_org::{Org, local, server};
use secrecy::SecretString;
use serde_json::json;
use syncline::capture::CaptureOptions;
use syncline::config::Config;
use syncline::salesforce::{HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions};
use syncline::store::{PgStore, PgStoreOptions};
use syncline::{SyncEngine, model::ids::ObjectName, model::ids::TenantId};
use throwaway_postgres::TestDatabase;

const TABLE: &str = "create table account (external_id text primary key, name text)";
const MAPPING: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://example.com", client_id = "id", auth = "client_credentials", secret = "env:S" }
postgres = { url = "env:DATABASE_URL" }

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = { field = "External_Id__c", column = "external_id" }
fields = { Name = { column = "name" } }
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Two empty sides.
    let org = server::start(Org::default(), &server::Options::default()).await?;
    let database = TestDatabase::empty().await;
    let mut user = database.connect().await;
    sqlx::raw_sql(TABLE).execute(&mut user).await?;

    // An engine between them.
    let (tenant, account) = (TenantId::parse("acme")?, ObjectName::parse("Account")?);
    let config = Config::parse(MAPPING)?.tenants[&tenant].clone();
    let options = PgStoreOptions::new(SecretString::from(database.url()));
    let store = PgStore::open(&options)?;
    let secret = SecretString::from(local::CLIENT_SECRET);
    let login = Login::ClientCredentials { secret };
    let mut options = SalesforceOptions::new(&org.http_url(), local::CLIENT_ID, login, "62.0");
    options.pubsub_url = org.grpc_url();
    let client = HttpSalesforce::new(options, Arc::new(MemoryTokenStore::default()))?;
    let engine = SyncEngine::builder()
        .tenant(config, Arc::new(store.clone()), Arc::new(client))
        .build();
    store.migrate().await?;
    store
        .install(&engine.mapped_objects(&tenant).await?)
        .await?;
    let sync = async || {
        let deadline = engine.deadline_in(Duration::from_secs(60));
        let options = CaptureOptions::draining(deadline);
        engine.capture_postgres(&tenant, &options).await?;
        engine.capture_salesforce(&tenant, &options).await?;
        engine.apply(&tenant, &account, 0, deadline).await
    };

    // A row goes to Salesforce.
    let insert = "insert into account values ('A-1', 'Acme')";
    sqlx::raw_sql(insert).execute(&mut user).await?;
    let report = sync().await?;
    println!("Salesforce took {} record", report.applied);

    // An edit comes back.
    let select = "select salesforce_id from syncline.sync_link";
    let id: String = sqlx::query_scalar(select).fetch_one(&mut user).await?;
    let id = salesforce_org::RecordId::parse(&id).ok_or("the link holds a Salesforce id")?;
    org.with_org(|org| org.update_as(local::PERSON, id, &json!({"Name": "Acme Ltd"})))
        .map_err(|error| error.message().to_owned())?;
    sync().await?;
    let select = "select name from account";
    let name: String = sqlx::query_scalar(select).fetch_one(&mut user).await?;
    println!("Postgres holds {name}");
    Ok(())
}
