//! Turns a change event into observations of mapped records, one per record.
//!
//! Only the bitmaps distinguish an absent, an unchanged and a cleared field. Where an event is ambiguous,
//! the observation is a gap, and the record is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use apache_avro::types::Value as Avro;
use serde_json::Value as Json;

use super::avro::{ChangeType, Event, EventHeader, EventSchema};
use super::bitmap::{FieldPlace, places};
use super::describe::field_of;
use crate::model::canonical;
use crate::model::cursor::SourceCursor;
use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation, Version};
use crate::model::schema::{FieldSchema, FieldType, ObjectSchema};
use crate::model::value::{Decimal, Payload, Value};
use crate::ports::salesforce::{Changes, Interest, SalesforceError};

/// The mapped objects and fields that events are read for.
#[derive(Default)]
pub(super) struct EventFilter {
    objects: BTreeMap<ObjectName, EventObject>,
}

pub(super) struct EventObject {
    schema: Arc<ObjectSchema>,
    interest: Interest,
}

/// How our own changes are recognised.
pub(super) struct Ourselves {
    /// End of changeOrigin of our writes, `;client=syncline`.
    pub(super) origin_suffix: String,
    /// Our user.
    pub(super) user_id: SalesforceId,
}

/// The position of an event in its stream.
pub(super) struct EventPosition<'a> {
    pub(super) replay_id: &'a [u8],
    /// The number of observations already read from this replay id.
    pub(super) ordinal: i32,
}

/// Metadata of an event, the same for both encodings.
pub(super) struct EventMeta<'a> {
    pub(super) header: &'a EventHeader,
    pub(super) version: Version,
    /// Its position.
    pub(super) cursor: SourceCursor,
    /// The number of observations already read from this position.
    pub(super) ordinal: i32,
}

/// The result of reading one event.
#[derive(Debug, PartialEq)]
pub(super) enum EventReading {
    /// One observation per record.
    Observed(Vec<SalesforceObservation>),
    /// All records of the object must be read again.
    NeedsResync(ObjectName),
    /// The event has no mapped object or field.
    OutOfScope,
}

impl EventFilter {
    /// Adds an object with its mapped fields. Fails if the object does not have one of them.
    pub(super) fn add(
        &mut self,
        schema: Arc<ObjectSchema>,
        interest: &Interest,
    ) -> Result<(), SalesforceError> {
        for field in &interest.fields {
            field_of(&schema, field)?;
        }
        let event_object = EventObject {
            interest: interest.clone(),
            schema: Arc::clone(&schema),
        };
        self.objects.insert(schema.object.clone(), event_object);
        Ok(())
    }

    /// Returns the mapped objects that an undecodable event may belong to: the schema's object if it is
    /// known, else all.
    pub(super) fn possible_objects(&self, object: Option<&ObjectName>) -> Vec<ObjectName> {
        match object {
            Some(object) => self
                .objects
                .get_key_value(object)
                .map(|(name, _)| name.clone())
                .into_iter()
                .collect(),
            None => self.objects.keys().cloned().collect(),
        }
    }

    /// Reads a decoded Avro event.
    pub(super) fn read(
        &self,
        schema: &EventSchema,
        event: &Event,
        position: &EventPosition<'_>,
        ourselves: &Ourselves,
    ) -> EventReading {
        let meta = EventMeta {
            header: &event.header,
            version: version_of(schema, event),
            cursor: SourceCursor::SalesforceReplayId(position.replay_id.to_vec()),
            ordinal: position.ordinal,
        };
        self.reading(meta, ourselves, |event_object| {
            event_object.content(schema, event)
        })
    }

