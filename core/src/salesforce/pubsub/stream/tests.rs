//! Streams whose session expires, against a local org.

use std::future;

use salesforce_org::Org;
use salesforce_org::local::{CLIENT_ID, CLIENT_SECRET, PERSON};
use salesforce_org::server::{Options, Running, start};
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::salesforce::auth::{Login, MemoryTokenStore, SessionCache};
use crate::salesforce::transport::{Network, Transport};

const WAIT: Duration = Duration::from_secs(10);

/// Starts an org with one account, and subscribes to all account changes.
async fn subscribed() -> (Running, Subscription) {
    let running = start(Org::default(), &Options::default()).await.unwrap();
    running
        .with_org(|org| org.insert_as(PERSON, "Account", &json!({"Name": "Acme"})))
        .unwrap();
    let login = Login::ClientCredentials {
        secret: SecretString::from(CLIENT_SECRET),
    };
    let network = Network::new(&running.grpc_url()).unwrap();
    let network: Arc<dyn Transport> = Arc::new(network);
    let sessions = SessionCache::new(
        Arc::clone(&network),
        &running.http_url(),
        CLIENT_ID,
        login,
        Arc::new(MemoryTokenStore::default()),
    );
    let bus = EventBus::new(network, "syncline", Arc::new(sessions.unwrap()));
    let mapped = EventFilter::default();
    let topic = "/data/AccountChangeEvent";
    let subscription = bus.subscribe(topic, &ReplayFrom::Earliest, mapped).await;
    (running, subscription.unwrap())
}

fn dead() -> Connection {
    Connection::Opening(Box::pin(future::ready(Err(Status::unauthenticated("")))))
}

#[tokio::test]
async fn stream_with_expired_session_continues_where_it_was() {
    let (running, mut stream) = subscribed().await;
    let first = stream.next(100, WAIT).await.unwrap().unwrap();
    assert_eq!((first.events, first.out_of_scope), (1, 1));
    running
        .with_org(|org| org.insert_as(PERSON, "Account", &json!({"Name": "Corp"})))
        .unwrap();
    stream.opened.connection = dead();
    let second = stream.next(100, WAIT).await.unwrap().unwrap();
    assert_eq!(second.events, 1, "the second account alone");
    assert_ne!(second.position, first.position);
}

#[tokio::test]
async fn stream_refused_with_a_new_session_ends() {
    let (_running, mut stream) = subscribed().await;
    stream.session_renewed = true;
    stream.opened.connection = dead();
    let end = stream.next(100, WAIT).await.unwrap_err();
    let StreamEnd::Refused(error) = end else {
        panic!("it is refused: {end}");
    };
    assert_eq!(error.disposition, Disposition::RefreshSession);
}

#[test]
fn event_without_a_replay_id_has_no_position() {
    let event = |replay_id: &[u8]| ConsumerEvent {
        replay_id: replay_id.to_vec(),
        ..ConsumerEvent::default()
    };
    let message = |events| FetchResponse {
        events,
        latest_replay_id: vec![0, 9],
        ..FetchResponse::default()
    };
    assert!(all_have_positions(&message(vec![event(&[0, 7])])));
    assert!(!all_have_positions(&message(vec![
        event(&[0, 7]),
        event(&[])
    ])));
}
