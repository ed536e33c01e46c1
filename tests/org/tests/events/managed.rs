//! Managed subscriptions: the server stores how far a client has processed.

use futures_util::StreamExt as _;
use salesforce_org::Org;
use salesforce_org::pubsub::proto::{
    CommitReplayRequest, ErrorCode, ManagedFetchRequest, ManagedFetchResponse,
};
use salesforce_org::server::Running;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::subscriber::{client, code_of, insert, order, serving, with_credentials};

const FILE: &str = r#"
    [[managed_subscription]]
    developer_name = "Everything"
    topic = "/data/ChangeEvents"
    default_replay = "EARLIEST"
    error_recovery_replay = "EARLIEST"
"#;

struct Client {
    requests: mpsc::Sender<ManagedFetchRequest>,
    responses: Streaming<ManagedFetchResponse>,
}

fn named(developer_name: &str, count: i32) -> ManagedFetchRequest {
    ManagedFetchRequest {
        developer_name: developer_name.to_owned(),
        num_requested: count,
        ..ManagedFetchRequest::default()
    }
}

fn commit(id: &str, replay_id: &[u8]) -> ManagedFetchRequest {
    ManagedFetchRequest {
        commit_replay_id_request: Some(CommitReplayRequest {
            commit_request_id: id.to_owned(),
            replay_id: replay_id.to_vec(),
        }),
        ..ManagedFetchRequest::default()
    }
}

async fn open(running: &Running, first: ManagedFetchRequest) -> Client {
    let (requests, receiver) = mpsc::channel(8);
    requests.send(first).await.unwrap();
    let request = with_credentials(running, ReceiverStream::new(receiver));
    let responses = client(running)
        .await
        .managed_subscribe(request)
        .await
        .unwrap()
        .into_inner();
    Client {
        requests,
        responses,
    }
}

impl Client {
    async fn next(&mut self) -> Result<ManagedFetchResponse, Status> {
        self.responses.next().await.expect("the stream goes on")
    }

    /// Returns the events of this many responses.
    async fn events(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut positions = Vec::new();
        while positions.len() < count {
            let response = self.next().await.unwrap();
            positions.extend(response.events.into_iter().map(|event| event.replay_id));
        }
        positions
    }

    async fn committed(&mut self, id: &str, replay_id: &[u8]) -> ManagedFetchResponse {
        self.requests.send(commit(id, replay_id)).await.unwrap();
        loop {
            let response = self.next().await.unwrap();
            if response.commit_response.is_some() {
                return response;
            }
        }
    }

    async fn ended(&mut self) -> String {
        loop {
            if let Err(status) = self.next().await {
                return code_of(&status).1;
            }
        }
    }
}

async fn served() -> Running {
    serving(Org::from_toml(FILE).unwrap()).await
}

#[tokio::test]
async fn subscription_resumes_after_the_last_commit() {
    let running = served().await;
    insert(&running, "Account", 3);
    let mut client = open(&running, named("Everything", 10)).await;
    let events = client.events(3).await;
    let answer = client
        .committed("first", &events[0])
        .await
        .commit_response
        .unwrap();
    assert_eq!(
        (answer.commit_request_id.as_str(), &answer.replay_id),
        ("first", &events[0])
    );
    assert!(answer.error.is_none() && answer.process_time > 0);
    drop(client);
    let resumed = resume(&running).await;
    assert_eq!(resumed, events[1..]);
}

#[tokio::test]
async fn commits_survive_dump_and_restore() {
    let running = served().await;
    insert(&running, "Account", 3);
    let mut client = open(&running, named("Everything", 10)).await;
    let events = client.events(3).await;
    client.committed("first", &events[0]).await;
    let mut dump = Vec::new();
    running.with_org(|org| org.dump(&mut dump)).unwrap();
    let mut other = Org::from_toml(FILE).unwrap();
    other.restore(&mut dump.as_slice()).unwrap();
    let restored = serving(other).await;
    assert_eq!(resume(&restored).await, events[1..]);
}

