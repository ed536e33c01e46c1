//! Runs the repository's scripts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Returns the root of the repository: `SYNCLINE_ROOT`, else where this crate was built.
pub fn root() -> PathBuf {
    match std::env::var_os("SYNCLINE_ROOT") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
    }
}

/// Runs `scripts/<name>` and returns what it printed, without the last newline.
///
/// # Errors
///
/// If it cannot be run or fails; the message is its standard error.
pub fn run(name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = output(name, arguments)?;
    if !output.status.success() {
        bail!(
            "scripts/{name} {} failed:\n{}",
            arguments.first().unwrap_or(&""),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    let printed = String::from_utf8(output.stdout).context("a script prints UTF-8")?;
    Ok(printed.trim_end().to_owned())
}

/// Runs a script off the async threads.
///
/// # Errors
///
/// As [`run`].
pub async fn run_async(name: &'static str, arguments: Vec<String>) -> anyhow::Result<String> {
    tokio::task::spawn_blocking(move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(name, &arguments)
    })
    .await
    .context("a script's thread ended")?
}

fn output(name: &str, arguments: &[&str]) -> anyhow::Result<Output> {
    let script = root().join("scripts").join(name);
    Command::new(&script)
        .args(arguments)
        .output()
        .with_context(|| format!("{} cannot be run", script.display()))
}
