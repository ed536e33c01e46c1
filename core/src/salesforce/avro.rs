//! Decodes a change event: its Avro schema, its header, and its body by position.
//!
//! Compound fields are nested records in events and flat fields everywhere else. This module derives the
//! flat names, once per schema.

mod datum;

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::types::Value as Avro;

use super::bitmap::FieldPlace;
use crate::model::ids::ObjectName;

/// The schema of one kind of change event.
pub(super) struct EventSchema {
    schema: Schema,
    /// The object whose changes it describes, from the event's name.
    pub(super) object: Option<ObjectName>,
    /// Positions in the event by the field names of describe.
    places: BTreeMap<String, FieldPlace>,
}

/// An unreadable schema or event.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct AvroError(String);

/// One decoded event.
pub(super) struct Event {
    pub(super) header: EventHeader,
    body: Vec<(String, Avro)>,
}

/// ChangeEventHeader (Change Data Capture Developer Guide, "Change Event Header Fields").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventHeader {
    pub(super) entity_name: String,
    pub(super) record_ids: Vec<String>,
    pub(super) change_type: ChangeType,
    pub(super) change_origin: String,
    pub(super) transaction_key: String,
    pub(super) commit_timestamp: i64,
    pub(super) commit_number: i64,
    pub(super) commit_user: String,
    pub(super) nulled_fields: Vec<String>,
    pub(super) diff_fields: Vec<String>,
    pub(super) changed_fields: Vec<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChangeType {
    Create,
    Update,
    Delete,
    Undelete,
    /// GAP_CREATE and the like, and unknown types: something changed.
    Gap,
    GapOverflow,
}

impl EventSchema {
    /// Reads the Avro schema of an event.
    pub(super) fn parse(schema_json: &str) -> Result<Self, AvroError> {
        let schema = Schema::parse_str(schema_json)
            .map_err(|error| AvroError(format!("the event schema is not Avro: {error}")))?;
        let Schema::Record(record) = &schema else {
            return Err(AvroError("the event schema is not a record".to_owned()));
        };
        if !datum::is_bounded(&schema) {
            return Err(AvroError(
                "the event schema is not one of a change event: its values have no bound"
                    .to_owned(),
            ));
        }
        let mut compounds = BTreeMap::new();
        for field in &record.fields {
            remember_records(&field.schema, &mut compounds);
        }
        let object = object_of_event(record.name.name());
        let mut places = BTreeMap::new();
        for (index, field) in record.fields.iter().enumerate().skip(1) {
            let shape = Shape::of(&field.schema, &compounds);
            if shape.scalar {
                let place = FieldPlace {
                    field: index,
                    child: None,
                };
                places.insert(field.name.clone(), place);
            }
            for (kind, children) in shape.compounds {
                for (child, name) in children.iter().enumerate() {
                    let place = FieldPlace {
                        field: index,
                        child: Some(child),
                    };
                    if let Some(flat) = flat_name(kind, &field.name, name) {
                        places.insert(flat, place);
                    }
                }
            }
        }
        Ok(Self {
            schema,
            object,
            places,
        })
    }

    /// Returns the position of a field of describe, or `None` if events never carry it: formulas,
    /// roll-ups, and names composed of parts.
    pub(super) fn place_of(&self, field: &str) -> Option<FieldPlace> {
        self.places.get(field).copied()
    }

    /// Decodes the bare Avro datum of an event. Fails if the bytes are more or less than one.
    pub(super) fn decode(&self, payload: &[u8]) -> Result<Event, AvroError> {
        let decoded = datum::read(&self.schema, payload)
            .ok_or_else(|| AvroError("the event does not fit its schema".to_owned()))?;
        let Avro::Record(body) = decoded else {
            return Err(AvroError("the event is not a record".to_owned()));
        };
        let header = body
            .first()
            .and_then(|(_, header)| EventHeader::of(header))
            .ok_or_else(|| AvroError("the event has no change event header".to_owned()))?;
        Ok(Event { header, body })
    }
}

