//! Rewrites a change event for one subscriber: enrichment adds values, permissions remove some.

use apache_avro::types::Value as Avro;
use bytes::Bytes;

use super::Model;
use super::bitmap::{self, Bit};
use super::change::{push_long, push_text};
use super::decode::{datum, text, texts};
use super::id::RecordId;
use super::layout::{EventField, Layout};
use super::schema::{FieldNo, ObjectNo};
use super::stamp;
use super::value::Value;

/// How an event is rewritten.
#[derive(Clone, Debug)]
pub(crate) struct Alteration<'a> {
    pub(crate) object: ObjectNo,
    pub(crate) layout: &'a Layout,
    /// Fields added to updates and deletes, with their current values.
    pub(crate) enriched: &'a [FieldNo],
    /// Fields that become null and are removed from every bitmap.
    pub(crate) hidden: &'a [FieldNo],
    /// Fields whose text is masked.
    pub(crate) masked: Vec<FieldNo>,
}

/// Returns the rewritten events. An enriched event with several records becomes one event per
/// record, because their values may differ.
pub(crate) fn rewritten(model: &Model, alteration: &Alteration<'_>, payload: &Bytes) -> Vec<Bytes> {
    let mut fields = datum(alteration.layout.schema.parsed(), payload)
        .expect("the org writes data of its own schema");
    for no in alteration.hidden {
        if let Some(bit) = alteration.layout.bit(*no) {
            put(&mut fields, bit, Avro::Union(0, Box::new(Avro::Null)), 0);
            remove_from_bitmaps(&mut fields, bit);
        }
    }
    let kind = header(&fields, "changeType").map(text).unwrap_or_default();
    if alteration.enriched.is_empty() || !matches!(kind.as_str(), "UPDATE" | "DELETE") {
        mask(model, alteration, &mut fields);
        return vec![encoded(&fields)];
    }
    let ids = header(&fields, "recordIds").map(texts).unwrap_or_default();
    let apart = ids.iter().map(|id| {
        let mut fields = fields.clone();
        enrich(model, alteration, &mut fields, id);
        mask(model, alteration, &mut fields);
        encoded(&fields)
    });
    apart.collect()
}

fn enrich(model: &Model, alteration: &Alteration<'_>, fields: &mut [(String, Avro)], id: &str) {
    set_header(
        fields,
        "recordIds",
        Avro::Array(vec![Avro::String(id.to_owned())]),
    );
    let row = RecordId::parse(id).and_then(|id| model.row_of(alteration.object, id));
    let Some(row) = row else { return };
    let changed: Vec<Bit> = named_bits(fields);
    for no in alteration.enriched {
        let Some(bit) = alteration.layout.bit(*no) else {
            continue;
        };
        // A field that the event itself changes keeps the event's value.
        if changed.contains(&bit) || alteration.hidden.contains(no) {
            continue;
        }
        let value = avro_of(model.table(alteration.object).get(row, *no));
        put(fields, bit, value, children_of(alteration.layout, bit.top));
    }
}

/// Masks the encrypted texts of an event.
fn mask(model: &Model, alteration: &Alteration<'_>, fields: &mut [(String, Avro)]) {
    for no in &alteration.masked {
        let mask = model.field(alteration.object, *no).mask.unwrap_or_default();
        let place = alteration.layout.bit(*no).map(|bit| &mut fields[bit.top].1);
        if let Some(Avro::Union(_, inner)) = place
            && let Avro::String(text) = &mut **inner
        {
            *text = mask.masked(text);
        }
    }
}

fn avro_of(value: &Value) -> Avro {
    let inner = match value {
        Value::Null => return Avro::Union(0, Box::new(Avro::Null)),
        Value::Bool(yes) => Avro::Boolean(*yes),
        Value::Int(int) => Avro::Int(*int),
        Value::Double(number) => Avro::Double(number.get()),
        Value::Date(days) => Avro::Long(stamp::day_start_ms(*days)),
        Value::Datetime(ms) => Avro::Long(*ms),
        Value::Time(ms) => Avro::Long(i64::from(*ms)),
        Value::Id(id) => Avro::String(id.to_string()),
        Value::Text(text) => Avro::String(text.to_string()),
    };
    Avro::Union(1, Box::new(inner))
}

