//! Encodes one change of one or more records as an Avro datum.

use super::bitmap::{self, Bit};
use super::layout::{EventField, Layout};
use super::row::Row;
use super::schema::{Field, FieldNo, Object};
use super::stamp;
use super::text_diff;
use super::value::Value;

/// What happened to a record. The numbers are the positions of the symbols in the Avro enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ChangeKind {
    Create = 0,
    Update = 1,
    Delete = 2,
    Undelete = 3,
    /// The change happened, but its content is unknown.
    GapCreate = 4,
    GapUpdate = 5,
    GapDelete = 6,
    GapUndelete = 7,
    /// The transaction changed more records of the object than get events of their own.
    GapOverflow = 8,
}

impl ChangeKind {
    /// Returns the gap kind of the same change.
    pub(crate) fn gap(self) -> Self {
        match self {
            Self::Create | Self::GapCreate => Self::GapCreate,
            Self::Update | Self::GapUpdate => Self::GapUpdate,
            Self::Delete | Self::GapDelete => Self::GapDelete,
            Self::Undelete | Self::GapUndelete => Self::GapUndelete,
            Self::GapOverflow => Self::GapOverflow,
        }
    }
}

/// A field that an update changed, and its previous value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changed<'a> {
    pub(crate) field: FieldNo,
    pub(crate) old: &'a Value,
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

/// The part of an event that depends only on the record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) kind: ChangeKind,
    nulled: Vec<String>,
    diffed: Vec<String>,
    changed: Vec<String>,
    fields: Vec<u8>,
}

/// Estimated bytes per field of an event: most are null, most others are short.
const FIELD_BYTES: usize = 12;

/// Estimated bytes of the header of an event with one record.
const HEADER_BYTES: usize = 192;

/// How a field appears in an event.
#[derive(Clone, Debug)]
enum Shown {
    /// Null, whatever the record's value is.
    Hidden,
    Value,
    /// As a diff from its previous value.
    Diff(String),
}

impl Body {
    /// Returns the body for a change of a record that now has the values of `row`.
    ///
    /// `changed` lists the fields that an update changed. Other kinds ignore it.
    pub(crate) fn new(
        kind: ChangeKind,
        object: &Object,
        layout: &Layout,
        row: &Row,
        changed: &[Changed<'_>],
    ) -> Self {
        match kind {
            ChangeKind::Create | ChangeKind::Undelete => {
                let mut body = Self::of_kind(kind);
                body.push_fields(object, layout, row, |_| &Shown::Value);
                body
            }
            ChangeKind::Update => Self::update(object, layout, row, changed),
            ChangeKind::Delete
            | ChangeKind::GapCreate
            | ChangeKind::GapUpdate
            | ChangeKind::GapDelete
            | ChangeKind::GapUndelete
            | ChangeKind::GapOverflow => Self::header_only(kind, layout),
        }
    }

    /// Returns the body of an event without field values.
    pub(crate) fn header_only(kind: ChangeKind, layout: &Layout) -> Self {
        Self {
            // The index of null in the union of each field.
            fields: vec![0; layout.fields.len()],
            ..Self::of_kind(kind)
        }
    }

    fn of_kind(kind: ChangeKind) -> Self {
        Self {
            kind,
            nulled: Vec::new(),
            diffed: Vec::new(),
            changed: Vec::new(),
            fields: Vec::new(),
        }
    }

    fn update(object: &Object, layout: &Layout, row: &Row, changed: &[Changed<'_>]) -> Self {
        let mut body = Self::of_kind(ChangeKind::Update);
        let mut shown: Vec<(Bit, FieldNo, Shown)> = changed
            .iter()
            // The name of a person is shown by its parts.
            .filter(|change| {
                !(is_person(object, row) && object.field(change.field).switchable_name)
            })
            .filter_map(|change| {
                let bit = layout.bit(change.field)?;
                let diff = diff_of(object.field(change.field), change.old, &row[change.field.0]);
                Some((bit, change.field, diff.map_or(Shown::Value, Shown::Diff)))
            })
            .collect();
        shown.sort_unstable_by_key(|(bit, _, _)| *bit);
        body.changed = bitmap::encode(shown.iter().map(|(bit, _, _)| *bit));
        let nulled = shown.iter().filter(|(_, no, _)| row[no.0] == Value::Null);
        body.nulled = bitmap::encode(nulled.map(|(bit, _, _)| *bit));
        let diffed = shown
            .iter()
            .filter(|(_, _, how)| matches!(how, Shown::Diff(_)));
        body.diffed = bitmap::encode(diffed.map(|(bit, _, _)| *bit));
        body.push_fields(object, layout, row, |no| {
            let found = shown.iter().find(|(_, shown, _)| *shown == no);
            found.map_or(&Shown::Hidden, |(_, _, how)| how)
        });
        body
    }

    fn push_fields<'a>(
        &mut self,
        object: &Object,
        layout: &Layout,
        row: &Row,
        shown: impl Fn(FieldNo) -> &'a Shown,
    ) {
        let out = &mut self.fields;
        out.reserve(layout.fields.len() * FIELD_BYTES);
        for field in &layout.fields {
            match field {
                EventField::SwitchableName(_, parts) if is_person(object, row) => {
                    // The record of a person comes after null and the text of a company.
                    push_parts(out, row, (2, parts), &shown);
                }
                EventField::Plain(no) | EventField::SwitchableName(no, _) => {
                    push_value(out, &row[no.0], shown(*no));
                }
                EventField::Compound(_, parts) => {
                    push_parts(out, row, (1, parts), &shown);
                }
            }
        }
    }

    /// Returns the complete datum for these records.
    pub(crate) fn datum(
        &self,
        object: &Object,
        commit: &Commit,
        sequence: i32,
        ids: &[String],
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.fields.len() + HEADER_BYTES);
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
        push_texts(&mut out, &self.diffed);
        push_texts(&mut out, &self.changed);
        out.extend_from_slice(&self.fields);
        out
    }
}

