//! Both servers over real sockets: OAuth, gzip, cut connections, and the Pub/Sub API.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, INTEGRATION_USER, PERSON, PRIVATE_KEY};
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::pubsub::proto::{
    FetchRequest, FetchResponse, PublishRequest, ReplayPreset, SchemaRequest, TopicRequest,
};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Org, RecordId};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

const ACCOUNTS: &str = "/data/AccountChangeEvent";

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
async fn a_signed_assertion_opens_a_session() {
    let running = served().await;
    let expiry = (now_s() + 180).to_string();
    for claims in [
        claims(&running),
        changed(claims(&running), "exp", json!(expiry)),
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
async fn a_wrong_assertion_is_refused_with_its_reason() {
    let running = served().await;
    let with = |member: &str, value: Json| changed(claims(&running), member, value);
    for (claims, error, description) in [
        (
            with("exp", json!(now_s() - 1)),
            "invalid_grant",
            "expired authorization code",
        ),
        (
            with("aud", json!("https://example.com")),
            "invalid_grant",
            "audience is invalid",
        ),
        (
            with("sub", json!("nobody@acme.example")),
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
async fn client_credentials_work_in_the_body_and_as_basic() {
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
async fn answers_are_compressed_for_those_who_ask_and_chunked_bodies_are_read() {
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
async fn a_cut_connection_gives_no_answer_and_leaves_the_write_done_or_not() {
    let running = served().await;
    let token = token(&running);
    let client = reqwest::Client::new();
    for (action, records) in [("drop_before", 0), ("drop_after", 1)] {
        let rule = json!({"action": action, "match": {"method": "POST", "path_contains": "/sobjects/Account"}});
        let door = format!("{}/_org/faults", running.http_url());
        client.post(door).json(&rule).send().await.unwrap();
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

/// A subscriber whose requests are sent by hand.
struct Subscriber {
    requests: mpsc::Sender<FetchRequest>,
    responses: Streaming<FetchResponse>,
}

fn with_credentials<T>(running: &Running, message: T) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = credentials(&token(running));
    request
}

fn credentials(token: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("accesstoken", token.parse().unwrap());
    metadata.insert("instanceurl", "http://127.0.0.1".parse().unwrap());
    metadata.insert("tenantid", "00D5g00000Ab1cdEAB".parse().unwrap());
    metadata
}

async fn client(running: &Running) -> PubSubClient<Channel> {
    PubSubClient::connect(running.grpc_url()).await.unwrap()
}

fn fetch(topic: &str, preset: ReplayPreset, replay_id: &[u8], count: i32) -> FetchRequest {
    FetchRequest {
        topic_name: topic.to_owned(),
        replay_preset: preset.into(),
        replay_id: replay_id.to_vec(),
        num_requested: count,
        auth_refresh: String::new(),
    }
}

async fn subscribe(running: &Running, first: FetchRequest) -> Subscriber {
    let (requests, receiver) = mpsc::channel(8);
    requests.send(first).await.unwrap();
    let request = with_credentials(running, ReceiverStream::new(receiver));
    let responses = client(running)
        .await
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    Subscriber {
        requests,
        responses,
    }
}

impl Subscriber {
    async fn next(&mut self) -> Result<FetchResponse, Status> {
        self.responses.next().await.expect("the stream goes on")
    }

    /// Returns the next response that carries events.
    async fn events(&mut self) -> FetchResponse {
        loop {
            let response = self.next().await.unwrap();
            if !response.events.is_empty() {
                return response;
            }
        }
    }

    async fn more(&self, topic: &str, count: i32) {
        self.requests
            .send(fetch(topic, ReplayPreset::Latest, &[], count))
            .await
            .unwrap();
    }
}

fn insert(running: &Running, object: &str, count: usize) -> Vec<RecordId> {
    running.with_org(|org| {
        let fields = if object == "Contact" {
            json!({"LastName": "x"})
        } else {
            json!({"Name": "x"})
        };
        (0..count)
            .map(|_| org.insert_as(PERSON, object, &fields).unwrap())
            .collect()
    })
}

fn code_of(status: &Status) -> (Code, String) {
    let code = status
        .metadata()
        .get("error-code")
        .map_or("", |c| c.to_str().unwrap())
        .to_owned();
    let rpc_id = status.metadata().get("rpc-id").unwrap().to_str().unwrap();
    assert!(
        status.message().ends_with(&format!(" rpcId: {rpc_id}")),
        "{}",
        status.message()
    );
    (
        status.code(),
        code.trim_start_matches("sfdc.platform.eventbus.grpc.")
            .to_owned(),
    )
}

#[tokio::test]
async fn topics_and_schemas_are_described() {
    let running = served().await;
    let mut client = client(&running).await;
    let topic = TopicRequest {
        topic_name: ACCOUNTS.to_owned(),
    };
    let topic = client
        .get_topic(with_credentials(&running, topic))
        .await
        .unwrap()
        .into_inner();
    assert!(topic.can_subscribe && !topic.can_publish);
    let schema = SchemaRequest {
        schema_id: topic.schema_id.clone(),
    };
    let schema = client
        .get_schema(with_credentials(&running, schema))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(schema.schema_id, topic.schema_id);
    assert!(
        schema
            .schema_json
            .starts_with(r#"{"type":"record","name":"AccountChangeEvent""#)
    );

    let wrong = TopicRequest {
        topic_name: "/data/NopeChangeEvent".to_owned(),
    };
    let status = client
        .get_topic(with_credentials(&running, wrong))
        .await
        .unwrap_err();
    assert_eq!(
        code_of(&status),
        (Code::NotFound, "topic.not.found".to_owned())
    );
    let wrong = SchemaRequest {
        schema_id: "x".to_owned(),
    };
    let status = client
        .get_schema(with_credentials(&running, wrong))
        .await
        .unwrap_err();
    assert_eq!(code_of(&status).1, "schema.validation.failed");
    let publish = with_credentials(&running, PublishRequest::default());
    assert_eq!(
        client.publish(publish).await.unwrap_err().code(),
        Code::Unimplemented
    );
}

#[tokio::test]
async fn calls_without_a_live_token_are_unauthenticated() {
    let running = served().await;
    let mut client = client(&running).await;
    let topic = || TopicRequest {
        topic_name: ACCOUNTS.to_owned(),
    };
    let status = client.get_topic(Request::new(topic())).await.unwrap_err();
    assert_eq!(
        code_of(&status),
        (
            Code::Unauthenticated,
            "service.auth.headers.invalid".to_owned()
        )
    );
    let mut request = Request::new(topic());
    *request.metadata_mut() = credentials("00D5g00000Ab1cd!dead");
    let status = client.get_topic(request).await.unwrap_err();
    assert_eq!(
        code_of(&status),
        (Code::Unauthenticated, "service.auth.error".to_owned())
    );
}

#[tokio::test]
async fn grants_add_up_and_nothing_comes_without_one() {
    let running = served().await;
    insert(&running, "Account", 3);
    let mut subscriber = subscribe(&running, fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 2)).await;
    let first = subscriber.events().await;
    assert_eq!((first.events.len(), first.pending_num_requested), (2, 0));
    assert_eq!(first.latest_replay_id, first.events[1].replay_id);
    subscriber.more("", 1).await;
    let second = subscriber.events().await;
    assert_eq!((second.events.len(), second.pending_num_requested), (1, 0));

    subscriber.more(ACCOUNTS, 60).await;
    subscriber.more("", 60).await;
    // A keep-alive tells what is owed once both grants were read.
    let mut owed = 0;
    while owed != 100 {
        owed = subscriber.next().await.unwrap().pending_num_requested;
    }
    insert(&running, "Account", 130);
    let mut seen = 0;
    while seen < 100 {
        let response = subscriber.events().await;
        seen += response.events.len();
        assert_eq!(
            response.pending_num_requested,
            100 - i32::try_from(seen).unwrap()
        );
    }
    assert_eq!(seen, 100);
}

#[tokio::test]
async fn a_subscription_goes_on_behind_a_stored_position_of_eight_or_ten_bytes() {
    let running = served().await;
    insert(&running, "Account", 1);
    insert(&running, "Contact", 1);
    insert(&running, "Account", 1);
    let mut all = subscribe(
        &running,
        fetch("/data/ChangeEvents", ReplayPreset::Earliest, &[], 9),
    )
    .await;
    let mut events = Vec::new();
    while events.len() < 3 {
        events.extend(all.events().await.events);
    }
    let position = &events[0].replay_id;
    assert_eq!(position.len(), 10);
    for bytes in [&position[..], &position[..8]] {
        let first = fetch(ACCOUNTS, ReplayPreset::Custom, bytes, 9);
        let response = subscribe(&running, first).await.events().await;
        assert_eq!(response.events.len(), 1);
        assert_eq!(response.events[0].replay_id, events[2].replay_id);
    }
    let schemas: Vec<_> = events
        .iter()
        .map(|e| &e.event.as_ref().unwrap().schema_id)
        .collect();
    assert!(schemas[0] == schemas[2] && schemas[0] != schemas[1]);
}

#[tokio::test]
async fn latest_sees_only_what_comes_and_a_quiet_stream_is_kept_alive() {
    let running = served().await;
    insert(&running, "Account", 1);
    let mut subscriber = subscribe(&running, fetch(ACCOUNTS, ReplayPreset::Latest, &[], 5)).await;
    let quiet = subscriber.next().await.unwrap();
    assert_eq!((quiet.events.len(), quiet.pending_num_requested), (0, 5));
    insert(&running, "Contact", 1);
    let ids = insert(&running, "Account", 1);
    let response = subscriber.events().await;
    assert_eq!(response.events.len(), 1);
    let event = response.events[0].event.clone().unwrap();
    let decoded = running.with_org(|org| {
        org.decode(&salesforce_org::ChangeEvent {
            id: event.id.parse().unwrap(),
            schema_id: event.schema_id,
            payload: event.payload.into(),
            replay_id: Vec::new(),
        })
    });
    assert_eq!(
        (decoded.change_type.as_str(), &decoded.record_ids),
        ("CREATE", &vec![ids[0].to_string()])
    );
    // The stored keep-alive position leads to the same event.
    let first = fetch(ACCOUNTS, ReplayPreset::Custom, &quiet.latest_replay_id, 5);
    let again = subscribe(&running, first).await.events().await;
    assert_eq!(again.events[0].replay_id, response.events[0].replay_id);
}

#[tokio::test]
async fn wrong_fetch_requests_end_the_stream_with_their_code() {
    let running = served().await;
    insert(&running, "Account", 1);
    for (request, status, code) in [
        (
            fetch("", ReplayPreset::Latest, &[], 1),
            Code::InvalidArgument,
            "topic.validation.empty",
        ),
        (
            fetch("/data/Nope", ReplayPreset::Latest, &[], 1),
            Code::NotFound,
            "topic.not.found",
        ),
        (
            fetch(ACCOUNTS, ReplayPreset::Latest, &[], 0),
            Code::InvalidArgument,
            "subscription.fetch.requested.events.invalid",
        ),
        (
            fetch(ACCOUNTS, ReplayPreset::Latest, &[], -5),
            Code::InvalidArgument,
            "subscription.fetch.requested.events.invalid",
        ),
        (
            fetch(ACCOUNTS, ReplayPreset::Custom, &[], 1),
            Code::InvalidArgument,
            "subscription.fetch.replayid.validation.failed",
        ),
        (
            fetch(ACCOUNTS, ReplayPreset::Custom, &[9; 10], 1),
            Code::InvalidArgument,
            "subscription.fetch.replayid.corrupted",
        ),
        (
            fetch(ACCOUNTS, ReplayPreset::Custom, &[1], 1),
            Code::InvalidArgument,
            "subscription.fetch.replayid.corrupted",
        ),
    ] {
        let ended = subscribe(&running, request).await.next().await.unwrap_err();
        assert_eq!(code_of(&ended), (status, code.to_owned()));
    }
    let mut subscriber = subscribe(&running, fetch(ACCOUNTS, ReplayPreset::Latest, &[], 1)).await;
    subscriber.more("/data/ContactChangeEvent", 1).await;
    let ended = loop {
        if let Err(status) = subscriber.next().await {
            break status;
        }
    };
    assert_eq!(code_of(&ended).1, "subscription.fetch.topic.mismatch");
}

#[tokio::test]
async fn a_position_older_than_the_retention_is_corrupted() {
    let running = served().await;
    insert(&running, "Account", 1);
    let mut subscriber = subscribe(&running, fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 1)).await;
    let position = subscriber.events().await.latest_replay_id;
    running.with_org(|org| org.advance_ms(73 * 3_600_000));
    let first = fetch(ACCOUNTS, ReplayPreset::Custom, &position, 1);
    let ended = subscribe(&running, first).await.next().await.unwrap_err();
    assert_eq!(code_of(&ended).1, "subscription.fetch.replayid.corrupted");
}

#[tokio::test]
async fn stream_faults_repeat_events_or_reset_the_stream() {
    let running = served().await;
    let door = format!("{}/_org/faults", running.http_url());
    let declare = async |action: &str| {
        let rule = json!({"action": action});
        reqwest::Client::new()
            .post(&door)
            .json(&rule)
            .send()
            .await
            .unwrap();
    };
    insert(&running, "Account", 1);
    declare("duplicate_events").await;
    let earliest = || fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 5);
    let twice = subscribe(&running, earliest()).await.events().await;
    assert_eq!(twice.events.len(), 2);
    assert_eq!(twice.events[0].replay_id, twice.events[1].replay_id);
    declare("stream_reset").await;
    let ended = subscribe(&running, earliest())
        .await
        .next()
        .await
        .unwrap_err();
    assert_eq!(
        (ended.code(), ended.metadata().get("error-code")),
        (Code::Unavailable, None)
    );
    assert_eq!(
        subscribe(&running, earliest())
            .await
            .events()
            .await
            .events
            .len(),
        1
    );
}

#[tokio::test]
async fn a_stopped_org_frees_its_ports() {
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

#[test]
fn messages_have_the_bytes_of_the_real_protocol() {
    use prost::Message as _;
    use salesforce_org::pubsub::proto::{ConsumerEvent, ProducerEvent};
    let hex = |bytes: Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let position = |number: u64| [&number.to_be_bytes()[..], &[0, 0]].concat();
    let request = fetch(ACCOUNTS, ReplayPreset::Custom, &position(1001), 5);
    assert_eq!(
        hex(request.encode_to_vec()),
        "0a182f646174612f4163636f756e744368616e67654576656e7410021a0a00000000000003e900002005"
    );
    let event = ProducerEvent {
        id: "e1".to_owned(),
        schema_id: "S1".to_owned(),
        payload: vec![2],
        headers: Vec::new(),
    };
    let mut response = FetchResponse {
        events: vec![ConsumerEvent {
            event: Some(event),
            replay_id: position(1002),
        }],
        latest_replay_id: position(1002),
        rpc_id: "r1".to_owned(),
        pending_num_requested: 4,
    };
    assert_eq!(
        hex(response.encode_to_vec()),
        "0a190a0b0a026531120253311a0102120a00000000000003ea0000120a00000000000003ea00001a0272312004"
    );
    response.events.clear();
    assert_eq!(
        hex(response.encode_to_vec()),
        "120a00000000000003ea00001a0272312004"
    );
}
