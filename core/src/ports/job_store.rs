//! The store's calls that all jobs need: switches, streams, wake-ups, and ending leases.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::cursor::SourceCursor;
use crate::model::ids::{
    ColumnName, FencingToken, FieldName, ObjectName, OrgEpoch, SalesforceId, TableName, TenantId,
};
use crate::model::schema::ObjectSchema;

use super::database::DatabaseState;
use super::fence::{FenceClaim, FenceMove};
use super::mapped_object::MappedObject;
use super::record::LeasedTask;
use super::salesforce::{ApiUsage, OrgClock};
use super::store_error::StoreError;
use super::stream_name::StreamName;

/// Switches, streams, wake-ups and leases of one tenant's Postgres.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Returns the tenant's switches, and the org and the database it belongs to.
    async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError>;

    /// Stores how far the clocks of both sides are apart, for every instance.
    async fn note_clock_skew(&self, tenant: &TenantId, skew: ClockSkew) -> Result<(), StoreError>;

    /// Stores the API requests that the org's users have used, for every instance.
    async fn note_api_usage(&self, tenant: &TenantId, usage: ApiUsage) -> Result<(), StoreError>;

    /// Makes the connected database the tenant's, unless it has one.
    async fn register_database(&self, tenant: &TenantId) -> Result<(), StoreError>;

    /// Claims the right to move the fence, unless another process claimed it in the last `every_ms`. `id` is unique.
    async fn claim_fence(
        &self,
        tenant: &TenantId,
        id: &str,
        every_ms: i64,
    ) -> Result<Option<FenceClaim>, StoreError>;

    /// Records what became of the fence.
    async fn settle_fence(
        &self,
        tenant: &TenantId,
        claim: &FenceClaim,
        moved: &FenceMove,
    ) -> Result<(), StoreError>;

    /// Records which org the login leads to. The first one is the tenant's. Another one holds the tenant: nothing
    /// is leased until a person adopts it, or the login leads to the known one again.
    async fn register_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgMatch, StoreError>;

    /// Acquires or renews the stream's lease for `owner`. Returns `None` if another owner has it.
    async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError>;

    /// Returns the owner of the stream's lease, if it has one.
    async fn stream_owner(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
    ) -> Result<Option<String>, StoreError>;

    /// Ends every stream lease of an owner that has ended without releasing them.
    async fn end_leases_of(&self, tenant: &TenantId, owner: &str) -> Result<(), StoreError>;

    /// Ends the lease. A lease that was lost meanwhile is left alone.
    async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError>;

    /// Claims permits for objects that have ready work, for `permit_ms`: one per `tasks_per_permit` tasks,
    /// at most `permits_max` per object. The engine sends a wake-up for each.
    async fn claim_permits(
        &self,
        tenant: &TenantId,
        permits_max: i32,
        tasks_per_permit: i64,
        permit_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError>;

    /// Keeps the permit for another `permit_ms` while the object has due work, else frees it. Work that is
    /// due within [`DelayedWakeUp::within_ms`] takes the delayed permit, unless a wake-up that is as early
    /// has it already.
    async fn keep_or_free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        permit_ms: i64,
        delayed: DelayedWakeUp,
    ) -> Result<NextWakeUp, StoreError>;

    /// Frees every permit of the tenant: its wake-ups are in no queue any more.
    async fn free_permits(&self, tenant: &TenantId) -> Result<(), StoreError>;

    /// Frees the permit even if there is work, because the worker cannot continue.
    async fn free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Result<(), StoreError>;

    /// Returns how often stopped work of the tenant was replayed. Whatever is leased before was replayed by one of these.
    async fn replays(&self, tenant: &TenantId) -> Result<i64, StoreError>;

    /// Records that something of the tenant has changed just now.
    async fn note_activity(&self, tenant: &TenantId) -> Result<(), StoreError>;

    /// Returns how long ago something of the tenant last changed, in milliseconds; absent if nothing ever did.
    async fn idle_ms(&self, tenant: &TenantId) -> Result<Option<i64>, StoreError>;

    /// Begins the tenant's outage, or records that another try of the org failed. Returns the outage.
    async fn note_outage(
        &self,
        tenant: &TenantId,
        outage: &NewOutage,
    ) -> Result<Outage, StoreError>;

    /// Notes that a job of the tenant, or of one of its objects, ended, well or with this error.
    async fn note_job(
        &self,
        tenant: &TenantId,
        job: (JobKind, Option<&ObjectName>),
        error: Option<&str>,
    ) -> Result<(), StoreError>;

    /// Ends the tenant's outage. Returns false if there was none.
    async fn end_outage(&self, tenant: &TenantId) -> Result<bool, StoreError>;

    /// Returns the columns of a table; none if it does not exist.
    async fn columns_of(&self, table: &TableName) -> Result<BTreeSet<ColumnName>, StoreError>;

    /// Returns what was last known of the tenant's org and its objects.
    async fn known_schemas(&self, tenant: &TenantId) -> Result<KnownSchemas, StoreError>;

    /// Stores what is known now. If a withheld field has come back, plans every record of its object again.
    async fn keep_schemas(
        &self,
        tenant: &TenantId,
        schemas: &MappedSchemas,
    ) -> Result<(), StoreError>;

    /// Ends leases whose worker gave up, as if they had expired. If writes may have been sent, a record
    /// with an open intent stays leased, because its write may still be on its way. Leases that were
    /// ended or lost are left alone.
    async fn abandon_tasks(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        writes_sent: WritesSent,
    ) -> Result<(), StoreError>;
}

