//! The Salesforce side, as the engine needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;

use crate::model::cursor::SourceCursor;
use crate::model::ids::{FieldName, IntentId, ObjectName, SalesforceId};
use crate::model::observation::{SalesforceObservation, Version};
use crate::model::schema::{Cascade, ObjectSchema};
use crate::model::value::{Payload, Value};

pub use crate::planner::policy::Disposition;
pub use crate::planner::route::Lane;

/// One tenant's org.
#[async_trait]
pub trait SalesforcePort: Send + Sync {
    /// Returns the org's id and our user's id.
    async fn identity(&self) -> Result<OrgIdentity, SalesforceError>;

    /// Signs in again, because the session may be one of an org that the login does not lead to any more.
    async fn sign_in_again(&self) -> Result<(), SalesforceError>;

    /// Sets the org that all other calls are for: they fail if the login leads to another one.
    fn use_org(&self, organization: &SalesforceId);

    /// Returns what time it is in the org, as its last answers show it; `None` before enough of them.
    fn clock(&self) -> Option<OrgClock>;

    /// Returns the API requests of 24 hours that all users of the org have used, as the last answer counted them.
    fn api_usage(&self) -> Option<ApiUsage>;

    /// Fails if the next call would not be made, because only requests are left that others may use.
    fn require_allowance(&self) -> Result<(), SalesforceError>;

    /// Lets a call that would not be made pass: its answer tells how many requests are used by now.
    fn ask_usage_again(&self);

    /// Returns the records that Salesforce deleted within these times, in milliseconds since the epoch: those in
    /// the recycle bin and those that are purged. It keeps that log for 15 days.
    async fn deleted_since(
        &self,
        object: &ObjectName,
        since_ms: i64,
        until_ms: i64,
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError>;

    /// Describes one object; cached by the implementation until [`SalesforcePort::forget_schema`].
    async fn describe(&self, object: &ObjectName) -> Result<ObjectSchema, SalesforceError>;

    /// Drops a cached describe, after an error that contradicts it.
    fn forget_schema(&self, object: &ObjectName);

    /// Takes over a schema that was described before, while the org cannot describe the object.
    fn know_schema(&self, schema: &ObjectSchema);

    /// Performs the writes, batched by lane, with several concurrent calls. Returns one outcome per write,
    /// in order. Never repeats a write with an unknown outcome. `timeout` limits every call; it is shorter
    /// than the rest of the lease.
    async fn write(&self, writes: &[Write], lane: Lane, timeout: Duration) -> Vec<WriteOutcome>;

    /// Reads records by Salesforce id or external id, at most a few hundred per call, deleted rows
    /// included. Records that do not exist are absent from the result.
    async fn read(
        &self,
        object: &ObjectName,
        by: &ReadBy,
        fields: &[FieldName],
    ) -> Result<Vec<SalesforceRecord>, SalesforceError>;

    /// Reads when records were last modified, in milliseconds since the epoch: one call for up to 2,000 of them.
    /// Records that do not exist are absent from the result.
    async fn modified_at(
        &self,
        object: &ObjectName,
        ids: &[SalesforceId],
    ) -> Result<BTreeMap<SalesforceId, i64>, SalesforceError>;

    /// Returns those of the records that live records which match the filter point to by this lookup.
    async fn referenced(
        &self,
        lookup: &Cascade,
        filter: Option<&str>,
        ids: &[SalesforceId],
    ) -> Result<BTreeSet<SalesforceId>, SalesforceError>;

    /// Reads the next page of all live records of an object in id order, strictly after `after`.
    async fn scan(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: Option<&str>,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError>;

    /// Tries a SOQL filter of an object, together with the fields that are read with it. Changes nothing.
    async fn try_filter(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        filter: &str,
    ) -> Result<FilterTrial, SalesforceError>;

    /// Returns whether our user has the permission to see encrypted text; `None` if the org does not say.
    async fn sees_encrypted_text(&self) -> Result<Option<bool>, SalesforceError>;

    /// Reads the records (deleted ones included) whose SystemModstamp is at or after `since_ms`, in
    /// (SystemModstamp, Id) order: the polling capture.
    async fn changed_since(
        &self,
        object: &ObjectName,
        fields: &[FieldName],
        since_ms: i64,
        after: Option<&SalesforceId>,
    ) -> Result<ScanPage, SalesforceError>;

    /// Opens a subscription on the change events of the mapped objects.
    async fn subscribe(
        &self,
        topic: &str,
        from: &ReplayFrom,
        objects: &BTreeMap<ObjectName, Interest>,
    ) -> Result<Box<dyn EventStream>, SalesforceError>;

    /// Counts live records of an object that match the filter; with `empty`, only those without a value in
    /// this field.
    async fn count(
        &self,
        object: &ObjectName,
        filter: Option<&str>,
        empty: Option<&FieldName>,
    ) -> Result<u64, SalesforceError>;

    /// Asks the event bus whether our user gets the change events of an object. Fails if the event bus cannot
    /// be reached.
    async fn change_events(&self, object: &ObjectName) -> Result<ChangeEvents, SalesforceError>;

    /// Makes one cheap call. Fails if the org cannot be used.
    async fn probe(&self) -> Result<(), SalesforceError>;

    /// Describes an object now, with what our user may do with it and the values of its picklists.
    async fn describe_with_access(
        &self,
        object: &ObjectName,
    ) -> Result<(ObjectSchema, ObjectAccess), SalesforceError>;

    /// Returns all objects that our user sees.
    async fn objects(&self) -> Result<Vec<ListedObject>, SalesforceError>;
}

/// An object as the list of all objects shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// API name.
    pub name: String,
    /// It holds records that people create: not settings, nor history, sharing or events of another object.
    pub holds_records: bool,
}

/// What our user may do with an object, and what describe shows of it that no job needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectAccess {
    /// Records may be created.
    pub createable: bool,
    /// Records may be updated.
    pub updateable: bool,
    /// Records may be deleted.
    pub deletable: bool,
    /// The picklists by field.
    pub picklists: BTreeMap<FieldName, Picklist>,
}

