//! Decodes a change event into names and values, as a subscriber does.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value as Avro;
use serde_json::Value as Json;

use super::bitmap;
use super::layout::Layout;

/// A decoded change event.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedEvent {
    /// API name of the object.
    pub entity: String,
    /// Ids of the records, 18 characters each.
    pub record_ids: Vec<String>,
    /// `CREATE`, `UPDATE`, `DELETE`, `UNDELETE`, `GAP_…`.
    pub change_type: String,
    /// Who changed the records, by which API.
    pub change_origin: String,
    /// The same for all events of one transaction.
    pub transaction_key: String,
    /// Order within the transaction, from 1.
    pub sequence_number: i32,
    /// When the transaction was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// Grows with every transaction.
    pub commit_number: i64,
    /// Id of the user who made the change.
    pub commit_user: String,
    /// Fields that an update set to null; parts of compounds as `Parent.Part`.
    pub nulled_fields: Vec<String>,
    /// Fields whose new value is given as a unified diff.
    pub diff_fields: Vec<String>,
    /// Fields that an update changed; parts of compounds as `Parent.Part`.
    pub changed_fields: Vec<String>,
    /// The fields that are not null in the event; compounds as objects.
    pub fields: BTreeMap<String, Json>,
}

impl DecodedEvent {
    /// Decodes a payload. The error names the part that does not fit.
    pub(crate) fn read(layout: &Layout, payload: &[u8]) -> Result<Self, String> {
        let schema = layout.schema.parsed();
        let fields = datum(schema, payload)?;
        let Schema::Record(record) = schema else {
            return Err("the schema is not a record".to_owned());
        };
        let mut fields = fields.into_iter();
        let Some((_, Avro::Record(header))) = fields.next() else {
            return Err("the first field is not a header".to_owned());
        };
        let header: BTreeMap<String, Avro> = header.into_iter().collect();
        let names = |member: &str| -> Result<Vec<String>, String> {
            let mut names = Vec::new();
            for map in texts(&header[member]) {
                for bit in bitmap::decode(&map).ok_or("a bitmap is malformed")? {
                    names.push(name_of(record, bit).ok_or("a bit has no field")?);
                }
            }
            Ok(names)
        };
        Ok(Self {
            entity: text(&header["entityName"]),
            record_ids: texts(&header["recordIds"]),
            change_type: text(&header["changeType"]),
            change_origin: text(&header["changeOrigin"]),
            transaction_key: text(&header["transactionKey"]),
            sequence_number: i32::try_from(number(&header["sequenceNumber"])).unwrap_or(0),
            commit_timestamp: number(&header["commitTimestamp"]),
            commit_number: number(&header["commitNumber"]),
            commit_user: text(&header["commitUser"]),
            nulled_fields: names("nulledFields")?,
            diff_fields: names("diffFields")?,
            changed_fields: names("changedFields")?,
            fields: fields
                .map(|(name, value)| (name, json(value)))
                .filter(|(_, value)| !value.is_null())
                .collect(),
        })
    }
}

/// Decodes the fields of a datum.
pub(crate) fn datum(schema: &Schema, payload: &[u8]) -> Result<Vec<(String, Avro)>, String> {
    let mut bytes = payload;
    let reader = GenericDatumReader::builder(schema).build();
    let datum = reader
        .and_then(|r| r.read_value(&mut bytes))
        .map_err(|e| e.to_string())?;
    if !bytes.is_empty() {
        return Err("extra bytes follow the datum".to_owned());
    }
    match datum {
        Avro::Record(fields) => Ok(fields),
        _ => Err("the datum is not a record".to_owned()),
    }
}

fn name_of(record: &apache_avro::schema::RecordSchema, bit: bitmap::Bit) -> Option<String> {
    let field = record.fields.get(bit.top)?;
    let Some(child) = bit.child else {
        return Some(field.name.clone());
    };
    let Schema::Union(union) = &field.schema else {
        return None;
    };
    // A compound that was defined earlier is only named here, so its parts are looked up by name.
    let parts = union.variants().iter().find_map(|variant| match variant {
        Schema::Record(inner) => Some(inner),
        Schema::Ref { name } => record.fields.iter().find_map(|other| match &other.schema {
            Schema::Union(union) => union.variants().iter().find_map(|v| match v {
                Schema::Record(inner) if inner.name == *name => Some(inner),
                _ => None,
            }),
            _ => None,
        }),
        _ => None,
    })?;
    Some(format!("{}.{}", field.name, parts.fields.get(child)?.name))
}

/// Returns the text of a string or an enum.
pub(crate) fn text(value: &Avro) -> String {
    match value {
        Avro::String(text) | Avro::Enum(_, text) => text.clone(),
        _ => String::new(),
    }
}

/// Returns the texts of an array.
pub(crate) fn texts(value: &Avro) -> Vec<String> {
    match value {
        Avro::Array(items) => items.iter().map(text).collect(),
        _ => Vec::new(),
    }
}

/// Returns a whole number.
pub(crate) fn number(value: &Avro) -> i64 {
    match value {
        Avro::Int(int) => i64::from(*int),
        Avro::Long(long) => *long,
        _ => 0,
    }
}

/// Returns a value as JSON, without the null members of records.
pub(crate) fn json(value: Avro) -> Json {
    match value {
        Avro::Union(_, inner) => json(*inner),
        Avro::Boolean(yes) => yes.into(),
        Avro::Int(int) => int.into(),
        Avro::Long(long) => long.into(),
        Avro::Double(double) => double.into(),
        Avro::String(text) => text.into(),
        Avro::Record(fields) => {
            let members = fields.into_iter().map(|(name, value)| (name, json(value)));
            Json::Object(members.filter(|(_, value)| !value.is_null()).collect())
        }
        _ => Json::Null,
    }
}
