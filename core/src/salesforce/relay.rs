//! Change events that Salesforce Event Relay sends to Amazon EventBridge: JSON in an envelope.
//!
//! The envelope names the org; the payload is the change event as JSON: fields that did not change are
//! left out, dates are text, compounds are nested, and changed fields are listed by name. Events may arrive
//! out of order and twice. Their versions order them; transaction key and sequence number identify
//! duplicates.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::CLIENT_TAG;
use super::avro::{ChangeType, EventHeader, flat_name};
use super::event::{Content, EventFilter, EventMeta, EventObject, EventReading, Ourselves};
use crate::model::canonical;
use crate::model::cursor::SourceCursor;
use crate::model::ids::{FieldName, ObjectName, SalesforceId};
use crate::model::observation::{ObservationKind, SalesforceObservation, Version};
use crate::model::schema::ObjectSchema;
use crate::model::value::{Payload, Value};
use crate::ports::salesforce::{Interest, SalesforceError};

/// Prefix of the source of every relayed event, before the org's id (Salesforce Event Relay, partner
/// event source name).
const SOURCE_PREFIX: &str = "aws.partner/salesforce.com/";

/// One relayed change event.
#[derive(Debug, Clone)]
pub struct RelayedEvent {
    organization_id: SalesforceId,
    header: EventHeader,
    sequence_number: i64,
    /// The changed fields, without the header.
    fields: Map<String, Json>,
}

/// Why a message is not a relayed change event. Contains nothing of the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It does not come from Salesforce.
    #[error(
        "it is not an event of a Salesforce Event Relay: its source does not begin with \
         `aws.partner/salesforce.com/`, followed by the id of an org"
    )]
    NotFromSalesforce,
    /// It is a platform event, or something else without the header of a change event.
    #[error("it is not a change event: `detail.payload.ChangeEventHeader` {0}")]
    NoChangeEvent(&'static str),
}

/// The observations of a batch of relayed events.
#[derive(Debug, Default, PartialEq)]
pub struct RelayedBatch {
    /// One per record id, in the order given.
    pub observations: Vec<SalesforceObservation>,
    /// Objects of which all records must be read again.
    pub needs_resync: Vec<ObjectName>,
    /// Events without a mapped object or field.
    pub out_of_scope: usize,
}

impl RelayedEvent {
    /// Reads the envelope that EventBridge puts around an event (Amazon EventBridge User Guide, "Event
    /// structure"). An event replayed from an archive is read the same way.
    pub fn parse(envelope: &str) -> Result<Self, RelayError> {
        let mut envelope: Json = serde_json::from_str(envelope)
            .map_err(|error| RelayError::NotJson(error.to_string()))?;
        let organization_id = envelope
            .get("source")
            .and_then(Json::as_str)
            .and_then(organization_in)
            .ok_or(RelayError::NotFromSalesforce)?;
        let payload = envelope
            .get_mut("detail")
            .and_then(|detail| detail.get_mut("payload"))
            .map(Json::take);
        let Some(Json::Object(mut fields)) = payload else {
            return Err(RelayError::NoChangeEvent("is missing"));
        };
        let header = fields
            .remove("ChangeEventHeader")
            .ok_or(RelayError::NoChangeEvent("is missing"))?;
        Ok(Self {
            organization_id,
            sequence_number: header
                .get("sequenceNumber")
                .and_then(Json::as_i64)
                .unwrap_or_default(),
            header: header_of(&header)?,
            fields,
        })
    }

    /// Returns the org that the event came from.
    pub fn organization_id(&self) -> &SalesforceId {
        &self.organization_id
    }

    /// Returns the event's identity, by which a duplicate is recognised: transaction key and sequence
    /// number. The documents do not agree on where the replay id is.
    fn cursor(&self) -> SourceCursor {
        let place = format!("{}:{}", self.header.transaction_key, self.sequence_number);
        SourceCursor::SalesforceReplayId(place.into_bytes())
    }

    /// Uses the record's own timestamp if the event carries it.
    fn version(&self) -> Version {
        let stamp = self.fields.get("LastModifiedDate");
        let stamp = stamp
            .and_then(Json::as_str)
            .and_then(canonical::datetime_ms);
        Version {
            modified_ms: Some(stamp.unwrap_or(self.header.commit_timestamp)),
            commit_number: Some(self.header.commit_number),
        }
    }

    fn content(&self, event_object: &EventObject) -> Content {
        let fields = EventFields::of(&self.header, &self.fields);
        match self.header.change_type {
            ChangeType::Create => fields.whole(event_object, ObservationKind::Created),
            ChangeType::Undelete => fields.whole(event_object, ObservationKind::Undeleted),
            ChangeType::Update => fields.changes(event_object).unwrap_or(Content::Ambiguous),
            ChangeType::Delete => Content::Known(ObservationKind::Deleted, Payload::new()),
            ChangeType::Gap | ChangeType::GapOverflow => Content::Ambiguous,
        }
    }
}

