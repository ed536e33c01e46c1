//! The event stream: its positions, its events, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use salesforce_org::FaultAction;
use serde_json::json;
use syncline::model::cursor::SourceCursor;
use syncline::model::ids::{FieldName, ObjectName};
use syncline::model::observation::{ObservationKind, SalesforceObservation};
use syncline::model::value::Value;
use syncline::ports::salesforce::{
    Changes, Disposition, EventBatch, EventStream, Interest, ReplayFrom, SalesforcePort, StreamEnd,
    WriteTarget,
};

use crate::stand::{Stand, account, applied, by_id, field, fields, object, text};

const ACCOUNTS: &str = "/data/AccountChangeEvent";
const WAIT: Duration = Duration::from_secs(10);

fn mapped() -> BTreeMap<ObjectName, Interest> {
    let names = [
        "External_Id__c",
        "Name",
        "Phone",
        "BillingCity",
        "AnnualRevenue",
    ];
    BTreeMap::from([(object("Account"), interest(fields(&names)))])
}

fn interest(fields: Vec<FieldName>) -> Interest {
    Interest {
        external_id: field("External_Id__c"),
        fields,
        changes: Changes::OfFields,
    }
}

async fn subscribe(stand: &Stand, from: &ReplayFrom) -> Box<dyn EventStream> {
    stand
        .client
        .subscribe(ACCOUNTS, from, &mapped())
        .await
        .unwrap()
}

/// Returns the next batch that has events.
async fn next_events(stream: &mut dyn EventStream) -> EventBatch {
    loop {
        let batch = stream.next(100, WAIT).await.unwrap().unwrap();
        if batch.events > 0 {
            return batch;
        }
    }
}

/// Returns the next `count` observations and the position after them.
async fn observe(
    stream: &mut dyn EventStream,
    count: usize,
) -> (Vec<SalesforceObservation>, ReplayFrom) {
    let mut seen = Vec::new();
    loop {
        let batch = next_events(stream).await;
        seen.extend(batch.observations);
        if seen.len() >= count {
            assert_eq!(seen.len(), count);
            return (seen, after(&batch.position));
        }
    }
}

fn after(position: &SourceCursor) -> ReplayFrom {
    match position {
        SourceCursor::SalesforceReplayId(bytes) => ReplayFrom::After(bytes.clone()),
        other => panic!("no replay id: {other:?}"),
    }
}

fn line_of(observation: &SalesforceObservation) -> String {
    let fields: Vec<String> = observation
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={}", value.to_json()))
        .collect();
    format!("{:?} {}", observation.kind, fields.join(" "))
}

#[tokio::test]
async fn changes_of_a_record_arrive_in_order() {
    let stand = Stand::new().await;
    let created = json!({"Name": "Acme", "External_Id__c": "a-1", "BillingCity": "Lyon",
        "AnnualRevenue": 5.5});
    let id = stand.person_inserts(&created);
    stand.person_updates(&id, &json!({"Phone": "1", "BillingCity": null}));
    stand.person_updates(&id, &json!({"Website": "https://acme.example"}));
    stand.person_deletes(&id);
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let (seen, _) = observe(&mut *stream, 3).await;
    let lines: Vec<String> = seen.iter().map(line_of).collect();
    assert_eq!(
        lines,
        [
            r#"Created AnnualRevenue=5.5 BillingCity="Lyon" External_Id__c="a-1" Name="Acme" Phone=null"#,
            r#"Changed BillingCity=null Phone="1""#,
            "Deleted "
        ]
    );
    assert!(seen.iter().all(|one| one.salesforce_id == id && !one.ours));
    assert_eq!(seen[0].external_id.as_deref(), Some("a-1"));
    assert_eq!(seen[1].external_id, None);
    let commits: Vec<Option<i64>> = seen.iter().map(|one| one.version.commit_number).collect();
    assert!(commits.is_sorted() && commits[0].is_some(), "{commits:?}");
}

