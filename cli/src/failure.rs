//! Prints errors with advice on what to do.
//!
//! The causes are errors of the engine and its host. Only this module adds advice for a person at a terminal.

use std::process::ExitCode;

use serde_json::json;
use syncline::config::ConfigError;
use syncline::engine::check::FIRST_CONTACT_FIX;
use syncline::host::error::HostError;
use syncline::job::error::Error;
use syncline::model::ids::TenantId;
use syncline::ports::salesforce::{Disposition, SalesforceError};
use syncline::ports::{StoreError, WakeUpError};

use crate::outcome::{self, TenantFailure, warn};

/// Prints an error with its causes and its fix, and returns the exit status.
pub(crate) fn print(error: &anyhow::Error, as_json: bool) -> ExitCode {
    if let Some(config) = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<ConfigError>())
    {
        return print_mistakes(error, config, as_json);
    }
    let problem = format!("{error:#}");
    let fix = fix(error);
    if as_json {
        outcome::print(&format!("{:#}", json!([{"error": problem, "fix": fix}])));
    }
    warn(&format!("error: {problem}"));
    if let Some(fix) = fix {
        warn(&format!("  fix: {fix}"));
    }
    ExitCode::FAILURE
}

/// Returns why a tenant has no answer, with the fix.
pub(crate) fn of_tenant(tenant: &TenantId, error: &anyhow::Error) -> TenantFailure {
    TenantFailure {
        tenant: tenant.clone(),
        error: format!("{error:#}"),
        fix: fix(error),
    }
}

/// Prints every mistake of a configuration with its line and its fix.
fn print_mistakes(error: &anyhow::Error, config: &ConfigError, as_json: bool) -> ExitCode {
    if as_json {
        let printed = json!([{"error": error.to_string(), "mistakes": config.mistakes}]);
        outcome::print(&format!("{printed:#}"));
    }
    warn(&format!("error: {error}"));
    for mistake in &config.mistakes {
        warn(&format!(
            "  line {}: {}: {}\n    fix: {}",
            mistake.line, mistake.path, mistake.problem, mistake.fix
        ));
    }
    ExitCode::FAILURE
}

/// Returns what to do about an error.
fn fix(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(host) = cause.downcast_ref::<HostError>() {
            return host_fix(host);
        }
        if let Some(engine) = cause.downcast_ref::<Error>() {
            return engine_fix(engine);
        }
        if let Some(store) = cause.downcast_ref::<StoreError>() {
            return store_fix(store);
        }
        cause
            .downcast_ref::<SalesforceError>()
            .and_then(salesforce_fix)
    })
}

fn host_fix(error: &HostError) -> Option<String> {
    let fix = match error {
        HostError::Place { .. } => {
            "name a path, ssm:/name or s3://bucket/key with --config".to_owned()
        }
        HostError::File { what, .. } if what.starts_with("the configuration") => {
            "write it (docs/configuration.md has an example; `syncline generate` writes its mappings), or name another \
             with --config"
                .to_owned()
        }
        HostError::File { .. } => {
            "correct the path in syncline.toml, or make the file readable".to_owned()
        }
        HostError::Aws { .. } => {
            "check the name, AWS_REGION and that the credentials may read it".to_owned()
        }
        HostError::Variable(name) => format!("set it: export {name}=…"),
        HostError::Empty(_) => "put the secret there, or name another place".to_owned(),
        HostError::UnknownTenant { .. } => "name one of these with --tenant".to_owned(),
        HostError::UnknownOrg { .. } => {
            "set capture = \"relay\" for the tenant whose org relays its events".to_owned()
        }
        // The mistakes are printed with their own fixes.
        HostError::Mistakes { .. } => return None,
        HostError::Store(error) => return store_fix(error),
        HostError::Salesforce(error) => return salesforce_fix(error),
        HostError::Engine(error) => return engine_fix(error),
    };
    Some(fix)
}

fn engine_fix(error: &Error) -> Option<String> {
    match error {
        Error::UnknownTenant(_) => Some("add it to syncline.toml".to_owned()),
        Error::UnknownObject { .. } => Some("map it in syncline.toml".to_owned()),
        Error::FirstContact { .. } => Some(FIRST_CONTACT_FIX.to_owned()),
        // The message names the correction.
        Error::UnknownField { .. } | Error::OtherOrg { .. } | Error::DatabaseHeld { .. } => None,
        // The message says that it is tried again, and what shows when.
        Error::OrgUnavailable { .. } => None,
        Error::Store(error) => store_fix(error),
        Error::Salesforce(error) => salesforce_fix(error),
        Error::Stream(_) => Some("try again; the stored position is kept".to_owned()),
        Error::WakeUp(WakeUpError { .. }) => {
            Some("check the queue and that the credentials may send to it".to_owned())
        }
    }
}

fn store_fix(error: &StoreError) -> Option<String> {
    match error {
        StoreError::Unreachable(_) => error.fix().map(str::to_owned),
        StoreError::LeaseLost(_) => Some("try again: another worker took the lease".to_owned()),
        StoreError::Database { .. } => Some(error.fix().map_or_else(
            || {
                "run `syncline check`, which names missing columns and privileges, and `syncline migrate` after an \
                 update; the database's log says more"
                    .to_owned()
            },
            str::to_owned,
        )),
        // The message names what does not fit.
        StoreError::Mapping(_) => None,
    }
}

fn salesforce_fix(error: &SalesforceError) -> Option<String> {
    match (error.status, error.disposition) {
        (None, _) if error.code == "login_configuration" => Some(
            "write the PEM key that belongs to the app's certificate to the place that `secret` names".to_owned(),
        ),
        (None, Disposition::WaitForQuota) => Some(
            "wait until requests are free again, buy more, or lower `budget.reserve` in syncline.toml".to_owned(),
        ),
        (None, _) => Some(
            "check `login_url` and `pubsub_url` in syncline.toml, and the network".to_owned(),
        ),
        (Some(400 | 401 | 403), Disposition::WaitForOrg | Disposition::RefreshSession) => Some(
            "check `client_id`, the user and the secret, and that the app is approved for that user"
                .to_owned(),
        ),
        (Some(_), Disposition::WaitForQuota) => {
            Some("wait: the org has used all API calls of its 24 hours".to_owned())
        }
        (Some(_), Disposition::RetryLater | Disposition::WaitForOrg) => {
            Some("try again in a minute".to_owned())
        }
        (
            Some(_),
            Disposition::Park
            | Disposition::RefreshSession
            | Disposition::RefreshRecord
            | Disposition::WaitForParent
            | Disposition::WaitForValue
            | Disposition::WaitForChildren,
        ) => Some("run `syncline check`: it names what the org does not allow".to_owned()),
    }
}
