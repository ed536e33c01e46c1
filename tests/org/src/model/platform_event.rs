//! Platform events: their definition and their publication to the log.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::Model;
use super::change::{push_long, push_nullable, push_text};
use super::decode::datum;
use super::error::SfError;
use super::id::RecordId;
use super::layout::{EventSchema, Layout, avro_type, doc};
use super::log::{Logged, PlatformNo, Source};
use super::rewrite::encoded;
use super::schema::Field;
use super::value::{Misfit, Value};

/// A platform event type.
#[derive(Clone, Debug)]
pub(crate) struct PlatformEvent {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// A platform event that was published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Published {
    pub(crate) id: Uuid,
    pub(crate) replay: u64,
}

impl PlatformEvent {
    /// Returns the layout of its data: time, publisher, then the fields.
    fn layout(&self) -> Layout {
        let mut json = format!(
            concat!(
                r#"{{"type":"record","name":"{}","namespace":"com.sforce.eventbus","fields":["#,
                r#"{{"name":"CreatedDate","type":"long","doc":"CreatedDate:DateTime"}},"#,
                r#"{{"name":"CreatedById","type":"string","doc":"CreatedBy:EntityId"}}"#,
            ),
            self.name
        );
        for field in &self.fields {
            json.push_str(&format!(
                r#",{{"name":"{}","type":["null","{}"],"doc":"{}","default":null}}"#,
                field.name,
                avro_type(field.kind),
                doc(field)
            ));
        }
        json.push_str("]}");
        Layout::of_schema(EventSchema::new(json))
    }
}

impl Model {
    /// Declares a platform event.
    pub(crate) fn add_platform_event(&mut self, event: PlatformEvent) {
        let no = PlatformNo(self.platform_events.len());
        self.log.set_layout(Source::Platform(no), event.layout());
        self.platform_events.push(event);
    }

    /// Returns the platform event with that name.
    pub(crate) fn platform_named(&self, name: &str) -> Option<PlatformNo> {
        let place = self
            .platform_events
            .iter()
            .position(|event| event.name == name);
        place.map(PlatformNo)
    }

    /// Publishes a datum of one of the event's schemas. The error text names what does not fit.
    pub(crate) fn publish_datum(
        &mut self,
        no: PlatformNo,
        schema_id: &str,
        payload: &[u8],
    ) -> Result<Published, String> {
        let of_event = |(source, ..): &(Source, usize, &Layout)| *source == Source::Platform(no);
        let found = self.log.schema(schema_id).filter(of_event);
        let (_, schema, layout) = found.ok_or("The schema ID is not one of the event.")?;
        if payload.len() > self.limits.event_bytes_max {
            return Err("The event is larger than 1 MB.".to_owned());
        }
        let fields = datum(layout.schema.parsed(), payload)?;
        // The decoder reads a truncated datum as zeros, so the datum is encoded again and compared.
        if encoded(&fields) != payload {
            return Err("The payload is not a datum of its schema.".to_owned());
        }
        Ok(self.publish_bytes(no, schema, payload.to_vec()))
    }

    /// Publishes an event from the members of a JSON object, as the sObject resource does.
    pub(crate) fn publish_members(
        &mut self,
        no: PlatformNo,
        user: RecordId,
        members: &Map<String, Json>,
    ) -> Result<Published, SfError> {
        let event = &self.platform_events[no.0];
        let known = |name: &str| {
            event
                .fields
                .iter()
                .position(|f| f.name.eq_ignore_ascii_case(name))
        };
        let mut values = vec![Value::Null; event.fields.len()];
        for (name, json) in members.iter().filter(|(name, _)| *name != "attributes") {
            let place = known(name).ok_or_else(|| {
                let message = format!("No such column '{name}' on sobject of type {}", event.name);
                SfError::new("INVALID_FIELD", message)
            })?;
            values[place] = self
                .read_value(&event.fields[place], json)
                .map_err(|misfit| match misfit {
                    Misfit::Refused(error) => error,
                    Misfit::Type { expected, text } => SfError::new(
                        "JSON_PARSER_ERROR",
                        format!("Cannot deserialize instance of {expected} from {text}"),
                    ),
                })?;
        }
        let required = event.fields.iter().zip(&values);
        let missing: Vec<String> = required
            .filter(|(field, value)| !field.nillable && **value == Value::Null)
            .map(|(field, _)| field.name.clone())
            .collect();
        if !missing.is_empty() {
            let message = format!("Required fields are missing: [{}]", missing.join(", "));
            return Err(SfError::of_record("REQUIRED_FIELD_MISSING", message).with_fields(missing));
        }
        let mut datum = Vec::new();
        push_long(&mut datum, self.now_ms);
        push_text(&mut datum, &user.to_string());
        for value in &values {
            push_nullable(&mut datum, value);
        }
        let (schema, _) = self.log.layout(Source::Platform(no));
        Ok(self.publish_bytes(no, schema, datum))
    }

    fn publish_bytes(&mut self, no: PlatformNo, schema: usize, datum: Vec<u8>) -> Published {
        let id = self.random.uuid();
        let event = Logged {
            source: Source::Platform(no),
            schema,
            id,
            payload: datum.into(),
            refused_by: 0,
        };
        let replay = self.log.append(self.now_ms, event);
        Published { id, replay }
    }
}