/// Reads relayed events into observations of the mapped objects. `user` is our user in that org. Fails if
/// an object does not have a mapped field.
pub fn read_relayed(
    objects: Vec<(Arc<ObjectSchema>, Interest)>,
    user: &SalesforceId,
    events: &[RelayedEvent],
) -> Result<RelayedBatch, SalesforceError> {
    let mut mapped = EventFilter::default();
    for (schema, interest) in objects {
        mapped.add(schema, &interest)?;
    }
    let ourselves = Ourselves {
        origin_suffix: format!(";client={CLIENT_TAG}"),
        user_id: user.clone(),
    };
    let mut batch = RelayedBatch::default();
    for event in events {
        let meta = EventMeta {
            header: &event.header,
            version: event.version(),
            cursor: event.cursor(),
            ordinal: 0,
        };
        match mapped.reading(meta, &ourselves, |event_object| event.content(event_object)) {
            EventReading::Observed(observations) => batch.observations.extend(observations),
            EventReading::NeedsResync(object) if batch.needs_resync.contains(&object) => {}
            EventReading::NeedsResync(object) => batch.needs_resync.push(object),
            EventReading::OutOfScope => batch.out_of_scope += 1,
        }
    }
    Ok(batch)
}

/// Returns the org in a source: `aws.partner/salesforce.com/<org>/<channel or relay>`.
fn organization_in(source: &str) -> Option<SalesforceId> {
    let organization = source.strip_prefix(SOURCE_PREFIX)?.split('/').next()?;
    SalesforceId::parse(organization)
        .ok()
        .filter(|id| id.as_str().starts_with("00D"))
}

fn header_of(header: &Json) -> Result<EventHeader, RelayError> {
    let text = |name: &str| header.get(name).and_then(Json::as_str).map(str::to_owned);
    let texts = |name: &str| -> Vec<String> {
        let listed = header.get(name).and_then(Json::as_array);
        let listed = listed.into_iter().flatten().filter_map(Json::as_str);
        listed.map(str::to_owned).collect()
    };
    let number = |name: &str| header.get(name).and_then(Json::as_i64);
    let all_named = header
        .get("recordIds")
        .and_then(Json::as_array)
        .is_some_and(|ids| ids.iter().all(Json::is_string));
    Ok(EventHeader {
        entity_name: text("entityName").ok_or(RelayError::NoChangeEvent("names no entity"))?,
        // If one of them is not an id, the event does not name all its records.
        record_ids: if all_named {
            texts("recordIds")
        } else {
            Vec::new()
        },
        change_type: ChangeType::of(&text("changeType").unwrap_or_default()),
        change_origin: text("changeOrigin").unwrap_or_default(),
        transaction_key: text("transactionKey")
            .filter(|key| !key.is_empty())
            .ok_or(RelayError::NoChangeEvent("names no transaction"))?,
        commit_timestamp: number("commitTimestamp")
            .ok_or(RelayError::NoChangeEvent("has no commit timestamp"))?,
        commit_number: number("commitNumber")
            .ok_or(RelayError::NoChangeEvent("has no commit number"))?,
        commit_user: text("commitUser").unwrap_or_default(),
        nulled_fields: texts("nulledFields"),
        diff_fields: texts("diffFields"),
        changed_fields: texts("changedFields"),
    })
}

/// The fields of an event by the flat names that describe uses.
struct EventFields<'a> {
    values: Vec<(String, &'a Json)>,
    /// Names of compounds.
    compounds: BTreeSet<&'a str>,
    changed: Named<'a>,
    differing: Named<'a>,
    nulled: Named<'a>,
}

/// Fields that one list of the header names.
struct Named<'a> {
    /// Flat names, including parts.
    flat: BTreeSet<String>,
    /// Names without a part.
    whole: BTreeSet<&'a str>,
    /// Compounds with a named part.
    compounds: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn of(names: &'a [String]) -> Self {
        let mut named = Self {
            flat: BTreeSet::new(),
            whole: BTreeSet::new(),
            compounds: BTreeSet::new(),
        };
        for name in names {
            match name.split_once('.') {
                Some((compound, part)) => {
                    named.flat.insert(flat(compound, part));
                    named.compounds.insert(compound);
                }
                None => {
                    named.flat.insert(name.clone());
                    named.whole.insert(name);
                }
            }
        }
        named
    }

    fn has(&self, name: &str) -> bool {
        self.flat.contains(name)
    }

    /// Returns whether it is unknown if the field changed: the field is a compound, or only its compound
    /// is named.
    fn is_ambiguous(&self, name: &str) -> bool {
        let is_part = |compound: &&str| PARTS.iter().any(|part| flat(compound, part) == name);
        self.compounds.contains(name)
            || self
                .whole
                .difference(&self.compounds)
                .filter(|compound| **compound != name)
                .any(is_part)
    }
}

