//! The layout of an object's change events: its Avro schema and the position of each field.

use std::sync::OnceLock;

use apache_avro::Schema;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::bitmap::Bit;
use super::schema::{Field, FieldNo, FieldType, MASTER_RECORD, Object};

/// The Avro layout of one object's change events.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) fields: Vec<EventField>,
    pub(crate) schema: EventSchema,
    bits: Vec<Option<Bit>>,
}

/// An Avro schema as sent to clients.
#[derive(Clone, Debug)]
pub(crate) struct EventSchema {
    /// Opaque; the same text has the same id.
    pub(crate) id: String,
    pub(crate) json: String,
    parsed: OnceLock<Schema>,
}

impl EventSchema {
    /// Returns the schema with this JSON text.
    pub(crate) fn new(json: String) -> Self {
        Self {
            id: fingerprint(json.as_bytes()),
            json,
            parsed: OnceLock::new(),
        }
    }

    /// Returns the schema parsed, for decoding.
    pub(crate) fn parsed(&self) -> &Schema {
        self.parsed
            .get_or_init(|| Schema::parse_str(&self.json).expect("the org writes Avro schemas"))
    }
}

/// One top-level field after the header.
#[derive(Clone, Debug)]
pub(crate) enum EventField {
    /// A field that stands for itself.
    Plain(FieldNo),
    /// A name that is a text for a company and a record of these parts for a person.
    SwitchableName(FieldNo, Vec<Option<FieldNo>>),
    /// A compound; `None` for a part that this object lacks.
    Compound(FieldNo, Vec<Option<FieldNo>>),
}

impl Layout {
    /// Returns the layout of the change events of `object`.
    pub(crate) fn new(object: &Object) -> Self {
        let parts = name_parts(object);
        let shown = object.numbered().filter(|(no, field)| {
            let hidden = [
                object.system.id,
                object.system.is_deleted,
                object.system.modstamp,
            ];
            let shown = !hidden.contains(no) && field.name != MASTER_RECORD;
            shown && field.part_of.is_none() && !field.calculated() && !parts.contains(&Some(*no))
        });
        Self::of(object, shown.map(|(no, _)| no))
    }

    /// Returns the layout of events that are not about records.
    pub(crate) fn of_schema(schema: EventSchema) -> Self {
        Self {
            fields: Vec::new(),
            schema,
            bits: Vec::new(),
        }
    }

    /// Returns the layout with exactly these fields, in this order.
    pub(crate) fn of(object: &Object, shown: impl Iterator<Item = FieldNo>) -> Self {
        let address = children(object, FieldType::Address);
        let person = children(object, FieldType::PersonName);
        let fields: Vec<_> = shown
            .map(|no| {
                let field = object.field(no);
                if field.kind == FieldType::Address {
                    EventField::Compound(no, placed(object, no, &address))
                } else if field.kind == FieldType::PersonName {
                    EventField::Compound(no, placed(object, no, &person))
                } else if field.switchable_name {
                    EventField::SwitchableName(no, name_parts(object))
                } else {
                    EventField::Plain(no)
                }
            })
            .collect();
        Self {
            bits: bits(object, &fields),
            schema: EventSchema::new(schema_json(object, &fields, &address, &person)),
            fields,
        }
    }

    /// Returns the position of a field, if events include it.
    pub(crate) fn bit(&self, field: FieldNo) -> Option<Bit> {
        self.bits.get(field.0).copied().flatten()
    }
}

fn bits(object: &Object, fields: &[EventField]) -> Vec<Option<Bit>> {
    let mut bits = vec![None; object.fields.len()];
    for (place, field) in fields.iter().enumerate() {
        // Field 0 of every event is its header.
        let top = place + 1;
        match field {
            EventField::Plain(no) => bits[no.0] = Some(Bit { top, child: None }),
            EventField::SwitchableName(no, parts) | EventField::Compound(no, parts) => {
                if object.field(*no).switchable_name {
                    bits[no.0] = Some(Bit { top, child: None });
                }
                for (child, part) in parts.iter().enumerate() {
                    if let Some(no) = part {
                        bits[no.0] = Some(Bit {
                            top,
                            child: Some(child),
                        });
                    }
                }
            }
        }
    }
    bits
}

/// The parts of a person's name in an account.
const NAME_PARTS: [&str; 3] = ["Salutation", "FirstName", "LastName"];

/// Returns the fields with the parts of a person's name, if an account can be a person.
fn name_parts(object: &Object) -> Vec<Option<FieldNo>> {
    let switches = object.fields.iter().any(|field| field.switchable_name);
    if !switches || object.system.is_person.is_none() {
        return Vec::new();
    }
    NAME_PARTS.map(|part| object.find(part)).to_vec()
}

/// Returns the name and Avro type of every part that any compound of this kind has, in order.
///
/// Two addresses of one object share one Avro record, so the record has the parts of both.
fn children(object: &Object, kind: FieldType) -> Vec<(String, &'static str)> {
    let mut children: Vec<(String, &'static str)> = Vec::new();
    for compound in object.fields.iter().filter(|field| field.kind == kind) {
        for part in compound.parts.iter().map(|no| object.field(*no)) {
            let Some((_, name)) = &part.part_of else {
                continue;
            };
            if !children.iter().any(|(known, _)| known == name) {
                children.push((name.clone(), avro_type(part.kind)));
            }
        }
    }
    children
}

fn placed(object: &Object, compound: FieldNo, children: &[(String, &str)]) -> Vec<Option<FieldNo>> {
    let parts = &object.field(compound).parts;
    let named = |no: &&FieldNo, name: &str| {
        object
            .field(**no)
            .part_of
            .as_ref()
            .is_some_and(|(_, part)| part == name)
    };
    children
        .iter()
        .map(|(name, _)| parts.iter().find(|no| named(no, name)).copied())
        .collect()
}

/// Returns the Avro type of the values of a field.
pub(crate) fn avro_type(kind: FieldType) -> &'static str {
    match kind {
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
        | FieldType::Address
        | FieldType::PersonName => "string",
        FieldType::Boolean => "boolean",
        FieldType::Int => "int",
        FieldType::Double | FieldType::Currency | FieldType::Percent => "double",
        FieldType::Date | FieldType::Datetime | FieldType::Time => "long",
    }
}

