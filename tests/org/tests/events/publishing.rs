//! Platform events: published over gRPC and REST, and received.

use apache_avro::types::Value as Avro;
use salesforce_org::pubsub::proto::{
    ErrorCode, ProducerEvent, PublishRequest, PublishResponse, ReplayPreset, SchemaRequest,
    TopicRequest,
};
use salesforce_org::server::Running;
use salesforce_org::{Org, Position};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::stage::Stage;
use crate::subscriber::{ACCOUNTS, client, code_of, fetch, serving, subscribe, with_credentials};

const FILE: &str = r#"
    [[platform_event]]
    name = "Sync_Marker__e"
      [[platform_event.field]]
      name = "Key__c"
      type = "string"
      length = 40
      required = true
      [[platform_event.field]]
      name = "At__c"
      type = "datetime"
    [[channel]]
    name = "Markers__chn"
      [[channel.member]]
      event = "Sync_Marker__e"
"#;
const TOPIC: &str = "/event/Sync_Marker__e";

async fn served() -> Running {
    serving(Org::from_toml(FILE).unwrap()).await
}

/// Returns the schema id of the event, and its schema.
async fn schema(running: &Running) -> (String, apache_avro::Schema) {
    let mut client = client(running).await;
    let topic = TopicRequest {
        topic_name: TOPIC.to_owned(),
    };
    let topic = client
        .get_topic(with_credentials(running, topic))
        .await
        .unwrap()
        .into_inner();
    assert!(topic.can_publish && topic.can_subscribe);
    let wanted = SchemaRequest {
        schema_id: topic.schema_id.clone(),
    };
    let schema = client
        .get_schema(with_credentials(running, wanted))
        .await
        .unwrap()
        .into_inner();
    (
        topic.schema_id,
        apache_avro::Schema::parse_str(&schema.schema_json).unwrap(),
    )
}

fn datum(schema: &apache_avro::Schema, key: &str) -> Vec<u8> {
    let some = |value| Avro::Union(1, Box::new(value));
    let fields = vec![
        ("CreatedDate".to_owned(), Avro::Long(1_777_627_800_000)),
        (
            "CreatedById".to_owned(),
            Avro::String("0055g000000000BAAQ".to_owned()),
        ),
        ("Key__c".to_owned(), some(Avro::String(key.to_owned()))),
        ("At__c".to_owned(), Avro::Union(0, Box::new(Avro::Null))),
    ];
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(schema)
        .build()
        .unwrap();
    writer.write_value_to_vec(Avro::Record(fields)).unwrap()
}

fn event(id: &str, schema_id: &str, payload: Vec<u8>) -> ProducerEvent {
    ProducerEvent {
        id: id.to_owned(),
        schema_id: schema_id.to_owned(),
        payload: payload.into(),
        headers: Vec::new(),
    }
}

fn request(topic: &str, events: Vec<ProducerEvent>) -> PublishRequest {
    PublishRequest {
        topic_name: topic.to_owned(),
        events,
        auth_refresh: String::new(),
    }
}

