//! The clients, and where each is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A third-party client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// simple-salesforce, from PyPI.
    SimpleSalesforce,
    /// tap-salesforce, from PyPI.
    TapSalesforce,
    /// aiosalesforce, from PyPI.
    AioSalesforce,
    /// django-salesforce, from PyPI.
    DjangoSalesforce,
    /// pysfpubsub, from PyPI: the class of Salesforce's Pub/Sub guide.
    PySfPubSub,
    /// aiosfpubsub, from PyPI.
    AioSfPubSub,
    /// dlt with its Salesforce source in ingestr, from PyPI.
    Dlt,
    /// CumulusCI, from PyPI.
    CumulusCi,
    /// jsforce, from npm.
    Jsforce,
    /// salesforce-pubsub-api-client, from npm.
    PubSubApiClient,
    /// The Salesforce CLI, from npm.
    SalesforceCli,
    /// sfdmu, a plugin of the Salesforce CLI, from npm.
    Sfdmu,
    /// The crate force, from crates.io.
    Force,
}

/// The language of a client's scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    Python,
    Node,
    /// Compiled: the scenarios are one program.
    Rust,
}

impl Client {
    /// Returns its name in its registry.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::SimpleSalesforce => "simple-salesforce",
            Self::TapSalesforce => "tap-salesforce",
            Self::AioSalesforce => "aiosalesforce",
            Self::DjangoSalesforce => "django-salesforce",
            Self::PySfPubSub => "pysfpubsub",
            Self::AioSfPubSub => "aiosfpubsub",
            Self::Dlt => "dlt",
            Self::CumulusCi => "cumulusci",
            Self::Jsforce => "jsforce",
            Self::PubSubApiClient => "salesforce-pubsub-api-client",
            Self::SalesforceCli => "@salesforce/cli",
            Self::Sfdmu => "sfdmu",
            Self::Force => "force",
        }
    }

    /// Returns the name by which `scripts/tools` installs it.
    fn tool(self) -> &'static str {
        match self {
            Self::SimpleSalesforce
            | Self::TapSalesforce
            | Self::AioSalesforce
            | Self::DjangoSalesforce
            | Self::Dlt
            | Self::CumulusCi => self.package(),
            Self::PySfPubSub | Self::AioSfPubSub => "pubsub-python",
            Self::Jsforce | Self::PubSubApiClient => "node-clients",
            Self::SalesforceCli | Self::Sfdmu => "salesforce-cli",
            Self::Force => "force-scenarios",
        }
    }

    pub(crate) fn language(self) -> Language {
        match self {
            Self::SimpleSalesforce
            | Self::TapSalesforce
            | Self::AioSalesforce
            | Self::DjangoSalesforce
            | Self::PySfPubSub
            | Self::AioSfPubSub
            | Self::Dlt
            | Self::CumulusCi => Language::Python,
            Self::Jsforce | Self::PubSubApiClient | Self::SalesforceCli | Self::Sfdmu => {
                Language::Node
            }
            Self::Force => Language::Rust,
        }
    }

    /// Returns the folder of its scenarios.
    pub(crate) fn scenarios(self) -> PathBuf {
        let folder = match (self, self.language()) {
            (Self::SalesforceCli | Self::Sfdmu, _) => "salesforce-cli",
            (_, Language::Python) => "python",
            (_, Language::Node) => "node",
            (_, Language::Rust) => "force",
        };
        Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
    }

    /// Returns the program that runs a scenario: the one that `SYNCLINE_CLIENT_…` names, or else
    /// the one that is installed now.
    ///
    /// # Panics
    ///
    /// Panics if the client cannot be installed; the message is the installer's output.
    pub(crate) fn program(self) -> PathBuf {
        let tool = self.tool();
        let variable = format!("SYNCLINE_CLIENT_{}", tool.replace('-', "_").to_uppercase());
        std::env::var_os(variable).map_or_else(|| install(tool), PathBuf::from)
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
