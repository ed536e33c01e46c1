//! JSON as the planner writes it: as serde's derived code would, in a tenth of its machine code.
//!
//! A browser loads the planner before it shows anything, so every kilobyte of it counts. Serde compiles
//! each type anew for each place; here every member of an object is written through one door. Tests
//! compare with what serde writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value as Json;

use super::change::{ChangeOperation, OutboxOperation, SourceSystem};
use super::ids::{ColumnName, FieldName, ObjectName, RelationName, TableName, TenantId};
use super::intent::{IntentState, WriteAction};
use super::link::Presence;
use super::observation::ObservationKind;
use super::value::{Decimal, Value};

/// A member of an object, or none where it is left out.
pub type Member<'a> = Option<(&'a str, &'a dyn WriteJson)>;

/// Something that is written as JSON.
pub trait WriteJson {
    /// Writes it.
    fn write_json(&self, text: &mut JsonText);
}

/// Gives enums without content `as_str`, the name that serde, SQL and the configuration write, and
/// writes it as JSON.
macro_rules! names {
    ($($name:ident)+) => {
        $(
            impl $name {
                /// Returns the name that stands for it in configuration, SQL and JSON.
                pub fn as_str(self) -> &'static str {
                    self.into()
                }
            }

            impl $crate::model::text::WriteJson for $name {
                fn write_json(&self, text: &mut $crate::model::text::JsonText) {
                    text.string(self.as_str());
                }
            }
        )+
    };
}

pub(crate) use names;

/// Writes a struct as an object of its members. All must be named; those in brackets are left out where
/// the condition after them says so.
#[macro_export]
macro_rules! write_object {
    ($name:ident { $($member:ident $([if $kept:expr])?),+ $(,)? }) => {
        impl $crate::model::text::WriteJson for $name {
            fn write_json(&self, text: &mut $crate::model::text::JsonText) {
                let Self { $($member),+ } = self;
                text.object(&[$($crate::write_object!(@member $member $(, $kept)?)),+]);
            }
        }
    };
    (@member $member:ident) => {
        Some((stringify!($member), $member))
    };
    (@member $member:ident, $kept:expr) => {
        if $kept($member) { Some((stringify!($member), $member)) } else { None }
    };
}

/// A JSON text that is being written, without white space.
#[derive(Debug, Default)]
pub struct JsonText {
    text: String,
    /// Members by name, numbers in their one form.
    canonical: bool,
}

impl JsonText {
    /// Returns `value` as JSON, members as they are declared.
    pub fn of(value: &dyn WriteJson) -> String {
        let mut text = Self::default();
        value.write_json(&mut text);
        text.text
    }

    /// Returns `value` as canonical JSON: equal content, equal text.
    pub fn canonical(value: &dyn WriteJson) -> String {
        let mut text = Self {
            text: String::new(),
            canonical: true,
        };
        value.write_json(&mut text);
        text.text
    }

    /// Writes what is JSON already.
    pub fn raw(&mut self, json: &str) {
        self.text.push_str(json);
    }

    /// Writes a string.
    pub fn string(&mut self, string: &str) {
        self.text.push('"');
        let mut from = 0;
        for (at, byte) in string.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.text.push_str(&string[from..at]);
            from = at + 1;
            self.escape(byte);
        }
        self.text.push_str(&string[from..]);
        self.text.push('"');
    }

    fn escape(&mut self, byte: u8) {
        let dead_letter = match byte {
            b'"' | b'\\' => char::from(byte),
            0x08 => 'b',
            b'\t' => 't',
            b'\n' => 'n',
            0x0c => 'f',
            b'\r' => 'r',
            other => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                self.text.push_str("\\u00");
                self.text.push(char::from(DIGITS[usize::from(other >> 4)]));
                self.text.push(char::from(DIGITS[usize::from(other & 15)]));
                return;
            }
        };
        self.text.push('\\');
        self.text.push(dead_letter);
    }

    /// Writes an object of known members.
    pub fn object(&mut self, members: &[Member<'_>]) {
        if !self.canonical {
            self.members(&mut members.iter().copied().flatten());
            return;
        }
        self.members(&mut by_name(&mut members.iter().copied().flatten()).into_iter());
    }

    /// Writes an object of members that come in order.
    pub fn members(&mut self, members: &mut dyn Iterator<Item = (&str, &dyn WriteJson)>) {
        let mut before = '{';
        for (name, value) in members {
            self.text.push(before);
            self.string(name);
            self.text.push(':');
            value.write_json(self);
            before = ',';
        }
        if before == '{' {
            self.text.push('{');
        }
        self.text.push('}');
    }

    /// Writes a list.
    pub fn list(&mut self, items: &mut dyn Iterator<Item = &dyn WriteJson>) {
        let mut before = '[';
        for item in items {
            self.text.push(before);
            item.write_json(self);
            before = ',';
        }
        if before == '[' {
            self.text.push('[');
        }
        self.text.push(']');
    }
}