/// The active values of a picklist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picklist {
    /// The values.
    pub values: BTreeSet<String>,
    /// A record may have several of them.
    pub several: bool,
    /// Salesforce refuses other values.
    pub restricted: bool,
}

/// What time it is in an org.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrgClock {
    /// Its time, milliseconds since the epoch.
    pub now_ms: i64,
    /// By how much that may be wrong, in both directions.
    pub uncertainty_ms: i64,
}

/// Code of a call that was not made, because only requests are left that others may use.
pub const API_RESERVE: &str = "api_reserve";

/// API requests of the last 24 hours, of all users of an org together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiUsage {
    /// Requests used.
    pub used: i64,
    /// Requests that the org may use.
    pub max: i64,
}

impl ApiUsage {
    /// Returns whether only the last `percent` of the requests are left. Without a limit none are reserved.
    pub fn reaches_reserve(self, percent: u32) -> bool {
        let unreserved = i128::from(self.max) * i128::from(100 - percent.min(100));
        percent > 0 && self.max > 0 && i128::from(self.used) * 100 >= unreserved
    }

    /// Returns whether this count is worth storing in place of a known one: it differs by a percent of all requests.
    pub fn replaces(self, known: Option<Self>) -> bool {
        known.is_none_or(|known| {
            let apart = self.used.abs_diff(known.used);
            self.max != known.max || u128::from(apart) * 100 >= u128::from(self.max.unsigned_abs())
        })
    }
}

/// The org and our user in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgIdentity {
    /// The org's 18-character id.
    pub organization_id: SalesforceId,
    /// Our user's id.
    pub user_id: SalesforceId,
    /// The org's current base URL.
    pub instance_url: String,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The intent that recorded it.
    pub intent_id: IntentId,
    /// The object.
    pub object: ObjectName,
    /// The record that is written.
    pub target: WriteTarget,
    /// The values, canonical; the client converts them to JSON.
    pub fields: BTreeMap<FieldName, FieldWrite>,
    /// Assignment rules run.
    pub auto_assign: bool,
    /// Suspected duplicates are saved as well.
    pub allow_duplicates: bool,
    /// Salesforce refuses the write if the record has changed since this time, in milliseconds since the
    /// epoch, compared in whole seconds. Only for an update by id in a single call.
    pub unmodified_since_ms: Option<i64>,
}

/// Which record is written, and how.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteTarget {
    /// First create: upsert on the external id.
    UpsertByExternalId {
        /// The external id field.
        field: FieldName,
        /// Its value.
        value: String,
    },
    /// Update by id.
    UpdateById(SalesforceId),
    /// Delete by id.
    DeleteById(SalesforceId),
}

/// One value of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldWrite {
    /// The canonical value.
    Value(Value),
    /// A lookup, by the parent's external id; Salesforce resolves it.
    Parent {
        /// Relationship name from describe.
        relationship: String,
        /// The parent's external id field.
        field: FieldName,
        /// The parent's external id.
        external_id: String,
    },
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome {
    /// It took effect.
    Applied {
        /// The record's id.
        salesforce_id: SalesforceId,
        /// It was created by this write, as far as the answer shows.
        created: Option<bool>,
    },
    /// It had no effect.
    Refused(Refusal),
    /// It was not sent, and so had no effect: the refusal is ours.
    NotSent(Refusal),
    /// It may have had an effect. Refresh the record before writing again.
    Unknown {
        /// What happened, without values.
        reason: String,
        /// What to do about it, apart from refreshing the record: a tenant whose org is under maintenance waits.
        disposition: Disposition,
    },
}

/// Why a write was refused. The text may quote record values: it goes to the dead letter,
/// never to a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// statusCode or errorCode.
    pub code: String,
    /// What Salesforce reported.
    pub message: String,
    /// The fields that it names.
    pub fields: Vec<String>,
    /// What to do about it.
    pub disposition: Disposition,
}