/// Parts of addresses, geolocations and names of persons (Change Data Capture Developer Guide, "Change
/// Event Body Fields"; Object Reference, "Compound Fields").
const PARTS: [&str; 16] = [
    "Street",
    "City",
    "State",
    "StateCode",
    "PostalCode",
    "Country",
    "CountryCode",
    "Latitude",
    "Longitude",
    "GeocodeAccuracy",
    "Salutation",
    "FirstName",
    "MiddleName",
    "LastName",
    "InformalName",
    "Suffix",
];

/// Fields that change events never carry, besides formulas and roll-ups (Change Data Capture Developer
/// Guide, "Change Event Body Fields").
const NEVER_CARRIED: [&str; 6] = [
    "IsDeleted",
    "SystemModstamp",
    "LastActivityDate",
    "LastViewedDate",
    "LastReferencedDate",
    "PhotoUrl",
];

impl<'a> EventFields<'a> {
    fn of(header: &'a EventHeader, fields: &'a Map<String, Json>) -> Self {
        let mut values = Vec::new();
        let mut compounds = BTreeSet::new();
        for (name, value) in fields {
            match value {
                Json::Object(parts) => {
                    compounds.insert(name.as_str());
                    values.extend(parts.iter().map(|(part, value)| (flat(name, part), value)));
                }
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                    values.push((name.clone(), value));
                }
            }
        }
        Self {
            values,
            compounds,
            changed: Named::of(&header.changed_fields),
            differing: Named::of(&header.diff_fields),
            nulled: Named::of(&header.nulled_fields),
        }
    }

    fn value(&self, name: &str) -> Option<&'a Json> {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    }

    /// A create carries every field that is not null.
    fn whole(&self, event_object: &EventObject, kind: ObservationKind) -> Content {
        let fields: Option<Payload> = event_object
            .fields()
            .map(|field| {
                let json = self.value(field.as_str()).unwrap_or(&Json::Null);
                let value = self.carried(event_object, field, json)?;
                Some((field.clone(), value))
            })
            .collect();
        match fields {
            Some(fields) => Content::Known(kind, fields),
            None => Content::Ambiguous,
        }
    }

    /// An update carries the fields that its header names. Returns `None` if they are ambiguous.
    fn changes(&self, event_object: &EventObject) -> Option<Content> {
        let mut fields = Payload::new();
        for field in event_object.fields() {
            let name = field.as_str();
            if !is_carried(event_object, field) || self.is_ambiguous(name) {
                return None;
            }
            let nulled = self.nulled.has(name);
            if !nulled && !self.changed.has(name) {
                continue;
            }
            // Named as changed, but absent: cleared or not delivered.
            let json = if nulled {
                &Json::Null
            } else {
                self.value(name)?
            };
            fields.insert(field.clone(), self.carried(event_object, field, json)?);
        }
        Some(event_object.changed(fields))
    }

    fn is_ambiguous(&self, name: &str) -> bool {
        self.differing.has(name)
            || [&self.changed, &self.nulled, &self.differing]
                .iter()
                .any(|named| named.is_ambiguous(name))
    }

    /// Returns the canonical value, or `None` if it is ambiguous.
    fn carried(&self, event_object: &EventObject, field: &FieldName, json: &Json) -> Option<Value> {
        if !is_carried(event_object, field) || self.compounds.contains(field.as_str()) {
            return None;
        }
        let field_type = &event_object.described(field)?.field_type;
        canonical::from_salesforce_json(field_type, json).ok()
    }
}

/// Returns whether events carry the field. They never carry formulas, which may change with any field.
fn is_carried(event_object: &EventObject, field: &FieldName) -> bool {
    let calculated = event_object
        .described(field)
        .is_none_or(|field| field.calculated);
    !calculated && !NEVER_CARRIED.contains(&field.as_str())
}

/// Returns the flat name of a part of a compound. The event has no type for the compound, so its name
/// decides the kind.
fn flat(compound: &str, part: &str) -> String {
    let kind = match compound {
        "Name" => "PersonName",
        _ if compound.ends_with("Address") || compound.ends_with("__c") => "Address",
        _ => "Location",
    };
    flat_name(kind, compound, part).unwrap_or_else(|| format!("{compound}.{part}"))
}

#[cfg(test)]
mod tests;