/// Sorts members. Mostly they come sorted, and each is put at the end.
fn by_name<'a>(
    members: &mut dyn Iterator<Item = (&'a str, &'a dyn WriteJson)>,
) -> Vec<(&'a str, &'a dyn WriteJson)> {
    let mut sorted: Vec<(&str, &dyn WriteJson)> = Vec::new();
    for (name, value) in members {
        let place = sorted.partition_point(|(known, _)| *known < name);
        sorted.insert(place, (name, value));
    }
    sorted
}

fn member<'a, T: WriteJson>((name, value): (&'a FieldName, &'a T)) -> (&'a str, &'a dyn WriteJson) {
    (name.as_str(), value)
}

impl WriteJson for bool {
    fn write_json(&self, text: &mut JsonText) {
        text.raw(if *self { "true" } else { "false" });
    }
}

macro_rules! write_number {
    ($($number:ty)+) => {
        $(impl WriteJson for $number {
            fn write_json(&self, text: &mut JsonText) {
                write!(text.text, "{self}").expect("writing to a string cannot fail");
            }
        })+
    };
}

write_number!(i64 u32 usize);

impl WriteJson for str {
    fn write_json(&self, text: &mut JsonText) {
        text.string(self);
    }
}

impl WriteJson for &str {
    fn write_json(&self, text: &mut JsonText) {
        text.string(self);
    }
}

impl WriteJson for String {
    fn write_json(&self, text: &mut JsonText) {
        text.string(self);
    }
}

macro_rules! write_identifier {
    ($($name:ident)+) => {
        $(impl WriteJson for $name {
            fn write_json(&self, text: &mut JsonText) {
                text.string(self.as_str());
            }
        })+
    };
}

write_identifier!(ColumnName FieldName ObjectName RelationName TenantId);

impl<T: WriteJson> WriteJson for Option<T> {
    fn write_json(&self, text: &mut JsonText) {
        match self {
            Some(value) => value.write_json(text),
            None => text.raw("null"),
        }
    }
}

impl<T: WriteJson> WriteJson for Vec<T> {
    fn write_json(&self, text: &mut JsonText) {
        text.list(&mut self.iter().map(|item| item as &dyn WriteJson));
    }
}

impl<T: WriteJson> WriteJson for BTreeMap<FieldName, T> {
    fn write_json(&self, text: &mut JsonText) {
        text.members(&mut self.iter().map(member));
    }
}

impl WriteJson for Value {
    fn write_json(&self, text: &mut JsonText) {
        match self {
            Self::Null => text.raw("null"),
            Self::Boolean(boolean) => boolean.write_json(text),
            Self::Number(number) => text.raw(number.as_str()),
            Self::Text(string) => text.string(string),
        }
    }
}

impl WriteJson for Json {
    fn write_json(&self, text: &mut JsonText) {
        match self {
            Self::Null => text.raw("null"),
            Self::Bool(boolean) => boolean.write_json(text),
            Self::Number(number) => {
                let one_form = text.canonical.then(|| Decimal::parse(number.as_str()));
                let one_form = one_form.flatten();
                text.raw(one_form.as_ref().map_or(number.as_str(), Decimal::as_str));
            }
            Self::String(string) => text.string(string),
            Self::Array(items) => items.write_json(text),
            Self::Object(members) => {
                let members = members.iter();
                let mut members =
                    members.map(|(name, value)| (name.as_str(), value as &dyn WriteJson));
                // A map of serde_json is sorted, unless a feature of it says otherwise.
                text.members(&mut by_name(&mut members).into_iter());
            }
        }
    }
}

write_object!(TableName { schema, table });

names!(SourceSystem ChangeOperation OutboxOperation Presence WriteAction IntentState ObservationKind);

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::JsonText;

    #[test]
    fn what_is_written_is_what_serde_writes() {
        let dead_letters: String = (0..=0x80).filter_map(char::from_u32).collect();
        let json = json!({
            "a": [null, true, -1, 12.5, [], {}],
            "b": {"ä": dead_letters, "": "\u{1F388}", "\"\\": 1},
        });
        assert_eq!(JsonText::of(&json), json.to_string());
        let digits: Json = serde_json::from_str("[12345678901234567.890, 1E2]").unwrap();
        assert_eq!(JsonText::of(&digits), digits.to_string());
        assert_eq!(JsonText::canonical(&digits), "[12345678901234567.89,100]");
    }
}
