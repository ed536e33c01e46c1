//! Event relays: what the receiver gets.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use salesforce_org::local::PERSON;
use salesforce_org::server::Running;
use salesforce_org::{Org, RecordId};
use serde_json::{Value as Json, json};
use tokio::sync::{Mutex, mpsc};

use crate::subscriber::{insert, order, serving};

/// An HTTP server that accepts or refuses every POST.
struct Receiver {
    url: String,
    bodies: mpsc::UnboundedReceiver<(HeaderMap, Json)>,
    answer: Arc<Mutex<StatusCode>>,
}

type Shared = (
    mpsc::UnboundedSender<(HeaderMap, Json)>,
    Arc<Mutex<StatusCode>>,
);

async fn take(
    State((bodies, answer)): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, &'static str) {
    let answer = *answer.lock().await;
    if answer == StatusCode::OK {
        bodies
            .send((headers, serde_json::from_str(&body).unwrap()))
            .unwrap();
    }
    (answer, "{}")
}

impl Receiver {
    async fn start() -> Self {
        let (sender, bodies) = mpsc::unbounded_channel();
        let answer = Arc::new(Mutex::new(StatusCode::OK));
        let app = Router::new()
            .fallback(take)
            .with_state((sender, Arc::clone(&answer)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            url,
            bodies,
            answer,
        }
    }

    async fn envelope(&mut self) -> Json {
        self.bodies.recv().await.unwrap().1
    }

    async fn envelopes(&mut self, count: usize) -> Vec<Json> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(self.envelope().await);
        }
        all
    }
}

/// Starts an org with a relay of all change events to a receiver.
async fn relayed(extra: &str) -> (Running, Receiver) {
    let receiver = Receiver::start().await;
    let file = format!(
        "[[event_relay]]\nname = \"All\"\nchannel = \"ChangeEvents\"\nurl = \"{}\"\n{extra}",
        receiver.url
    );
    (serving(Org::from_toml(&file).unwrap()).await, receiver)
}

fn update(running: &Running, id: RecordId, fields: &Json) {
    running.with_org(|org| org.update_as(PERSON, id, fields).unwrap());
}

fn feedback(running: &Running) -> Json {
    let request = salesforce_org::Request::new("GET", "/_org/relays");
    running.with_org(|org| org.request(&request)).to_json()[0].clone()
}

fn record(envelope: &Json) -> &str {
    envelope["detail"]["payload"]["ChangeEventHeader"]["recordIds"][0]
        .as_str()
        .unwrap()
}

#[tokio::test]
async fn events_arrive_in_the_eventbridge_envelope() {
    let (running, mut receiver) = relayed("state = \"RUN\"").await;
    let id = insert(&running, "Account", 1)[0];
    let created = receiver.envelope().await;
    assert_eq!(
        (&created["version"], &created["detail-type"]),
        (&json!("0"), &json!("AccountChangeEvent"))
    );
    assert_eq!(
        (&created["account"], &created["region"]),
        (&json!("123456789012"), &json!("eu-central-1"))
    );
    assert_eq!(created["source"], feedback(&running)["remote_resource"]);
    assert!(
        created["source"]
            .as_str()
            .unwrap()
            .starts_with("aws.partner/salesforce.com/00D5g00000Ab1cdEAB/0YL")
    );
    assert!(created["time"].as_str().unwrap().ends_with('Z') && created["id"].is_string());
    let header = &created["detail"]["payload"]["ChangeEventHeader"];
    assert_eq!(
        (&header["changeType"], &header["recordIds"]),
        (&json!("CREATE"), &json!([id.to_string()]))
    );
    assert!(header.get("changedFields").is_none() && header.get("nulledFields").is_none());

    update(
        &running,
        id,
        &json!({"Phone": "1", "Opened__c": "2026-05-01", "BillingCity": "Lyon"}),
    );
    update(&running, id, &json!({"Phone": null, "BillingCity": null}));
    let payloads: Vec<Json> = receiver
        .envelopes(2)
        .await
        .into_iter()
        .map(|e| e["detail"]["payload"].clone())
        .collect();
    assert_eq!(
        (&payloads[0]["Phone"], &payloads[0]["Opened__c"]),
        (&json!("1"), &json!("2026-05-01"))
    );
    assert_eq!(payloads[0]["BillingAddress"], json!({"City": "Lyon"}));
    let stamp = payloads[0]["LastModifiedDate"].as_str().unwrap();
    assert!(stamp.ends_with(".000Z"), "{stamp}");
    assert!(
        payloads[0].get("Name").is_none(),
        "unchanged fields are omitted"
    );
    let names = payloads[0]["ChangeEventHeader"]["changedFields"]
        .as_array()
        .unwrap();
    assert!(names.contains(&json!("BillingAddress.City")));
    assert_eq!(payloads[1].get("Phone"), Some(&Json::Null));
    assert_eq!(payloads[1]["BillingAddress"].get("City"), Some(&Json::Null));
}

#[tokio::test]
async fn relay_can_duplicate_and_reorder_without_loss() {
    let (running, mut receiver) = relayed("state = \"PAUSE\"").await;
    let ids = insert(&running, "Account", 20);
    order(
        &running,
        "relays/All",
        &json!({"duplicate_every": 4, "shuffle_within": 10, "state": "RUN"}),
    );
    let envelopes = receiver.envelopes(25).await;
    let arrived: Vec<String> = envelopes.iter().map(|e| record(e).to_owned()).collect();
    let sent: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut distinct = arrived.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct, sent, "every event arrived");
    assert!(!arrived.is_sorted(), "some came out of order");
    let mut event_ids: Vec<&str> = envelopes
        .iter()
        .map(|e| e["id"].as_str().unwrap())
        .collect();
    event_ids.sort_unstable();
    event_ids.dedup();
    assert_eq!(event_ids.len(), 20, "a duplicate is the same entry again");
}

