//! salesforce-pubsub-api-client, the client of the Pub/Sub API for Node.

use syncline_clients::{Client, Stage};

#[tokio::test]
async fn the_pubsub_client_logs_in_without_a_password() {
    let stage = Stage::start().await;
    let calls = stage.play(Client::Node, "pubsub_login.mjs").await;
    assert_eq!(calls.made("POST /services/oauth2/token"), 3);
}

#[tokio::test]
async fn the_pubsub_client_decodes_what_happens_while_it_listens() {
    let stage = Stage::start().await;
    stage.play(Client::Node, "pubsub_latest.mjs").await;
    // One account before anybody listened, four changes of the second, a third for the late event.
    let stats = stage.stats();
    assert_eq!(stats["events_published"], 6);
    assert_eq!(stats["events_delivered"], 5);
}

#[tokio::test]
async fn the_pubsub_client_begins_at_the_earliest_event_or_behind_any_other() {
    let stage = Stage::start().await;
    stage.play(Client::Node, "pubsub_replay.mjs").await;
    let stats = stage.stats();
    assert_eq!(stats["events_published"], 5);
    assert_eq!(stats["events_delivered"], 3 + 2 + 1 + 2);
}

#[tokio::test]
async fn the_pubsub_client_is_told_what_it_asked_wrongly() {
    let stage = Stage::start().await;
    stage.play(Client::Node, "pubsub_errors.mjs").await;
    assert_eq!(stage.stats()["events_delivered"], 0);
}
