//! The AWS of a laptop with `infra/template.yaml` in it: real queue, mapping, schedules, functions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use serde::Deserialize;
use tempfile::TempDir;

use crate::scripts;

/// The running emulator. Dropping it ends it and every function process it started.
#[derive(Debug)]
pub struct Aws {
    folder: TempDir,
    described: Described,
}

/// The output of `scripts/stack start`.
#[derive(Debug, Clone, Deserialize)]
struct Described {
    endpoint: String,
    environment: BTreeMap<String, String>,
    #[serde(default)]
    outputs: BTreeMap<String, String>,
}

impl Aws {
    /// Starts the emulator, empty. Every function will see `variables`.
    ///
    /// # Errors
    ///
    /// When it does not start; the text ends with its log.
    pub async fn start(variables: &[(&str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-aws.")
            .tempdir()
            .context("a folder for the AWS emulator")?;
        let mut arguments = vec![
            "start".to_owned(),
            folder.path().display().to_string(),
            "--owner".to_owned(),
            std::process::id().to_string(),
        ];
        for (name, value) in variables {
            arguments.extend(["--env".to_owned(), format!("{name}={value}")]);
        }
        let described = described(scripts::run_async("stack", arguments).await?)?;
        Ok(Self { folder, described })
    }

    /// Deploys the template with the zips in `zips`, or deploys what changed of them since.
    ///
    /// # Errors
    ///
    /// When a zip is missing or the template is refused.
    pub async fn deploy(&mut self, zips: &Path, parameters: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut arguments = vec![
            "deploy".to_owned(),
            self.folder.path().display().to_string(),
            "--zips".to_owned(),
            zips.display().to_string(),
        ];
        for (name, value) in parameters {
            arguments.extend(["--parameter".to_owned(), format!("{name}={value}")]);
        }
        self.described = described(scripts::run_async("stack", arguments).await?)?;
        Ok(())
    }

    /// Returns its address.
    pub fn endpoint(&self) -> &str {
        &self.described.endpoint
    }

    /// Returns the variables that an AWS client needs to reach it.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.described.environment
    }

    /// Returns an output of the deployed template.
    ///
    /// # Errors
    ///
    /// If the template has no output of that name, or is not deployed.
    pub fn output(&self, name: &str) -> anyhow::Result<&str> {
        self.described
            .outputs
            .get(name)
            .map(String::as_str)
            .with_context(|| format!("the deployed template has no output {name}"))
    }

    /// Returns the file with the functions' output.
    pub fn functions_log(&self) -> PathBuf {
        self.folder.path().join("functions.log")
    }

    /// Returns the configuration of a client of the emulator.
    pub async fn client_config(&self) -> aws_config::SdkConfig {
        let environment = |name: &str| {
            self.described
                .environment
                .get(name)
                .cloned()
                .unwrap_or_default()
        };
        aws_config::defaults(aws_config::BehaviorVersion::latest())
            .endpoint_url(self.endpoint())
            .region(aws_config::Region::new(environment("AWS_REGION")))
            .credentials_provider(aws_sdk_sqs::config::Credentials::new(
                environment("AWS_ACCESS_KEY_ID"),
                environment("AWS_SECRET_ACCESS_KEY"),
                None,
                None,
                "scripts/stack",
            ))
            .load()
            .await
    }

    /// Keeps a secret in its Secrets Manager.
    ///
    /// # Errors
    ///
    /// When the emulator does not take it.
    pub async fn keep_secret(&self, id: &str, secret: &str) -> anyhow::Result<()> {
        aws_sdk_secretsmanager::Client::new(&self.client_config().await)
            .create_secret()
            .name(id)
            .secret_string(secret)
            .send()
            .await
            .with_context(|| format!("the secret {id} was not kept"))?;
        Ok(())
    }

    /// Creates a function from a zip, beside those of the template.
    ///
    /// # Errors
    ///
    /// When the emulator refuses.
    pub async fn create_function(&self, name: &str, zip: &Path) -> anyhow::Result<()> {
        let zip = std::fs::read(zip).with_context(|| format!("{} is missing", zip.display()))?;
        let body = serde_json::json!({
            "FunctionName": name,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Role": "arn:aws:iam::000000000000:role/of-a-test",
            "Timeout": 30,
            "Code": {"ZipFile": base64::engine::general_purpose::STANDARD.encode(zip)},
        });
        let answer = reqwest::Client::new()
            .post(format!("{}/2015-03-31/functions", self.endpoint()))
            .json(&body)
            .send()
            .await?;
        let status = answer.status();
        anyhow::ensure!(
            status.is_success(),
            "the function {name} was not created: {status} {}",
            answer.text().await?
        );
        Ok(())
    }

    /// Wakes a function and does not wait for its answer, as a schedule does.
    ///
    /// # Errors
    ///
    /// When the emulator does not take the invocation.
    pub async fn wake(&self, function: &str, payload: &serde_json::Value) -> anyhow::Result<()> {
        reqwest::Client::new()
            .post(self.invocations(function))
            .header("X-Amz-Invocation-Type", "Event")
            .json(payload)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }

    /// Invokes a function and waits for its answer.
    ///
    /// # Errors
    ///
    /// When the emulator cannot be asked. A function that failed is an answer.
    pub async fn invoke(
        &self,
        function: &str,
        payload: &serde_json::Value,
    ) -> anyhow::Result<serde_json::Value> {
        let answer = reqwest::Client::new()
            .post(self.invocations(function))
            .json(payload)
            .send()
            .await
            .context("the emulator cannot be reached")?;
        answer.json().await.context("a function answers with JSON")
    }

    fn invocations(&self, function: &str) -> String {
        format!(
            "{}/2015-03-31/functions/{function}/invocations",
            self.endpoint()
        )
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        let folder = self.folder.path().display().to_string();
        if let Err(error) = scripts::run("stack", &["stop", &folder]) {
            eprintln!("{error:#}");
        }
    }
}

/// Returns the folder that holds the function zips, with those that only tests deploy: the one that
/// `SYNCLINE_FUNCTION_ZIPS` names, else it is built.
///
/// # Errors
///
/// When they cannot be built.
pub async fn function_zips() -> anyhow::Result<PathBuf> {
    match std::env::var_os("SYNCLINE_FUNCTION_ZIPS") {
        Some(zips) => Ok(PathBuf::from(zips)),
        None => build_function_zips("tests").await,
    }
}

/// Builds the function zips with this argument of `scripts/package-functions`, and returns their folder.
///
/// # Errors
///
/// When they cannot be built.
pub async fn build_function_zips(kind: &'static str) -> anyhow::Result<PathBuf> {
    scripts::run_async("package-functions", vec![kind.to_owned()])
        .await
        .map(PathBuf::from)
}

fn described(printed: String) -> anyhow::Result<Described> {
    serde_json::from_str(&printed).context("scripts/stack prints JSON")
}