    /// Reads an event, with `content` to read its fields.
    pub(super) fn reading(
        &self,
        meta: EventMeta<'_>,
        ourselves: &Ourselves,
        content: impl FnOnce(&EventObject) -> Content,
    ) -> EventReading {
        let header = meta.header;
        let object = ObjectName::parse(&header.entity_name).ok();
        let Some((object, event_object)) =
            object.and_then(|name| self.objects.get_key_value(&name))
        else {
            return EventReading::OutOfScope;
        };
        let ids: Option<Vec<SalesforceId>> =
            header.record_ids.iter().map(|id| real_id(id)).collect();
        let ids = match ids {
            Some(ids) if header.change_type != ChangeType::GapOverflow && !ids.is_empty() => ids,
            // `001*` and an id of zeroes mean that the event does not name its records.
            Some(_) | None => return EventReading::NeedsResync(object.clone()),
        };
        let ours = ourselves.made(header);
        let (kind, fields) = match content(event_object) {
            Content::Known(kind, fields) => (kind, fields),
            // It may be the event of a write of ours of which Salesforce has ignored every mapped field.
            Content::NothingMapped if ours => (ObservationKind::Changed, Payload::new()),
            Content::NothingMapped => return EventReading::OutOfScope,
            Content::Ambiguous => (ObservationKind::Gap, Payload::new()),
        };
        let one = SalesforceObservation {
            object: object.clone(),
            salesforce_id: ids[0].clone(),
            external_id: event_object.external_id_in(&fields),
            kind,
            fields,
            unreadable: BTreeMap::new(),
            version: meta.version,
            cursor: meta.cursor,
            ordinal: meta.ordinal,
            ours,
        };
        let observations =
            (meta.ordinal..)
                .zip(ids)
                .map(|(ordinal, salesforce_id)| SalesforceObservation {
                    salesforce_id,
                    ordinal,
                    ..one.clone()
                });
        EventReading::Observed(observations.collect())
    }
}

impl Ourselves {
    fn made(&self, header: &EventHeader) -> bool {
        let by_our_user =
            SalesforceId::parse(&header.commit_user).is_ok_and(|user| user == self.user_id);
        by_our_user || header.change_origin.ends_with(&self.origin_suffix)
    }
}

/// The mapped fields of an event.
pub(super) enum Content {
    Known(ObservationKind, Payload),
    NothingMapped,
    /// The record changed in an unknown way.
    Ambiguous,
}

impl EventObject {
    /// The mapped fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &FieldName> {
        self.interest.fields.iter()
    }

    pub(super) fn described(&self, field: &FieldName) -> Option<&FieldSchema> {
        self.schema.fields.get(field)
    }

    /// Returns the content of an update that changed these mapped fields.
    pub(super) fn changed(&self, fields: Payload) -> Content {
        match (fields.is_empty(), self.interest.changes) {
            (true, Changes::OfFields) => Content::NothingMapped,
            (false, _) | (true, Changes::All) => Content::Known(ObservationKind::Changed, fields),
        }
    }

    fn content(&self, schema: &EventSchema, event: &Event) -> Content {
        match event.header.change_type {
            ChangeType::Create => self.whole(schema, event, ObservationKind::Created),
            ChangeType::Undelete => self.whole(schema, event, ObservationKind::Undeleted),
            ChangeType::Update => self.changes(schema, event).unwrap_or(Content::Ambiguous),
            ChangeType::Delete => Content::Known(ObservationKind::Deleted, Payload::new()),
            ChangeType::Gap | ChangeType::GapOverflow => Content::Ambiguous,
        }
    }

    /// A create carries every field that is not null.
    fn whole(&self, schema: &EventSchema, event: &Event, kind: ObservationKind) -> Content {
        let fields: Option<Payload> = self
            .interest
            .fields
            .iter()
            .map(|field| {
                let place = schema.place_of(field.as_str())?;
                let value = self.value(field, event.scalar_at(place)?)?;
                Some((field.clone(), value))
            })
            .collect();
        match fields {
            Some(fields) => Content::Known(kind, fields),
            None => Content::Ambiguous,
        }
    }

    /// An update carries the fields that its bitmaps name. Returns `None` if they are ambiguous.
    fn changes(&self, schema: &EventSchema, event: &Event) -> Option<Content> {
        let header = &event.header;
        let changed = places(&header.changed_fields).ok()?;
        let nulled = places(&header.nulled_fields).ok()?;
        let differing = places(&header.diff_fields).ok()?;
        let mut fields = Payload::new();
        for field in &self.interest.fields {
            // A formula may change with any field, and events never carry it.
            let place = schema.place_of(field.as_str())?;
            if touches(&differing, place) || only_the_whole(&changed, &nulled, place) {
                return None;
            }
            let is_nulled = nulled.contains(&place);
            if !is_nulled && !changed.contains(&place) {
                continue;
            }
            let scalar = event.scalar_at(place)?;
            // Changed and not cleared, but without a value: it was not delivered.
            if matches!(scalar, Avro::Null) && !is_nulled {
                return None;
            }
            let scalar = if is_nulled { &Avro::Null } else { scalar };
            fields.insert(field.clone(), self.value(field, scalar)?);
        }
        Some(self.changed(fields))
    }

    fn value(&self, field: &FieldName, avro: &Avro) -> Option<Value> {
        canonical_value(&self.schema.fields.get(field)?.field_type, avro)
    }

    fn external_id_in(&self, fields: &Payload) -> Option<String> {
        match fields.get(&self.interest.external_id)? {
            Value::Text(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Null | Value::Boolean(_) => None,
        }
    }
}

