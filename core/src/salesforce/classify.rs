//! Parses Salesforce errors and decides by status and code what to do about them.
//!
//! Codes are an open set (REST API Developer Guide, "Status Codes and Error Responses"). An unknown code
//! parks the record, so that no write is repeated blindly.

use serde::Deserialize;

use crate::ports::salesforce::{Disposition, Refusal, SalesforceError};

/// One error that Salesforce returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status; `None` for gRPC and for one record of a collection.
    pub status: Option<u16>,
    /// errorCode, statusCode, OAuth error, or gRPC error-code without its common prefix.
    pub code: String,
    /// The message. May quote record values.
    pub message: String,
    /// The fields that the error names.
    pub fields: Vec<String>,
}

impl Fault {
    /// Returns the first error in the body of an HTTP response, or `HTTP_<status>` if the body has no
    /// error.
    pub fn from_body(status: u16, body: &[u8]) -> Self {
        let stated = serde_json::from_slice::<ErrorBody>(body)
            .ok()
            .and_then(ErrorBody::first)
            .filter(|stated| is_code(&stated.code));
        let stated = stated.unwrap_or_else(|| StatedError {
            code: format!("HTTP_{status}"),
            message: format!("HTTP status {status} without an error body"),
            fields: None,
        });
        Self::stated(Some(status), stated)
    }

    /// Returns the error of one record of a collection.
    pub(super) fn of_record(stated: StatedError) -> Self {
        let code = match is_code(&stated.code) {
            true => stated.code,
            false => NO_CODE.to_owned(),
        };
        Self::stated(None, StatedError { code, ..stated })
    }

