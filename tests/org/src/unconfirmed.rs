//! Unconfirmed behaviour, each under its own name, so that one edit changes the org.
//!
//! A client must not depend on any of these. Where one of two plausible answers would hide a mistake
//! of a client, it is a switch in [`switches`]; for the others the stricter answer is chosen here.

pub(crate) mod switches;

/// Status of a collections call that `allOrNone` rolled back.
pub(crate) const ALL_OR_NONE_ROLLBACK_STATUS: u16 = 200;

/// Error code of more than 200 records in one collections call.
pub(crate) const TOO_MANY_RECORDS_CODE: &str = "EXCEEDED_ID_LIMIT";

/// Whether a value of the wrong JSON type refuses the whole collections call instead of its record.
pub(crate) const TYPE_ERROR_REFUSES_COLLECTION: bool = true;

/// Error code of null for a checkbox.
pub(crate) const NULL_CHECKBOX_CODE: &str = "INVALID_TYPE_ON_FIELD_IN_RECORD";

/// Whether the values of a multi-select picklist are sorted by their definition.
pub(crate) const MULTIPICKLIST_IN_DEFINED_ORDER: bool = true;

/// Status of a write to a well-formed id without a record.
pub(crate) const UNKNOWN_ROW_ID_STATUS: u16 = 404;

/// Error code of a failed precondition.
pub(crate) const PRECONDITION_FAILED_CODE: &str = "PRECONDITION_FAILED";

/// Error code of a direct write of the contact of a person account.
pub(crate) const PERSON_CONTACT_CODE: &str = "INVALID_FIELD_FOR_INSERT_UPDATE";

/// Error code of another price book for an opportunity with products.
pub(crate) const PRICE_BOOK_CHANGE_CODE: &str = "FIELD_INTEGRITY_EXCEPTION";

/// Error code of a retired API version.
pub(crate) const RETIRED_VERSION_CODE: &str = "UNSUPPORTED_API_VERSION";

/// Whether an update without the column Id, or an upsert without the column of its external id,
/// fails the whole job instead of every row.
pub(crate) const BULK_MISSING_KEY_COLUMN_FAILS_JOB: bool = true;

/// Error code of a row whose cells cannot be read.
pub(crate) const BULK_BAD_ROW_CODE: &str = "INVALID_FIELD";

/// Number of the first column in the message for a value of the wrong type.
pub(crate) const BULK_COLUMNS_COUNT_FROM: usize = 0;

/// Error message of a job without an upload.
pub(crate) const BULK_NO_DATA_MESSAGE: &str =
    "ClientInputError : Unable to find any data to create batch";

/// Error message of a job whose CSV has only a header row.
pub(crate) const BULK_NO_ROWS_MESSAGE: &str = "InvalidBatch : Records not found";

/// Error message of a job whose CSV is not UTF-8.
pub(crate) const BULK_INVALID_UTF8_MESSAGE: &str =
    "ClientInputError : The uploaded data is not encoded in UTF-8";

/// Whether bulk results format decimals as Java formats doubles (`30.0`, `1.0E7`).
pub(crate) const BULK_NUMBERS_AS_DOUBLES: bool = true;

/// Error message of an upload to a job that is not open.
pub(crate) const BULK_NOT_OPEN_MESSAGE: &str =
    "InvalidJobState : Data can be uploaded to an open job only";

/// Error message for the results of an unfinished job.
pub(crate) const BULK_RESULTS_NOT_READY_MESSAGE: &str =
    "InvalidJobState : The results are there when the job has ended";

/// Error code of an upload that is too large; its status is 413.
pub(crate) const BULK_UPLOAD_TOO_LARGE_CODE: &str = "REQUEST_TOO_LARGE";

/// Error code for query results requested with another API version than the job's; its status is
/// 409.
pub(crate) const BULK_VERSION_CONFLICT_CODE: &str = "API_ERROR";

/// Status with which Bulk API 1.0 refuses an invalid session.
pub(crate) const ASYNC_SESSION_REFUSAL_STATUS: u16 = 400;

