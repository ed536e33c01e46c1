//! Events that come relayed: in envelopes, in any order, more than once.

use salesforce_org::{DecodedEvent, Position};
use serde_json::{Map, Value as Json, json};
use syncline::capture::CaptureReport;
use syncline::model::canonical;
use syncline::model::schema::FieldType;
use syncline::salesforce::{ALL_CHANGES_TOPIC, RelayedEvent};

use crate::mapping::{MAPPING, with_line};
use crate::stage::Stage;

/// Puts a tenant's mapping on the relay.
fn relayed(mapping: &str) -> String {
    let objects = "[[tenant.acme.object]]";
    mapping.replacen(objects, &format!("capture = \"relay\"\n\n{objects}"), 1)
}

/// What Salesforce hands to EventBridge, and EventBridge to us.
struct Relay {
    position: Position,
}

impl Relay {
    /// Starts a relay behind the newest event.
    fn start(stage: &Stage) -> Self {
        let head = stage
            .org
            .with(|org| org.fetch(ALL_CHANGES_TOPIC, &Position::Latest, 0));
        Self {
            position: Position::After(head.unwrap().latest_replay_id),
        }
    }

    /// Returns the envelopes of what has happened since.
    fn take(&mut self, stage: &Stage) -> Vec<Json> {
        let (events, head) = stage.org.with(|org| {
            let fetched = org.fetch(ALL_CHANGES_TOPIC, &self.position, 1_000).unwrap();
            let decoded: Vec<DecodedEvent> = fetched
                .events
                .iter()
                .map(|event| org.decode(event))
                .collect();
            (decoded, fetched.latest_replay_id)
        });
        self.position = Position::After(head);
        let org_id = stage.org.with(|org| org.org_id());
        events
            .iter()
            .map(|event| envelope(&org_id, event))
            .collect()
    }
}

fn envelope(org_id: &str, event: &DecodedEvent) -> Json {
    let mut payload: Map<String, Json> = event
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), shown(name, value)))
        .collect();
    for name in &event.nulled_fields {
        match name.split_once('.') {
            Some((compound, part)) => {
                payload.entry(compound).or_insert_with(|| json!({}))[part] = Json::Null;
            }
            None => {
                payload.insert(name.clone(), Json::Null);
            }
        }
    }
    let header = json!({
        "entityName": event.entity, "recordIds": event.record_ids,
        "changeType": event.change_type, "changeOrigin": event.change_origin,
        "transactionKey": event.transaction_key, "sequenceNumber": event.sequence_number,
        "commitTimestamp": event.commit_timestamp, "commitNumber": event.commit_number,
        "commitUser": event.commit_user, "changedFields": event.changed_fields,
    });
    payload.insert("ChangeEventHeader".to_owned(), header);
    json!({
        "version": "0", "detail-type": format!("{}ChangeEvent", event.entity),
        "source": format!("aws.partner/salesforce.com/{org_id}/0YL5g0000004DfgGAE"),
        "detail": {"payload": payload},
    })
}

/// Moments are text in relayed events.
fn shown(name: &str, value: &Json) -> Json {
    match value.as_i64() {
        Some(ms) if ["CreatedDate", "LastModifiedDate"].contains(&name) => {
            canonical::from_epoch_ms(&FieldType::DateTime, ms)
                .unwrap()
                .to_json()
        }
        _ => value.clone(),
    }
}

async fn deliver(stage: &Stage, envelopes: &[Json]) -> CaptureReport {
    let events: Vec<RelayedEvent> = envelopes
        .iter()
        .map(|envelope| RelayedEvent::parse(&envelope.to_string()).unwrap())
        .collect();
    let captured = stage.engine.capture_envelopes(&stage.tenant, &events).await;
    captured.unwrap()
}

/// A stage whose objects have been read as a whole, with a relay from there on.
async fn started(mapping: &str) -> (Stage, Relay) {
    let stage = Stage::with_mapping(&relayed(mapping)).await;
    stage.drain().await;
    let relay = Relay::start(&stage);
    (stage, relay)
}

/// People create, edit, clear and delete.
fn people_work(stage: &Stage) {
    let fields =
        json!({"Name": "Ada", "Phone": "1", "AnnualRevenue": 12.5, "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", fields);
    let bob = stage
        .org
        .insert("Account", json!({"Name": "Bob", "External_Id__c": "a-2"}));
    let cid = stage
        .org
        .insert("Account", json!({"Name": "Cid", "External_Id__c": "a-3"}));
    let person =
        json!({"LastName": "Day", "FirstName": "Dan", "AccountId": bob, "External_Id__c": "c-1"});
    let dan = stage.org.insert("Contact", person);
    stage
        .org
        .update(&ada, json!({"Name": "Ada Ltd", "Phone": null}));
    stage.org.update(&dan, json!({"LastName": "Dale"}));
    stage.org.update(&cid, json!({"Name": "Cid Ltd"}));
    stage.org.delete(&cid);
}

#[tokio::test]
async fn relayed_events_arrive_as_rows() {
    let (stage, mut relay) = started(MAPPING).await;
    people_work(&stage);
    let captured = deliver(&stage, &relay.take(&stage)).await;
    assert_eq!(
        (captured.counts.seen, captured.counts.journaled),
        (8, 8),
        "{captured:?}"
    );
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.org.writing_calls(), 0);
}

