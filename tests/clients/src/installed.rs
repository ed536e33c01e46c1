//! Where each client is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A third-party client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// simple-salesforce, from PyPI.
    SimpleSalesforce,
    /// tap-salesforce, from PyPI.
    TapSalesforce,
    /// jsforce and salesforce-pubsub-api-client, from npm.
    Node,
    /// The crate force, from crates.io.
    Force,
}

impl Client {
    /// Returns the program that runs a scenario, and the folder of its scenarios.
    ///
    /// # Panics
    ///
    /// Panics if the client cannot be installed; the message is the installer's output.
    pub(crate) fn program(self) -> (PathBuf, PathBuf) {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (variable, tool, folder) = match self {
            Self::SimpleSalesforce => {
                let variable = "SYNCLINE_CLIENT_SIMPLE_SALESFORCE";
                (variable, "simple-salesforce", here.join("python"))
            }
            Self::TapSalesforce => {
                let variable = "SYNCLINE_CLIENT_TAP_SALESFORCE";
                (variable, "tap-salesforce", here.join("python"))
            }
            Self::Node => ("SYNCLINE_CLIENT_NODE", "node-clients", here.join("node")),
            Self::Force => (
                "SYNCLINE_CLIENT_FORCE",
                "force-scenarios",
                here.join("force"),
            ),
        };
        let program = match std::env::var_os(variable) {
            Some(path) => PathBuf::from(path),
            None => install(tool),
        };
        (program, folder)
    }
}

/// Runs the repository's installer, which does nothing if the client is already installed.
fn install(tool: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/tools");
    let mut command = Command::new(&script);
    // Cargo's package variables would make build scripts run again for no reason.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command
        .arg(tool)
        .output()
        .unwrap_or_else(|error| panic!("{} cannot be run: {error}", script.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "scripts/tools {tool} failed:\n{errors}"
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}
