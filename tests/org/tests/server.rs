//! The REST server over real sockets: OAuth, gzip, closed connections.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER, PERSON, PRIVATE_KEY};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Org, Position};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

async fn served() -> Running {
    let options = Options {
        keep_alive: Duration::from_millis(50),
        ..Options::default()
    };
    start(Org::default(), &options).await.unwrap()
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn assertion(claims: &Json, key: &str) -> String {
    let key = EncodingKey::from_rsa_pem(key.as_bytes()).unwrap();
    jsonwebtoken::encode(&Header::new(Algorithm::RS256), claims, &key).unwrap()
}

async fn token_call(running: &Running, form: &[(&str, &str)]) -> (u16, Json) {
    let url = format!("{}/services/oauth2/token", running.http_url());
    let response = reqwest::Client::new()
        .post(url)
        .form(form)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn jwt_call(running: &Running, assertion: &str) -> (u16, Json) {
    let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
    token_call(running, &[("grant_type", grant), ("assertion", assertion)]).await
}

fn claims(running: &Running) -> Json {
    json!({"iss": CLIENT_ID, "sub": INTEGRATION_USER, "aud": running.http_url(), "exp": now_s() + 180})
}

fn changed(mut claims: Json, member: &str, value: Json) -> Json {
    claims[member] = value;
    claims
}

#[tokio::test]
async fn signed_assertion_opens_a_session() {
    let running = served().await;
    let expiry = (now_s() + 180).to_string();
    for claims in [
        claims(&running),
        changed(claims(&running), "exp", json!(expiry)),
        // For clocks that differ.
        changed(claims(&running), "exp", json!(now_s() - 60)),
        changed(
            claims(&running),
            "aud",
            json!("https://login.salesforce.com"),
        ),
    ] {
        let (status, json) = jwt_call(&running, &assertion(&claims, PRIVATE_KEY)).await;
        assert_eq!(
            (status, &json["token_type"]),
            (200, &json!("Bearer")),
            "{json}"
        );
        assert_eq!(json["instance_url"], running.http_url());
        let token = json["access_token"].as_str().unwrap();
        assert!(token.starts_with("00D5g00000Ab1cd!"));
        let info: Json = reqwest::Client::new()
            .get(format!("{}/services/oauth2/userinfo", running.http_url()))
            .bearer_auth(token)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(info["preferred_username"], INTEGRATION_USER);
        assert_eq!(info["organization_id"], "00D5g00000Ab1cdEAB");
    }
}

#[tokio::test]
async fn invalid_assertion_is_refused_with_its_reason() {
    let running = served().await;
    let with = |member: &str, value: Json| changed(claims(&running), member, value);
    for (claims, error, description) in [
        (
            with("exp", json!(now_s() - 181)),
            "invalid_grant",
            "expired authorization code",
        ),
        (
            with("aud", json!("https://example.com")),
            "invalid_grant",
            "audience is invalid",
        ),
        (
            with("sub", json!("unknown@acme.example")),
            "invalid_grant",
            "user hasn't approved this consumer",
        ),
        (
            with("iss", json!("unknown")),
            "invalid_client_id",
            "client identifier invalid",
        ),
        (
            with("exp", Json::Null),
            "invalid_grant",
            "invalid assertion",
        ),
    ] {
        let (status, json) = jwt_call(&running, &assertion(&claims, PRIVATE_KEY)).await;
        assert_eq!(
            (status, json),
            (
                400,
                json!({"error": error, "error_description": description})
            )
        );
    }
    let foreign = assertion(&claims(&running), include_str!("../keys/other-private.pem"));
    for wrong in [foreign.as_str(), "no.jwt.here", ""] {
        let (status, json) = jwt_call(&running, wrong).await;
        assert_eq!(
            (status, &json["error_description"]),
            (400, &json!("invalid assertion"))
        );
    }
    let (status, json) = token_call(&running, &[("grant_type", "magic")]).await;
    assert_eq!(
        (status, &json["error"]),
        (400, &json!("unsupported_grant_type"))
    );
}

#[tokio::test]
async fn client_credentials_work_in_body_and_basic_header() {
    let running = served().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
    ];
    assert_eq!(token_call(&running, &form).await.0, 200);
    let url = format!("{}/services/oauth2/token", running.http_url());
    let basic = reqwest::Client::new()
        .post(url)
        .basic_auth(CLIENT_ID, Some(CLIENT_SECRET))
        .form(&[("grant_type", "client_credentials")]);
    assert_eq!(basic.send().await.unwrap().status(), 200);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT_ID),
        ("client_secret", "x"),
    ];
    let (status, json) = token_call(&running, &form).await;
    assert_eq!((status, &json["error"]), (400, &json!("invalid_client")));
}