fn is_person(object: &Object, row: &Row) -> bool {
    let mark = object.system.is_person;
    mark.is_some_and(|mark| row[mark.0] == Value::Bool(true))
}

/// Appends a record of parts as this branch of its union, or null if no part is shown.
fn push_parts<'a>(
    out: &mut Vec<u8>,
    row: &Row,
    (branch, parts): (i64, &[Option<FieldNo>]),
    shown: &impl Fn(FieldNo) -> &'a Shown,
) {
    let any = |no: &FieldNo| row[no.0] != Value::Null && !matches!(shown(*no), Shown::Hidden);
    if !parts.iter().flatten().any(any) {
        push_long(out, 0);
        return;
    }
    push_long(out, branch);
    for part in parts {
        match part {
            Some(no) => push_value(out, &row[no.0], shown(*no)),
            None => push_long(out, 0),
        }
    }
}

/// Returns the diff that replaces the new value of a long text, if a diff is used.
fn diff_of(field: &Field, old: &Value, new: &Value) -> Option<String> {
    if !field.long_text() {
        return None;
    }
    text_diff::unified(old.as_text()?, new.as_text()?)
}

fn push_value(out: &mut Vec<u8>, value: &Value, shown: &Shown) {
    match shown {
        Shown::Hidden => push_long(out, 0),
        Shown::Value => push_nullable(out, value),
        Shown::Diff(diff) => {
            push_long(out, 1);
            push_text(out, diff);
        }
    }
}

/// Appends a union of null and the type of the value.
pub(crate) fn push_nullable(out: &mut Vec<u8>, value: &Value) {
    push_long(out, i64::from(*value != Value::Null));
    match value {
        Value::Null => {}
        Value::Bool(yes) => out.push(u8::from(*yes)),
        Value::Int(int) => push_long(out, i64::from(*int)),
        Value::Double(number) => out.extend_from_slice(&number.get().to_le_bytes()),
        Value::Date(days) => push_long(out, stamp::day_start_ms(*days)),
        Value::Datetime(ms) => push_long(out, *ms),
        Value::Time(ms) => push_long(out, i64::from(*ms)),
        Value::Id(id) => push_text(out, &id.to_string()),
        Value::Text(text) => push_text(out, text),
    }
}

/// Appends a zigzag variable-length integer: Avro's int and long.
pub(crate) fn push_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
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