fn touches(places: &BTreeSet<FieldPlace>, place: FieldPlace) -> bool {
    let whole = FieldPlace {
        child: None,
        ..place
    };
    places.contains(&place) || places.contains(&whole)
}

/// Returns whether the event names only the compound and not which of its parts changed.
fn only_the_whole(
    changed: &BTreeSet<FieldPlace>,
    nulled: &BTreeSet<FieldPlace>,
    place: FieldPlace,
) -> bool {
    let named = || {
        changed
            .iter()
            .chain(nulled)
            .filter(|named| named.field == place.field)
    };
    place.child.is_some()
        && named().any(|named| named.child.is_none())
        && !named().any(|named| named.child.is_some())
}

/// Returns the canonical value of an event's scalar, or none if it cannot be told for sure.
fn canonical_value(field: &FieldType, avro: &Avro) -> Option<Value> {
    let of_json = |json: Json| canonical::from_salesforce_json(field, &json).ok();
    match avro {
        Avro::Null => of_json(Json::Null),
        Avro::Boolean(boolean) => of_json(Json::Bool(*boolean)),
        Avro::String(text) => of_json(Json::from(text.as_str())),
        Avro::Int(int) => whole_number(field, i64::from(*int)),
        Avro::Long(long) => whole_number(field, *long),
        Avro::Double(double) if field.is_number() => {
            let number = Decimal::parse(&double.to_string())?;
            of_json(Value::Number(number).to_json())
        }
        _ => None,
    }
}

fn whole_number(field: &FieldType, number: i64) -> Option<Value> {
    match (field.is_time(), field.is_number()) {
        (true, _) => canonical::from_epoch_ms(field, number).ok(),
        (false, true) => canonical::from_salesforce_json(field, &Json::from(number)).ok(),
        (false, false) => None,
    }
}

/// Returns the record's own timestamp if the event carries it, else the commit's: a delete has only that.
fn version_of(schema: &EventSchema, event: &Event) -> Version {
    let modified = schema
        .place_of("LastModifiedDate")
        .and_then(|place| event.scalar_at(place));
    let modified_ms = match modified {
        Some(Avro::Long(ms)) => *ms,
        Some(_) | None => event.header.commit_timestamp,
    };
    Version {
        modified_ms: Some(modified_ms),
        commit_number: Some(event.header.commit_number),
    }
}

/// Returns a record's id, or `None` for a wildcard or the placeholder of an overflow.
fn real_id(text: &str) -> Option<SalesforceId> {
    SalesforceId::parse(text)
        .ok()
        .filter(|id| !id.as_str().starts_with("000000000000000"))
}

#[cfg(test)]
mod tests;