    /// Returns the error that a gRPC trailer names.
    pub(super) fn of_stream(code: &str, message: &str) -> Self {
        let code = code.strip_prefix(EVENT_BUS_PREFIX).unwrap_or(code);
        let code = if is_code(code) { code } else { NO_CODE };
        Self {
            status: None,
            code: code.to_owned(),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    /// Returns what to do about it.
    pub fn disposition(&self) -> Disposition {
        disposition(self)
    }

    /// Converts it to the refusal of a write.
    pub fn into_refusal(self) -> Refusal {
        Refusal {
            disposition: self.disposition(),
            code: self.code,
            message: self.message,
            fields: self.fields,
        }
    }

    /// Converts it to the failure of a call, without text that may quote a record.
    pub fn into_error(self, what: &str) -> SalesforceError {
        SalesforceError {
            what: what.to_owned(),
            status: self.status,
            disposition: self.disposition(),
            message: self.loggable_message(),
            code: self.code,
        }
    }

    /// Returns the name of the column that does not exist, if that is the error.
    pub(super) fn missing_column(&self) -> Option<&str> {
        missing_column(&self.message)
    }

    fn stated(status: Option<u16>, stated: StatedError) -> Self {
        let mut fields = stated.fields.unwrap_or_default();
        if fields.is_empty() {
            fields.extend(named_field(&stated.code, &stated.message));
        }
        Self {
            status,
            code: stated.code,
            message: stated.message,
            fields,
        }
    }

    /// Leaves out messages about queries and records, which quote them. Messages about calls, sessions and
    /// quotas do not.
    fn loggable_message(&self) -> String {
        if let Some(column) = self.missing_column() {
            return format!("the field {column} does not exist or is hidden from this user");
        }
        let safe = self.code.starts_with("HTTP_")
            || self.code.contains(|c: char| c.is_ascii_lowercase())
            || CODES_SAFE_TO_QUOTE.contains(&self.code.as_str());
        if safe {
            self.message.chars().take(MESSAGE_CHARS_MAX).collect()
        } else {
            "the text may quote records and is left out".to_owned()
        }
    }
}

/// Code of an error that Salesforce gave none, or a text that is not one.
const NO_CODE: &str = "NO_CODE";

/// Longest code: twice the longest one that is documented.
const CODE_BYTES_MAX: usize = 100;

/// Returns whether a text is a code: one word. Codes are logged, and any other text may quote a record.
fn is_code(text: &str) -> bool {
    let is_of_words = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=CODE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_of_words)
}

/// Prefix of all error codes of the Pub/Sub API (guide, "Handling Errors").
const EVENT_BUS_PREFIX: &str = "sfdc.platform.eventbus.grpc.";

/// Longest message in logs.
const MESSAGE_CHARS_MAX: usize = 300;

/// Codes with a fixed message. OAuth and event-bus codes, which are lower-case, have fixed messages too.
const CODES_SAFE_TO_QUOTE: &[&str] = &[
    "API_CURRENTLY_DISABLED",
    "API_DISABLED_FOR_ORG",
    "INVALID_AUTH_HEADER",
    "INVALID_QUERY_LOCATOR",
    "INVALID_SESSION_ID",
    "INVALID_TYPE",
    "NOT_FOUND",
    "QUERY_TIMEOUT",
    "REQUEST_LIMIT_EXCEEDED",
    "SERVER_UNAVAILABLE",
    "UNKNOWN_EXCEPTION",
];

/// Decides what to do about an error. No other code decides by error codes.
fn disposition(fault: &Fault) -> Disposition {
    match fault.code.as_str() {
        "INVALID_SESSION_ID" | "INVALID_AUTH_HEADER" | "InvalidSessionId" => {
            Disposition::RefreshSession
        }
        "service.auth.error" | "service.auth.headers.invalid" | "service.auth.refresh.invalid" => {
            Disposition::RefreshSession
        }
        "REQUEST_LIMIT_EXCEEDED"
        | "ExceededQuota"
        | "rate_limit_exceeded"
        | "subscription.limit.exceeded"
        | "service.protection.triggered"
        | "service.protection.stream.limit.triggered"
        | "concurrent.client.limit.exceeded" => Disposition::WaitForQuota,
        // The org as a whole cannot be used: maintenance, API access, a retired API version.
        "SERVER_UNAVAILABLE"
        | "API_CURRENTLY_DISABLED"
        | "API_DISABLED_FOR_ORG"
        | "UNSUPPORTED_API_VERSION" => Disposition::WaitForOrg,
        _ if fault.status == Some(410) => Disposition::WaitForOrg,
        // Another record's failure, a lock, or a temporary limit: the same write may pass later.
        "UNABLE_TO_LOCK_ROW"
        | "QUERY_TIMEOUT"
        | "UNKNOWN_EXCEPTION"
        | "INVALID_QUERY_LOCATOR"
        | "LIMIT_EXCEEDED"
        | "ALL_OR_NONE_OPERATION_ROLLED_BACK"
        | "PROCESSING_HALTED"
        | "BATCH_PROCESSING_HALTED"
        | "TooManyLockFailure"
        | "Timeout"
        | "service.unavailable"
        | "topic.api.unavailable"
        | "schema.api.unavailable"
        | "subscription.internal.error" => Disposition::RetryLater,
        // The record has changed since it was seen, whatever the code says.
        _ if fault.status == Some(412) => Disposition::RefreshRecord,
        // Another record has the value of a field. Without a field, it may be the record itself.
        "DUPLICATE_VALUE" if !fault.fields.is_empty() => Disposition::WaitForValue,
        // The record is not in the state that was assumed.
        "ENTITY_IS_DELETED" | "DUPLICATE_VALUE" | "PRECONDITION_FAILED" => {
            Disposition::RefreshRecord
        }
        // Records that point to it forbid its delete, and may be about to go themselves.
        "DELETE_FAILED" => Disposition::WaitForChildren,
        // Without a field, the record's own id is wrong; with one, that field's value is.
        "INVALID_CROSS_REFERENCE_KEY" if fault.fields.is_empty() => Disposition::RefreshRecord,
        // "Provided external ID field does not exist …" is a mistake in the mapping.
        "NOT_FOUND" if !fault.message.starts_with("Provided external ID field") => {
            Disposition::RefreshRecord
        }
        "INVALID_FIELD" if names_a_missing_parent(&fault.message) => Disposition::WaitForParent,
        // The message of a failed trigger or flow contains the error that made it fail.
        "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY" if fault.message.contains("UNABLE_TO_LOCK_ROW") => {
            Disposition::RetryLater
        }
        code if code.starts_with("HTTP_") || is_server_fault(fault.status) => {
            status_disposition(fault.status)
        }
        _ => Disposition::Park,
    }
}

/// `Foreign key external ID: x not found for field Ext__c in entity Account`.
fn names_a_missing_parent(message: &str) -> bool {
    message.contains("Foreign key external ID") && message.contains("not found")
}

/// Returns the field that an error names in its message alone.
fn named_field(code: &str, message: &str) -> Option<String> {
    match code {
        "DUPLICATE_VALUE" => duplicated_field(message),
        "INVALID_FIELD" => missing_column(message).map(str::to_owned),
        _ => None,
    }
}

/// Returns the field of `duplicate value found: Ext__c duplicates value on record with id: 001…`; `None` if our user
/// may not see the other record, because then the message does not name it.
fn duplicated_field(message: &str) -> Option<String> {
    let rest = message.strip_prefix("duplicate value found: ")?;
    let (field, _) = rest.split_once(" duplicates value on record")?;
    (!field.starts_with('<')).then(|| field.to_owned())
}

fn missing_column(message: &str) -> Option<&str> {
    let rest = message.split_once("No such column '")?.1;
    let (column, _) = rest.split_once('\'')?;
    // Any other text may be a value that a message quotes.
    is_code(column).then_some(column)
}

fn is_server_fault(status: Option<u16>) -> bool {
    status.is_some_and(|status| status >= 500)
}

/// Decides by the status alone, for errors without a useful code.
fn status_disposition(status: Option<u16>) -> Disposition {
    match status {
        Some(401) => Disposition::RefreshSession,
        // The org has moved; a new session has its new address.
        Some(301 | 302 | 307 | 308) => Disposition::RefreshSession,
        Some(404 | 412) => Disposition::RefreshRecord,
        Some(408 | 420 | 429) => Disposition::RetryLater,
        Some(503) => Disposition::WaitForOrg,
        status if is_server_fault(status) => Disposition::RetryLater,
        _ => Disposition::Park,
    }
}

/// An error body: an array of errors, or OAuth's object.
#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorBody {
    Errors(Vec<StatedError>),
    OAuth {
        error: String,
        #[serde(default)]
        error_description: String,
    },
}