fn token(running: &Running) -> String {
    running.with_org(|org| org.open_session(INTEGRATION_USER).unwrap())
}

#[tokio::test]
async fn answers_can_be_compressed_and_chunked_bodies_read() {
    let running = served().await;
    let url = format!(
        "{}/services/data/v62.0/sobjects/Account/",
        running.http_url()
    );
    let address = running.http_url().replace("http://", "");
    let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /services/data/v62.0/sobjects/Account/ HTTP/1.1\r\nHost: {address}\r\nAuthorization: \
         Bearer {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\
         Connection: close\r\n\r\n8\r\n{{\"Name\":\r\n4\r\n\"c\"}}\r\n0\r\n\r\n",
        token(&running)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    let client = reqwest::Client::builder().no_gzip().build().unwrap();
    let describe = client
        .get(format!("{url}describe"))
        .bearer_auth(token(&running))
        .header("accept-encoding", "gzip")
        .send()
        .await
        .unwrap();
    assert_eq!(describe.headers()["content-encoding"], "gzip");
    assert_eq!(
        describe.headers()["content-type"],
        "application/json;charset=UTF-8"
    );
    assert!(describe.headers().contains_key("sforce-limit-info"));
}

#[tokio::test]
async fn closed_connection_leaves_the_write_done_or_not() {
    let running = served().await;
    let token = token(&running);
    let client = reqwest::Client::new();
    for (action, records) in [("drop_before", 0), ("drop_after", 1)] {
        let rule = json!({"action": action, "match": {"method": "POST", "path_contains": "/sobjects/Account"}});
        let url = format!("{}/_org/faults", running.http_url());
        client.post(url).json(&rule).send().await.unwrap();
        let url = format!(
            "{}/services/data/v62.0/sobjects/Account",
            running.http_url()
        );
        let outcome = client
            .post(url)
            .bearer_auth(&token)
            .json(&json!({"Name": "x"}))
            .send()
            .await;
        assert!(outcome.is_err(), "{action}");
        assert_eq!(
            running.with_org(|org| org.count("Account")),
            records,
            "{action}"
        );
    }
}

#[tokio::test]
async fn stopped_org_frees_its_ports() {
    let running = served().await;
    let (http, grpc) = (running.http_url(), running.grpc_url());
    running.stop().await;
    let address = |url: &str| url.trim_start_matches("http://").parse().unwrap();
    let options = Options {
        http: address(&http),
        grpc: address(&grpc),
        ..Options::default()
    };
    let again = start(Org::default(), &options).await.unwrap();
    assert_eq!(again.http_url(), http);
}

#[tokio::test]
async fn events_from_before_the_start_are_still_delivered() {
    let mut org = Org::default();
    let stamped = org.now_ms();
    org.insert_as(PERSON, "Account", &json!({"Name": "Early"}))
        .unwrap();
    let running = start(org, &Options::default()).await.unwrap();
    running.with_org(|org| {
        let fetched = org.fetch("/data/AccountChangeEvent", &Position::Earliest, 10);
        assert_eq!(fetched.unwrap().events.len(), 1);
        assert!((stamped..stamped + 600_000).contains(&org.now_ms()));
    });
    running.stop().await;
}
