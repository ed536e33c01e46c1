//! salesforce-pubsub-api-client, the client of the Pub/Sub API for Node.

use salesforce_org::Org;
use syncline_clients::{Client, Stage};

use crate::pubsub_python::MARKER;

#[tokio::test]
async fn pubsub_client_logs_in_without_a_password() {
    let stage = Stage::start().await;
    let calls = stage
        .play(Client::PubSubApiClient, "pubsub_login.mjs")
        .await;
    assert_eq!(calls.made("POST /services/oauth2/token"), 3);
}

#[tokio::test]
async fn pubsub_client_decodes_events_of_a_running_subscription() {
    let stage = Stage::start().await;
    stage
        .play(Client::PubSubApiClient, "pubsub_latest.mjs")
        .await;
    // One account before the subscription, four changes of the second, a third for the late event.
    let stats = stage.stats();
    assert_eq!(stats["events_published"], 6);
    assert_eq!(stats["events_delivered"], 5);
}

#[tokio::test]
async fn pubsub_client_starts_at_the_earliest_or_after_any_event() {
    let stage = Stage::start().await;
    stage
        .play(Client::PubSubApiClient, "pubsub_replay.mjs")
        .await;
    let stats = stage.stats();
    assert_eq!(stats["events_published"], 5);
    assert_eq!(stats["events_delivered"], 3 + 2 + 1 + 2);
}

#[tokio::test]
async fn pubsub_client_gets_errors_for_invalid_requests() {
    let stage = Stage::start().await;
    stage
        .play(Client::PubSubApiClient, "pubsub_errors.mjs")
        .await;
    assert_eq!(stage.stats()["events_delivered"], 0);
}

#[tokio::test]
async fn pubsub_client_resumes_after_its_last_commit() {
    let stage = Stage::start().await;
    stage
        .play(Client::PubSubApiClient, "pubsub_managed.mjs first")
        .await;
    // A new process. The first one committed two of the three events that it received.
    stage
        .play(Client::PubSubApiClient, "pubsub_managed.mjs second")
        .await;
    assert_eq!(stage.stats()["events_delivered"], 3 + 2);
    stage
        .play(Client::PubSubApiClient, "pubsub_managed.mjs third")
        .await;
    assert_eq!(stage.stats()["events_delivered"], 3 + 2);
}

#[tokio::test]
async fn pubsub_client_publishes_and_receives_platform_events() {
    let stage = Stage::of(Org::from_toml(MARKER).unwrap()).await;
    let calls = stage
        .play(Client::PubSubApiClient, "pubsub_publish.mjs")
        .await;
    assert_eq!(calls.made("POST /sobjects/{object}"), 1);
    assert_eq!(stage.stats()["events_published"], 4);
}
