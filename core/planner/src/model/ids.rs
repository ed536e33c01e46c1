//! Identifiers that are always valid: parsed once at the edge, never a bare `&str` afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a valid identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {why}")]
pub struct IdentifierError {
    /// Which kind of identifier was wanted.
    pub what: &'static str,
    /// The beginning of the text that was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Most characters of a text that an error repeats: no name is longer.
const REPEATED_MAX: usize = 100;

impl IdentifierError {
    fn of(what: &'static str, text: &str, why: &'static str) -> Self {
        let text = text.chars().take(REPEATED_MAX).collect();
        Self { what, text, why }
    }
}

macro_rules! parsed_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
        #[cfg_attr(feature = "typescript", ts(type = "string"))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the identifier in `text`, or fails with the reason why it is invalid.
            pub fn parse(text: &str) -> Result<Self, IdentifierError> {
                Self::try_from(text.to_owned())
            }

            /// Returns the identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentifierError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                match check(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(why) => Err(IdentifierError::of($what, &text, why)),
                }
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

fn salesforce_name(text: &str) -> Result<(), &'static str> {
    let starts = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    match (starts, rest, text.len() <= 80) {
        (true, true, true) => Ok(()),
        (false, _, _) => Err("it must start with a letter"),
        (_, false, _) => Err("only ASCII letters, digits and underscores are allowed"),
        (_, _, false) => Err("it is longer than 80 characters"),
    }
}

fn postgres_name(text: &str) -> Result<(), &'static str> {
    match (text.is_empty(), text.len() <= 63, text.contains('\0')) {
        (true, _, _) => Err("it is empty"),
        (_, false, _) => Err("it is longer than the 63 bytes that Postgres keeps"),
        (_, _, true) => Err("it holds a NUL character"),
        _ => Ok(()),
    }
}

fn tenant_name(text: &str) -> Result<(), &'static str> {
    let legal = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    match (text.is_empty(), legal, text.len() <= 63) {
        (true, _, _) => Err("it is empty"),
        (_, false, _) => Err("only lower-case letters, digits, '-' and '_' are allowed"),
        (_, _, false) => Err("it is longer than 63 characters"),
        _ => Ok(()),
    }
}

parsed_text!(
    /// A tenant: one Salesforce org and one set of tables.
    TenantId, "tenant", tenant_name
);
parsed_text!(
    /// The API name of a Salesforce object.
    ObjectName, "object name", salesforce_name
);
parsed_text!(
    /// The API name of a Salesforce field.
    FieldName, "field name", salesforce_name
);
parsed_text!(
    /// A column of a mapped table. Always quoted in SQL, so any name Postgres allows is allowed.
    ColumnName, "column name", postgres_name
);
parsed_text!(
    /// A Postgres schema or table name, one part, unquoted.
    RelationName, "relation name", postgres_name
);

/// A mapped table with its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TableName {
    /// The schema of the table.
    pub schema: RelationName,
    /// The table.
    pub table: RelationName,
}

/// The surrogate id of a record, which is the key of all internal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId(pub Uuid);

/// One remote write, recorded before it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IntentId(pub Uuid);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for IntentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A Salesforce record or org id in its 18-character, case-safe form.
///
/// Checksum rule: REST API Developer Guide, "Case insensitive IDs".
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SalesforceId(String);

impl SalesforceId {
    /// Returns the id in its 18-character form; 15 characters get their checksum, 18 are verified
    /// and have damaged case repaired.
    pub fn parse(text: &str) -> Result<Self, IdentifierError> {
        let error = |why| IdentifierError::of("Salesforce id", text, why);
        if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(error("only ASCII letters and digits are allowed"));
        }
        match text.len() {
            15 => Ok(Self(format!("{text}{}", checksum(text)))),
            18 => repair_case(text)
                .map(|id| Self(format!("{id}{}", checksum(&id))))
                .ok_or_else(|| error("its checksum is wrong")),
            _ => Err(error("it has neither 15 nor 18 characters")),
        }
    }

    /// Returns the 18 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the three characters that name the object.
    pub fn key_prefix(&self) -> &str {
        &self.0[..3]
    }
}

const CHECKSUM_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

fn checksum(fifteen: &str) -> String {
    fifteen
        .as_bytes()
        .chunks(5)
        .map(|group| {
            let bits = group
                .iter()
                .enumerate()
                .filter(|(_, byte)| byte.is_ascii_uppercase())
                .fold(0, |bits, (place, _)| bits | 1 << place);
            char::from(CHECKSUM_LETTERS[bits])
        })
        .collect()
}

/// Returns the 15 characters in the case that the checksum gives.
fn repair_case(eighteen: &str) -> Option<String> {
    let (id, suffix) = eighteen.split_at(15);
    let mut repaired = String::with_capacity(15);
    for (group, letter) in id
        .as_bytes()
        .chunks(5)
        .zip(suffix.to_ascii_uppercase().bytes())
    {
        let bits = CHECKSUM_LETTERS.iter().position(|known| *known == letter)?;
        for (place, byte) in group.iter().enumerate() {
            let upper = bits & (1 << place) != 0;
            if upper && !byte.is_ascii_alphabetic() {
                return None;
            }
            let byte = if upper {
                byte.to_ascii_uppercase()
            } else {
                byte.to_ascii_lowercase()
            };
            repaired.push(char::from(byte));
        }
    }
    Some(repaired)
}

impl fmt::Display for SalesforceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SalesforceId {
    type Error = IdentifierError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<SalesforceId> for String {
    fn from(id: SalesforceId) -> Self {
        id.0
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub i64);
    };
}

counter!(
    /// Changes when the org's identity changes: replay ids and commit numbers of two org epochs
    /// are never compared.
    OrgEpoch
);
counter!(
    /// Grows with every lease of a record or a stream. Only the holder of the current token may settle.
    FencingToken
);
counter!(
    /// Grows with every new piece of work for a record; a settle deletes the task only if it has
    /// not grown meanwhile.
    Generation
);
