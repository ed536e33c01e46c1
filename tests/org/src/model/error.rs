//! How Salesforce says no: a code, a message, the fields, and the status that goes with the code.

use std::fmt;

use super::id::RecordId;

/// A refusal, in Salesforce's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SfError {
    code: String,
    message: String,
    fields: Option<Vec<String>>,
    status: Option<u16>,
    rare: Option<Box<Rare>>,
}

/// What few refusals carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rare {
    related: Vec<String>,
    place: Option<Place>,
    duplicates: Option<String>,
}

/// Where in a statement the reason of a refusal stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes from the start.
    At(usize),
    /// The first occurrence of a word.
    Word(String),
}

impl fmt::Display for SfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl SfError {
    /// Returns a refusal without a `fields` member, as query, parse and routing errors are.
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            fields: None,
            status: None,
            rare: None,
        }
    }

    /// Returns a refusal of a write, whose `fields` member is always there.
    pub(crate) fn of_record(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            fields: Some(Vec::new()),
            ..Self::new(code, message)
        }
    }

    /// Returns a refusal of a write because of one field.
    pub(crate) fn of_field(
        code: impl Into<String>,
        message: impl Into<String>,
        field: &str,
    ) -> Self {
        Self {
            fields: Some(vec![field.to_owned()]),
            ..Self::new(code, message)
        }
    }

    /// Overrides the status that the code would have.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Says where in a statement the reason stands, unless that is known.
    pub(crate) fn placed(self, place: Place) -> Self {
        let mut rare = self.rare.unwrap_or_default();
        rare.place.get_or_insert(place);
        Self {
            rare: Some(rare),
            ..self
        }
    }

    /// Returns where in a statement the reason stands.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.rare.as_ref()?.place.as_ref()
    }

    /// Replaces the message by one that shows the place as well.
    pub(crate) fn explained(self, message: String) -> Self {
        Self {
            message,
            rare: None,
            ..self
        }
    }

    /// Carries what a duplicate rule found, as JSON.
    pub(crate) fn with_duplicates(self, result: String) -> Self {
        let mut rare = self.rare.unwrap_or_default();
        rare.duplicates = Some(result);
        Self {
            rare: Some(rare),
            ..self
        }
    }

    /// Returns what a duplicate rule found, as JSON.
    pub(crate) fn duplicates(&self) -> Option<&str> {
        self.rare.as_ref()?.duplicates.as_deref()
    }

    /// Names several fields.
    pub(crate) fn with_fields(self, fields: Vec<String>) -> Self {
        Self {
            fields: Some(fields),
            ..self
        }
    }

    /// Carries the URLs of the records that an ambiguous external id matched.
    pub(crate) fn ambiguous(urls: Vec<String>) -> Self {
        Self {
            rare: Some(Box::new(Rare {
                related: urls,
                ..Rare::default()
            })),
            ..Self::of_record(
                "DUPLICATE_EXTERNAL_ID",
                "The external id matches more than one record",
            )
            .with_status(300)
        }
    }

    /// Returns the refusal of a resource that does not exist.
    pub(crate) fn not_found() -> Self {
        Self::new("NOT_FOUND", "The requested resource does not exist")
    }

    /// Returns the refusal of a record in the recycle bin.
    pub(crate) fn deleted() -> Self {
        Self::of_record("ENTITY_IS_DELETED", "entity is deleted")
    }

    /// Returns the refusal of a write that cannot lock what it needs; `ids` are the records that
    /// others hold.
    pub(crate) fn locked(ids: &[RecordId]) -> Self {
        let mut message = "unable to obtain exclusive access to this record".to_owned();
        if !ids.is_empty() {
            let shown: Vec<String> = ids.iter().map(RecordId::to_string).collect();
            message += &format!(" or {} records: {}", ids.len(), shown.join(","));
        }
        Self::of_record("UNABLE_TO_LOCK_ROW", message)
    }

    /// Returns the refusal of an id that names no record.
    pub(crate) fn unknown_id() -> Self {
        Self::of_record("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    }

    /// Returns the error code: `errorCode` in error arrays, `statusCode` in save results.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the names of the fields, if the error has that member.
    #[must_use]
    pub fn fields(&self) -> Option<&[String]> {
        self.fields.as_deref()
    }

    /// Returns the URLs of the records that an ambiguous external id matched.
    pub(crate) fn related(&self) -> &[String] {
        self.rare.as_ref().map_or(&[], |rare| &rare.related)
    }

    /// Returns the status of a single-record call that ends with this error.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status.unwrap_or(match self.code.as_str() {
            "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" => 401,
            "REQUEST_LIMIT_EXCEEDED"
            | "API_DISABLED_FOR_ORG"
            | "API_CURRENTLY_DISABLED"
            | "STORAGE_LIMIT_EXCEEDED"
            | "INSUFFICIENT_ACCESS_OR_READONLY" => 403,
            "NOT_FOUND" | "ENTITY_IS_DELETED" => 404,
            "METHOD_NOT_ALLOWED" => 405,
            "UNSUPPORTED_MEDIA_TYPE" => 415,
            "UNKNOWN_EXCEPTION" => 500,
            "SERVER_UNAVAILABLE" => 503,
            _ => 400,
        })
    }
}
