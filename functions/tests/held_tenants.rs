//! Tenants whose database is held, or is a copy: the functions do nothing for them, say so, and go on with the others.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::sqs::SqsEvent;
use salesforce_org::server::{self, Options, Running};
use salesforce_org::{Org, local};
use serde_json::{Value, json};
use syncline::host::instance::{Instance, WakeUpTarget};
use syncline::model::ids::TenantId;
use syncline_functions::jobs;
use syncline_functions::time_limits::TimeLimits;
use throwaway_postgres::TestDatabase;

/// The tenants with the ids of their orgs. The first one works, the second is held by its fence, the third is a copy.
const TENANTS: [(&str, &str); 3] = [
    ("acme", "00D5g00000Aa1aa"),
    ("held", "00D5g00000Bb2bb"),
    ("copied", "00D5g00000Cc3cc"),
];

/// What the functions have logged, as JSON.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Asserts that the held tenant and the copy are each logged with the reason, and forgets what was logged.
    #[track_caller]
    fn names_both(&self) {
        let text = String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap();
        for (tenant, reason) in [("held", "fence"), ("copied", "declared a copy")] {
            let named = format!("\"tenant\":\"{tenant}\"");
            let mut lines = text.lines();
            let is_logged = lines.any(|line| line.contains(&named) && line.contains(reason));
            assert!(is_logged, "{tenant}: {text}");
        }
    }
}

struct Scene {
    orgs: Vec<Running>,
    database: TestDatabase,
    instance: Instance,
    log: Log,
    /// Dropped with the scene.
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Sets up the tenants, each with one account in its table that is captured and not applied.
    async fn open() -> Self {
        let log = Log::default();
        let writer = log.clone();
        let logs = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone());
        logs.init();
        let database = TestDatabase::empty().await;
        let folder = tempfile::tempdir().unwrap();
        let mut orgs = Vec::new();
        let mut config = String::new();
        for (tenant, id) in TENANTS {
            let org = Org::from_toml(&format!("[org]\nid = \"{id}\"\n")).unwrap();
            let org = server::start(org, &Options::default()).await.unwrap();
            config.push_str(&section(tenant, &org, folder.path()));
            orgs.push(org);
        }
        std::fs::write(folder.path().join("secret"), local::CLIENT_SECRET).unwrap();
        std::fs::write(folder.path().join("database.url"), database.url()).unwrap();
        let place = folder.path().join("syncline.toml");
        std::fs::write(&place, config).unwrap();
        let place = place.display().to_string();
        let scene = Self {
            orgs,
            database,
            instance: Instance::new(&place, Path::new("."), WakeUpTarget::Silent),
            log,
            _folder: folder,
        };
        scene.install().await;
        scene
    }

    async fn install(&self) {
        for (name, _) in TENANTS {
            let tenant = TenantId::parse(name).unwrap();
            self.sql(&format!(
                "create table {name} (external_id text primary key, name text)"
            ))
            .await;
            let store = self.instance.store(&tenant).await.unwrap();
            store.migrate().await.unwrap();
            let engine = self.instance.engine(&tenant).await.unwrap();
            let mapped = engine.mapped_objects(&tenant).await.unwrap();
            store.install(&mapped).await.unwrap();
            self.sql(&format!("insert into {name} values ('a-1', 'Ada')"))
                .await;
        }
        let drained = self.capture("postgres").await;
        assert_eq!(drained["failed"], json!({}), "{drained}");
    }

    /// Holds the second tenant and makes the third one's database a copy, each with an edit that waits.
    async fn hold(&self) {
        self.sql(
            "update syncline.sync_database
            set fence_lost_at = now(), fence_lost_to = 'another copy'
            where tenant = 'held';
            update syncline.sync_database set copy_since = now() where tenant = 'copied'",
        )
        .await;
        for (name, _) in TENANTS {
            self.sql(&format!("insert into {name} values ('a-2', 'Bob')"))
                .await;
        }
        self.log.0.lock().unwrap().clear();
    }

    async fn capture(&self, side: &str) -> Value {
        let payload = json!({"job": "capture", "side": side});
        jobs::capture(&self.instance, payload, limits())
            .await
            .unwrap()
    }

    async fn sql(&self, statement: &str) {
        let mut connection = self.database.connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    async fn number(&self, query: &'static str) -> i64 {
        let mut connection = self.database.connect().await;
        sqlx::query_scalar(query)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    }

    /// Returns how many accounts each org has.
    fn accounts(&self) -> Vec<usize> {
        let orgs = self.orgs.iter();
        orgs.map(|org| org.with_org(|org| org.count("Account")))
            .collect()
    }
}

