//! Relayed events: in envelopes, in any order, possibly more than once.

use salesforce_org::{DecodedEvent, Position};
use serde_json::{Map, Value as Json, json};
use syncline::capture::CaptureReport;
use syncline::engine::system::SystemClock;
use syncline::model::canonical;
use syncline::model::schema::FieldType;
use syncline::ports::Clock as _;
use syncline::salesforce::{ALL_CHANGES_TOPIC, RelayedEvent};

use crate::mapping::{MAPPING, with_line};
use crate::mass_edits::{measure_statements, measured};
use crate::stage::Stage;

/// Changes a mapping to capture by relay.
fn relayed(mapping: &str) -> String {
    let objects = "[[tenant.acme.object]]";
    mapping.replacen(objects, &format!("capture = \"relay\"\n\n{objects}"), 1)
}

/// Delivers events as Salesforce and EventBridge do.
struct Relay {
    position: Position,
}

impl Relay {
    /// Starts a relay after the newest event.
    fn start(stage: &Stage) -> Self {
        let head = stage
            .org
            .with(|org| org.fetch(ALL_CHANGES_TOPIC, &Position::Latest, 0));
        Self {
            position: Position::After(head.unwrap().latest_replay_id),
        }
    }

    /// Returns the envelopes of all events since the last call.
    fn take(&mut self, stage: &Stage) -> Vec<Json> {
        let mut events: Vec<DecodedEvent> = Vec::new();
        loop {
            let (fetched, head) = stage.org.with(|org| {
                let fetched = org.fetch(ALL_CHANGES_TOPIC, &self.position, 1_000).unwrap();
                let decoded = fetched.events.iter().map(|event| org.decode(event));
                let decoded: Vec<DecodedEvent> = decoded.collect();
                (decoded, fetched.latest_replay_id)
            });
            let before = std::mem::replace(&mut self.position, Position::After(head));
            if before == self.position {
                break;
            }
            events.extend(fetched);
        }
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
        .map(|(name, value)| (name.clone(), relayed_value(name, value)))
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

/// Converts timestamps, which are text in relayed events.
fn relayed_value(name: &str, value: &Json) -> Json {
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

/// Opens a stage, scans its objects completely, and starts a relay.
async fn started(mapping: &str) -> (Stage, Relay) {
    let stage = Stage::with_mapping(&relayed(mapping)).await;
    stage.drain().await;
    let relay = Relay::start(&stage);
    (stage, relay)
}

/// Creates, edits, clears and deletes records as users.
fn edit_as_users(stage: &Stage) {
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
    edit_as_users(&stage);
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
        edit_as_users(&stage);
        let mut envelopes = relay.take(&stage);
        let middle = envelopes.len() / 2;
        match turn {
            0 => envelopes.reverse(),
            1 => envelopes.rotate_left(middle),
            2 => envelopes.swap(0, middle),
            _ => envelopes.extend(envelopes.clone()),
        }
        // Each in its own batch, so that a batch cannot put them in order.
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
async fn duplicate_relayed_event_changes_nothing() {
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
    // At first delivery the record was read instead of using the event's content. So this content is new,
    // but old: the record may be refreshed, and does not change.
    deliver(&stage, &created).await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(
        stage.one("select name from account").await,
        json!("Ada Ltd")
    );
}

#[tokio::test]
async fn relayed_echo_of_our_own_write_causes_nothing() {
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
async fn edit_that_is_relayed_before_our_echo_stands() {
    for (is_one_batch, apply_between) in [(false, false), (false, true), (true, false)] {
        let (stage, mut relay) = started(MAPPING).await;
        stage
            .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
            .await;
        stage.drain().await;
        deliver(&stage, &relay.take(&stage)).await;
        stage.drain().await;
        stage.sql("update account set phone = '2'").await;
        stage.drain().await;
        let echo = relay.take(&stage);
        let id = stage.org.id_of("Account", "a-1").unwrap();
        stage.org.advance_ms(2_000);
        stage.org.update(&id, json!({"Phone": "3"}));
        let later = relay.take(&stage);
        assert_eq!((echo.len(), later.len()), (1, 1));
        if is_one_batch {
            deliver(&stage, &[later, echo].concat()).await;
        } else {
            deliver(&stage, &later).await;
            if apply_between {
                stage.apply("Account").await;
            }
            deliver(&stage, &echo).await;
        }
        for _ in 0..3 {
            stage.drain().await;
            stage.make_due().await;
        }
        stage.assert_equal().await;
        let phone = stage.one("select phone from account").await;
        assert_eq!(phone, json!("3"), "{is_one_batch} {apply_between}");
        let lost = "select count(*) from syncline.sync_discarded_value";
        assert_eq!(stage.one(lost).await, json!(0));
        assert_eq!(stage.conflicts().await, Vec::<Json>::new());
    }
}

#[tokio::test]
async fn edit_that_our_write_replaced_is_logged_in_every_order() {
    for (is_echo_first, is_one_batch) in [(true, false), (false, false), (false, true)] {
        let mapping = with_line("conflicts = \"postgres_wins\"");
        let (stage, mut relay) = started(&mapping).await;
        stage
            .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '1')")
            .await;
        stage.drain().await;
        deliver(&stage, &relay.take(&stage)).await;
        stage.drain().await;
        let id = stage.org.id_of("Account", "a-1").unwrap();
        stage.org.advance_ms(2_000);
        stage.org.update(&id, json!({"Phone": "3"}));
        let edit = relay.take(&stage);
        stage.org.advance_ms(2_000);
        stage.sql("update account set phone = '2'").await;
        stage.drain().await;
        let echo = relay.take(&stage);
        let batches = match (is_one_batch, is_echo_first) {
            (true, _) => vec![[echo, edit].concat()],
            (false, true) => vec![echo, edit],
            (false, false) => vec![edit, echo],
        };
        for batch in &batches {
            deliver(&stage, batch).await;
        }
        for _ in 0..3 {
            stage.drain().await;
            stage.make_due().await;
        }
        stage.assert_equal().await;
        assert_eq!(stage.one("select phone from account").await, json!("2"));
        let lost = "select side, value from syncline.sync_discarded_value";
        assert_eq!(
            stage.rows(lost).await,
            [json!({"side": "salesforce", "value": "3"})],
            "{is_echo_first} {is_one_batch}"
        );
    }
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
async fn relayed_mass_edit_is_recorded_in_bounded_parts() {
    let (stage, mut relay) = started(MAPPING).await;
    let ids: Vec<String> = (0..2_400)
        .map(|n| {
            let account = json!({"Name": format!("A{n}"), "External_Id__c": format!("a-{n}")});
            stage.org.insert("Account", account)
        })
        .collect();
    for created in relay.take(&stage).chunks(200) {
        deliver(&stage, created).await;
    }
    for ids in ids.chunks(200) {
        stage.org.update_together(ids, &json!({"Phone": "1"}));
    }
    // All of them in one batch of messages.
    let edited = relay.take(&stage);
    let header = |envelope: &Json| envelope["detail"]["payload"]["ChangeEventHeader"].clone();
    let records = edited.iter().map(header);
    let records = records.filter_map(|header| Some(header["recordIds"].as_array()?.len()));
    assert_eq!(records.sum::<usize>(), 2_400);
    measure_statements(&stage).await;
    let captured = deliver(&stage, &edited).await;
    assert_eq!(captured.counts.journaled, 2_400);
    let [records, _, all] = measured(&stage).await;
    assert_eq!((records, all), (2_000, 2_400));
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
async fn filter_applies_to_relayed_events() {
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
async fn relayed_event_has_the_tenants_org_id() {
    let (stage, mut relay) = started(MAPPING).await;
    stage.org.insert("Account", json!({"Name": "Ada"}));
    let envelope = relay.take(&stage).remove(0).to_string();
    let event = RelayedEvent::parse(&envelope).unwrap();
    let organization = stage.engine.organization(&stage.tenant).await.unwrap();
    assert_eq!(*event.organization_id(), organization);
}

/// Starts a relay in an org where every change is ten minutes old when it is compared.
async fn started_in_the_past() -> (Stage, Relay) {
    let stage = Stage::with_mapping(&relayed(MAPPING)).await;
    stage.org.set_wall_ms(SystemClock.now_ms() - 600_000);
    stage.drain().await;
    let relay = Relay::start(&stage);
    (stage, relay)
}

/// Returns which objects `status` says no events of arrive.
async fn unheard(stage: &Stage) -> Vec<String> {
    let status = stage.store.status(&stage.tenant).await.unwrap();
    let objects = status.objects.into_iter();
    objects
        .filter(|object| object.events_missing.is_some())
        .map(|object| object.object.to_string())
        .collect()
}

#[tokio::test]
async fn relay_that_stands_still_shows_in_status() {
    let (stage, mut relay) = started_in_the_past().await;
    let ada = json!({"Name": "Ada", "Phone": "1", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", ada);
    let person = json!({"LastName": "Day", "External_Id__c": "c-1"});
    stage.org.insert("Contact", person);
    deliver(&stage, &relay.take(&stage)).await;
    stage.drain().await;
    stage
        .sql("update syncline.sync_seen set seen_at = seen_at - interval '20 minutes'")
        .await;
    let compare = async || {
        let compared = stage
            .engine
            .reconcile_incremental(&stage.tenant, stage.deadline())
            .await;
        compared.unwrap();
    };
    compare().await;
    assert!(unheard(&stage).await.is_empty());

    stage.org.advance_ms(5_000);
    stage.org.update(&ada, json!({"Phone": "2"}));
    let lost = relay.take(&stage);
    assert_eq!(lost.len(), 1);
    compare().await;
    stage.drain().await;
    stage.assert_equal().await;
    assert_eq!(unheard(&stage).await, ["Account"]);
    // Neither a quiet hour nor the next sweep takes it back, but an event of the object does.
    compare().await;
    stage.sweep().await;
    assert_eq!(unheard(&stage).await, ["Account"]);
    stage.org.update(&ada, json!({"Phone": "3"}));
    deliver(&stage, &relay.take(&stage)).await;
    assert!(unheard(&stage).await.is_empty());
}

#[tokio::test]
async fn change_before_the_last_event_blames_no_relay() {
    let (stage, mut relay) = started_in_the_past().await;
    let ada = json!({"Name": "Ada", "External_Id__c": "a-1"});
    let ada = stage.org.insert("Account", ada);
    deliver(&stage, &relay.take(&stage)).await;
    stage.drain().await;
    stage.org.advance_ms(5_000);
    stage.org.update(&ada, json!({"Phone": "2"}));
    let compared = stage
        .engine
        .reconcile_incremental(&stage.tenant, stage.deadline())
        .await;
    assert_eq!(compared.unwrap().drifted.len(), 1);
    assert!(unheard(&stage).await.is_empty());
}
