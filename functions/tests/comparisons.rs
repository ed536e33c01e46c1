//! Full comparisons under the function's time: one that ran out of it goes on with the next incremental job, for each
//! tenant.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;
use std::time::Duration;

use salesforce_org::server::{self, Options, Running};
use salesforce_org::{Org, local};
use serde_json::{Value, json};
use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::TenantId;
use syncline::ports::comparison::{Begin, Comparison};
use syncline::reconcile::CompareOptions;
use syncline_functions::jobs;
use syncline_functions::time_limits::TimeLimits;
use throwaway_postgres::TestDatabase;

/// The tenants with the ids of their orgs.
const TENANTS: [(&str, &str); 3] = [
    ("acme", "00D5g00000Aa1aa"),
    ("bolt", "00D5g00000Bb2bb"),
    ("cork", "00D5g00000Cc3cc"),
];

/// More accounts than a page of Salesforce has records.
const ACCOUNTS: u64 = 2_100;

struct Scene {
    database: TestDatabase,
    folder: tempfile::TempDir,
    _orgs: Vec<Running>,
}

impl Scene {
    /// Sets up the tenants, each with an empty table and an org full of accounts.
    async fn open() -> Self {
        let database = TestDatabase::empty().await;
        let folder = tempfile::tempdir().unwrap();
        let (mut orgs, mut config) = (Vec::new(), String::new());
        for (tenant, id) in TENANTS {
            let mut org = Org::from_toml(&format!("[org]\nid = \"{id}\"\n")).unwrap();
            for number in 0..ACCOUNTS {
                let account =
                    json!({"Name": "Ada", "External_Id__c": format!("{tenant}-{number}")});
                org.insert_as(local::PERSON, "Account", &account).unwrap();
            }
            let org = server::start(org, &Options::default()).await.unwrap();
            config.push_str(&section(tenant, &org, folder.path()));
            orgs.push(org);
        }
        std::fs::write(folder.path().join("secret"), local::CLIENT_SECRET).unwrap();
        std::fs::write(folder.path().join("database.url"), database.url()).unwrap();
        std::fs::write(folder.path().join("syncline.toml"), config).unwrap();
        let scene = Self {
            database,
            folder,
            _orgs: orgs,
        };
        let instance = scene.instance();
        let mut user = scene.database.connect().await;
        for (name, tenant) in tenants() {
            let table = format!("create table {name} (external_id text primary key, name text)");
            sqlx::raw_sql(sqlx::AssertSqlSafe(table))
                .execute(&mut user)
                .await
                .unwrap();
            let store = instance.store(&tenant).await.unwrap();
            store.migrate().await.unwrap();
            let engine = instance.engine(&tenant).await.unwrap();
            let mapped = engine.mapped_objects(&tenant).await.unwrap();
            store.install(&mapped).await.unwrap();
        }
        scene
    }

    /// Returns the parts of a new process.
    fn instance(&self) -> Instance {
        let place = self
            .folder
            .path()
            .join("syncline.toml")
            .display()
            .to_string();
        Instance::new(&place, Path::new("."), WakeUpTarget::Silent)
    }

    /// Begins the full comparison of each tenant in a process that ends after the first page.
    async fn begin_comparisons(&self) {
        let instance = self.instance();
        for (_, tenant) in tenants() {
            let engine = instance.engine(&tenant).await.unwrap();
            let options = CompareOptions {
                object: None,
                begin: Begin::Now,
            };
            let stopper = engine.clone();
            let mut stop = |_: &Comparison| stopper.stop();
            let end = engine.deadline_in(Duration::from_secs(600));
            let compared = engine.compare(&tenant, &options, end, &mut stop).await;
            assert!(!compared.unwrap().complete);
        }
    }

    /// Returns the last finished comparison of a tenant's accounts.
    async fn finished(&self, tenant: &TenantId) -> Option<Comparison> {
        let store = self.instance().store(tenant).await.unwrap();
        let comparisons = store.comparisons(tenant).await.unwrap().into_iter();
        comparisons
            .into_iter()
            .find(|one| one.finished_at.is_some())
    }
}

fn tenants() -> [(&'static str, TenantId); 3] {
    TENANTS.map(|(name, _)| (name, TenantId::parse(name).unwrap()))
}

fn section(tenant: &str, org: &Running, folder: &Path) -> String {
    format!(
        r#"
[tenant.{tenant}]
salesforce = {{ login_url = "{}", pubsub_url = "{}", client_id = "{}", auth = "client_credentials", secret = "file:{folder}/secret" }}
postgres = {{ url = "file:{folder}/database.url" }}

[[tenant.{tenant}.object]]
object = "Account"
table = "{tenant}"
external_id = {{ field = "External_Id__c", column = "external_id" }}

[tenant.{tenant}.object.fields]
Name = {{ column = "name" }}
"#,
        org.http_url(),
        org.grpc_url(),
        local::CLIENT_ID,
        folder = folder.display(),
    )
}

async fn reconcile(scene: &Scene, kind: &str, remaining: Duration) -> Value {
    let limits = TimeLimits::with_remaining(remaining);
    let done = jobs::reconcile(&scene.instance(), json!({"job": kind}), limits).await;
    done.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_comparisons_go_on_for_every_tenant() {
    let scene = Scene::open().await;
    // The incremental job begins none.
    let done = reconcile(&scene, "incremental", Duration::from_secs(120)).await;
    for (name, tenant) in tenants() {
        assert_eq!(
            done["tenants"][name]["full"]["compared"],
            json!(0),
            "{done}"
        );
        assert!(scene.finished(&tenant).await.is_none());
    }
    scene.begin_comparisons().await;
    for (_, tenant) in tenants() {
        assert!(scene.finished(&tenant).await.is_none());
    }
    // An invocation without time for a page leaves them as they are.
    let done = reconcile(&scene, "incremental", Duration::from_secs(8)).await;
    assert_eq!(
        done["tenants"]["acme"]["full"]["complete"],
        json!(false),
        "{done}"
    );

    let done = reconcile(&scene, "incremental", Duration::from_secs(120)).await;
    for (name, tenant) in tenants() {
        let full = &done["tenants"][name]["full"];
        assert_eq!(full["complete"], json!(true), "{done}");
        // The rest alone.
        assert_eq!(full["compared"], json!(100), "{done}");
        let finished = scene.finished(&tenant).await.unwrap();
        assert_eq!(finished.tally.in_salesforce, ACCOUNTS);
        assert_eq!(finished.tally.records(), ACCOUNTS);
    }
}