/// Salesforce could not be reached, or refused the call as a whole.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} failed with {code}: {message}")]
pub struct SalesforceError {
    /// What was attempted, without values.
    pub what: String,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// errorCode, gRPC error-code trailer, or a code of ours for transport errors.
    pub code: String,
    /// The message, safe for logs.
    pub message: String,
    /// What to do about it.
    pub disposition: Disposition,
}

/// How records are named in a read.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadBy {
    /// By Salesforce id.
    Id(Vec<SalesforceId>),
    /// By Salesforce id, and only records that match a SOQL filter; deleted records by their last values.
    Matching {
        /// The ids.
        ids: Vec<SalesforceId>,
        /// The filter.
        filter: String,
    },
    /// By external id.
    ExternalId {
        /// The external id field.
        field: FieldName,
        /// The values.
        values: Vec<String>,
    },
}

/// One record as read: every asked-for field is present, null where cleared, or unreadable. References hold
/// the parent's 18-character id.
#[derive(Debug, Clone, PartialEq)]
pub struct SalesforceRecord {
    /// Its id.
    pub salesforce_id: SalesforceId,
    /// Whether it is in the recycle bin.
    pub deleted: Deleted,
    /// Canonical values.
    pub fields: Payload,
    /// Fields whose values have no canonical form, with the reason. It holds no value.
    pub unreadable: BTreeMap<FieldName, String>,
    /// SystemModstamp of the read.
    pub version: Version,
    /// LastModifiedById.
    pub modified_by: Option<SalesforceId>,
}

/// Whether a record is in the recycle bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is in the recycle bin.
    Yes,
    /// It is live.
    No,
}

/// The result of trying a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterTrial {
    /// At least one live record matches it.
    MatchesRecords,
    /// The org accepts it, but no live record matches it.
    MatchesNothing,
    /// The org refuses it.
    Refused {
        /// The org's message. It quotes the filter, but no record.
        message: String,
    },
}

/// Whether our user gets the change events of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeEvents {
    /// Our user may subscribe to them.
    Available,
    /// Our user may not subscribe to them.
    NotAllowed,
    /// The object is not selected for Change Data Capture, or cannot be.
    NotSelected,
}

impl ChangeEvents {
    /// Returns why the object's events do not arrive, and how to correct it; `None` if they do.
    pub fn problem(self, object: &ObjectName) -> Option<(String, &'static str)> {
        match self {
            Self::Available => None,
            Self::NotSelected => Some((
                format!(
                    "change events of {object} are not enabled: edits in Salesforce arrive only by comparison"
                ),
                "select the object in Setup under Change Data Capture, or set capture = \"poll\" for the tenant",
            )),
            Self::NotAllowed => Some((
                format!(
                    "our user may not read the change events of {object}: its edits in Salesforce arrive only by \
                     comparison"
                ),
                "grant the integration user the permission \"View All Records\" of the object",
            )),
        }
    }
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanPage {
    /// The records, in id order.
    pub records: Vec<SalesforceRecord>,
    /// No record follows.
    pub done: bool,
}

/// Which fields and changes of an object a subscription reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// The field that says which record it is; an object may have other external ids.
    pub external_id: FieldName,
    /// The fields whose values are reported.
    pub fields: Vec<FieldName>,
    /// Which changes are reported.
    pub changes: Changes,
}

/// Which changes of a record are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Changes of these fields.
    OfFields,
    /// All changes: a change of any field may make the record match a filter, or no longer match it.
    All,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayFrom {
    /// The oldest retained event.
    Earliest,
    /// Strictly after this replay id.
    After(Vec<u8>),
}

/// An open subscription. Dropping it closes it.
#[async_trait]
pub trait EventStream: Send {
    /// Waits at most `wait` for the next batch of at most `events_max` events, and requests more from the
    /// server as needed. `Ok(None)`: no event arrived in that time.
    async fn next(
        &mut self,
        events_max: usize,
        wait: Duration,
    ) -> Result<Option<EventBatch>, StreamEnd>;
}

/// Decoded events, with one observation per record.
#[derive(Debug, Clone, PartialEq)]
pub struct EventBatch {
    /// One per record id, in stream order.
    pub observations: Vec<SalesforceObservation>,
    /// Objects of which all records must be read again (overflow, wildcard ids).
    pub needs_resync: Vec<ObjectName>,
    /// Events without a mapped object or field.
    pub out_of_scope: usize,
    /// Events in the batch.
    pub events: usize,
    /// The position to store once all of this is durable; present on keep-alives too.
    pub position: SourceCursor,
}

/// Why a subscription ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StreamEnd {
    /// The stored position is malformed or has expired: every object of the stream needs a resync.
    #[error("the stored replay position is no longer valid: {0}")]
    PositionLost(String),
    /// Closed by the server or the network; resume from the stored position.
    #[error("the subscription ended: {0}")]
    Closed(String),
    /// Refused.
    #[error(transparent)]
    Refused(SalesforceError),
}
