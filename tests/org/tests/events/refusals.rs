//! Refusals that a subscriber can get.

use salesforce_org::local::INTEGRATION_USER;
use salesforce_org::pubsub::proto::{FetchRequest, ProducerEvent, ReplayPreset, TopicRequest};
use salesforce_org::server::Running;
use salesforce_org::{DecodedEvent, Org};
use serde_json::json;
use tonic::Code;

use crate::subscriber::{
    ACCOUNTS, client, code_of, fetch, insert, order, served, serving, subscribe, with_credentials,
};

#[tokio::test]
async fn every_documented_code_can_be_planned() {
    let running = served().await;
    for (code, status) in [
        ("service.unavailable", Code::Unavailable),
        ("service.protection.triggered", Code::ResourceExhausted),
        ("service.tenant.license", Code::PermissionDenied),
        ("topic.api.unavailable", Code::Unavailable),
        ("schema.api.unavailable", Code::Unavailable),
        ("subscription.internal.error", Code::Internal),
    ] {
        order(
            &running,
            "pubsub/refusals",
            &json!({"code": code, "rpc": "GetTopic"}),
        );
        let topic = || TopicRequest {
            topic_name: ACCOUNTS.to_owned(),
        };
        let mut client = client(&running).await;
        let refused = client
            .get_topic(with_credentials(&running, topic()))
            .await
            .unwrap_err();
        assert_eq!(code_of(&refused), (status, code.to_owned()));
        assert!(
            client
                .get_topic(with_credentials(&running, topic()))
                .await
                .is_ok()
        );
    }
}

#[tokio::test]
async fn planned_refusal_ends_a_running_stream() {
    let running = served().await;
    let first = fetch(ACCOUNTS, ReplayPreset::Latest, &[], 5);
    let mut subscriber = subscribe(&running, first).await;
    subscriber.next().await.unwrap();
    order(
        &running,
        "pubsub/refusals",
        &json!({"code": "service.unavailable", "mid_stream": true}),
    );
    insert(&running, "Account", 1);
    let ended = loop {
        if let Err(status) = subscriber.next().await {
            break status;
        }
    };
    assert_eq!(
        code_of(&ended),
        (Code::Unavailable, "service.unavailable".to_owned())
    );
}

#[tokio::test]
async fn daily_delivery_limit_cuts_subscribers_off() {
    let running = served().await;
    order(
        &running,
        "events/limits",
        &json!({"daily_event_deliveries": 3}),
    );
    insert(&running, "Account", 5);
    let mut subscriber =
        subscribe(&running, fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 100)).await;
    let mut positions = Vec::new();
    let ended = loop {
        match subscriber.next().await {
            Ok(response) => positions.extend(response.events.into_iter().map(|e| e.replay_id)),
            Err(status) => break status,
        }
    };
    assert_eq!(positions.len(), 3);
    let spent = (
        Code::ResourceExhausted,
        "subscription.limit.exceeded".to_owned(),
    );
    assert_eq!(code_of(&ended), spent);

    let resume = || fetch(ACCOUNTS, ReplayPreset::Custom, &positions[2], 100);
    let ended = subscribe(&running, resume())
        .await
        .next()
        .await
        .unwrap_err();
    assert_eq!(code_of(&ended), spent);
    running.with_org(|org| org.advance_ms(25 * 3_600_000));
    let resumed = subscribe(&running, resume()).await.events().await;
    assert_eq!(resumed.events.len(), 2, "nothing was lost");
}

#[tokio::test]
async fn subscriptions_above_the_limit_are_refused() {
    let running = serving(Org::from_toml("[org]\nsubscriptions_max = 1").unwrap()).await;
    let first = || fetch(ACCOUNTS, ReplayPreset::Latest, &[], 5);
    let mut subscriber = subscribe(&running, first()).await;
    subscriber.next().await.unwrap();
    let stream = tokio_stream::iter([first()]);
    let refused = client(&running)
        .await
        .subscribe(with_credentials(&running, stream))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(code_of(&refused).1, "concurrent.client.limit.exceeded");
}

#[tokio::test]
async fn view_all_permission_is_needed_for_topic_and_events() {
    let running = served().await;
    insert(&running, "Account", 1);
    let contacts = insert(&running, "Contact", 1);
    let taken = json!({"user": INTEGRATION_USER, "cannot_view_all": ["Account"]});
    order(&running, "permissions", &taken);
    let first = fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 5);
    let ended = subscribe(&running, first).await.next().await.unwrap_err();
    let denied = (
        Code::PermissionDenied,
        "subscription.topic.cannot.subscribe".to_owned(),
    );
    assert_eq!(code_of(&ended), denied);
    let all = fetch("/data/ChangeEvents", ReplayPreset::Earliest, &[], 5);
    let response = subscribe(&running, all).await.events().await;
    assert_eq!((response.events.len(), contacts.len()), (1, 1));
    let topic = TopicRequest {
        topic_name: ACCOUNTS.to_owned(),
    };
    let topic = client(&running)
        .await
        .get_topic(with_credentials(&running, topic))
        .await
        .unwrap();
    assert!(!topic.into_inner().can_subscribe);
}

