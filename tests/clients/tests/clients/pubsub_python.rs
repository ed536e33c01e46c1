//! The Pub/Sub API from Python: the class of Salesforce's guide, and a client on asyncio.

use salesforce_org::Org;
use salesforce_org::local::PERSON;
use serde_json::json;
use syncline_clients::{Client, Stage};

/// A platform event that an org declares.
pub(crate) const MARKER: &str = r#"
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
"#;

#[tokio::test]
async fn pubsub_guide_subscribes_publishes_and_resumes() {
    let stage = Stage::of(Org::from_toml(MARKER).unwrap()).await;
    stage.with_org(three_accounts);
    let calls = stage.play(Client::PySfPubSub, "pubsub_guide.py").await;
    // One of its own, one for each of four subscriptions, one with a wrong password.
    assert_eq!(calls.made("POST /services/Soap"), 6);
    assert_eq!(calls.made("rpc Subscribe"), 4);
    assert_eq!(calls.made("rpc Publish"), 1);
    let late = stage.records("SELECT Name FROM Account WHERE External_Id__c = 'guide-1'");
    assert_eq!(late, [json!({"Name": "Late"})]);
    let stats = stage.stats();
    assert_eq!(stats["events_published"], 3 + 1 + 3);
    assert_eq!(stats["events_delivered"], 3 + 2 + 1 + 3);
}

#[tokio::test]
async fn async_pubsub_client_subscribes_from_any_position() {
    let stage = Stage::start().await;
    stage.with_org(three_accounts);
    let calls = stage.play(Client::AioSfPubSub, "pubsub_async.py").await;
    assert_eq!(calls.made("POST /services/Soap"), 2);
    assert_eq!(calls.made("rpc Subscribe"), 2);
    assert_eq!(stage.stats()["events_delivered"], 3 + 1);
}

fn three_accounts(org: &mut Org) {
    for name in ["One", "Two", "Three"] {
        org.insert_as(PERSON, "Account", &json!({"Name": name}))
            .unwrap();
    }
}
