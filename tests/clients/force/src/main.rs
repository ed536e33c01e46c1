//! Checks that the crate force works with the local org as it does with Salesforce.
//!
//! `force-scenarios NAME` runs one scenario and fails at the first unexpected result of the client.

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

/// Returns a variable that the harness has set.
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

/// Creates a client for this API version. It logs in at its first call.
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