#[tokio::test]
async fn order_and_repetition_of_events_do_not_change_rows() {
    for turn in 0..4_usize {
        let (stage, mut relay) = started(MAPPING).await;
        people_work(&stage);
        let mut envelopes = relay.take(&stage);
        let one_sided = envelopes.len() / 2;
        match turn {
            0 => envelopes.reverse(),
            1 => envelopes.rotate_left(one_sided),
            2 => envelopes.swap(0, one_sided),
            _ => envelopes.extend(envelopes.clone()),
        }
        // One by one: nothing of a batch helps another.
        for envelope in &envelopes {
            deliver(&stage, std::slice::from_ref(envelope)).await;
            stage.apply("Account").await;
        }
        stage.drain().await;
        stage.make_due().await;
        stage.drain().await;
        stage.assert_equal().await;
        assert_eq!(
            stage.one("select count(*) from account").await,
            json!(2),
            "turn {turn}"
        );
        assert_eq!(stage.org.writing_calls(), 0, "turn {turn}");
    }
}

#[tokio::test]
async fn what_comes_again_is_a_duplicate_and_changes_nothing() {
    let (stage, mut relay) = started(MAPPING).await;
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", ada);
    let created = relay.take(&stage);
    deliver(&stage, &created).await;
    stage.drain().await;
    stage.org.update(&ada, json!({"Name": "Ada Ltd"}));
    let updated = relay.take(&stage);
    deliver(&stage, &updated).await;
    stage.drain().await;
    let again = deliver(&stage, &updated).await;
    assert_eq!((again.counts.duplicate, again.dirty), (1, 0), "{again:?}");
    // The first time the record was read instead, so that this is another content, and an older one: the
    // record may be looked at, and stays what it is.
    deliver(&stage, &created).await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select name from account").await,
        json!("Ada Ltd")
    );
}

#[tokio::test]
async fn an_edit_of_ours_comes_back_relayed_and_causes_nothing() {
    let (stage, mut relay) = started(MAPPING).await;
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    stage.drain().await;
    stage.sql("update account set name = 'Ada Ltd'").await;
    stage.drain().await;
    let calls = stage.org.writing_calls();
    let captured = deliver(&stage, &relay.take(&stage)).await;
    assert_eq!((captured.echoes, captured.dirty), (2, 0), "{captured:?}");
    stage.drain().await;
    assert_eq!(stage.org.writing_calls(), calls);
}

#[tokio::test]
async fn lost_events_cause_a_resync_of_their_object() {
    let (stage, mut relay) = started(MAPPING).await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let mut lost = relay.take(&stage);
    let header = &mut lost[0]["detail"]["payload"]["ChangeEventHeader"];
    header["changeType"] = json!("GAP_OVERFLOW");
    header["recordIds"] = json!(["000000000000000AAA"]);
    let captured = deliver(&stage, &lost).await;
    assert_eq!(captured.counts.seen, 0);
    assert_eq!(stage.capture_salesforce().await.scanned, 1);
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(stage.one("select count(*) from account").await, json!(1));
}

#[tokio::test]
async fn events_of_unmapped_objects_are_counted_and_ignored() {
    let (stage, mut relay) = started(MAPPING).await;
    stage
        .org
        .insert("Account", json!({"Name": "Ada", "External_Id__c": "a-1"}));
    let mut foreign = relay.take(&stage);
    foreign[0]["detail"]["payload"]["ChangeEventHeader"]["entityName"] = json!("Lead");
    let captured = deliver(&stage, &foreign).await;
    assert_eq!(
        (
            captured.counts.seen,
            captured.counts.out_of_scope,
            captured.dirty
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_filter_holds_for_relayed_events_too() {
    let filter = "where = \"Type = 'Customer'\"\non_filter_exit = \"delete\"";
    let (stage, mut relay) = started(&with_line(filter)).await;
    let customer = json!({"Name": "Ada", "Type": "Customer", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", customer);
    let prospect = json!({"Name": "Eve", "Type": "Prospect", "External_Id__c": "a-2"});
    stage.org.insert("Account", prospect);
    deliver(&stage, &relay.take(&stage)).await;
    stage.drain().await;
    let names = "select string_agg(name, ',') from account";
    assert_eq!(stage.one(names).await, json!("Ada"));
    stage.org.update(&ada, json!({"Type": "Prospect"}));
    deliver(&stage, &relay.take(&stage)).await;
    stage.drain().await;
    assert_eq!(stage.one(names).await, Json::Null);
}

#[tokio::test]
async fn the_tenant_of_an_event_is_known_by_its_org() {
    let (stage, mut relay) = started(MAPPING).await;
    stage.org.insert("Account", json!({"Name": "Ada"}));
    let envelope = relay.take(&stage).remove(0).to_string();
    let event = RelayedEvent::parse(&envelope).unwrap();
    let organization = stage.engine.organization(&stage.tenant).await.unwrap();
    assert_eq!(*event.organization_id(), organization);
}
