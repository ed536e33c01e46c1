//! How one change of one or more records becomes an Avro datum.

use super::bitmap::{self, Bit};
use super::layout::{EventField, Layout};
use super::schema::{FieldNo, Object};
use super::stamp;
use super::value::Value;

/// What happened to a record. The numbers are the places of the symbols in the Avro enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ChangeKind {
    Create = 0,
    Update = 1,
    Delete = 2,
    Undelete = 3,
}

/// What all events of one transaction share.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) origin: String,
    pub(crate) transaction_key: String,
    pub(crate) timestamp_ms: i64,
    pub(crate) number: i64,
    pub(crate) user: String,
}

/// The part of an event that depends on the record alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) kind: ChangeKind,
    nulled: Vec<String>,
    changed: Vec<String>,
    fields: Vec<u8>,
}

impl Body {
    /// Returns the body of a change of a record that now holds `row`.
    ///
    /// `changed` names the fields that an update changed; it means nothing for the other kinds.
    pub(crate) fn new(
        kind: ChangeKind,
        object: &Object,
        layout: &Layout,
        row: &[Value],
        changed: &[FieldNo],
    ) -> Self {
        let mut body = Self {
            kind,
            nulled: Vec::new(),
            changed: Vec::new(),
            fields: Vec::new(),
        };
        match kind {
            ChangeKind::Delete => body.push_fields(object, layout, row, |_| false),
            ChangeKind::Create | ChangeKind::Undelete => {
                body.push_fields(object, layout, row, |_| true);
            }
            ChangeKind::Update => {
                let mut shown: Vec<(Bit, FieldNo)> = changed
                    .iter()
                    .filter_map(|no| Some((layout.bit(*no)?, *no)))
                    .collect();
                shown.sort_unstable();
                body.changed = bitmap::encode(shown.iter().map(|(bit, _)| *bit));
                let nulled = shown.iter().filter(|(_, no)| row[no.0] == Value::Null);
                body.nulled = bitmap::encode(nulled.map(|(bit, _)| *bit));
                body.push_fields(object, layout, row, |no| {
                    shown.iter().any(|(_, s)| *s == no)
                });
            }
        }
        body
    }

    fn push_fields(
        &mut self,
        object: &Object,
        layout: &Layout,
        row: &[Value],
        shown: impl Fn(FieldNo) -> bool,
    ) {
        let out = &mut self.fields;
        for field in &layout.fields {
            match field {
                EventField::Plain(no) | EventField::SwitchableName(no) => {
                    push_value(out, object, *no, row, shown(*no));
                }
                EventField::Compound(_, parts) => {
                    let any = |no: &FieldNo| row[no.0] != Value::Null && shown(*no);
                    if !parts.iter().flatten().any(any) {
                        push_long(out, 0);
                        continue;
                    }
                    push_long(out, 1);
                    for part in parts {
                        match part {
                            Some(no) => push_value(out, object, *no, row, shown(*no)),
                            None => push_long(out, 0),
                        }
                    }
                }
            }
        }
    }

    /// Returns the whole datum for these records.
    pub(crate) fn datum(
        &self,
        object: &Object,
        commit: &Commit,
        sequence: i32,
        ids: &[String],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.fields.len() + 192);
        push_text(&mut out, &object.name);
        push_texts(&mut out, ids);
        push_long(&mut out, self.kind as i64);
        push_text(&mut out, &commit.origin);
        push_text(&mut out, &commit.transaction_key);
        push_long(&mut out, i64::from(sequence));
        push_long(&mut out, commit.timestamp_ms);
        push_long(&mut out, commit.number);
        push_text(&mut out, &commit.user);
        push_texts(&mut out, &self.nulled);
        push_texts(&mut out, &[]);
        push_texts(&mut out, &self.changed);
        out.extend_from_slice(&self.fields);
        out
    }
}

/// Appends a union of null and the type of the field.
fn push_value(out: &mut Vec<u8>, object: &Object, no: FieldNo, row: &[Value], shown: bool) {
    let value = &row[no.0];
    if !shown || *value == Value::Null {
        push_long(out, 0);
        return;
    }
    push_long(out, 1);
    match value {
        Value::Null => {}
        Value::Bool(yes) => out.push(u8::from(*yes)),
        Value::Int(int) => push_long(out, i64::from(*int)),
        Value::Decimal(units) => {
            let mut text = String::new();
            Value::Decimal(*units).push_plain(object.field(no), &mut text);
            let double: f64 = text.parse().unwrap_or_default();
            out.extend_from_slice(&double.to_le_bytes());
        }
        Value::Date(days) => push_long(out, stamp::day_start_ms(*days)),
        Value::Datetime(ms) => push_long(out, *ms),
        Value::Time(ms) => push_long(out, i64::from(*ms)),
        Value::Id(id) => push_text(out, &id.to_string()),
        Value::Text(text) => push_text(out, text),
    }
}

/// Appends a zigzag variable-length integer: Avro's int and long.
fn push_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_long(out, i64::try_from(text.len()).unwrap_or(i64::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn push_texts(out: &mut Vec<u8>, texts: &[String]) {
    if !texts.is_empty() {
        push_long(out, i64::try_from(texts.len()).unwrap_or(i64::MAX));
        for text in texts {
            push_text(out, text);
        }
    }
    push_long(out, 0);
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