async fn publish(running: &Running, message: PublishRequest) -> Result<PublishResponse, Status> {
    let mut client = client(running).await;
    let published = client.publish(with_credentials(running, message)).await;
    published.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn published_event_reaches_subscribers_byte_for_byte() {
    let running = served().await;
    let (schema_id, schema) = schema(&running).await;
    let payload = datum(&schema, "k-1");
    let sent = event("mine", &schema_id, payload.clone());
    let response = publish(&running, request(TOPIC, vec![sent])).await.unwrap();
    assert_eq!(response.schema_id, schema_id);
    let result = &response.results[0];
    assert!(result.error.is_none() && result.correlation_key == "mine");
    for topic in [TOPIC, "/event/Markers__chn"] {
        let first = fetch(topic, ReplayPreset::Earliest, &[], 5);
        let received = subscribe(&running, first).await.events().await;
        assert_eq!(received.events.len(), 1, "{topic}");
        assert_eq!(received.events[0].replay_id, result.replay_id);
        assert_eq!(received.events[0].event.as_ref().unwrap().payload, payload);
    }
}

#[tokio::test]
async fn each_published_event_has_its_own_result() {
    let running = served().await;
    let (schema_id, schema) = schema(&running).await;
    let good = datum(&schema, "k");
    let account = running.with_org(|org| org.get_topic(ACCOUNTS).unwrap().schema_id);
    let events = vec![
        event("a", &schema_id, good.clone()),
        event("b", &schema_id, good[..good.len() - 1].to_vec()),
        event("c", &account, good.clone()),
        event("d", &schema_id, vec![0; 1_100_000]),
        event("", &schema_id, good),
    ];
    let results = publish(&running, request(TOPIC, events))
        .await
        .unwrap()
        .results;
    let failed: Vec<bool> = results
        .iter()
        .map(|result| result.error.is_some())
        .collect();
    assert_eq!(failed, [false, true, true, true, false]);
    for result in results.iter().filter(|result| result.error.is_some()) {
        assert_eq!(
            result.error.as_ref().unwrap().code,
            i32::from(ErrorCode::Publish)
        );
        assert!(result.replay_id.is_empty());
    }
    assert!(!results[4].correlation_key.is_empty());
}

#[tokio::test]
async fn invalid_publish_requests_are_refused_as_a_whole() {
    let running = served().await;
    let (schema_id, schema) = schema(&running).await;
    let one = || event("x", &schema_id, datum(&schema, "k"));
    let many = (0..201).map(|_| one()).collect();
    for (message, code) in [
        (request("", vec![one()]), "publish.topic.validation.empty"),
        (request(TOPIC, vec![]), "publish.event.count.invalid"),
        (request(TOPIC, many), "publish.event.count.invalid"),
        (request("/event/Nope__e", vec![one()]), "topic.not.found"),
        (request(ACCOUNTS, vec![one()]), "topic.meta.permission"),
    ] {
        let refused = publish(&running, message).await.unwrap_err();
        assert_eq!(code_of(&refused).1, code);
    }
    let refresh = PublishRequest {
        auth_refresh: "dead".to_owned(),
        ..request(TOPIC, vec![one()])
    };
    let refused = publish(&running, refresh).await.unwrap_err();
    assert_eq!(code_of(&refused).1, "publish.auth.refresh.invalid");
    let large = request(
        TOPIC,
        vec![event("x", &schema_id, vec![0; 5 * 1024 * 1024])],
    );
    let refused = publish(&running, large).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn publish_streams_have_one_topic() {
    let running = served().await;
    let (schema_id, schema) = schema(&running).await;
    let (requests, receiver) = mpsc::channel(8);
    let stream = with_credentials(&running, ReceiverStream::new(receiver));
    let mut responses = client(&running)
        .await
        .publish_stream(stream)
        .await
        .unwrap()
        .into_inner();
    let one = |id: &str| vec![event(id, &schema_id, datum(&schema, id))];
    for (topic, id) in [(TOPIC, "a"), ("", "b")] {
        requests.send(request(topic, one(id))).await.unwrap();
        let response = responses.next().await.unwrap().unwrap();
        assert_eq!(response.results[0].correlation_key, id);
    }
    requests.send(request(ACCOUNTS, one("c"))).await.unwrap();
    let ended = responses.next().await.unwrap().unwrap_err();
    assert_eq!(code_of(&ended).1, "publish.topic.mismatch");
}

#[test]
fn rest_publishes_an_event_like_a_record() {
    let mut stage = Stage::with(FILE);
    let body = json!({"Key__c": "k", "At__c": "2026-05-01T09:30:00Z"});
    let answer = stage.call("POST", "sobjects/Sync_Marker__e/", &body);
    let seen = answer.to_json();
    assert_eq!((answer.status, &seen["success"]), (201, &json!(true)));
    assert!(seen["id"].as_str().unwrap().starts_with('e'));
    assert_eq!(seen["errors"][0]["statusCode"], "OPERATION_ENQUEUED");
    let fetched = stage.org.fetch(TOPIC, &Position::Earliest, 9).unwrap();
    assert_eq!(fetched.events.len(), 1);
    assert_eq!(
        seen["errors"][0]["message"],
        json!(fetched.events[0].id.to_string())
    );
    for (body, code) in [
        (json!({}), "REQUIRED_FIELD_MISSING"),
        (json!({"Key__c": "k", "Nope__c": 1}), "INVALID_FIELD"),
        (json!({"Key__c": "x".repeat(41)}), "STRING_TOO_LONG"),
    ] {
        let refused = stage.call("POST", "sobjects/Sync_Marker__e", &body);
        assert_eq!(
            (refused.status, &refused.to_json()[0]["errorCode"]),
            (400, &json!(code))
        );
    }
    assert_eq!(
        stage.call("POST", "sobjects/Nope__e", &json!({})).status,
        404
    );
}

#[test]
fn event_schemas_are_available_over_rest() {
    let mut stage = Stage::with(FILE);
    let schema = stage
        .call("GET", "sobjects/Sync_Marker__e/eventSchema", &json!(null))
        .to_json();
    assert_eq!(schema["name"], "Sync_Marker__e");
    let path = format!("event/eventSchema/{}", schema["uuid"].as_str().unwrap());
    assert_eq!(stage.call("GET", &path, &json!(null)).to_json(), schema);
    assert_eq!(
        stage
            .call("GET", "event/eventSchema/x", &json!(null))
            .status,
        404
    );
}
