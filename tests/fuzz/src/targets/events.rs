//! Change events, from Pub/Sub and from Event Relay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use syncline::model::canonical;
use syncline::model::observation::SalesforceObservation;
use syncline::model::value::Value;
use syncline::ports::salesforce::{
    Changes, EventBatch, Interest, ReplayFrom, SalesforcePort, StreamEnd,
};
use syncline::salesforce::{RelayedBatch, RelayedEvent, read_relayed};

use crate::json::{assert_is_short, assert_quotes_nothing, document, leaves};
use crate::stand::{Stand, account, field, finished, id, mapped, new_stand, object, stand};

/// The schema of Account's change events.
const SCHEMA: &str = include_str!("../account_event.avsc");

/// Most batches that one message can be.
const BATCHES_MAX: usize = 20;

/// An event is one that is read to its last byte, or its object is read again: no part of an event is an event.
pub(crate) fn event(bytes: &[u8]) {
    let stand = stand();
    let read = read_event(&stand, SCHEMA.as_bytes(), bytes);
    if read.observations.is_empty() {
        return;
    }
    let longer = [bytes, &[0]].concat();
    for other in [&bytes[..bytes.len() - 1], &longer] {
        let other = read_event(&stand, SCHEMA.as_bytes(), other);
        assert!(
            other.observations.is_empty(),
            "a part of an event was read as {other:?}"
        );
    }
}

/// Any text is a schema or not, and any bytes are an event of it or not. The schema ends with a NUL.
pub(crate) fn event_schema(bytes: &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    let (schema, payload) = bytes.split_at(end);
    // Any other schema is no message.
    if std::str::from_utf8(schema).is_ok() {
        read_event(&new_stand(), schema, payload.get(1..).unwrap_or_default());
    }
}

fn read_event(stand: &Stand, schema: &[u8], payload: &[u8]) -> EventBatch {
    let event = [message(2, b"schema-1"), message(3, payload)].concat();
    let consumed = [message(1, &event), message(2, &[0, 0, 7])].concat();
    let (batches, _) = read_stream(stand, schema, message(1, &consumed));
    let [batch] = batches.as_slice() else {
        panic!(
            "one message with one event is one batch, not {}",
            batches.len()
        );
    };
    assert_eq!(batch.events, 1);
    let outcomes = batch.observations.len() + batch.needs_resync.len() + batch.out_of_scope;
    assert!(outcomes > 0, "an event was lost");
    batch.clone()
}

/// Any message of a stream is batches with positions that can be stored, or the end of the stream.
pub(crate) fn stream(bytes: &[u8]) {
    read_stream(&stand(), SCHEMA.as_bytes(), bytes.to_vec());
}

fn read_stream(
    stand: &Stand,
    schema: &[u8],
    response: Vec<u8>,
) -> (Vec<EventBatch>, Option<StreamEnd>) {
    let schema = [message(1, schema), message(2, b"schema-1")].concat();
    stand.answers.prepare_stream(schema, response);
    let objects = BTreeMap::from([(object("Account"), interest_without("LastName"))]);
    let mut batches = Vec::new();
    let end = finished(async {
        let subscribed = stand
            .org
            .subscribe("/data/ChangeEvents", &ReplayFrom::Earliest, &objects);
        let mut stream = match subscribed.await {
            Ok(stream) => stream,
            Err(error) => return Some(StreamEnd::Refused(error)),
        };
        for _ in 0..BATCHES_MAX {
            match stream.next(100, Duration::ZERO).await {
                Ok(Some(batch)) => batches.push(batch),
                Ok(None) => {}
                Err(end) => return Some(end),
            }
        }
        None
    });
    for batch in &batches {
        let stored = batch.position.to_string();
        assert_eq!(
            stored.parse().as_ref(),
            Ok(&batch.position),
            "a position is lost"
        );
        batch.observations.iter().for_each(check_observation);
    }
    if let Some(end) = &end {
        assert_is_short(&end.to_string());
    }
    (batches, end)
}

/// An observation can be stored: its position, and each value of a mapped field.
fn check_observation(observation: &SalesforceObservation) {
    let cursor = observation.cursor.to_string();
    assert_eq!(cursor.parse().as_ref(), Ok(&observation.cursor));
    let schema = account();
    for (name, value) in &observation.fields {
        assert!(mapped().contains(name), "{name} is not mapped");
        let field_type = &schema.fields[name].field_type;
        let again = canonical::from_salesforce_json(field_type, &value.to_json());
        assert_eq!(again.as_ref(), Ok(value), "{name}");
    }
}

/// Maps all fields but one: an event has a name as one text or in parts.
fn interest_without(left_out: &str) -> Interest {
    let mut fields = mapped().to_vec();
    fields.retain(|name| name.as_str() != left_out);
    Interest {
        external_id: field("External_Id__c"),
        fields,
        changes: Changes::OfFields,
    }
}

/// A field of a message: its number, then bytes with their length.
fn message(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut written = vec![number << 3 | 2];
    let mut rest = bytes.len();
    while rest > 0x7f {
        written.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    written.push(rest as u8);
    written.extend_from_slice(bytes);
    written
}

/// A relayed event is refused without being quoted; what is observed stands in it, and the same event in another
/// spelling is observed the same.
pub(crate) fn relay(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let json = document(bytes);
    match RelayedEvent::parse(text) {
        Err(error) => {
            let error = error.to_string();
            assert_is_short(&error);
            if let Some(json) = json {
                assert_quotes_nothing(&error, &json, &[]);
            }
        }
        Ok(event) => {
            let json = json.expect("what was read is JSON");
            let again = RelayedEvent::parse(&json.to_string()).expect("it is the same event");
            for name in ["LastName", "Name"] {
                let read = observed(&event, name);
                check_relayed(&json, &read);
                assert_eq!(observed(&again, name), read);
            }
        }
    }
}

fn observed(event: &RelayedEvent, left_out: &str) -> RelayedBatch {
    let objects = vec![(Arc::new(account().clone()), interest_without(left_out))];
    let events = std::slice::from_ref(event);
    read_relayed(objects, &id("005D0000001LjdWIAS"), events).expect("all fields are there")
}

fn check_relayed(json: &Json, read: &RelayedBatch) {
    let outcomes = read.observations.len() + read.needs_resync.len() + read.out_of_scope;
    assert!(outcomes > 0, "an event was lost");
    let payload = &json["detail"]["payload"];
    let named = payload["ChangeEventHeader"]["recordIds"]
        .as_array()
        .map_or(0, Vec::len);
    assert!(read.observations.is_empty() || read.observations.len() == named);
    let leaves = leaves(payload);
    let schema = account();
    for observation in &read.observations {
        check_observation(observation);
        for (name, value) in &observation.fields {
            let field_type = &schema.fields[name].field_type;
            let stands_there = leaves.iter().any(|(_, leaf)| {
                canonical::from_salesforce_json(field_type, leaf).as_ref() == Ok(value)
            });
            let is_empty = [Value::Null, Value::Boolean(false)].contains(value);
            assert!(stands_there || is_empty, "{name} was made up");
        }
    }
}
