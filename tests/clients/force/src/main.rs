//! Does the crate force work against the local org as it does against Salesforce?
//!
//! `force-scenarios NAME` plays one scenario; it ends with an error at the first answer of the
//! client that is not what was expected.

mod bulk;
mod claim;
mod login;
mod query;
mod records;

use anyhow::bail;
use force::auth::{Authenticator, ClientCredentials};
use force::client::{ForceClient, ForceClientBuilder};
use force::config::ClientConfig;
use force::error::ForceError;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "login" => login::play().await,
        "records" => records::play().await,
        "query" => query::play().await,
        "bulk" => bulk::play().await,
        other => bail!("there is no scenario named {other:?}"),
    }
}

/// Returns what the harness has set.
fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the harness sets {name}"))
}

fn token_url() -> String {
    format!("{}/services/oauth2/token", given("ORG_HTTP"))
}

fn credentials() -> ClientCredentials {
    let (id, secret) = (given("ORG_CLIENT_ID"), given("ORG_CLIENT_SECRET"));
    ClientCredentials::new(id, secret, token_url())
}

/// Makes a client that talks this API version. It logs in at its first call.
async fn connect<A: Authenticator>(
    authenticator: A,
    version: &str,
) -> Result<ForceClient<A>, ForceError> {
    let config = ClientConfig {
        api_version: version.to_owned(),
        ..ClientConfig::default()
    };
    let builder = ForceClientBuilder::new().config(config);
    builder.authenticate(authenticator).build().await
}
