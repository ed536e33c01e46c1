//! Why a process cannot work for a tenant.

use super::aws::AwsError;
use super::settings::CONFIG_VARIABLE;
use crate::config::ConfigError;
use crate::job::error::Error;
use crate::ports::{SalesforceError, StoreError};

/// Why a process cannot work for a tenant: its configuration, a secret or a client is not available.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The configuration's address is invalid.
    #[error("{CONFIG_VARIABLE}={text} names no configuration: {problem}")]
    Place {
        /// The given text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The configuration has mistakes.
    #[error("the configuration {place} has mistakes")]
    Mistakes {
        /// Where the configuration is.
        place: String,
        /// The mistakes.
        source: ConfigError,
    },
    /// A file cannot be read.
    #[error("{what} cannot be read")]
    File {
        /// What the file holds, and its path.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A value cannot be read from AWS.
    #[error("{what} cannot be read")]
    Aws {
        /// What the value is, and its name.
        what: String,
        /// Why not.
        #[source]
        source: AwsError,
    },
    /// An environment variable is not set.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// The configuration does not name the tenant.
    #[error("the configuration has no tenant {tenant}; it has {known}")]
    UnknownTenant {
        /// The tenant that was asked for.
        tenant: String,
        /// The tenants of the configuration.
        known: String,
    },
    /// An event came from an org of no tenant.
    #[error(
        "no tenant with capture = \"relay\" belongs to org {organization}; tenants that could not be \
         asked: {unasked}"
    )]
    UnknownOrg {
        /// The org.
        organization: String,
        /// Tenants that may belong to it.
        unasked: String,
    },
    /// A secret is empty.
    #[error("{0} is empty")]
    Empty(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The org.
    #[error(transparent)]
    Salesforce(#[from] SalesforceError),
    /// A job.
    #[error(transparent)]
    Engine(#[from] Error),
}
