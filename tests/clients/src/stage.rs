//! An org for one test, and checks on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use salesforce_org::local::{
    CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER, PASSWORD, PRIVATE_KEY, REFRESH_TOKEN,
    SECURITY_TOKEN,
};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Org, Request};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::installed::{Client, Language};
use crate::tunnel::Tunnel;
use crate::{report, scenario};

/// Short enough that an idle subscriber gets a keep-alive within a test.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// A running org and a folder for its client.
#[derive(Debug)]
pub struct Stage {
    running: Running,
    login_hosts: Tunnel,
    folder: TempDir,
}

impl Stage {
    /// Starts the built-in org without records.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub async fn start() -> Self {
        Self::of(Org::default()).await
    }

    /// Starts this org.
    ///
    /// # Panics
    ///
    /// Panics if it does not start.
    pub async fn of(org: Org) -> Self {
        let options = Options {
            keep_alive: KEEP_ALIVE,
            ..Options::default()
        };
        let running = start(org, &options).await.expect("loopback has free ports");
        let login_hosts = Tunnel::to(running.http_address())
            .await
            .expect("loopback has free ports");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, text) in [
            ("key.pem", PRIVATE_KEY),
            ("authority.pem", running.certificate_pem()),
        ] {
            std::fs::write(folder.path().join(name), text).expect("the folder is ours");
        }
        Self {
            running,
            login_hosts,
            folder,
        }
    }

    /// Runs a scenario, given by name and arguments, and returns the calls that it made.
    ///
    /// # Panics
    ///
    /// Panics if the scenario fails or exceeds its time limit; the message is its output.
    pub async fn play(&self, client: Client, scenario: &str) -> Calls {
        let before = Calls::of(&self.stats());
        let outcome = self.run(client, scenario).await;
        let calls = Calls::of(&self.stats()).since(&before);
        report::add(client, scenario, outcome.is_ok(), calls.all());
        if let Err(why) = outcome {
            panic!("{why}");
        }
        calls
    }

    /// Returns why a scenario failed.
    async fn run(&self, client: Client, scenario: &str) -> Result<(), String> {
        let program = client.program();
        let mut words = scenario.split(' ');
        let name = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        match client.language() {
            Language::Rust => command.arg(name),
            Language::Python | Language::Node => command.arg(client.scenarios().join(name)),
        };
        command.args(words);
        self.furnish(&mut command, client, &program);
        let ended = scenario::run(command)
            .await
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", program.display()));
        match ended.status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("{scenario} ended with {status}:\n{}", ended.output)),
            None => Err(format!("{scenario} did not end in time:\n{}", ended.output)),
        }
    }

    /// Sets the environment of a scenario. Nothing is inherited from the caller, because a proxy or
    /// a certificate bundle there would change the client's behaviour.
    fn furnish(&self, command: &mut Command, client: Client, program: &Path) {
        let folder = self.folder.path();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", folder)
            .env("TMPDIR", folder)
            .env("ORG_HTTP", self.running.http_url())
            .env("ORG_HTTPS", self.running.https_url())
            .env("ORG_GRPCS", self.running.grpcs_url())
            .env("ORG_CLIENT_ID", CLIENT_ID)
            .env("ORG_CLIENT_SECRET", CLIENT_SECRET)
            .env("ORG_REFRESH_TOKEN", REFRESH_TOKEN)
            .env("ORG_USERNAME", INTEGRATION_USER)
            .env("ORG_PASSWORD", PASSWORD)
            .env("ORG_SECURITY_TOKEN", SECURITY_TOKEN)
            .env("ORG_KEY_FILE", folder.join("key.pem"));
        let authority = folder.join("authority.pem");
        match client.language() {
            Language::Python => command
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .env("CLIENT_FOLDER", program.parent().unwrap_or(folder))
                .env("HTTPS_PROXY", self.login_hosts.url())
                .env("NO_PROXY", "127.0.0.1")
                .env("REQUESTS_CA_BUNDLE", &authority)
                .env("SSL_CERT_FILE", authority),
            Language::Node => command.env("NODE_EXTRA_CA_CERTS", authority),
            Language::Rust => command,
        };
    }

    /// Returns the records of a query, without `attributes`.
    ///
    /// # Panics
    ///
    /// Panics if the org refuses the query, or if the result has more than one page.
    pub fn records(&self, soql: &str) -> Vec<Json> {
        self.select("query", soql)
    }

    /// Returns the records of a query, including deleted ones.
    ///
    /// # Panics
    ///
    /// Panics like [`Stage::records`].
    pub fn records_and_deleted(&self, soql: &str) -> Vec<Json> {
        self.select("queryAll", soql)
    }

    fn select(&self, resource: &str, soql: &str) -> Vec<Json> {
        let answer = self.running.with_org(|org| {
            let token = org
                .open_session(INTEGRATION_USER)
                .expect("the built-in user is there");
            let escaped = soql.replace('%', "%25").replace(' ', "+");
            let target = format!("/services/data/v62.0/{resource}?q={escaped}");
            org.request(&Request::new("GET", &target).bearer(&token))
        });
        let mut json = answer.to_json();
        assert_eq!(answer.status, 200, "{soql}: {json}");
        assert_eq!(json["done"], true, "{soql} has more than one page");
        let Json::Array(mut records) = json["records"].take() else {
            panic!("{soql}: no records in {json}");
        };
        for record in &mut records {
            if let Some(members) = record.as_object_mut() {
                members.remove("attributes");
            }
        }
        records
    }

    /// Returns the org's statistics.
    ///
    /// # Panics
    ///
    /// Panics if the control endpoint does not answer.
    pub fn stats(&self) -> Json {
        let answer = self
            .running
            .with_org(|org| org.request(&Request::new("GET", "/_org/stats")));
        assert_eq!(answer.status, 200);
        answer.to_json()
    }

    /// Gives the integration user the permission to hard delete.
    ///
    /// # Panics
    ///
    /// Panics if the control endpoint refuses it.
    pub fn allow_hard_delete(&self) {
        let order = Request::new("POST", "/_org/bulk");
        let order = order.json(&json!({"hard_delete": [INTEGRATION_USER]}));
        let answer = self.running.with_org(|org| org.request(&order));
        assert_eq!(answer.status, 200, "{}", answer.to_json());
    }

    /// Runs `act` on the org.
    pub fn with_org<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        self.running.with_org(act)
    }
}

/// The number of calls of each kind.
#[derive(Debug)]
pub struct Calls {
    by_resource: BTreeMap<String, u64>,
    /// The calls that Salesforce would count against the daily limit.
    pub counted: u64,
}

impl Calls {
    fn of(stats: &Json) -> Self {
        let calls = stats["calls"].as_object().into_iter().flatten();
        Self {
            by_resource: calls
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or_default()))
                .collect(),
            counted: stats["api_calls"].as_u64().unwrap_or_default(),
        }
    }

    fn since(mut self, before: &Self) -> Self {
        for (name, count) in &mut self.by_resource {
            *count -= before.made(name);
        }
        self.counted -= before.counted;
        self
    }

    /// Returns the number of all calls.
    fn all(&self) -> u64 {
        self.by_resource.values().sum()
    }

    /// Returns how many times a call was made, such as `POST /sobjects/{object}`.
    #[must_use]
    pub fn made(&self, call: &str) -> u64 {
        self.by_resource.get(call).copied().unwrap_or_default()
    }
}