/// Reopens the subscription as soon as it is free and returns the first two events.
async fn resume(running: &Running) -> Vec<Vec<u8>> {
    loop {
        let mut client = open(running, named("Everything", 10)).await;
        match client.next().await {
            Ok(first) => {
                let mut positions: Vec<_> = first
                    .events
                    .into_iter()
                    .map(|event| event.replay_id)
                    .collect();
                if positions.len() < 2 {
                    positions.extend(client.events(2 - positions.len()).await);
                }
                return positions;
            }
            Err(status) => {
                assert_eq!(code_of(&status).1, "managed.subscription.already.active");
            }
        }
    }
}

#[tokio::test]
async fn last_commit_wins_and_failed_commits_keep_the_stream() {
    let running = served().await;
    insert(&running, "Account", 4);
    let mut client = open(&running, named("Everything", 10)).await;
    let events = client.events(4).await;
    client.committed("a", &events[2]).await;
    client.committed("b", &events[1]).await;
    let failed = client
        .committed("c", &[9; 10])
        .await
        .commit_response
        .unwrap();
    assert_eq!(failed.error.unwrap().code, i32::from(ErrorCode::Commit));
    insert(&running, "Account", 1);
    client.events(1).await;
    drop(client);
    assert_eq!(resume(&running).await[..2], events[2..]);
}

#[tokio::test]
async fn one_client_at_a_time_uses_a_subscription() {
    let running = served().await;
    let mut first = open(&running, named("Everything", 1)).await;
    assert!(first.next().await.is_ok(), "a keep-alive");
    let mut second = open(&running, named("Everything", 1)).await;
    assert_eq!(second.ended().await, "managed.subscription.already.active");
}

#[tokio::test]
async fn expired_position_uses_the_recovery_setting() {
    let running = served().await;
    insert(&running, "Account", 2);
    let mut client = open(&running, named("Everything", 10)).await;
    let events = client.events(2).await;
    client.committed("a", &events[1]).await;
    drop(client);
    running.with_org(|org| org.advance_ms(73 * 3_600_000));
    insert(&running, "Account", 2);
    assert_eq!(resume(&running).await.len(), 2);
}

#[tokio::test]
async fn invalid_first_requests_have_their_own_codes() {
    let running = served().await;
    let by_id = |id: &str| ManagedFetchRequest {
        subscription_id: id.to_owned(),
        num_requested: 1,
        ..ManagedFetchRequest::default()
    };
    let with_commit = ManagedFetchRequest {
        developer_name: "Everything".to_owned(),
        num_requested: 1,
        ..commit("x", &[])
    };
    for (first, code) in [
        (named("", 1), "id.or.developer.name.empty"),
        (named("Nope", 1), "developer.name.not.found"),
        (named("Everything", 0), "fetch.request.events.invalid"),
        (by_id("001"), "subscription.id.invalid"),
        (by_id("18x5g000000000Z"), "subscription.id.not.found"),
        (with_commit, "fetch.request.commit.request.restricted"),
    ] {
        let ended = open(&running, first).await.ended().await;
        assert_eq!(ended, format!("managed.subscription.{code}"));
    }
    let mut client = open(&running, named("Everything", 1)).await;
    client
        .requests
        .send(ManagedFetchRequest::default())
        .await
        .unwrap();
    assert_eq!(
        client.ended().await,
        "managed.subscription.fetch.request.invalid"
    );
}

#[tokio::test]
async fn stopped_subscriptions_refuse_clients() {
    let running = served().await;
    let entry = json!({"developer_name": "Held", "topic": "/data/ChangeEvents", "stopped": true});
    order(&running, "pubsub/managed", &entry);
    let ended = open(&running, named("Held", 1)).await.ended().await;
    assert_eq!(ended, "managed.subscription.config.stopped");
}
