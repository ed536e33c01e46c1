//! Where in a source's stream a change was seen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A position in a source: opaque for Salesforce, a number for Postgres, a name for snapshots.
///
/// ```
/// use syncline_planner::SourceCursor;
/// let cursor: SourceCursor = "salesforce-replay-id:0x00ff".parse().unwrap();
/// assert_eq!(cursor, SourceCursor::SalesforceReplayId(vec![0, 255]));
/// assert_eq!(cursor.to_string(), "salesforce-replay-id:0x00ff");
/// let decimal: SourceCursor = "salesforce-replay-id:258".parse().unwrap();
/// assert_eq!(decimal.to_string(), "salesforce-replay-id:0x0000000000000102");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "typescript", ts(type = "string"))]
#[serde(try_from = "String", into = "String")]
pub enum SourceCursor {
    /// Replay id: opaque bytes, never compared by order (Pub/Sub API guide, "Event Message Durability").
    SalesforceReplayId(Vec<u8>),
    /// The id of a row in the outbox.
    OutboxId(String),
    /// A read outside any stream: a page of a scan, or of one record.
    Snapshot(String),
}

/// Why a text is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// It names no source.
    #[error("a cursor starts with `salesforce-replay-id:`, `postgres-lsn:` or `snapshot:`")]
    UnknownSource,
    /// It names a source and no position.
    #[error("the cursor names no position")]
    Empty,
    /// A replay id is `0x` and pairs of hexadecimal digits, or a decimal of 64 bits.
    #[error("a replay id is written `0x` and pairs of hexadecimal digits, or as a decimal")]
    NotAReplayId,
}

const REPLAY_ID: &str = "salesforce-replay-id:";
const LSN: &str = "postgres-lsn:";
const SNAPSHOT: &str = "snapshot:";

impl SourceCursor {
    /// Returns whether `text` already names its source, as an encoded cursor does.
    pub fn is_encoded(text: &str) -> bool {
        [REPLAY_ID, LSN, SNAPSHOT]
            .iter()
            .any(|prefix| text.starts_with(prefix))
    }
}

impl fmt::Display for SourceCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SalesforceReplayId(bytes) => {
                write!(f, "{REPLAY_ID}0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::OutboxId(position) => write!(f, "{LSN}{position}"),
            Self::Snapshot(name) => write!(f, "{SNAPSHOT}{name}"),
        }
    }
}

impl FromStr for SourceCursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(position) = text.strip_prefix(REPLAY_ID) {
            return filled(position)
                .and_then(replay_bytes)
                .map(Self::SalesforceReplayId);
        }
        if let Some(position) = text.strip_prefix(LSN) {
            return filled(position).map(|position| Self::OutboxId(position.to_owned()));
        }
        match text.strip_prefix(SNAPSHOT) {
            Some(name) => filled(name).map(|name| Self::Snapshot(name.to_owned())),
            None => Err(CursorError::UnknownSource),
        }
    }
}

impl TryFrom<String> for SourceCursor {
    type Error = CursorError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SourceCursor> for String {
    fn from(cursor: SourceCursor) -> Self {
        cursor.to_string()
    }
}

fn filled(position: &str) -> Result<&str, CursorError> {
    if position.is_empty() {
        Err(CursorError::Empty)
    } else {
        Ok(position)
    }
}

/// Older streaming APIs write replay ids as decimals; their bytes are the number, big end first.
fn replay_bytes(position: &str) -> Result<Vec<u8>, CursorError> {
    let Some(hexadecimal) = position.strip_prefix("0x") else {
        return position
            .parse::<u64>()
            .map(|number| number.to_be_bytes().to_vec())
            .map_err(|_| CursorError::NotAReplayId);
    };
    if hexadecimal.is_empty() {
        return Err(CursorError::Empty);
    }
    let digits: Option<Vec<u32>> = hexadecimal.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.ok_or(CursorError::NotAReplayId)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CursorError::NotAReplayId);
    }
    Ok(pairs
        .iter()
        .map(|[high, low]| {
            u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte")
        })
        .collect())
}
