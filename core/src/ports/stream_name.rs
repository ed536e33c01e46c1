//! The names of streams: each has one owner at a time, and a position.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::ids::ObjectName;

/// A stream of a tenant, as text: `outbox`, `events:<topic>`, `poll:<object>`, `scan:<object>`, `reconcile:<object>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum StreamName {
    /// Changes of mapped tables.
    Outbox,
    /// Change events of a topic.
    Events(String),
    /// Recent changes of an object, read at intervals.
    Poll(ObjectName),
    /// All records of an object.
    Scan(ObjectName),
    /// The comparison of both sides of an object.
    Comparison(ObjectName),
    /// A stream that a caller named.
    Other(String),
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox => f.write_str("outbox"),
            Self::Events(topic) => write!(f, "events:{topic}"),
            Self::Poll(object) => write!(f, "poll:{object}"),
            Self::Scan(object) => write!(f, "scan:{object}"),
            Self::Comparison(object) => write!(f, "reconcile:{object}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

impl From<&str> for StreamName {
    fn from(name: &str) -> Self {
        let known = match name.split_once(':') {
            None if name == "outbox" => Some(Self::Outbox),
            Some(("events", topic)) => Some(Self::Events(topic.to_owned())),
            Some(("poll", object)) => ObjectName::parse(object).ok().map(Self::Poll),
            Some(("scan", object)) => ObjectName::parse(object).ok().map(Self::Scan),
            Some(("reconcile", object)) => ObjectName::parse(object).ok().map(Self::Comparison),
            Some(_) | None => None,
        };
        known.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl FromStr for StreamName {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Infallible> {
        Ok(Self::from(name))
    }
}

impl From<String> for StreamName {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        let account = || ObjectName::parse("Account").unwrap();
        for (name, text) in [
            (StreamName::Outbox, "outbox"),
            (StreamName::Events("/data/A".to_owned()), "events:/data/A"),
            (StreamName::Poll(account()), "poll:Account"),
            (StreamName::Scan(account()), "scan:Account"),
            (StreamName::Comparison(account()), "reconcile:Account"),
            (StreamName::Other("scan:?".to_owned()), "scan:?"),
            (StreamName::Other("theirs".to_owned()), "theirs"),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(StreamName::from(text), name);
        }
    }
}
