//! Behaviours for which no source was found, each under a name, so that one edit changes the org.
//!
//! A client must not depend on any of these. Where two answers are plausible, the harsher one for
//! the client is chosen.

/// Status of a collections call that was rolled back because of `allOrNone`.
pub(crate) const ALL_OR_NONE_ROLLBACK_STATUS: u16 = 200;

/// Code of the refusal of more than 200 records in one collections call.
pub(crate) const TOO_MANY_RECORDS_CODE: &str = "EXCEEDED_ID_LIMIT";

/// Whether `Sforce-Call-Options: client=` reaches the change origin on `/composite*` resources too.
pub(crate) const CLIENT_TAG_ON_COMPOSITE: bool = true;

/// Whether a value of the wrong JSON type refuses a whole collections call instead of its record.
pub(crate) const TYPE_ERROR_REFUSES_COLLECTION: bool = true;

/// Whether custom datetime fields keep milliseconds (system stamps never do).
pub(crate) const DATETIME_FIELDS_KEEP_MILLISECONDS: bool = true;

/// Code of the refusal of null for a checkbox.
pub(crate) const NULL_CHECKBOX_CODE: &str = "INVALID_TYPE_ON_FIELD_IN_RECORD";

/// Whether the values of a multi-select picklist are put into the order of their definition.
pub(crate) const MULTIPICKLIST_IN_DEFINED_ORDER: bool = true;

/// Status for a write to an id of the right form that names no record.
pub(crate) const UNKNOWN_ROW_ID_STATUS: u16 = 404;

/// Code of a failed precondition.
pub(crate) const PRECONDITION_FAILED_CODE: &str = "PRECONDITION_FAILED";

/// Code of the refusal of a retired API version.
pub(crate) const RETIRED_VERSION_CODE: &str = "UNSUPPORTED_API_VERSION";

/// Name of the gRPC trailer that carries the rpc id.
pub(crate) const RPC_ID_TRAILER: &str = "rpc-id";

/// How long the server waits with nothing owed before it closes a subscription, in milliseconds.
pub(crate) const IDLE_SUBSCRIPTION_MS: u64 = 65_000;

/// What `GetTopic` names as the schema of a topic with several objects.
pub(crate) const MULTI_OBJECT_SCHEMA_ID: &str = "";

/// Code of the refusal of a composite, batch, graph or tree whose JSON has the wrong form.
pub(crate) const COMPOSITE_FORM_CODE: &str = "JSON_PARSER_ERROR";

/// Code of the refusal of a composite, batch, graph or tree that has too much of something.
pub(crate) const COMPOSITE_LIMIT_CODE: &str = "LIMIT_EXCEEDED";

/// Code of the refusal of a reference id or graph id that is malformed or occurs twice.
pub(crate) const COMPOSITE_REFERENCE_CODE: &str = "INVALID_INPUT";

/// Most query and collections operations among the 25 of a composite call.
pub(crate) const COMPOSITE_HEAVY_MAX: usize = 5;

/// Texts of `INVALID_REPLICATION_DATE`: for a date that is none, for a window that is empty or
/// reversed, for a start that lies too far back.
pub(crate) const REPLICATION_DATE_TEXTS: [&str; 3] = [
    "{name} is not a valid dateTime",
    "endDate must be at least one minute greater than startDate",
    "startDate cannot be more than {days} days ago",
];

/// How long a query locator leads anywhere after its last use: two days by the newer help article,
/// 15 minutes by the older SOAP guide.
pub(crate) const QUERY_LOCATOR_MS: i64 = 2 * 86_400_000;
