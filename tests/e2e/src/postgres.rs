//! A throwaway Postgres server that can be restarted during a run.

use std::path::Path;

use anyhow::Context;
use tempfile::TempDir;

use crate::scripts;

/// A running server. Dropping it ends the server and removes its files.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    url: String,
}

impl Cluster {
    /// Starts a new, empty server on a free port.
    ///
    /// # Errors
    ///
    /// If Postgres is not installed or does not start.
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("syncline-pg.")
            .tempdir()
            .context("a folder for Postgres")?;
        let url = start_in(folder.path(), "").await?;
        Ok(Self { folder, url })
    }

    /// Returns the URL of its database `postgres`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Kills the server as a crash would and starts it again, on the same port.
    ///
    /// # Errors
    ///
    /// When it does not come back.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let folder = self.folder.path().display().to_string();
        scripts::run_async("postgres", vec!["stop".to_owned(), folder]).await?;
        let port = port_of(&self.url)?;
        let url = start_in(self.folder.path(), port).await?;
        anyhow::ensure!(
            url == self.url,
            "Postgres came back as {url}, not as {}",
            self.url
        );
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let folder = self.folder.path().display().to_string();
        if let Err(error) = scripts::run("postgres", &["stop", &folder]) {
            eprintln!("{error:#}");
        }
    }
}

fn port_of(url: &str) -> anyhow::Result<&str> {
    url.rsplit_once(':')
        .and_then(|(_, rest)| rest.split_once('/'))
        .map(|(port, _)| port)
        .context("the URL of Postgres names its port")
}

async fn start_in(folder: &Path, port: &str) -> anyhow::Result<String> {
    let mut arguments = vec!["start".to_owned(), folder.display().to_string()];
    if !port.is_empty() {
        arguments.push(port.to_owned());
    }
    scripts::run_async("postgres", arguments).await
}