#[tokio::test]
async fn long_texts_come_in_batches_of_limited_size() {
    const MIB: usize = 1024 * 1024;
    let stand = Stand::new().await;
    let long = "x".repeat(32_000);
    for place in 0..600 {
        stand.person_inserts(&json!({"Name": format!("{place}"), "Description": long}));
    }
    let wanted = interest(fields(&["External_Id__c", "Name", "Description"]));
    let wanted = BTreeMap::from([(object("Account"), wanted)]);
    let stream = stand
        .client
        .subscribe(ACCOUNTS, &ReplayFrom::Earliest, &wanted);
    let mut stream = stream.await.unwrap();
    let (mut names, mut sizes) = (Vec::new(), Vec::new());
    while names.len() < 600 {
        let batch = stream.next(1_000, WAIT).await.unwrap().unwrap();
        let observations = batch.observations.iter();
        sizes.push(
            observations
                .map(SalesforceObservation::rough_bytes)
                .sum::<usize>(),
        );
        names.extend(
            batch
                .observations
                .iter()
                .map(|one| one.fields[&field("Name")].clone()),
        );
    }
    assert!(sizes.iter().all(|size| *size < 9 * MIB), "{sizes:?}");
    assert!(
        sizes.iter().any(|size| *size > 7 * MIB),
        "they are collected: {sizes:?}"
    );
    let all: Vec<Value> = (0..600)
        .map(|place| Value::text(&place.to_string()))
        .collect();
    assert_eq!(names, all);
}

#[tokio::test]
async fn event_and_read_give_the_same_values() {
    let stand = Stand::new().await;
    let id = stand.person_inserts(&json!({"Name": " Acme ", "External_Id__c": "a-1",
        "AnnualRevenue": 1_234_567.25, "Opened__c": "2026-05-01", "Active__c": true,
        "Checked_At__c": "2026-05-01T09:30:00.123Z", "Tags__c": "small;large",
        "NumberOfEmployees": 7, "Elevation__c": -3.125}));
    let names = fields(&[
        "Name",
        "AnnualRevenue",
        "Opened__c",
        "Active__c",
        "Checked_At__c",
        "Tags__c",
        "NumberOfEmployees",
        "Elevation__c",
        "ParentId",
        "OwnerId",
    ]);
    let objects = BTreeMap::from([(object("Account"), interest(names.clone()))]);
    let mut stream = stand
        .client
        .subscribe(ACCOUNTS, &ReplayFrom::Earliest, &objects)
        .await
        .unwrap();
    let (seen, _) = observe(&mut *stream, 1).await;
    let by = syncline::ports::salesforce::ReadBy::Id(vec![id]);
    let read = stand
        .client
        .read(&object("Account"), &by, &names)
        .await
        .unwrap();
    assert_eq!(seen[0].kind, ObservationKind::Created);
    assert_eq!(seen[0].fields, read[0].fields);
    assert_eq!(seen[0].version.modified_ms, read[0].version.modified_ms);
}

#[tokio::test]
async fn our_own_writes_are_marked() {
    let stand = Stand::new().await;
    let outcomes = stand
        .write(&[account("a-1", &[("Name", text("Acme"))])])
        .await;
    let id = applied(&outcomes[0]);
    stand.person_updates(&id, &json!({"Phone": "1"}));
    let update = by_id(WriteTarget::UpdateById(id), &[("Phone", text("2"))]);
    stand.write(&[update]).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let (seen, _) = observe(&mut *stream, 3).await;
    let ours: Vec<bool> = seen.iter().map(|one| one.ours).collect();
    assert_eq!(ours, [true, false, true]);
}

#[tokio::test]
async fn subscription_resumes_exactly_after_a_stored_position() {
    let stand = Stand::new().await;
    stand.create_accounts(5).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let batch = stream.next(2, WAIT).await.unwrap().unwrap();
    assert_eq!(batch.events, 2);
    let mut stream = subscribe(&stand, &after(&batch.position)).await;
    let (rest, end) = observe(&mut *stream, 3).await;
    let names: Vec<&Value> = rest.iter().map(|one| &one.fields[&field("Name")]).collect();
    let expected = ["Account 2", "Account 3", "Account 4"].map(Value::text);
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
    let mut stream = subscribe(&stand, &end).await;
    let quiet = stream.next(100, WAIT).await.unwrap().unwrap();
    assert_eq!((quiet.events, quiet.observations.len()), (0, 0));
}

