//! Declared faults of subscriptions, over gRPC.

use salesforce_org::local::{INTEGRATION_USER, PERSON};
use salesforce_org::pubsub::proto::pub_sub_client::PubSubClient;
use salesforce_org::pubsub::proto::{FetchRequest, ReplayPreset};
use salesforce_org::server::{Options, Running, start};
use salesforce_org::{Org, Position, RecordId};
use serde_json::{Value as Json, json};

const EVERYTHING: &str = "/data/ChangeEvents";

/// Serves an org with two accounts, a contact and these faults.
async fn served(rules: Json) -> Running {
    let running = start(Org::default(), &Options::default()).await.unwrap();
    for (object, name) in [
        ("Account", "Name"),
        ("Contact", "LastName"),
        ("Account", "Name"),
    ] {
        let fields = json!({name: "x"});
        running.with_org(|org| org.insert_as(PERSON, object, &fields).unwrap());
    }
    let url = format!("{}/_org/faults", running.http_url());
    let answer = reqwest::Client::new().post(url).json(&rules).send().await;
    assert_eq!(answer.unwrap().status(), 200);
    running
}

/// Subscribes and returns the replay ids of the first response, or the `error-code` of the refusal.
async fn first_delivery(running: &Running, replay_id: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (token, tenant) =
        running.with_org(|org| (org.open_session(INTEGRATION_USER).unwrap(), org.org_id()));
    let preset = if replay_id.is_empty() {
        ReplayPreset::Earliest
    } else {
        ReplayPreset::Custom
    };
    let fetch = FetchRequest {
        topic_name: EVERYTHING.to_owned(),
        replay_preset: preset.into(),
        replay_id: replay_id.to_vec(),
        num_requested: 50,
        auth_refresh: String::new(),
    };
    // The request stream has to stay open until the response arrives.
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(fetch),
        tokio_stream::pending::<FetchRequest>(),
    );
    let mut request = tonic::Request::new(requests);
    let metadata = request.metadata_mut();
    metadata.insert("accesstoken", token.parse().unwrap());
    metadata.insert("instanceurl", running.http_url().parse().unwrap());
    metadata.insert("tenantid", tenant.parse().unwrap());
    let mut client = PubSubClient::connect(running.grpc_url()).await.unwrap();
    let mut responses = client.subscribe(request).await.unwrap().into_inner();
    match responses.message().await {
        Ok(Some(response)) => Ok(response.events.into_iter().map(|e| e.replay_id).collect()),
        Ok(None) => Err("the stream ended".to_owned()),
        Err(status) => {
            let code = status.metadata().get("error-code");
            Err(code.map_or_else(|| status.to_string(), |c| c.to_str().unwrap().to_owned()))
        }
    }
}

#[tokio::test]
async fn valid_position_can_be_refused_as_expired_once() {
    let running = served(json!({"action": "expire_replay"})).await;
    let all = first_delivery(&running, &[]).await.unwrap();
    let refused = first_delivery(&running, &all[0]).await.unwrap_err();
    assert_eq!(
        refused,
        "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted"
    );
    assert_eq!(first_delivery(&running, &all[0]).await.unwrap(), all[1..]);
}

#[tokio::test]
async fn missing_event_is_there_when_read_again() {
    let rule = json!({"action": "missing_events", "match": {"object": "Contact"}});
    let running = served(rule).await;
    let some = first_delivery(&running, &[]).await.unwrap();
    let all = first_delivery(&running, &[]).await.unwrap();
    assert_eq!(some, [all[0].clone(), all[2].clone()]);
}

#[tokio::test]
async fn only_events_of_the_named_object_are_duplicated() {
    let rule = json!({"action": "duplicate_events", "match": {"object": "Contact"}});
    let running = served(rule).await;
    let twice = first_delivery(&running, &[]).await.unwrap();
    let once = first_delivery(&running, &[]).await.unwrap();
    assert_eq!(twice.len(), 4);
    assert_eq!((&twice[1], &twice[2]), (&once[1], &once[1]));
}

#[tokio::test]
async fn reordered_events_are_the_same_events() {
    let rule = json!({"action": "reorder_events", "count": 20, "seed": 1});
    let running = served(rule).await;
    let mut orders = Vec::new();
    for _ in 0..20 {
        let mut order = first_delivery(&running, &[]).await.unwrap();
        orders.push(order.clone());
        order.sort();
        assert_eq!(order, first_delivery_sorted(&orders[0]));
    }
    assert!(
        orders.iter().any(|order| *order != orders[0]),
        "one order only"
    );
}

fn first_delivery_sorted(order: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut sorted = order.to_vec();
    sorted.sort();
    sorted
}

/// Returns which events of a full delivery remain under these rules, by index.
async fn left_by(rules: impl Fn(&[String]) -> Json) -> Vec<usize> {
    let running = served(json!([])).await;
    let ids = running.with_org(|org| {
        let all = org.fetch(EVERYTHING, &Position::Earliest, 10).unwrap();
        let ids = all
            .events
            .iter()
            .map(|event| org.decode(event).record_ids[0].clone());
        let ids: Vec<String> = ids.collect();
        let first = RecordId::parse(&ids[0]).unwrap();
        org.update_as(PERSON, first, &json!({"Name": "y"})).unwrap();
        ids
    });
    let all = first_delivery(&running, &[]).await.unwrap();
    let url = format!("{}/_org/faults", running.http_url());
    let client = reqwest::Client::new();
    let answer = client.post(url).json(&rules(&ids)).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    let some = first_delivery(&running, &[]).await.unwrap();
    let place = |one: &Vec<u8>| all.iter().position(|other| other == one).unwrap();
    some.iter().map(place).collect()
}

#[tokio::test]
async fn event_rule_selects_by_operation_records_and_topic() {
    let missing =
        |matching: Json| json!({"action": "missing_events", "count": 9, "match": matching});
    let left = left_by(|_| missing(json!({"operation": "update"}))).await;
    assert_eq!(left, [0, 1, 2]);
    let left = left_by(|_| missing(json!({"operation": "create", "object": "Account"}))).await;
    assert_eq!(left, [1, 3]);
    let left = left_by(|ids| missing(json!({"ids": [ids[0]]}))).await;
    assert_eq!(left, [1, 2]);
    let left = left_by(|_| missing(json!({"topic": "/data/AccountChangeEvent"}))).await;
    assert_eq!(left, [0, 1, 2, 3]);
    let left = left_by(|_| missing(json!({"topic": EVERYTHING, "operation": "CREATE"}))).await;
    assert_eq!(left, [3]);
}

#[tokio::test]
async fn reordering_moves_only_matching_events() {
    let rule = json!({"action": "reorder_events", "seed": 5, "match": {"object": "Account"}});
    let left = left_by(|_| rule.clone()).await;
    assert_eq!(left[1], 1, "the contact");
    let mut sorted = left.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3]);
}

#[tokio::test]
async fn position_expires_only_on_the_named_topic() {
    let topic = json!({"topic": "/data/ContactChangeEvent"});
    let running = served(json!({"action": "expire_replay", "match": topic})).await;
    let all = first_delivery(&running, &[]).await.unwrap();
    assert_eq!(first_delivery(&running, &all[0]).await.unwrap(), all[1..]);
}