/// A job that runs at fixed intervals.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum JobKind {
    /// Capture of Postgres.
    CapturePostgres,
    /// Capture of Salesforce.
    CaptureSalesforce,
    /// Apply, of one object.
    Apply,
    /// The sweep.
    Sweep,
    /// The comparison of recent changes.
    CompareRecent,
    /// The full comparison.
    Compare,
}

/// Which org the login leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrgMatch {
    /// The tenant's, with its epoch.
    Known(OrgEpoch),
    /// Another one than the tenant's.
    Other {
        /// The tenant's.
        known: SalesforceId,
    },
}

/// The tenant's switches.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// How the connected database stands to the tenant's.
    pub database: DatabaseState,
    /// How long ago this database moved the fence; absent if it never did.
    pub fence_age_ms: Option<i64>,
    /// The tenant is paused, or its login leads to another org: nothing is leased.
    pub paused: bool,
    /// The org it belongs to, once known.
    pub org: Option<(SalesforceId, OrgEpoch)>,
    /// Objects whose `scan:` stream needs a resync or has never run: Salesforce may have records of them
    /// that we never saw.
    pub needs_resync: BTreeSet<ObjectName>,
    /// How long ago each stream of Salesforce was last leased, renewed or read by its owner.
    pub stream_ages_ms: BTreeMap<StreamName, i64>,
    /// Why its org cannot be used; absent if it can.
    pub outage: Option<Outage>,
    /// The database's time when this was read, milliseconds since the epoch; absent for a tenant without switches.
    pub database_ms: Option<i64>,
    /// How far the clocks of both sides were apart, and how long ago that was measured.
    pub clock_skew: Option<(ClockSkew, i64)>,
    /// The org's API requests, as last stored.
    pub api_usage: Option<ApiUsage>,
    /// How often stopped work was replayed: what the sides allow was probably changed before.
    pub replays: i64,
}

/// How far the clocks of both sides are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSkew {
    /// Milliseconds by which Salesforce's clock is ahead of the database's.
    pub skew_ms: i64,
    /// By how much that may be wrong, in both directions.
    pub uncertainty_ms: i64,
}

/// How long a measured skew is good: clocks that are not corrected drift by some milliseconds in that time.
const SKEW_AGE_MS_MAX: i64 = 300_000;

impl ClockSkew {
    /// Returns the skew that the two clocks show at one moment.
    pub fn between(salesforce: OrgClock, database_ms: i64, database_uncertainty_ms: i64) -> Self {
        Self {
            skew_ms: salesforce.now_ms.saturating_sub(database_ms),
            uncertainty_ms: salesforce
                .uncertainty_ms
                .saturating_add(database_uncertainty_ms),
        }
    }