/// Returns the number of parts of the compound at a position.
fn children_of(layout: &Layout, top: usize) -> usize {
    match layout.fields.get(top - 1) {
        Some(EventField::Compound(_, parts)) => parts.len(),
        Some(EventField::Plain(_) | EventField::SwitchableName(..)) | None => 0,
    }
}

/// Sets a value at a position. A compound that was null gets `children` parts, all others null.
fn put(fields: &mut [(String, Avro)], bit: Bit, value: Avro, children: usize) {
    let place = &mut fields[bit.top].1;
    let Some(child) = bit.child else {
        *place = value;
        return;
    };
    let null = || (String::new(), Avro::Union(0, Box::new(Avro::Null)));
    let is_record = matches!(place, Avro::Union(_, inner) if matches!(**inner, Avro::Record(_)));
    if !is_record {
        if children == 0 || matches!(value, Avro::Union(0, _)) {
            return;
        }
        let parts = (0..children).map(|_| null()).collect();
        *place = Avro::Union(1, Box::new(Avro::Record(parts)));
    }
    if let Avro::Union(_, inner) = place
        && let Avro::Record(parts) = &mut **inner
    {
        parts[child].1 = value;
    }
}

fn header<'a>(fields: &'a [(String, Avro)], name: &str) -> Option<&'a Avro> {
    let Avro::Record(members) = &fields.first()?.1 else {
        return None;
    };
    members
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

fn set_header(fields: &mut [(String, Avro)], name: &str, value: Avro) {
    if let Some((_, Avro::Record(members))) = fields.first_mut()
        && let Some(member) = members.iter_mut().find(|(known, _)| known == name)
    {
        member.1 = value;
    }
}

fn bits_of(fields: &[(String, Avro)], name: &str) -> Vec<Bit> {
    let maps = header(fields, name).map(texts).unwrap_or_default();
    maps.iter()
        .filter_map(|map| bitmap::decode(map))
        .flatten()
        .collect()
}

fn named_bits(fields: &[(String, Avro)]) -> Vec<Bit> {
    let mut bits = bits_of(fields, "changedFields");
    bits.extend(bits_of(fields, "nulledFields"));
    bits
}

/// Removes a field from all bitmaps.
fn remove_from_bitmaps(fields: &mut [(String, Avro)], hidden: Bit) {
    for name in ["changedFields", "nulledFields", "diffFields"] {
        let kept = bits_of(fields, name)
            .into_iter()
            .filter(|bit| *bit != hidden);
        let maps = bitmap::encode(kept).into_iter().map(Avro::String).collect();
        set_header(fields, name, Avro::Array(maps));
    }
}

/// Encodes a datum with these fields.
pub(crate) fn encoded(fields: &[(String, Avro)]) -> Bytes {
    let mut out = Vec::new();
    for (_, value) in fields {
        push(&mut out, value);
    }
    out.into()
}

/// Appends a value. The schema is not needed, because branches and symbols carry their numbers.
fn push(out: &mut Vec<u8>, value: &Avro) {
    match value {
        Avro::Boolean(yes) => out.push(u8::from(*yes)),
        Avro::Int(int) => push_long(out, i64::from(*int)),
        Avro::Long(long) => push_long(out, *long),
        Avro::Double(double) => out.extend_from_slice(&double.to_le_bytes()),
        Avro::String(text) => push_text(out, text),
        Avro::Enum(symbol, _) => push_long(out, i64::from(*symbol)),
        Avro::Union(branch, inner) => {
            push_long(out, i64::from(*branch));
            push(out, inner);
        }
        Avro::Record(fields) => fields.iter().for_each(|(_, value)| push(out, value)),
        Avro::Array(items) => {
            if !items.is_empty() {
                push_long(out, i64::try_from(items.len()).unwrap_or(i64::MAX));
                items.iter().for_each(|item| push(out, item));
            }
            push_long(out, 0);
        }
        // The event schemas have no other types.
        _ => {}
    }
}
