//! TLS and plaintext on both ports, and compressed bodies.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Certificate, Client};
use salesforce_org::Org;
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER};
use salesforce_org::pubsub::proto::TopicRequest;
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::server::{Options, Running, start};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::{Certificate as GrpcCertificate, ClientTlsConfig, Endpoint};

async fn served() -> Running {
    start(Org::default(), &Options::default()).await.unwrap()
}

fn trusting(running: &Running) -> Client {
    let certificate = Certificate::from_pem(running.certificate_pem().as_bytes()).unwrap();
    Client::builder()
        .tls_certs_only([certificate])
        .build()
        .unwrap()
}

async fn log_in(client: &Client, base: &str) -> Json {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT_ID),
        ("client_secret", CLIENT_SECRET),
    ];
    let url = format!("{base}/services/oauth2/token");
    let response = client.post(url).form(&form).send().await.unwrap();
    response.json().await.unwrap()
}

#[tokio::test]
async fn instance_url_uses_the_protocol_of_the_login() {
    let running = served().await;
    let client = trusting(&running);
    let secure = log_in(&client, &running.https_url()).await;
    assert_eq!(secure["instance_url"], running.https_url());
    let id = secure["id"].as_str().unwrap();
    assert!(id.starts_with(&running.https_url()), "{id}");
    let plain = log_in(&client, &running.http_url()).await;
    assert_eq!(plain["instance_url"], running.http_url());
}

#[tokio::test]
async fn certificate_covers_every_loopback_name() {
    let running = served().await;
    let client = trusting(&running);
    let by_name = running.https_url().replace("127.0.0.1", "localhost");
    for base in [running.https_url(), by_name] {
        let versions = client.get(format!("{base}/services/data")).send().await;
        assert_eq!(versions.unwrap().status(), 200, "{base}");
    }
}

#[tokio::test]
async fn untrusting_client_gets_no_answer() {
    let running = served().await;
    let other = served().await;
    let url = format!("{}/services/data", running.https_url());
    assert!(trusting(&other).get(&url).send().await.is_err());
    assert_eq!(
        trusting(&running).get(&url).send().await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn certificate_is_available_without_tls() {
    let running = served().await;
    let url = format!("{}/_org/certificate", running.http_url());
    let pem = Client::new().get(url).send().await.unwrap();
    assert_eq!(pem.text().await.unwrap(), running.certificate_pem());
}

#[tokio::test]
async fn pubsub_port_answers_tls_and_plaintext() {
    let running = served().await;
    let authority = GrpcCertificate::from_pem(running.certificate_pem());
    let tls = ClientTlsConfig::new().ca_certificate(authority);
    let secure = Endpoint::from_shared(running.grpcs_url())
        .unwrap()
        .tls_config(tls)
        .unwrap();
    let plain = Endpoint::from_shared(running.grpc_url()).unwrap();
    for endpoint in [secure, plain] {
        let mut client = PubSubClient::new(endpoint.connect().await.unwrap());
        let mut request = tonic::Request::new(TopicRequest {
            topic_name: "/data/AccountChangeEvent".to_owned(),
        });
        let (token, tenant) =
            running.with_org(|org| (org.open_session(INTEGRATION_USER).unwrap(), org.org_id()));
        let metadata = request.metadata_mut();
        metadata.insert("accesstoken", token.parse().unwrap());
        metadata.insert("instanceurl", running.https_url().parse().unwrap());
        metadata.insert("tenantid", tenant.parse().unwrap());
        let topic = client.get_topic(request).await.unwrap().into_inner();
        assert!(topic.can_subscribe);
    }
}

#[tokio::test]
async fn unfinished_handshake_does_not_delay_others() {
    let running = served().await;
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let address = running.https_url().replace("https://", "");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[0x16]).await.unwrap();
        stuck.push(stream);
    }
    let url = format!("{}/services/data", running.https_url());
    assert_eq!(
        trusting(&running).get(url).send().await.unwrap().status(),
        200
    );
    drop(stuck);
}

#[tokio::test]
async fn drop_fault_closes_tls_connections_too() {
    let running = served().await;
    let client = trusting(&running);
    let url = format!("{}/_org/faults", running.https_url());
    let rule = json!({"action": "drop_before"});
    client.post(url).json(&rule).send().await.unwrap();
    let url = format!("{}/services/data", running.https_url());
    assert!(client.get(&url).send().await.is_err());
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
}

fn zipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_body_is_read_broken_one_refused() {
    let running = served().await;
    let token = running.with_org(|org| org.open_session(INTEGRATION_USER).unwrap());
    let url = format!(
        "{}/services/data/v62.0/sobjects/Account",
        running.http_url()
    );
    let whole = zipped(r#"{"Name": "Acme"}"#);
    let mut broken = whole.clone();
    broken.truncate(whole.len() - 12);
    let client = Client::new();
    for (encoding, body, status, records) in [
        ("gzip", whole.clone(), 201, 1),
        ("gzip", broken, 400, 1),
        ("gzip", b"{}".to_vec(), 400, 1),
        ("zstd", whole, 415, 1),
    ] {
        let request = client
            .post(&url)
            .bearer_auth(&token)
            .header("content-type", "application/json")
            .header("content-encoding", encoding)
            .body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(running.with_org(|org| org.count("Account")), records);
    }
}

#[tokio::test]
async fn header_names_are_capitalised_on_the_wire() {
    let running = served().await;
    let mut stream = TcpStream::connect(running.http_address()).await.unwrap();
    let request = "GET /services/data HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let head = answer.split("\r\n\r\n").next().unwrap();
    assert!(
        head.contains("\r\nContent-Type: application/json"),
        "{head}"
    );
    for line in head.lines().skip(1) {
        assert!(line.starts_with(char::is_uppercase), "{line}");
    }
}