/// Returns the `doc` of a field, which names its Salesforce type.
pub(crate) fn doc(field: &Field) -> &'static str {
    match field.kind {
        FieldType::Id | FieldType::Reference => "ForeignKey:EntityId",
        FieldType::String if field.switchable_name => "Data:Switchable_PersonName",
        FieldType::String => "Data:Text",
        FieldType::Textarea if field.html => "Data:HtmlStringPlusClob",
        FieldType::Textarea if field.long_text() => "Data:StringPlusClob",
        FieldType::Encryptedstring => "Data:EncryptedText",
        FieldType::Textarea => "Data:Text",
        FieldType::Picklist => "Data:DynamicEnum",
        FieldType::Multipicklist => "Data:MultiEnum",
        FieldType::Email => "Data:Email",
        FieldType::Phone => "Data:Phone",
        FieldType::Url => "Data:Url",
        FieldType::Boolean => "Data:Boolean",
        FieldType::Int => "Data:Integer",
        FieldType::Double => "Data:Double",
        FieldType::Currency => "Data:Currency",
        FieldType::Percent => "Data:Percent",
        FieldType::Date => "Data:DateOnly",
        FieldType::Datetime => "Data:DateTime",
        FieldType::Time => "Data:TimeOnly",
        FieldType::Address => "Data:Address",
        FieldType::PersonName => "Data:PersonName",
    }
}

/// The schema of the header, the same in every event.
const HEADER: &str = concat!(
    r#"{"name":"ChangeEventHeader","type":{"type":"record","name":"ChangeEventHeader","fields":["#,
    r#"{"name":"entityName","type":"string"},"#,
    r#"{"name":"recordIds","type":{"type":"array","items":"string"}},"#,
    r#"{"name":"changeType","type":{"type":"enum","name":"ChangeType","symbols":["CREATE","#,
    r#""UPDATE","DELETE","UNDELETE","GAP_CREATE","GAP_UPDATE","GAP_DELETE","GAP_UNDELETE","#,
    r#""GAP_OVERFLOW","SNAPSHOT"]}},"#,
    r#"{"name":"changeOrigin","type":"string"},"#,
    r#"{"name":"transactionKey","type":"string"},"#,
    r#"{"name":"sequenceNumber","type":"int"},"#,
    r#"{"name":"commitTimestamp","type":"long"},"#,
    r#"{"name":"commitNumber","type":"long"},"#,
    r#"{"name":"commitUser","type":"string"},"#,
    r#"{"name":"nulledFields","type":{"type":"array","items":"string"}},"#,
    r#"{"name":"diffFields","type":{"type":"array","items":"string"}},"#,
    r#"{"name":"changedFields","type":{"type":"array","items":"string"}}"#,
    r#"]},"doc":"Data:ComplexValueType"}"#
);

fn schema_json(
    object: &Object,
    fields: &[EventField],
    address: &[(String, &str)],
    person: &[(String, &str)],
) -> String {
    let name = object.event_name();
    let mut out = format!(
        r#"{{"type":"record","name":"{name}","namespace":"com.sforce.eventbus","fields":[{HEADER}"#
    );
    let mut known: Vec<&str> = Vec::new();
    for event_field in fields {
        let (no, branches) = match event_field {
            EventField::Plain(no) => (*no, format!("\"{}\"", avro_type(object.field(*no).kind))),
            EventField::SwitchableName(no, _) => {
                let parts = NAME_PARTS.map(|part| (part.to_owned(), "string"));
                (
                    *no,
                    format!(
                        "\"string\",{}",
                        record("Switchable_PersonName", &parts, &mut known)
                    ),
                )
            }
            EventField::Compound(no, _) if object.field(*no).kind == FieldType::Address => {
                (*no, record("Address", address, &mut known))
            }
            EventField::Compound(no, _) => (*no, record("PersonName", person, &mut known)),
        };
        let field = object.field(no);
        out.push_str(&format!(
            r#",{{"name":"{}","type":["null",{branches}],"doc":"{}","default":null}}"#,
            field.name,
            doc(field)
        ));
    }
    out.push_str("]}");
    out
}

/// Returns a named record: its definition at the first use, its name afterwards.
fn record<'a>(name: &'a str, children: &[(String, &str)], known: &mut Vec<&'a str>) -> String {
    if known.contains(&name) {
        return format!("\"{name}\"");
    }
    known.push(name);
    let fields: Vec<_> = children
        .iter()
        .map(|(child, kind)| {
            format!(r#"{{"name":"{child}","type":["null","{kind}"],"default":null}}"#)
        })
        .collect();
    format!(
        r#"{{"type":"record","name":"{name}","fields":[{}]}}"#,
        fields.join(",")
    )
}

/// Returns a short opaque id of this text (two FNV-1a hashes).
fn fingerprint(text: &[u8]) -> String {
    const PRIME: u64 = 0x0100_0000_01b3;
    let hash = |basis: u64| {
        text.iter().fold(basis, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        })
    };
    let halves = [hash(0xcbf2_9ce4_8422_2325), hash(0x6c62_272e_07bb_0142)];
    URL_SAFE_NO_PAD.encode(halves.map(u64::to_be_bytes).concat())
}