/// Error code of a Bulk API 1.0 batch whose address has another API version than its job.
pub(crate) const ASYNC_VERSION_CONFLICT_CODE: &str = "InvalidVersion";

/// Message of a Bulk API 1.0 batch with more than 10,000 records.
pub(crate) const ASYNC_BATCH_TOO_LONG_MESSAGE: &str =
    "InvalidBatch : Exceeded maximum number of records in a batch: 10000";

/// Error code of a job when the daily limit of batches is reached.
pub(crate) const BULK_QUOTA_CODE: &str = "EXCEEDEDQUOTA";

/// Errors of queries that Salesforce documents as unsupported in bulk.
pub(crate) struct BulkQueryRefusals {
    pub(crate) code: &'static str,
    pub(crate) compound: &'static str,
    pub(crate) aggregate: &'static str,
    pub(crate) type_of: &'static str,
    pub(crate) children: &'static str,
    pub(crate) offset: &'static str,
}

/// The errors of unsupported bulk queries.
pub(crate) const BULK_QUERY_REFUSALS: BulkQueryRefusals = BulkQueryRefusals {
    code: "API_ERROR",
    compound: "Selecting compound data not supported in Bulk Query",
    aggregate: "Aggregate functions not supported in Bulk Query",
    type_of: "TYPEOF not supported in Bulk Query",
    children: "Aggregate Relationships not supported in Bulk Query with CSV content type",
    offset: "Offset not supported in Bulk Query",
};

/// Whether a hard delete sends a change event, as a delete does.
pub(crate) const HARD_DELETE_SENDS_EVENT: bool = false;

/// Name of the gRPC trailer with the rpc id.
pub(crate) const RPC_ID_TRAILER: &str = "rpc-id";

/// How long the server waits for a request before it closes a subscription, in milliseconds.
pub(crate) const IDLE_SUBSCRIPTION_MS: u64 = 65_000;

/// The schema id in `GetTopic` for a topic with several objects.
pub(crate) const MULTI_OBJECT_SCHEMA_ID: &str = "";

/// Error code of a composite, batch, graph or tree whose JSON has the wrong form.
pub(crate) const COMPOSITE_FORM_CODE: &str = "JSON_PARSER_ERROR";

/// Error code of a composite, batch, graph or tree above a limit.
pub(crate) const COMPOSITE_LIMIT_CODE: &str = "LIMIT_EXCEEDED";

/// Error code of a malformed or duplicate reference id or graph id.
pub(crate) const COMPOSITE_REFERENCE_CODE: &str = "INVALID_INPUT";

/// Maximum number of query and collections operations among the 25 of a composite call.
pub(crate) const COMPOSITE_HEAVY_MAX: usize = 5;

/// Texts of `INVALID_REPLICATION_DATE`: for an invalid date, for a window that is empty or
/// reversed, and for a start that is too old.
pub(crate) const REPLICATION_DATE_TEXTS: [&str; 3] = [
    "{name} is not a valid dateTime",
    "endDate must be at least one minute greater than startDate",
    "startDate cannot be more than {days} days ago",
];

/// How many children of one record a query returns at once. Others need a locator of their own.
pub(crate) const CHILDREN_PER_PAGE: usize = 200;

/// Whether the empty side of a text diff names the line after the change, instead of the line
/// before it as `diff` does.
pub(crate) const EMPTY_DIFF_SIDE_NAMES_NEXT_LINE: bool = true;

/// Maximum number of records in one merged change event.
pub(crate) const MERGED_RECORDS_MAX: usize = 10_000;

/// Whether a later `FetchRequest` with a replay id is refused, instead of its replay id being
/// ignored.
pub(crate) const REPEATED_REPLAY_ID_IS_REFUSED: bool = false;

/// Whether relayed events contain cleared fields as explicit nulls.
pub(crate) const RELAY_SHOWS_NULLED_FIELDS: bool = true;

/// Whether relayed events contain `schemaId`, `id` and `event.replayId` besides their payload.
pub(crate) const RELAY_SHOWS_EVENT_IDS: bool = true;
