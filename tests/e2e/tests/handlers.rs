//! Each handler by itself, under `cargo lambda watch`, with the sample events of `infra/events`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use salesforce_org::FaultAction;
use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use syncline_e2e::load::Births;
use syncline_e2e::scripts;
use syncline_e2e::world::World;

/// The first call of a function waits for cargo.
const CALL_MAX: Duration = Duration::from_secs(240);

/// The local Lambda. Dropping it stops it and the functions it started.
struct Watch {
    process: Child,
    url: String,
    http: reqwest::Client,
}

impl Watch {
    async fn start(world: &World) -> anyhow::Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let environment = world.folder().join("functions.env");
        std::fs::write(&environment, variables(world))?;
        let tool = match std::env::var_os("SYNCLINE_CARGO_LAMBDA") {
            Some(tool) => PathBuf::from(tool),
            None => PathBuf::from(scripts::run("tools", &["cargo-lambda"])?),
        };
        let log = std::fs::File::create(world.folder().join("watch.log"))?;
        let process = Command::new(tool)
            // No `-p`: with the features of one package, cargo would rebuild every dependency.
            .args(["lambda", "watch", "--ignore-changes", "--quiet"])
            .args(["-P", &port.to_string(), "--env-file"])
            .arg(&environment)
            .current_dir(scripts::root())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A process group: ending the group ends the functions, too.
            .process_group(0)
            .spawn()
            .context("cargo-lambda cannot be run")?;
        let watch = Self {
            process,
            url: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().timeout(CALL_MAX).build()?,
        };
        watch.until_it_listens(port).await?;
        Ok(watch)
    }

    async fn until_it_listens(&self, port: u16) -> anyhow::Result<()> {
        let started = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            if started.elapsed() > CALL_MAX {
                bail!("cargo lambda watch does not listen");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Invokes a function with one of the sample events.
    async fn invoke(&self, function: &str, event: &str) -> anyhow::Result<Value> {
        let path = scripts::root().join(format!("infra/events/{event}.json"));
        let event: Value = serde_json::from_str(&std::fs::read_to_string(&path)?)?;
        self.invoke_with(function, &event).await
    }

    async fn invoke_with(&self, function: &str, event: &Value) -> anyhow::Result<Value> {
        let answer = self
            .http
            .post(format!(
                "{}/2015-03-31/functions/{function}/invocations",
                self.url
            ))
            .json(event)
            .send()
            .await?;
        Ok(answer.json().await?)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        // It may have ended by itself.
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// There is no queue: a lost wake-up changes nothing, and the test invokes apply itself.
fn variables(world: &World) -> String {
    let config = world.config().display().to_string();
    [
        ("SYNCLINE_CONFIG", config.as_str()),
        (
            "SYNCLINE_WAKE_UP_QUEUE_URL",
            "http://127.0.0.1:1/000000000000/wake-up",
        ),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("RUST_LOG", "info"),
    ]
    .map(|(name, value)| format!("{name}={value}\n"))
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_handler_answers_its_sample_events() -> anyhow::Result<()> {
    let world = World::start().await?;
    let births = Births::real_records(20)?;
    births.into_postgres(&world.pool).await?;
    births.into_salesforce(&world.person).await?;
    let watch = Watch::start(&world).await?;

    let migrated = watch.invoke("reconcile", "reconcile-migrate").await?;
    assert_eq!(
        migrated["tenants"]["acme"],
        json!({"migrated": true}),
        "{migrated}"
    );
    world.install().await?;

    let drained = watch.invoke("capture", "capture-postgres").await?;
    let born = births.accounts_in_postgres.len() + births.contacts_in_postgres.len();
    assert_eq!(drained["tenants"]["acme"]["journaled"], born, "{drained}");
    assert_eq!(drained["failed"], json!({}));
    a_failed_invocation_releases_its_leases(&world, &watch).await?;
    let read = watch.invoke("capture", "capture-salesforce").await?;
    // The events may have come before the failure: whichever invocation saw a record, it has work.
    let with_work = "select count(*) from syncline.sync_task
        join syncline.sync_link using (record_id) where salesforce_id is not null";
    let with_work: i64 = sqlx::query_scalar(with_work).fetch_one(&world.pool).await?;
    let born = births.accounts_in_salesforce.len() + births.contacts_in_salesforce.len();
    assert_eq!(usize::try_from(with_work)?, born, "{read}");
    assert_eq!(read["tenants"]["acme"]["scanned"], born, "{read}");

    let all_good = watch.invoke("apply", "apply-sqs").await?;
    assert_eq!(all_good, json!({"batchItemFailures": []}));
    let one_bad = watch.invoke("apply", "apply-sqs-bad-body").await?;
    let reported = json!([{"itemIdentifier": "00000000-0000-4000-8000-000000000002"}]);
    assert_eq!(one_bad, json!({ "batchItemFailures": reported }));
    let in_salesforce = world.person.count("Account", "").await?;
    assert_eq!(usize::try_from(in_salesforce)?, births.accounts());

    for (event, expected) in [
        ("reconcile-sweep", "woken"),
        ("reconcile-incremental", "compared"),
        ("reconcile-full", "compared"),
    ] {
        let answer = watch.invoke("reconcile", event).await?;
        assert!(
            answer["tenants"]["acme"][expected].is_u64(),
            "{event}: {answer}"
        );
    }

    let misspelt = json!({"job": "capture", "side": "postgres", "keep_poling": 50});
    let refused = watch.invoke_with("capture", &misspelt).await?;
    let message = refused["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("`keep_poling`"), "{refused}");
    Ok(())
}

/// The org fails while capture holds the leases of its streams.
async fn a_failed_invocation_releases_its_leases(
    world: &World,
    watch: &Watch,
) -> anyhow::Result<()> {
    let failure = FaultAction::Reject {
        status: 500,
        code: "UNKNOWN_EXCEPTION".to_owned(),
        message: "An unexpected error occurred.".to_owned(),
    };
    world
        .org
        .with_org(|org| org.declare(&failure.once().on("query")));
    let failed = watch.invoke("capture", "capture-salesforce").await?;
    let message = failed["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("no tenant's job was done"), "{failed}");
    let leases = "select count(*) filter (where fencing_token > 0),
        count(*) filter (where lease_until > syncline.wall_clock())
        from syncline.sync_checkpoint where stream <> 'outbox'";
    let (taken, held): (i64, i64) = sqlx::query_as(leases).fetch_one(&world.pool).await?;
    assert!(taken > 0, "it had begun to read");
    assert_eq!(held, 0, "of {taken}");
    Ok(())
}
