//! Client credentials and a signed assertion, and their errors.

use force::api::RestOperation as _;
use force::auth::{Authenticator, ClientCredentials, JwtBearerFlow};
use force::error::ForceError;
use serde_json::Value as Json;

use crate::claim::{equal, fails};
use crate::{connect, credentials, given, token_url};

const VERSION: &str = "v62.0";

pub(crate) async fn play() -> anyhow::Result<()> {
    let client = connect(credentials(), VERSION).await?;
    let token = client.token().await?;
    equal(token.instance_url(), given("ORG_HTTP"), "the instance")?;
    equal(users(credentials()).await?, 2, "users that the app sees")?;

    let login = "https://login.salesforce.com";
    let me = given("ORG_USERNAME");
    equal(users(assertion(&me, login)?).await?, 2, "users that we see")?;

    let wrong = ClientCredentials::new(given("ORG_CLIENT_ID"), "wrong", token_url());
    fails(users(wrong).await, "invalid_client", "a wrong secret")?;
    let unknown_user = assertion("unknown@acme.example", login)?;
    fails(
        users(unknown_user).await,
        "hasn't approved",
        "an unknown user",
    )?;
    let elsewhere = assertion(&me, "https://elsewhere.example")?;
    fails(users(elsewhere).await, "audience", "a wrong audience")
}

fn assertion(username: &str, audience: &str) -> anyhow::Result<JwtBearerFlow> {
    let key = std::fs::read_to_string(given("ORG_KEY_FILE"))?;
    let id = given("ORG_CLIENT_ID");
    Ok(JwtBearerFlow::new(
        id,
        username,
        key,
        audience,
        token_url(),
    )?)
}

/// Logs in and counts the users.
async fn users<A: Authenticator>(authenticator: A) -> Result<usize, ForceError> {
    let client = connect(authenticator, VERSION).await?;
    let found = client.rest().query::<Json>("SELECT Id FROM User").await?;
    Ok(found.total_size)
}
