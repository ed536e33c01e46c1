//! Salesforce's errors: a code, a message, the fields, and the HTTP status of the code.

use std::fmt;

use super::id::RecordId;

/// An error in Salesforce's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SfError {
    code: String,
    message: String,
    fields: Option<Vec<String>>,
    status: Option<u16>,
    details: Option<Box<Details>>,
}

/// Details that few errors have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Details {
    related: Vec<String>,
    place: Option<Place>,
    duplicates: Option<String>,
}

/// The place in a statement that an error refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Byte offset from the start.
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
    /// Returns an error without a `fields` member, as for queries, parsing and routing.
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            fields: None,
            status: None,
            details: None,
        }
    }

    /// Returns the error of a write, which always has a `fields` member.
    pub(crate) fn of_record(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            fields: Some(Vec::new()),
            ..Self::new(code, message)
        }
    }

    /// Returns the error of a write caused by one field.
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

    /// Overrides the status of the code.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Sets the place in the statement, unless it is set already.
    pub(crate) fn placed(self, place: Place) -> Self {
        let mut details = self.details.unwrap_or_default();
        details.place.get_or_insert(place);
        Self {
            details: Some(details),
            ..self
        }
    }

    /// Returns the place in the statement.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.details.as_ref()?.place.as_ref()
    }

    /// Replaces the message with one that shows the place.
    pub(crate) fn explained(self, message: String) -> Self {
        Self {
            message,
            details: None,
            ..self
        }
    }

    /// Adds the result of a duplicate rule, as JSON.
    pub(crate) fn with_duplicates(self, result: String) -> Self {
        let mut details = self.details.unwrap_or_default();
        details.duplicates = Some(result);
        Self {
            details: Some(details),
            ..self
        }
    }

    /// Returns the result of a duplicate rule, as JSON.
    pub(crate) fn duplicates(&self) -> Option<&str> {
        self.details.as_ref()?.duplicates.as_deref()
    }

    /// Sets the field names.
    pub(crate) fn with_fields(self, fields: Vec<String>) -> Self {
        Self {
            fields: Some(fields),
            ..self
        }
    }

    /// Adds the URLs of the records that an ambiguous external id matched.
    pub(crate) fn ambiguous(urls: Vec<String>) -> Self {
        Self {
            details: Some(Box::new(Details {
                related: urls,
                ..Details::default()
            })),
            ..Self::of_record(
                "DUPLICATE_EXTERNAL_ID",
                "The external id matches more than one record",
            )
            .with_status(300)
        }
    }

    /// Returns the error for a resource that does not exist.
    pub(crate) fn not_found() -> Self {
        Self::new("NOT_FOUND", "The requested resource does not exist")
    }

    /// Returns the error for a record in the recycle bin.
    pub(crate) fn deleted() -> Self {
        Self::of_record("ENTITY_IS_DELETED", "entity is deleted")
    }

    /// Returns the error for a write that cannot get its locks; `ids` are the locked records.
    pub(crate) fn locked(ids: &[RecordId]) -> Self {
        let mut message = "unable to obtain exclusive access to this record".to_owned();
        if !ids.is_empty() {
            let shown: Vec<String> = ids.iter().map(RecordId::to_string).collect();
            message += &format!(" or {} records: {}", ids.len(), shown.join(","));
        }
        Self::of_record("UNABLE_TO_LOCK_ROW", message)
    }

    /// Returns the error for an id without a record.
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
        self.details
            .as_ref()
            .map_or(&[], |details| &details.related)
    }

    /// Returns the HTTP status of a single-record call that fails with this error.
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