impl Event {
    /// Returns the scalar at a position; null if the field or its compound is null, `None` if there is no
    /// scalar at this position.
    pub(super) fn scalar_at(&self, place: FieldPlace) -> Option<&Avro> {
        let (_, top) = self.body.get(place.field)?;
        match (chosen(top), place.child) {
            (Avro::Null, _) => Some(&Avro::Null),
            (Avro::Record(children), Some(child)) => {
                let (_, value) = children.get(child)?;
                Some(chosen(value))
            }
            (Avro::Record(_), None) => None,
            (scalar, None) => Some(scalar),
            // A part of a name was requested, but the event has the name as one text.
            (_, Some(_)) => None,
        }
    }
}

impl EventHeader {
    fn of(header: &Avro) -> Option<Self> {
        let Avro::Record(fields) = header else {
            return None;
        };
        let get = |name: &str| {
            let (_, value) = fields.iter().find(|(field, _)| field == name)?;
            Some(chosen(value))
        };
        let text = |name: &str| match get(name)? {
            Avro::String(text) => Some(text.clone()),
            _ => None,
        };
        let texts = |name: &str| match get(name) {
            Some(Avro::Array(items)) => items
                .iter()
                .map(|item| match chosen(item) {
                    Avro::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            Some(_) | None => Some(Vec::new()),
        };
        let long = |name: &str| match get(name)? {
            Avro::Long(long) => Some(*long),
            Avro::Int(int) => Some(i64::from(*int)),
            _ => None,
        };
        Some(Self {
            entity_name: text("entityName")?,
            record_ids: texts("recordIds")?,
            change_type: match get("changeType")? {
                Avro::Enum(_, symbol) => ChangeType::of(symbol),
                _ => ChangeType::Gap,
            },
            change_origin: text("changeOrigin").unwrap_or_default(),
            transaction_key: text("transactionKey").unwrap_or_default(),
            commit_timestamp: long("commitTimestamp")?,
            commit_number: long("commitNumber")?,
            commit_user: text("commitUser").unwrap_or_default(),
            nulled_fields: texts("nulledFields")?,
            diff_fields: texts("diffFields")?,
            changed_fields: texts("changedFields")?,
        })
    }
}

impl ChangeType {
    pub(super) fn of(symbol: &str) -> Self {
        match symbol {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "UNDELETE" => Self::Undelete,
            "GAP_OVERFLOW" => Self::GapOverflow,
            _ => Self::Gap,
        }
    }
}

/// The fields of each named record. Avro defines a record at its first use and refers to it by name later.
type Compounds = BTreeMap<String, Vec<String>>;

/// The types that a field may have.
struct Shape<'a> {
    scalar: bool,
    compounds: Vec<(&'a str, &'a [String])>,
}

impl<'a> Shape<'a> {
    fn of(schema: &'a Schema, compounds: &'a Compounds) -> Self {
        let mut shape = Shape {
            scalar: false,
            compounds: Vec::new(),
        };
        for variant in variants(schema) {
            let named = variant.name().map(|name| name.name());
            match named.and_then(|name| compounds.get_key_value(name)) {
                Some((name, children)) => shape.compounds.push((name, children)),
                None => shape.scalar |= !matches!(variant, Schema::Null),
            }
        }
        shape
    }
}

fn variants(schema: &Schema) -> &[Schema] {
    match schema {
        Schema::Union(union) => union.variants(),
        other => std::slice::from_ref(other),
    }
}

fn remember_records(schema: &Schema, compounds: &mut Compounds) {
    for variant in variants(schema) {
        if let Schema::Record(record) = variant {
            let children = record.fields.iter().map(|field| field.name.clone());
            compounds.insert(record.name.name().to_owned(), children.collect());
        }
    }
}

/// Returns the flat name of a part of a compound field: `BillingAddress` and `City` make
/// `BillingCity`, `Site__c` and `Latitude` make `Site__Latitude__s`, parts of a name stand alone.
pub(super) fn flat_name(kind: &str, field: &str, child: &str) -> Option<String> {
    match (kind, field.strip_suffix("__c")) {
        ("Address" | "Location", Some(custom)) => Some(format!("{custom}__{child}__s")),
        ("Address", None) => field
            .strip_suffix("Address")
            .map(|prefix| format!("{prefix}{child}")),
        ("Location", None) => Some(format!("{field}{child}")),
        ("PersonName" | "Switchable_PersonName", _) => Some(child.to_owned()),
        _ => None,
    }
}

/// `AccountChangeEvent` is about Account, `Foo__ChangeEvent` about Foo__c.
fn object_of_event(name: &str) -> Option<ObjectName> {
    let object = match name.strip_suffix("__ChangeEvent") {
        Some(custom) => format!("{custom}__c"),
        None => name.strip_suffix("ChangeEvent")?.to_owned(),
    };
    ObjectName::parse(&object).ok()
}

/// Returns the name of an object's change event: the reverse of [`object_of_event`].
pub(super) fn event_of_object(object: &ObjectName) -> String {
    match object.as_str().strip_suffix("__c") {
        Some(custom) => format!("{custom}__ChangeEvent"),
        None => format!("{object}ChangeEvent"),
    }
}

/// Returns the value of a union, or the value itself.
fn chosen(value: &Avro) -> &Avro {
    match value {
        Avro::Union(_, inner) => inner,
        other => other,
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    //! A schema and an update event as Salesforce encodes them, and a builder for other events.

    use super::{Avro, ChangeType, Event, EventHeader};

    /// Has two addresses, the second by reference, and a name that is a union of three types.
    pub(in crate::salesforce) const SCHEMA: &str = r#"{"type":"record","name":"AccountChangeEvent",
      "namespace":"com.sforce.eventbus","fields":[
      {"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":[
        {"name":"entityName","type":"string"},
        {"name":"recordIds","type":{"type":"array","items":"string"}},
        {"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":["CREATE","UPDATE",
          "DELETE","UNDELETE","GAP_CREATE","GAP_UPDATE","GAP_DELETE","GAP_UNDELETE","GAP_OVERFLOW",
          "SNAPSHOT"]}},
        {"name":"changeOrigin","type":"string"},{"name":"transactionKey","type":"string"},
        {"name":"sequenceNumber","type":"int"},{"name":"commitTimestamp","type":"long"},
        {"name":"commitNumber","type":"long"},{"name":"commitUser","type":"string"},
        {"name":"nulledFields","type":{"type":"array","items":"string"}},
        {"name":"diffFields","type":{"type":"array","items":"string"}},
        {"name":"changedFields","type":{"type":"array","items":"string"}}]}},
      {"name":"Name","type":["null","string",{"type":"record","name":"Switchable_PersonName","fields":[
        {"name":"Salutation","type":["null","string"],"default":null},
        {"name":"FirstName","type":["null","string"],"default":null},
        {"name":"LastName","type":["null","string"],"default":null}]}],"default":null},
      {"name":"Type","type":["null","string"],"default":null},
      {"name":"BillingAddress","type":["null",{"type":"record","name":"Address","fields":[
        {"name":"Street","type":["null","string"],"default":null},
        {"name":"City","type":["null","string"],"default":null},
        {"name":"Latitude","type":["null","double"],"default":null}]}],"default":null},
      {"name":"ShippingAddress","type":["null","Address"],"default":null},
      {"name":"AnnualRevenue","type":["null","double"],"default":null},
      {"name":"LastModifiedDate","type":["null","long"],"default":null}]}"#;

    /// Clears Type, sets AnnualRevenue to 5.5 and BillingCity to Lyon.
    const UPDATE: &str = "0e4163636f756e74022430303144303030303030497168534c49415a000252636f6d2f73\
        616c6573666f7263652f6170692f726573742f36322e303b636c69656e743d73796e63644830303036613566332d\
        643531642d653663342d316239632d3761396231643265336634300280a0abfef962aaf9e0d8f8f0042430303544\
        303030303030314c6a645749415302083078303400000408307836340c332d30783032000000020002084c796f6e\
        00000200000000000016400280a0abfef962";

    /// The content of an event: the bitmaps, and the fields that are not null.
    pub(in crate::salesforce) struct EventFixture<'a> {
        pub(in crate::salesforce) nulled: &'a [&'a str],
        pub(in crate::salesforce) diff: &'a [&'a str],
        pub(in crate::salesforce) changed: &'a [&'a str],
        pub(in crate::salesforce) body: &'a [(&'a str, Avro)],
    }

    /// Returns an event by Kim about one record.
    pub(in crate::salesforce) fn event(
        change_type: ChangeType,
        content: &EventFixture<'_>,
    ) -> Event {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let header = EventHeader {
            entity_name: "Account".to_owned(),
            record_ids: vec!["001D000000IqhSLIAZ".to_owned()],
            change_type,
            change_origin: "com/salesforce/api/soap/60.0;client=SfdcInternalAPI/".to_owned(),
            transaction_key: "0006a5f3-d51d-e6c4-1b9c-7a9b1d2e3f40".to_owned(),
            commit_timestamp: 1_700_000_001_000,
            commit_number: 42,
            commit_user: "005D0000001LjdWIAS".to_owned(),
            nulled_fields: texts(content.nulled),
            diff_fields: texts(content.diff),
            changed_fields: texts(content.changed),
        };
        let mut body = vec![("ChangeEventHeader".to_owned(), Avro::Null)];
        body.extend(FIELDS.iter().map(|field| {
            let stated = content.body.iter().find(|(name, _)| name == field);
            let value = stated.map_or(Avro::Null, |(_, value)| value.clone());
            ((*field).to_owned(), value)
        }));
        Event { header, body }
    }

    const FIELDS: [&str; 6] = [
        "Name",
        "Type",
        "BillingAddress",
        "ShippingAddress",
        "AnnualRevenue",
        "LastModifiedDate",
    ];

    pub(in crate::salesforce) fn update() -> Vec<u8> {
        let digits: Vec<u8> = UPDATE.bytes().collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{SCHEMA, update};
    use super::*;

    #[test]
    fn update_recorded_from_salesforce_decodes() {
        let schema = EventSchema::parse(SCHEMA).unwrap();
        let event = schema.decode(&update()).unwrap();
        assert_eq!(event.header.record_ids, ["001D000000IqhSLIAZ"]);
        assert_eq!(event.header.change_type, ChangeType::Update);
        assert_eq!(event.header.commit_timestamp, 1_700_000_000_000);
        assert_eq!(event.header.nulled_fields, ["0x04"]);
        assert_eq!(event.header.changed_fields, ["0x64", "3-0x02"]);
        let at = |field| event.scalar_at(schema.place_of(field).unwrap()).unwrap();
        assert_eq!(at("BillingCity"), &Avro::String("Lyon".to_owned()));
        assert_eq!(at("AnnualRevenue"), &Avro::Double(5.5));
        assert_eq!(at("Type"), &Avro::Null);
        assert_eq!(at("ShippingCity"), &Avro::Null);
    }

    #[test]
    fn compound_parts_have_flat_names() {
        let schema = EventSchema::parse(SCHEMA).unwrap();
        let place = |name| {
            let place: Option<FieldPlace> = schema.place_of(name);
            place.map(|place| (place.field, place.child))
        };
        assert_eq!(place("Name"), Some((1, None)));
        assert_eq!(place("LastName"), Some((1, Some(2))));
        assert_eq!(place("BillingCity"), Some((3, Some(1))));
        assert_eq!(place("ShippingCity"), Some((4, Some(1))));
        assert_eq!(place("BillingAddress"), None);
        assert_eq!(place("ChangeEventHeader"), None);
        assert_eq!(
            flat_name("Location", "Site__c", "Latitude").as_deref(),
            Some("Site__Latitude__s")
        );
        assert_eq!(
            flat_name("Address", "MailingAddress", "City").as_deref(),
            Some("MailingCity")
        );
    }

    #[test]
    fn event_name_gives_the_object() {
        let object = |name| object_of_event(name).map(String::from);
        assert_eq!(object("AccountChangeEvent").as_deref(), Some("Account"));
        assert_eq!(object("Foo__ChangeEvent").as_deref(), Some("Foo__c"));
        for name in ["Account", "Foo__c"] {
            let event = event_of_object(&ObjectName::parse(name).unwrap());
            assert_eq!(object_of_event(&event).unwrap().as_str(), name);
        }
        assert_eq!(object("Sync_Marker__e"), None);
    }

    #[test]
    fn invalid_bytes_and_schemas_are_errors() {
        let schema = EventSchema::parse(SCHEMA).unwrap();
        // The last fields of the event are null: without them it must not be read as the same event.
        for length in 0..update().len() {
            assert!(schema.decode(&update()[..length]).is_err(), "{length}");
        }
        assert!(schema.decode(&[update(), vec![0]].concat()).is_err());
        assert!(EventSchema::parse("{}").is_err());
        assert!(EventSchema::parse(r#""string""#).is_err());
    }
}