#[tokio::test]
async fn batches_have_at_most_the_requested_number_of_events() {
    let stand = Stand::new().await;
    let ids = stand.create_accounts(450).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let mut seen = Vec::new();
    while seen.len() < 450 {
        let batch = stream.next(40, WAIT).await.unwrap().unwrap();
        assert!(batch.events <= 40);
        seen.extend(batch.observations);
    }
    let mut expected = ids;
    let mut found: Vec<_> = seen.iter().map(|one| one.salesforce_id.clone()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn backlog_arrives_in_large_batches() {
    let stand = Stand::new().await;
    stand.create_accounts(400).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let batch = stream.next(500, WAIT).await.unwrap().unwrap();
    assert!(batch.events > 100, "{}", batch.events);
}

#[tokio::test]
async fn quiet_stream_returns_positions_to_callers_that_wait() {
    let stand = Stand::new().await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let nothing = stream.next(100, Duration::ZERO).await.unwrap();
    assert_eq!(nothing, None);
    let quiet = stream.next(100, WAIT).await.unwrap().unwrap();
    assert_eq!(quiet.events, 0);
    let position = after(&quiet.position);
    let id = stand.person_inserts(&json!({"Name": "Acme"}));
    let mut resumed = subscribe(&stand, &position).await;
    let (seen, _) = observe(&mut *resumed, 1).await;
    assert_eq!(seen[0].salesforce_id, id);
}

#[tokio::test]
async fn malformed_or_expired_position_is_lost() {
    let stand = Stand::new().await;
    stand.create_accounts(2).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let old = after(&stream.next(1, WAIT).await.unwrap().unwrap().position);
    stand
        .control("clock", json!({"advance_ms": 80 * 3_600_000_i64}))
        .await;
    stand.client.probe().await.unwrap();
    for lost in [
        old,
        ReplayFrom::After(vec![1, 2, 3]),
        ReplayFrom::After(vec![]),
    ] {
        let mut stream = subscribe(&stand, &lost).await;
        let end = stream.next(100, WAIT).await.unwrap_err();
        assert!(matches!(end, StreamEnd::PositionLost(_)), "{lost:?}: {end}");
    }
}

#[tokio::test]
async fn expired_session_is_renewed_once_when_subscribing() {
    let stand = Stand::new().await;
    stand.person_inserts(&json!({"Name": "Acme"}));
    stand.client.describe(&object("Account")).await.unwrap();
    stand.control("sessions/expire", json!({})).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    observe(&mut *stream, 1).await;
    assert_eq!(stand.calls("/services/oauth2/token").await, 2);
}

#[tokio::test]
async fn reset_stream_ends_and_resumes_without_loss() {
    let stand = Stand::new().await;
    stand.create_accounts(3).await;
    let mut stream = subscribe(&stand, &ReplayFrom::Earliest).await;
    let (_, position) = observe(&mut *stream, 3).await;
    stand.fault(&FaultAction::ResetStream.once());
    let id = stand.person_inserts(&json!({"Name": "Later"}));
    let end = loop {
        match stream.next(100, WAIT).await {
            Ok(batch) => assert!(batch.is_none_or(|batch| batch.events == 0)),
            Err(end) => break end,
        }
    };
    assert!(matches!(end, StreamEnd::Closed(_)), "{end}");
    let mut stream = subscribe(&stand, &position).await;
    let (seen, _) = observe(&mut *stream, 1).await;
    assert_eq!(seen[0].salesforce_id, id);
}

#[tokio::test]
async fn several_objects_share_one_topic() {
    let stand = Stand::new().await;
    let mut contact = account(
        "c-1",
        &[("LastName", text("Ito")), ("FirstName", text("Aya"))],
    );
    contact.object = object("Contact");
    stand
        .write(&[account("a-1", &[("Name", text("Acme"))])])
        .await;
    stand.write(&[contact]).await;
    let mut objects = mapped();
    let names = fields(&["External_Id__c", "FirstName", "LastName"]);
    objects.insert(object("Contact"), interest(names));
    let mut stream = stand
        .client
        .subscribe("/data/ChangeEvents", &ReplayFrom::Earliest, &objects)
        .await
        .unwrap();
    let (seen, _) = observe(&mut *stream, 2).await;
    assert_eq!(
        line_of(&seen[1]),
        r#"Created External_Id__c="c-1" FirstName="Aya" LastName="Ito""#
    );
    let mut stream = stand
        .client
        .subscribe("/data/ChangeEvents", &ReplayFrom::Earliest, &mapped())
        .await
        .unwrap();
    let batch = next_events(&mut *stream).await;
    assert_eq!(batch.events, batch.observations.len() + batch.out_of_scope);
}

#[tokio::test]
async fn missing_topic_is_refused() {
    let stand = Stand::new().await;
    let topic = "/data/NothingChangeEvent";
    let refused = match stand
        .client
        .subscribe(topic, &ReplayFrom::Earliest, &mapped())
        .await
    {
        Ok(mut stream) => match stream.next(100, WAIT).await.unwrap_err() {
            StreamEnd::Refused(error) => error,
            other => panic!("it is refused: {other}"),
        },
        Err(error) => error,
    };
    assert_eq!(refused.code, "topic.not.found");
    assert_eq!(refused.disposition, Disposition::Park);
}