fn section(tenant: &str, org: &Running, folder: &Path) -> String {
    format!(
        r#"
[tenant.{tenant}]
capture = "relay"
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

fn limits() -> TimeLimits {
    TimeLimits::with_remaining(Duration::from_secs(60))
}

/// Returns a batch with one message for each tenant, called like it.
fn batch(body: impl Fn(&str, &str) -> Value) -> Value {
    let records = TENANTS
        .map(|(tenant, org)| json!({"messageId": tenant, "body": body(tenant, org).to_string()}));
    json!({ "Records": records })
}

fn failures(tenants: &[&str]) -> Value {
    let failed = tenants
        .iter()
        .map(|tenant| json!({"itemIdentifier": tenant}));
    json!({"batchItemFailures": failed.collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_tenant_and_copy_stand_still_while_others_work() {
    let scene = Scene::open().await;
    scene.hold().await;

    for side in ["postgres", "salesforce"] {
        let captured = scene.capture(side).await;
        assert!(captured["tenants"]["acme"]["seen"].is_u64(), "{captured}");
        let copy = captured["tenants"]["copied"]["copy"].as_str();
        assert!(
            copy.is_some_and(|text| text.contains("declared a copy")),
            "{captured}"
        );
        let held = captured["failed"]["held"].as_str();
        assert!(
            held.is_some_and(|text| text.contains("fence")),
            "{captured}"
        );
        scene.log.names_both();
    }
    let waiting = "select count(*) from syncline.sync_outbox where tenant <> 'acme'";
    assert_eq!(scene.number(waiting).await, 2, "their edits wait");

    let wake_ups = batch(
        |tenant, _| json!({"v": 1, "job": "apply", "tenant": tenant, "object": "Account", "permit": 0}),
    );
    let event: SqsEvent = serde_json::from_value(wake_ups).unwrap();
    let applied = jobs::apply(&scene.instance, event, limits()).await.unwrap();
    // A wake-up contains no work: the sweep sends another one when the tenant goes on.
    assert_eq!(json!(applied), failures(&[]));
    assert_eq!(scene.accounts(), [2, 0, 0]);
    scene.log.names_both();
    let work = "select count(*) from syncline.sync_task where tenant <> 'acme' and state = 'ready'";
    assert_eq!(scene.number(work).await, 2, "their work waits");

    let swept = jobs::reconcile(&scene.instance, json!({"job": "sweep"}), limits()).await;
    let swept = swept.unwrap();
    assert!(swept["tenants"]["acme"]["woken"].is_u64(), "{swept}");
    assert!(swept["failed"]["held"].is_string(), "{swept}");
    assert!(swept["tenants"]["copied"]["copy"].is_string(), "{swept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relayed_event_of_a_held_tenant_returns_to_its_queue() {
    let scene = Scene::open().await;
    scene.hold().await;
    let events = batch(|_, org| {
        json!({
            "version": "0", "detail-type": "AccountChangeEvent",
            "source": format!("aws.partner/salesforce.com/{org}/0YL5g0000004DfgGAE"),
            "detail": {"payload": {
                "ChangeEventHeader": {
                    "entityName": "Account", "recordIds": ["0015g00000AAAAAAA5"], "changeType": "UPDATE",
                    "changeOrigin": "", "transactionKey": "0006a5f3-d51d-e6c4-1b9c-7a9b1d2e3f40",
                    "sequenceNumber": 1, "commitTimestamp": 1_777_627_801_000_i64, "commitNumber": 10_736_437_567_061_i64,
                    "commitUser": "0055g00000Xy2zZAAR", "changedFields": ["Name"],
                },
                "Name": "Ada",
            }},
        })
    });
    let answer = jobs::capture(&scene.instance, events, limits())
        .await
        .unwrap();
    // No message is acknowledged whose content is not committed: another database may read the same queue.
    assert_eq!(answer, failures(&["copied", "held"]));
    scene.log.names_both();
}