#[tokio::test]
async fn paused_relay_keeps_its_position_stopped_one_loses_it() {
    let (running, mut receiver) = relayed("state = \"RUN\"").await;
    insert(&running, "Account", 1);
    receiver.envelope().await;
    order(&running, "relays/All", &json!({"state": "PAUSE"}));
    assert_eq!(feedback(&running)["status"], "PAUSED");
    let held = insert(&running, "Account", 2);
    order(&running, "relays/All", &json!({"state": "RUN"}));
    let arrived = receiver.envelopes(2).await;
    assert_eq!(
        [record(&arrived[0]), record(&arrived[1])],
        [held[0].to_string(), held[1].to_string()]
    );
    order(&running, "relays/All", &json!({"state": "STOP"}));
    insert(&running, "Account", 3);
    order(&running, "relays/All", &json!({"state": "RUN"}));
    let after = insert(&running, "Account", 1);
    assert_eq!(record(&receiver.envelope().await), after[0].to_string());
}

#[tokio::test]
async fn expired_relay_position_uses_the_recovery_setting() {
    for (recovery, first) in [("EARLIEST", 0), ("LATEST", 2)] {
        let extra = format!("state = \"PAUSE\"\nreplay_recovery = \"{recovery}\"");
        let (running, mut receiver) = relayed(&extra).await;
        running.with_org(|org| org.advance_ms(73 * 3_600_000));
        let mut ids = insert(&running, "Account", 2);
        order(&running, "relays/All", &json!({"state": "RUN"}));
        if recovery == "EARLIEST" {
            assert_eq!(record(&receiver.envelope().await), ids[0].to_string());
            continue;
        }
        ids.extend(insert(&running, "Account", 1));
        assert_eq!(record(&receiver.envelope().await), ids[first].to_string());
    }
}

#[tokio::test]
async fn failing_receiver_is_retried_from_the_same_position() {
    let (running, mut receiver) = relayed("state = \"RUN\"").await;
    *receiver.answer.lock().await = StatusCode::SERVICE_UNAVAILABLE;
    let ids = insert(&running, "Account", 2);
    while feedback(&running)["status"] != "ERROR" {
        tokio::task::yield_now().await;
    }
    assert!(
        feedback(&running)["error"]
            .as_str()
            .unwrap()
            .contains("503")
    );
    *receiver.answer.lock().await = StatusCode::OK;
    order(&running, "relays/All", &json!({"state": "RUN"}));
    let arrived = receiver.envelopes(2).await;
    assert_eq!(
        [record(&arrived[0]), record(&arrived[1])],
        [ids[0].to_string(), ids[1].to_string()]
    );
}

#[tokio::test]
async fn queue_gets_envelopes_as_message_batches() {
    let mut receiver = Receiver::start().await;
    let file = format!(
        "[[channel]]\nname = \"Sales__chn\"\n[[channel.member]]\nevent = \"AccountChangeEvent\"\n\
         [[event_relay]]\nname = \"Queue\"\nchannel = \"Sales__chn\"\nqueue_url = \"{}\"\n\
         state = \"PAUSE\"\nregion = \"us-east-1\"",
        receiver.url
    );
    let running = serving(Org::from_toml(&file).unwrap()).await;
    insert(&running, "Contact", 1);
    let ids = insert(&running, "Account", 12);
    order(&running, "relays/Queue", &json!({"state": "RUN"}));
    let mut bodies = Vec::new();
    let mut sizes = Vec::new();
    while bodies.len() < 12 {
        let (headers, batch) = receiver.bodies.recv().await.unwrap();
        assert_eq!(headers["x-amz-target"], "AmazonSQS.SendMessageBatch");
        assert_eq!(headers["content-type"], "application/x-amz-json-1.0");
        assert!(
            headers["authorization"]
                .to_str()
                .unwrap()
                .contains("/us-east-1/sqs/")
        );
        assert_eq!(batch["QueueUrl"], receiver.url);
        let entries = batch["Entries"].as_array().unwrap();
        sizes.push(entries.len());
        bodies.extend(entries.iter().map(|entry| {
            let body: Json = serde_json::from_str(entry["MessageBody"].as_str().unwrap()).unwrap();
            record(&body).to_owned()
        }));
    }
    assert_eq!(sizes, [10, 2]);
    assert_eq!(
        bodies,
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn event_too_large_for_the_bus_is_counted_and_lost() {
    let (running, mut receiver) = relayed("state = \"RUN\"").await;
    let fields: Vec<Json> = (0..10)
        .map(|n| json!({"name": format!("Text{n}__c"), "type": "textarea", "length": 100_000}))
        .collect();
    let mut large = json!({"Name": "large"});
    for field in &fields {
        order(
            &running,
            "schema",
            &json!({"object": "Account", "add_field": field}),
        );
        large[field["name"].as_str().unwrap()] = json!("x".repeat(30_000));
    }
    running.with_org(|org| org.insert_as(PERSON, "Account", &large).unwrap());
    let small = insert(&running, "Account", 1)[0];
    assert_eq!(record(&receiver.envelope().await), small.to_string());
    while feedback(&running)["relayed"] != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(feedback(&running)["too_large"], 1);
}
