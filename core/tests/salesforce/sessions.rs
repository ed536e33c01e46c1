//! Sessions: one login, shared, renewed once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER, PRIVATE_KEY};
use secrecy::SecretString;
use serde_json::json;
use syncline::model::ids::SalesforceId;
use syncline::ports::SecretSource;
use syncline::ports::salesforce::{Disposition, Lane, SalesforcePort};
use syncline::salesforce::{HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions};

use crate::stand::{Stand, account, client_of, object, options_of, reject, text, words};

const LOGINS: &str = "/services/oauth2/token";
const DESCRIBE: &str = "/sobjects/Account";

#[tokio::test]
async fn both_login_flows_log_in_the_integration_user() {
    let stand = Stand::new().await;
    let by_credentials = stand.client.identity().await.unwrap();
    let mut options = options_of(&stand.running);
    options.login = Login::JwtBearer {
        username: INTEGRATION_USER.to_owned(),
        private_key: SecretString::from(PRIVATE_KEY),
        audience: None,
    };
    let by_assertion = client_of(options).identity().await.unwrap();
    assert_eq!(by_credentials, by_assertion);
    assert_eq!(by_assertion.organization_id.as_str(), "00D5g00000Ab1cdEAB");
    assert_eq!(by_assertion.instance_url, stand.running.http_url());
}

#[tokio::test]
async fn replaced_secret_is_read_again_in_the_same_call() {
    let stand = Stand::new().await;
    let read = Arc::new(AtomicUsize::new(0));
    let stored = |secret: &'static str| {
        let read = Arc::clone(&read);
        SecretSource::new("env:SECRET", move || {
            read.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(SecretString::from(secret)) })
        })
    };
    let client = |source| {
        let mut options = options_of(&stand.running);
        let secret = SecretString::from("the former secret");
        options.login = Login::ClientCredentials { secret };
        options.secret_source = Some(source);
        client_of(options)
    };
    assert!(client(stored(CLIENT_SECRET)).identity().await.is_ok());
    assert_eq!(read.load(Ordering::Relaxed), 1);
    // The stored one is the one that was refused: it is not sent twice.
    let before = stand.calls(LOGINS).await;
    let refused = client(stored("the former secret")).identity().await;
    assert_eq!(refused.unwrap_err().disposition, Disposition::WaitForOrg);
    assert_eq!(stand.calls(LOGINS).await - before, 1);
}

#[tokio::test]
async fn session_of_another_org_makes_no_call() {
    let stand = Stand::new().await;
    let account = object("Account");
    let other = SalesforceId::parse("00D000000000009AAA").unwrap();
    stand.client.use_org(&other);
    let refused = stand.client.describe(&account).await.unwrap_err();
    assert_eq!(refused.code, "OTHER_ORG");
    assert_eq!(stand.calls(DESCRIBE).await, 0);
    // Who asks where the login leads gets an answer, and may accept it.
    let found = stand.client.identity().await.unwrap().organization_id;
    stand.client.use_org(&found);
    assert!(stand.client.describe(&account).await.is_ok());
}

#[tokio::test]
async fn calls_that_start_together_share_one_login() {
    let stand = Stand::new().await;
    let account = object("Account");
    let described = join_all((0..8).map(|_| stand.client.describe(&account))).await;
    assert!(described.iter().all(Result::is_ok));
    assert_eq!(stand.calls(LOGINS).await, 1);
}

#[tokio::test]
async fn expired_session_is_renewed_once_and_call_repeated() {
    let stand = Stand::new().await;
    stand.client.identity().await.unwrap();
    stand.control("sessions/expire", json!({})).await;
    stand.client.describe(&object("Account")).await.unwrap();
    assert_eq!(stand.calls(LOGINS).await, 2);
}

#[tokio::test]
async fn a_second_401_is_an_error() {
    let stand = Stand::new().await;
    let refused = reject(401, "INVALID_SESSION_ID", "Session expired or invalid");
    stand.fault(&refused.once().times(10).on(DESCRIBE));
    let error = stand.client.describe(&object("Account")).await.unwrap_err();
    assert_eq!(error.disposition, Disposition::RefreshSession, "{error}");
    assert_eq!(stand.calls(LOGINS).await, 2);
}