    /// Returns whether this measurement replaces a known one: that is old, or both cannot be right.
    pub fn replaces(self, known: Option<(Self, i64)>) -> bool {
        let Some((known, age_ms)) = known else {
            return true;
        };
        let apart_ms = self.skew_ms.saturating_sub(known.skew_ms).saturating_abs();
        age_ms > SKEW_AGE_MS_MAX
            || apart_ms > self.uncertainty_ms.saturating_add(known.uncertainty_ms)
    }
}

/// Why a tenant's org cannot be used. It concerns every record alike, so no record is blamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The code of Salesforce, or of the failed call.
    pub code: String,
    /// What Salesforce reported.
    pub message: String,
    /// Only the API calls are spent: events still arrive.
    pub quota: bool,
    /// When it began.
    pub since: DateTime<Utc>,
    /// How often the org was tried.
    pub tries: u32,
    /// When it is tried again, from now; negative once that is due.
    pub retry_in_ms: i64,
}

impl Outage {
    /// Returns whether the org is not to be tried again yet.
    pub fn holds(&self) -> bool {
        self.retry_in_ms > 0
    }
}

/// What was last known of a tenant's org.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KnownSchemas {
    /// The org and our user in it.
    pub org: Option<(SalesforceId, SalesforceId)>,
    /// Its objects, as last described.
    pub objects: BTreeMap<ObjectName, KnownSchema>,
}

/// How an object was last described, by whichever process.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSchema {
    /// Its schema.
    pub schema: ObjectSchema,
    /// How long ago that was.
    pub age_ms: i64,
    /// How often stopped work of the tenant had been replayed by then.
    pub replays: i64,
}

/// What is known now of a tenant's org.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedSchemas {
    /// Our user.
    pub user: SalesforceId,
    /// The objects that were described now.
    pub asked: Vec<ObjectName>,
    /// How often stopped work had been replayed before that.
    pub replays: i64,
    /// Those of them whose schema is another one than before.
    pub changed: Vec<ObjectSchema>,
    /// The objects of which our user may write a field again.
    pub regained: Vec<ObjectName>,
    /// Every mapped field that a side lacks.
    pub withheld: Vec<WithheldField>,
    /// The mapped fields of each object that both sides have.
    pub usable: Vec<UsableFields>,
}

/// The mapped fields of an object that both sides have: these are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsableFields {
    /// The object.
    pub object: ObjectName,
    /// Its fields.
    pub fields: Vec<FieldName>,
}

/// A mapped field that a side lacks: its changes are withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldField {
    /// The object.
    pub object: String,
    /// The field; empty if it is the whole object.
    pub field: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
}

/// An outage to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOutage {
    /// The code of Salesforce, or of the failed call.
    pub code: String,
    /// What Salesforce reported, without values.
    pub message: String,
    /// Only the API calls are spent.
    pub quota: bool,
    /// How long to wait after each failure in a row; the last wait stays.
    pub waits_ms: Vec<i64>,
}

/// The right to read a stream and to move its checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamLease {
    /// The tenant.
    pub tenant: TenantId,
    /// The stream.
    pub stream: StreamName,
    /// The fencing token.
    pub token: FencingToken,
    /// The stored position, if the stream ever had one.
    pub position: Option<SourceCursor>,
    /// Changes before the position may be missing.
    pub needs_resync: bool,
    /// Its owner has read it to its end: what is released was up to date a moment ago.
    pub drained: bool,
    /// How long ago the stream was last read, in milliseconds; absent if it never was.
    pub age_ms: Option<i64>,
}

/// The wake-up of an object for work that falls due soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedWakeUp {
    /// The permit of that wake-up. Wake-ups for due work use other permits, so that new work never waits
    /// behind it.
    pub permit: i32,
    /// Work that is due later is left to the sweep.
    pub within_ms: i64,
}

/// When an object is woken again after a wake-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextWakeUp {
    /// At once, with the same permit: work is due.
    Now,
    /// With the delayed permit, which was taken for it.
    After {
        /// From now.
        delay_ms: i64,
    },
    /// Not needed: no work is due soon, or a wake-up for it is in flight.
    Unneeded,
}

/// Whether a worker that gave up had begun to make the writes that it recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritesSent {
    /// It had not: no write of its leases is on its way, even if intents are open.
    No,
    /// It had: any write may be on its way.
    Maybe,
}