fn decoded(running: &Running, event: ProducerEvent) -> DecodedEvent {
    running.with_org(|org| {
        let event = salesforce_org::ChangeEvent {
            id: event.id.parse().unwrap(),
            schema_id: event.schema_id,
            payload: event.payload,
            replay_id: Vec::new(),
        };
        org.decode(&event)
    })
}

#[tokio::test]
async fn encrypted_text_is_masked_in_events() {
    let running = served().await;
    let field = json!({"name": "Card__c", "type": "encryptedstring", "mask": "lastFour"});
    let added = json!({"object": "Account", "add_field": field});
    order(&running, "schema", &added);
    let fields = json!({"Name": "Acme", "Card__c": "4111-1111"});
    running.with_org(|org| {
        org.insert_as(salesforce_org::local::PERSON, "Account", &fields)
            .unwrap();
    });
    let plain = json!({"user": INTEGRATION_USER, "view_encrypted_data": true});
    for (permissions, shown) in [(None, "****-1111"), (Some(plain), "4111-1111")] {
        if let Some(permissions) = permissions {
            order(&running, "permissions", &permissions);
        }
        let first = fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 5);
        let response = subscribe(&running, first).await.events().await;
        let event = response.events[0].event.clone().unwrap();
        assert_eq!(decoded(&running, event).fields["Card__c"], shown);
    }
}

#[tokio::test]
async fn hidden_fields_are_null_in_events() {
    let running = served().await;
    let id = insert(&running, "Account", 1)[0];
    let taken = json!({"user": INTEGRATION_USER, "hidden_fields": ["Account.Phone", "Account.BillingCity"]});
    order(&running, "permissions", &taken);
    running.with_org(|org| {
        let fields =
            json!({"Phone": "1", "Fax": "2", "BillingCity": "Lyon", "BillingCountry": "FR"});
        org.update_as(salesforce_org::local::PERSON, id, &fields)
            .unwrap();
    });
    let first = fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 5);
    let mut subscriber = subscribe(&running, first).await;
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(subscriber.events().await.events);
    }
    let event = events[1].event.clone().unwrap();
    let schema = running.with_org(|org| org.get_schema(&event.schema_id).unwrap().schema_json);
    let decoded = decoded(&running, event);
    assert!(schema.contains("\"Phone\""));
    assert!(!decoded.fields.contains_key("Phone"));
    assert_eq!(decoded.fields["Fax"], "2");
    assert_eq!(decoded.fields["BillingAddress"], json!({"Country": "FR"}));
    let named = |name: &str| decoded.changed_fields.iter().any(|known| known == name);
    assert!(named("Fax") && named("BillingAddress.Country"));
    assert!(!named("Phone") && !named("BillingAddress.City"));
}

#[tokio::test]
async fn stream_refuses_an_invalid_new_token() {
    let running = served().await;
    let with_token = FetchRequest {
        auth_refresh: "dead".to_owned(),
        ..fetch(ACCOUNTS, ReplayPreset::Latest, &[], 1)
    };
    let ended = subscribe(&running, with_token)
        .await
        .next()
        .await
        .unwrap_err();
    assert_eq!(code_of(&ended).1, "service.auth.refresh.invalid");
}

#[tokio::test]
async fn moved_org_refuses_all_stored_positions() {
    let running = served().await;
    insert(&running, "Account", 2);
    let first = fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 1);
    let stored = subscribe(&running, first)
        .await
        .events()
        .await
        .latest_replay_id;
    order(&running, "events/positions/lose", &json!({}));
    let first = fetch(ACCOUNTS, ReplayPreset::Custom, &stored, 1);
    let ended = subscribe(&running, first).await.next().await.unwrap_err();
    assert_eq!(code_of(&ended).1, "subscription.fetch.replayid.corrupted");
}

#[tokio::test]
async fn large_events_are_split_over_several_answers() {
    let running = served().await;
    let text = "x".repeat(30_000);
    running.with_org(|org| {
        for _ in 0..150 {
            let fields = json!({"Name": "a", "Description": text});
            org.insert_as(salesforce_org::local::PERSON, "Account", &fields)
                .unwrap();
        }
    });
    let first = fetch(ACCOUNTS, ReplayPreset::Earliest, &[], 100);
    let mut subscriber = subscribe(&running, first).await;
    let mut seen = 0;
    while seen < 100 {
        let response = subscriber.events().await;
        let bytes: usize = response
            .events
            .iter()
            .map(|e| e.event.as_ref().unwrap().payload.len())
            .sum();
        assert!(bytes < 4_000_000, "{bytes}");
        seen += response.events.len();
    }
    assert_eq!(seen, 100);
}