#[tokio::test]
async fn clients_with_one_token_store_share_one_session() {
    let stand = Stand::new().await;
    let tokens = Arc::new(MemoryTokenStore::default());
    let client = || HttpSalesforce::new(options_of(&stand.running), Arc::clone(&tokens) as _);
    let (first, second) = (client().unwrap(), client().unwrap());
    first.identity().await.unwrap();
    second.identity().await.unwrap();
    assert_eq!(stand.calls(LOGINS).await, 1);
    stand.control("sessions/expire", json!({})).await;
    first.describe(&object("Account")).await.unwrap();
    second.describe(&object("Account")).await.unwrap();
    assert_eq!(
        stand.calls(LOGINS).await,
        2,
        "the second client used the first one's session"
    );
}

#[tokio::test]
async fn permanently_refused_login_is_not_repeated() {
    let stand = Stand::new().await;
    let mut options = options_of(&stand.running);
    options.login = Login::ClientCredentials {
        secret: SecretString::from("wrong"),
    };
    let client = client_of(options);
    for _ in 0..5 {
        let error = client.identity().await.unwrap_err();
        assert_eq!(error.disposition, Disposition::WaitForOrg, "{error}");
        assert_eq!(error.code, "invalid_client");
    }
    assert_eq!(stand.calls(LOGINS).await, 1);
}

#[tokio::test]
async fn unreachable_org_is_reported_and_nothing_written() {
    let login = Login::ClientCredentials {
        secret: SecretString::from("any"),
    };
    // Port 9 of the loopback interface is the discard service, which does not run here.
    let options = SalesforceOptions::new("http://127.0.0.1:9", "any", login, "62.0");
    let client = client_of(options);
    let error = client.identity().await.unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.disposition),
        ("connect", Disposition::WaitForOrg)
    );
    let writes = [account("a-1", &[("Name", text("Acme"))])];
    let outcomes = client
        .write(&writes, Lane::Collections, Duration::from_secs(5))
        .await;
    assert_eq!(words(&outcomes), ["connect WaitForOrg"]);
}

#[tokio::test]
async fn write_without_connection_had_no_effect() {
    let Stand {
        running, client, ..
    } = Stand::new().await;
    let tokens = Arc::new(MemoryTokenStore::default());
    let options = options_of(&running);
    let first = HttpSalesforce::new(options.clone(), Arc::clone(&tokens) as _).unwrap();
    first.identity().await.unwrap();
    running.stop().await;
    drop((first, client));
    let second = HttpSalesforce::new(options, tokens).unwrap();
    let writes = [account("a-1", &[("Name", text("Acme"))])];
    for lane in [Lane::Single, Lane::Collections] {
        let outcomes = second.write(&writes, lane, Duration::from_secs(5)).await;
        assert_eq!(words(&outcomes), ["connect WaitForOrg"], "{lane:?}");
    }
}

#[tokio::test]
async fn debug_output_contains_no_secret() {
    let stand = Stand::new().await;
    stand.client.identity().await.unwrap();
    let mut options = options_of(&stand.running);
    let shown = format!("{:?} {options:?}", stand.client);
    assert!(!shown.contains(CLIENT_SECRET), "{shown}");
    assert!(!shown.contains("00D5g00000Ab1cd!"), "{shown}");
    options.login = Login::JwtBearer {
        username: INTEGRATION_USER.to_owned(),
        private_key: SecretString::from(PRIVATE_KEY),
        audience: None,
    };
    let shown = format!("{options:?}");
    assert!(
        shown.contains(CLIENT_ID) && !shown.contains("PRIVATE KEY"),
        "{shown}"
    );
}

#[tokio::test]
async fn invalid_private_key_is_refused_before_sending() {
    let stand = Stand::new().await;
    let mut options = options_of(&stand.running);
    options.login = Login::JwtBearer {
        username: INTEGRATION_USER.to_owned(),
        private_key: SecretString::from("-----BEGIN NOTHING-----"),
        audience: None,
    };
    let error = HttpSalesforce::new(options, Arc::new(MemoryTokenStore::default())).unwrap_err();
    assert!(error.message.contains("private key"), "{error}");
    assert!(!error.to_string().contains("NOTHING"), "{error}");
}
