//! Pub/Sub API clients over a real socket, with requests sent by hand.

use std::time::Duration;

use futures_util::StreamExt as _;
use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::pubsub::proto::{FetchRequest, FetchResponse, ReplayPreset};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Org, RecordId};
use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

pub(crate) const ACCOUNTS: &str = "/data/AccountChangeEvent";

pub(crate) async fn served() -> Running {
    serving(Org::default()).await
}

/// Serves an org with a short keep-alive interval.
pub(crate) async fn serving(org: Org) -> Running {
    let options = Options {
        keep_alive: Duration::from_millis(50),
        ..Options::default()
    };
    start(org, &options).await.unwrap()
}

pub(crate) fn token(running: &Running) -> String {
    running.with_org(|org| org.open_session(INTEGRATION_USER).unwrap())
}

/// Calls a control endpoint of a served org.
pub(crate) fn order(running: &Running, path: &str, body: &Json) {
    let request = salesforce_org::Request::new("POST", &format!("/_org/{path}")).json(body);
    let answer = running.with_org(|org| org.request(&request));
    assert_eq!(answer.status, 200, "{}", answer.to_json());
}

/// A subscriber whose requests are sent by hand.
pub(crate) struct Subscriber {
    pub(crate) requests: mpsc::Sender<FetchRequest>,
    pub(crate) responses: Streaming<FetchResponse>,
}

pub(crate) fn with_credentials<T>(running: &Running, message: T) -> Request<T> {
    let mut request = Request::new(message);
    *request.metadata_mut() = credentials(&token(running));
    request
}

pub(crate) fn credentials(token: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("accesstoken", token.parse().unwrap());
    metadata.insert("instanceurl", "http://127.0.0.1".parse().unwrap());
    metadata.insert("tenantid", "00D5g00000Ab1cdEAB".parse().unwrap());
    metadata
}

pub(crate) async fn client(running: &Running) -> PubSubClient<Channel> {
    PubSubClient::connect(running.grpc_url()).await.unwrap()
}

pub(crate) fn fetch(
    topic: &str,
    preset: ReplayPreset,
    replay_id: &[u8],
    count: i32,
) -> FetchRequest {
    FetchRequest {
        topic_name: topic.to_owned(),
        replay_preset: preset.into(),
        replay_id: replay_id.to_vec(),
        num_requested: count,
        auth_refresh: String::new(),
    }
}

pub(crate) async fn subscribe(running: &Running, first: FetchRequest) -> Subscriber {
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
    pub(crate) async fn next(&mut self) -> Result<FetchResponse, Status> {
        self.responses.next().await.expect("the stream goes on")
    }

    /// Returns the next response that carries events.
    pub(crate) async fn events(&mut self) -> FetchResponse {
        loop {
            let response = self.next().await.unwrap();
            if !response.events.is_empty() {
                return response;
            }
        }
    }

    pub(crate) async fn more(&self, topic: &str, count: i32) {
        self.requests
            .send(fetch(topic, ReplayPreset::Latest, &[], count))
            .await
            .unwrap();
    }
}

pub(crate) fn insert(running: &Running, object: &str, count: usize) -> Vec<RecordId> {
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

pub(crate) fn code_of(status: &Status) -> (Code, String) {
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