impl ErrorBody {
    fn first(self) -> Option<StatedError> {
        match self {
            Self::Errors(errors) => errors.into_iter().next(),
            Self::OAuth {
                error,
                error_description,
            } => Some(StatedError {
                code: error,
                message: error_description,
                fields: None,
            }),
        }
    }
}

/// One error of an array: `errorCode` at the top level, `statusCode` in save results.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StatedError {
    #[serde(alias = "errorCode", alias = "statusCode", default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    fields: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(status: u16, code: &str, message: &str) -> Fault {
        Fault {
            status: Some(status),
            code: code.to_owned(),
            message: message.to_owned(),
            fields: Vec::new(),
        }
    }

    /// Disposition, status, code, and the message where it matters.
    const CODES: &str = "
        RefreshSession 401 INVALID_SESSION_ID Session expired or invalid
        RefreshSession 401 INVALID_AUTH_HEADER INVALID_JWT_FORMAT
        RefreshSession 400 INVALID_AUTH_HEADER INVALID_HEADER_TYPE
        WaitForQuota   403 REQUEST_LIMIT_EXCEEDED TotalRequests Limit exceeded.
        WaitForOrg     403 API_DISABLED_FOR_ORG API is not enabled
        WaitForOrg     403 API_CURRENTLY_DISABLED
        WaitForOrg     410 UNSUPPORTED_API_VERSION The requested API version 29.0 has been retired
        WaitForOrg     410 HTTP_410
        Park           403 INSUFFICIENT_ACCESS_OR_READONLY insufficient access rights
        Park           400 INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY insufficient
        Park           400 CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY MyTrigger: failed
        RetryLater     400 CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY T: UNABLE_TO_LOCK_ROW, x
        RefreshRecord  404 NOT_FOUND The requested resource does not exist
        Park           404 NOT_FOUND Provided external ID field does not exist: Foo__c
        RefreshRecord  404 ENTITY_IS_DELETED entity is deleted
        RefreshRecord  404 INVALID_CROSS_REFERENCE_KEY invalid cross reference id
        Park           400 MALFORMED_ID AccountId ID: id value of incorrect type: 003
        Park           400 MALFORMED_QUERY unexpected token: x
        Park           400 INVALID_TYPE sObject type 'Accout' is not supported.
        Park           400 INVALID_FIELD No such column 'foo' on sobject of type Bar
        WaitForParent  400 INVALID_FIELD Foreign key external ID: p-1 not found for field Ext__c in entity Account
        Park           400 INVALID_FIELD_FOR_INSERT_UPDATE Unable to create/update fields: X
        Park           400 REQUIRED_FIELD_MISSING Required fields are missing: [LastName]
        Park           400 FIELD_CUSTOM_VALIDATION_EXCEPTION No.
        Park           400 FIELD_INTEGRITY_EXCEPTION No.
        Park           400 STRING_TOO_LONG Account Name: data value too large: x
        Park           400 INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST bad value
        Park           400 NUMBER_OUTSIDE_VALID_RANGE value outside of the valid range
        Park           400 INVALID_EMAIL_ADDRESS Email: invalid email address: x
        Park           400 JSON_PARSER_ERROR Unexpected character
        RefreshRecord  400 DUPLICATE_VALUE duplicate value found: Ext__c
        Park           400 DUPLICATES_DETECTED Use one of these records?
        Park           400 DUPLICATE_EXTERNAL_ID
        RetryLater     400 UNABLE_TO_LOCK_ROW unable to obtain exclusive access
        Park           400 TXN_SECURITY_BLOCKED
        RetryLater     400 LIMIT_EXCEEDED
        Park           403 STORAGE_LIMIT_EXCEEDED storage limit exceeded
        RetryLater     400 QUERY_TIMEOUT Your query request was running for too long.
        Park           400 QUERY_TOO_COMPLICATED
        Park           400 OPERATION_TOO_LARGE
        RetryLater     400 INVALID_QUERY_LOCATOR invalid query locator
        Park           400 EXCEEDED_ID_LIMIT
        Park           400 MISSING_ARGUMENT Id not specified in an update call
        RetryLater     400 ALL_OR_NONE_OPERATION_ROLLED_BACK
        RetryLater     400 PROCESSING_HALTED
        WaitForOrg     503 SERVER_UNAVAILABLE
        RetryLater     500 UNKNOWN_EXCEPTION An unexpected error occurred.
        RefreshRecord  412 PRECONDITION_FAILED
        Park           400 invalid_grant user hasn't approved this consumer
        Park           400 invalid_client_id client identifier invalid
        Park           400 invalid_client invalid client credentials
        Park           400 unsupported_grant_type grant type not supported
        Park           400 inactive_user
        WaitForQuota   400 rate_limit_exceeded
        WaitForOrg     503 invalid_grant
        WaitForOrg     503 HTTP_503
        Park           400 A_CODE_OF_NEXT_YEAR
        RetryLater     502 A_CODE_OF_NEXT_YEAR
        RefreshSession 401 HTTP_401
        RefreshSession 302 HTTP_302
        RefreshRecord  404 HTTP_404
        RefreshRecord  412 HTTP_412
        Park           413 HTTP_413
        Park           414 HTTP_414
        RetryLater     429 HTTP_429
        RetryLater     500 HTTP_500
        RetryLater     502 HTTP_502
    ";

    #[test]
    fn every_documented_code_has_its_disposition() {
        for line in CODES.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(2, ' ');
            let expected = words.next().unwrap();
            let mut rest = words.next().unwrap().trim().splitn(3, ' ');
            let status = rest.next().unwrap().parse().unwrap();
            let code = rest.next().unwrap();
            let found = fault(status, code, rest.next().unwrap_or("")).disposition();
            assert_eq!(format!("{found:?}"), expected, "{line}");
        }
    }

    #[test]
    fn wrong_reference_in_a_named_field_parks() {
        let mut wrong_owner = fault(400, "INVALID_CROSS_REFERENCE_KEY", "invalid");
        wrong_owner.fields = vec!["OwnerId".to_owned()];
        assert_eq!(wrong_owner.disposition(), Disposition::Park);
    }

    #[test]
    fn duplicate_value_names_its_field_unless_it_is_hidden() {
        for (field, disposition) in [
            ("Tax__c", Disposition::WaitForValue),
            ("<unknown>", Disposition::RefreshRecord),
        ] {
            let body = format!(
                r#"[{{"message":"duplicate value found: {field} duplicates value on record with id: 001U000001c83gK",
                "errorCode":"DUPLICATE_VALUE","fields":[]}}]"#
            );
            let fault = Fault::from_body(400, body.as_bytes());
            assert_eq!(fault.disposition(), disposition);
            assert_eq!(fault.fields.len(), usize::from(field == "Tax__c"));
        }
    }

    #[test]
    fn event_bus_codes_are_classified_without_their_prefix() {
        for (code, expected) in [
            ("service.auth.error", Disposition::RefreshSession),
            ("service.unavailable", Disposition::RetryLater),
            ("subscription.limit.exceeded", Disposition::WaitForQuota),
            ("topic.not.found", Disposition::Park),
        ] {
            let fault = Fault::of_stream(&format!("{EVENT_BUS_PREFIX}{code}"), "");
            assert_eq!(fault.disposition(), expected, "{code}");
            assert_eq!(fault.code, code);
        }
    }

    #[test]
    fn every_form_of_error_body_is_read() {
        let array =
            br#"[{"message":"entity is deleted","errorCode":"ENTITY_IS_DELETED","fields":[]}]"#;
        assert_eq!(Fault::from_body(404, array).code, "ENTITY_IS_DELETED");
        let oauth = br#"{"error":"invalid_grant","error_description":"audience is invalid"}"#;
        assert_eq!(Fault::from_body(400, oauth).message, "audience is invalid");
        let duplicates = br#"[{"message":"Use one of these records?","errorCode":"DUPLICATES_DETECTED",
            "duplicateResult":{"matchResults":[{"size":1,"matchConfidence":100.0}]},"fields":null}]"#;
        assert_eq!(
            Fault::from_body(400, duplicates).code,
            "DUPLICATES_DETECTED"
        );
        for shapeless in [&b""[..], b"<html>", b"[]", b"{}", b"[{}]", b"null"] {
            assert_eq!(Fault::from_body(502, shapeless).code, "HTTP_502");
        }
    }

    #[test]
    fn text_that_is_no_code_is_not_logged() {
        let body = br#"[{"message":"no","errorCode":"Value 'Acme & Sons' is not allowed"}]"#;
        assert_eq!(Fault::from_body(400, body).code, "HTTP_400");
        let message = "No such column 'Acme & Sons' on entity".to_owned();
        let error = fault(400, "INVALID_FIELD", &message).into_error("the query");
        assert!(!error.to_string().contains("Acme"), "{error}");
        let long = "X".repeat(CODE_BYTES_MAX + 1);
        assert_eq!(Fault::of_stream(&long, "").code, NO_CODE);
        assert_eq!(Fault::of_record(StatedError::default()).code, NO_CODE);
    }

    #[test]
    fn message_that_may_quote_a_record_is_left_out() {
        let fault = fault(
            400,
            "STRING_TOO_LONG",
            "Account Name: data value too large: secret",
        );
        assert!(!fault.into_error("the query").to_string().contains("secret"));
    }

    #[test]
    fn error_names_the_missing_column() {
        let message =
            "\nSELECT Id, Foo__c FROM Account\n  ^\nNo such column 'Foo__c' on entity 'Account'.";
        let error = fault(400, "INVALID_FIELD", message).into_error("the query");
        assert!(error.message.contains("the field Foo__c"), "{error}");
        assert!(!error.message.contains("SELECT"), "{error}");
    }
}
