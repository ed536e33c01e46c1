//! The JSON envelope in which EventBridge delivers a Salesforce event.

use apache_avro::types::Value as Avro;
use serde_json::{Map, Value as Json, json};

use super::Relay;
use crate::Org;
use crate::model::bitmap::Bit;
use crate::model::decode::{DecodedEvent, datum, json};
use crate::model::layout::{EventField, Layout};
use crate::model::log::{ChangeEvent, Source, replay_number};
use crate::model::schema::{FieldNo, FieldType, Object};
use crate::model::stamp;
use crate::unconfirmed::{RELAY_SHOWS_EVENT_IDS, RELAY_SHOWS_NULLED_FIELDS};

impl Org {
    /// Returns the envelope of an event, as text.
    pub(super) fn envelope(&mut self, relay: &Relay, event: &ChangeEvent) -> String {
        let id = self.model.random.uuid();
        let schema = self.model.log.schema(&event.schema_id);
        let (source, _, layout) = schema.expect("an event's schema is kept");
        let payload = match source {
            Source::Object(no) => change(self.model.object(no), layout, event),
            Source::Platform(_) => platform(self, source, layout, event),
        };
        let mut detail = Map::from_iter([("payload".to_owned(), payload)]);
        if RELAY_SHOWS_EVENT_IDS {
            detail.insert("schemaId".to_owned(), event.schema_id.clone().into());
            detail.insert("id".to_owned(), event.id.to_string().into());
            let replay = replay_number(&event.replay_id);
            detail.insert("event".to_owned(), json!({"replayId": replay}));
        }
        let mut time = String::new();
        stamp::push_utc_second(&mut time, self.now_ms());
        json!({
            "version": "0",
            "id": id.to_string(),
            "detail-type": self.event_name(source),
            "source": relay.remote_resource(&self.org_id()),
            "account": relay.account,
            "time": time,
            "region": relay.region,
            "resources": [],
            "detail": detail,
        })
        .to_string()
    }
}

/// Returns a change event in the JSON form of the Streaming API, without unchanged fields.
fn change(object: &Object, layout: &Layout, event: &ChangeEvent) -> Json {
    let decoded =
        DecodedEvent::read(layout, &event.payload).expect("the org writes data of its own schema");
    let mut header = json!({
        "entityName": decoded.entity,
        "recordIds": decoded.record_ids,
        "changeType": decoded.change_type,
        "changeOrigin": decoded.change_origin,
        "transactionKey": decoded.transaction_key,
        "sequenceNumber": decoded.sequence_number,
        "commitTimestamp": decoded.commit_timestamp,
        "commitNumber": decoded.commit_number,
        "commitUser": decoded.commit_user,
    });
    if decoded.change_type == "UPDATE" {
        header["changedFields"] = json!(decoded.changed_fields);
    }
    let mut payload = Map::from_iter([("ChangeEventHeader".to_owned(), header)]);
    let fields = datum(layout.schema.parsed(), &event.payload).unwrap_or_default();
    for (place, (name, value)) in fields.into_iter().enumerate().skip(1) {
        let kind = kind_at(
            object,
            layout,
            Bit {
                top: place,
                child: None,
            },
        );
        let shown = shown(value, kind);
        if !shown.is_null() {
            let diffed = decoded.diff_fields.contains(&name);
            payload.insert(
                name,
                if diffed {
                    json!({"diff": shown})
                } else {
                    shown
                },
            );
        }
    }
    if RELAY_SHOWS_NULLED_FIELDS {
        for name in &decoded.nulled_fields {
            let (top, child) = name
                .split_once('.')
                .map_or((name.as_str(), None), |(t, c)| (t, Some(c)));
            let place = payload.entry(top).or_insert(Json::Null);
            if let Some(child) = child {
                if place.is_null() {
                    *place = json!({});
                }
                place[child] = Json::Null;
            }
        }
    }
    Json::Object(payload)
}

fn kind_at(object: &Object, layout: &Layout, bit: Bit) -> Option<FieldType> {
    let plain = |no: FieldNo| Some(object.field(no).kind);
    match layout.fields.get(bit.top - 1)? {
        EventField::Plain(no) | EventField::SwitchableName(no, _) => plain(*no),
        EventField::Compound(..) => None,
    }
}

fn platform(org: &Org, source: Source, layout: &Layout, event: &ChangeEvent) -> Json {
    let Source::Platform(no) = source else {
        return Json::Null;
    };
    let fields = datum(layout.schema.parsed(), &event.payload).unwrap_or_default();
    let of = &org.model.platform_events[no.0].fields;
    let members = fields
        .into_iter()
        .enumerate()
        .map(|(place, (name, value))| {
            let kind = match place {
                0 => Some(FieldType::Datetime),
                1 => None,
                place => of.get(place - 2).map(|field| field.kind),
            };
            (name, shown(value, kind))
        });
    Json::Object(members.filter(|(_, value)| !value.is_null()).collect())
}

/// Returns a value as JSON, with times as ISO 8601 in UTC.
fn shown(value: Avro, kind: Option<FieldType>) -> Json {
    let json = json(value);
    let (Some(kind), Some(number)) = (kind, json.as_i64()) else {
        return json;
    };
    let mut text = String::new();
    match kind {
        FieldType::Datetime => stamp::push_utc(&mut text, number),
        FieldType::Date => stamp::push_date(&mut text, stamp::day_of(number)),
        FieldType::Time => stamp::push_time(&mut text, i32::try_from(number).unwrap_or(0)),
        FieldType::Id
        | FieldType::Reference
        | FieldType::String
        | FieldType::Textarea
        | FieldType::Encryptedstring
        | FieldType::Picklist
        | FieldType::Multipicklist
        | FieldType::Email
        | FieldType::Phone
        | FieldType::Url
        | FieldType::Boolean
        | FieldType::Int
        | FieldType::Double
        | FieldType::Currency
        | FieldType::Percent
        | FieldType::Address
        | FieldType::PersonName => return json,
    }
    text.into()
}
