//! Topics, schemas and plain subscriptions.

use salesforce_org::pubsub::proto::{FetchResponse, ReplayPreset, SchemaRequest, TopicRequest};
use serde_json::json;
use tonic::{Code, Request};

use crate::subscriber::{
    ACCOUNTS, client, code_of, credentials, fetch, insert, served, subscribe, with_credentials,
};

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
    let stats = salesforce_org::Request::new("GET", "/_org/stats");
    let stats = running.with_org(|org| org.request(&stats)).to_json();
    let calls = ["rpc GetTopic", "rpc GetSchema"].map(|rpc| stats["calls"][rpc].clone());
    assert_eq!(calls, [json!(2), json!(2)], "rpcs are counted");
}

#[tokio::test]
async fn calls_without_a_valid_token_are_unauthenticated() {
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
async fn grants_add_up_and_are_required() {
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
    // A keep-alive with the number of requested events shows that both grants were read.
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
async fn subscription_resumes_from_eight_or_ten_byte_positions() {
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
async fn latest_sees_new_events_and_quiet_streams_stay_alive() {
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
            payload: event.payload,
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
async fn invalid_fetch_requests_end_the_stream_with_a_code() {
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
async fn positions_older_than_the_retention_are_corrupted() {
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
    let url = format!("{}/_org/faults", running.http_url());
    let declare = async |action: &str| {
        let rule = json!({"action": action});
        reqwest::Client::new()
            .post(&url)
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

#[test]
fn messages_match_the_real_protocol_byte_for_byte() {
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
        payload: vec![2].into(),
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
