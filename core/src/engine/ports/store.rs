//! The control plane and the mapped tables, as the engine needs them.
//!
//! Each call is one transaction with a constant number of statements, whatever the number of records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::config::ObjectSync;
use crate::model::cursor::SourceCursor;
use crate::model::hash::canonical_hash;
use crate::model::ids::{
    ColumnName, FencingToken, FieldName, Generation, IntentId, ObjectName, OrgEpoch, RecordId,
    SalesforceId, TenantId,
};
use crate::model::intent::{Intent, WriteAction};
use crate::model::link::{AutomationOverride, SyncLink};
use crate::model::observation::SalesforceObservation;
use crate::model::schema::ObjectSchema;
use crate::model::value::Payload;
use crate::planner::facts::RecordFacts;
use crate::planner::record::RecordPlan;
use crate::planner::route::ApplyLane;

use super::salesforce::Refusal;

mod stop;

pub use stop::{ParkReason, RefusedValue};

/// One mapped object of one tenant, with everything a set-based call needs to know of it.
#[derive(Debug, Clone)]
pub struct MappedObject {
    /// The tenant.
    pub tenant: TenantId,
    /// Table, columns, rules.
    pub sync: Arc<ObjectSync>,
    /// Field types.
    pub schema: Arc<ObjectSchema>,
    /// The org.
    pub organization_id: SalesforceId,
    /// Its epoch.
    pub org_epoch: OrgEpoch,
    /// The configuration that decisions are made under.
    pub config_hash: Arc<str>,
}

/// One tenant's Postgres: control plane and tables.
#[async_trait]
pub trait StorePort: Send + Sync {
    /// Returns the tenant's switches and the org it belongs to.
    async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError>;

    /// Records the org's identity. Another org than before starts a new org epoch: streams lose their
    /// positions and every scope is stale.
    async fn adopt_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgEpoch, StoreError>;

    /// Returns what the database says of a mapped table, for `syncline check`; needs no control plane.
    async fn table_facts(&self, mapped: &MappedObject) -> Result<TableFacts, StoreError>;

    // Capture.

    /// Claims at most `limit` outbox rows, and in the same transaction journals them, resolves or
    /// creates their links (renames included), bumps their tasks and refuses broken ones to the dead
    /// letter, with the reason.
    async fn capture_outbox(
        &self,
        mapped_objects: &[MappedObject],
        limit: usize,
    ) -> Result<OutboxReport, StoreError>;

    /// Takes or renews the stream's lease for `owner`. `None`: somebody else holds it.
    async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError>;

    /// Gives the lease back. A lease that was lost meanwhile is left alone.
    async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError>;

    /// Returns which of `ids` no link knows yet.
    async fn unlinked(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<SalesforceId>, StoreError>;

    /// In one transaction: dedupes, journals, folds each observation into its link's remote state
    /// ([`crate::planner::observation`]), echoes intents, bumps tasks, logs overwritten values, and, given a
    /// stream, moves its checkpoint by compare-and-set. [`StoreError::LeaseLost`] if the lease or the
    /// previous position is not what it was; then nothing has happened.
    async fn record_observations(
        &self,
        mapped_objects: &[MappedObject],
        observations: &[SalesforceObservation],
        stream: Option<(&mut StreamLease, StreamPosition)>,
    ) -> Result<ObservationReport, StoreError>;

    /// Marks the objects as to be read again as a whole: their scan streams start over.
    async fn mark_needs_resync(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError>;

    /// Enqueues existing rows of a mapped table after `after` (the external id column's or primary key's
    /// order is the store's business) as if they had just been written. Returns how many, and where to
    /// go on; `None` when the table is done.
    async fn enqueue_existing_rows(
        &self,
        mapped: &MappedObject,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(usize, Option<String>), StoreError>;

    // Wake-ups.

    /// Claims at most `permits_max` wake-up slots per object that has ready work, as many as the work is
    /// worth, for `permit_ms`. The engine rings what it gets.
    async fn claim_permits(
        &self,
        tenant: &TenantId,
        permits_max: i32,
        tasks_per_permit: i64,
        permit_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError>;

    /// Holds the slot for another `permit_ms` while the object has due work, else frees it. Work that falls
    /// due within [`DelayedWakeUp::within_ms`] takes the wake-up slot, unless a ring as early has it already.
    async fn keep_or_free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        permit_ms: i64,
        delayed: DelayedWakeUp,
    ) -> Result<NextWakeUp, StoreError>;

    /// Frees the slot, whatever work there is: who answered it cannot go on.
    async fn free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Result<(), StoreError>;

    // Apply.

    /// Leases at most `limit` due tasks of the object, oldest first. Records with an open intent are
    /// not leasable; records with an unknown one are, flagged [`LeasedTask::needs_refresh`].
    async fn lease_tasks(
        &self,
        mapped: &MappedObject,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError>;

    /// One transaction: locks the target rows in key order (`for no key update skip locked`), loads links
    /// and intents, lets `planner` decide on exactly those, writes the rows, links, bases, conflicts,
    /// journal of decisions, intents and tasks. A row that Postgres refuses is parked alone (or waits for
    /// its parent); its neighbours go on.
    async fn plan_and_write(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        planner: &dyn RecordPlanner,
    ) -> Result<Vec<PlannedRecord>, StoreError>;

    /// Settles remote writes: link, base and intent under the epoch alone; then the task is deleted only if
    /// its generation is unchanged, else it is ready again. Returns how many were stale and settled nothing.
    async fn settle(
        &self,
        mapped: &MappedObject,
        settlements: &[Settlement],
    ) -> Result<usize, StoreError>;

    /// Gives leases back without a verdict.
    async fn release_tasks(
        &self,
        mapped: &MappedObject,
        releases: &[TaskRelease],
    ) -> Result<(), StoreError>;

    /// Ends leases whose worker gave up, as if they had lapsed. If writes have perhaps left, a record
    /// with an open intent stays leased, because its write may still be on its way. Leases that were
    /// ended or lost are left alone.
    async fn abandon_tasks(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        writes_sent: WritesSent,
    ) -> Result<(), StoreError>;

    // Reconcile.

    /// Lapsed leases, due retries, unknown intents, un-echoed intents, lapsed wake-ups, trigger health,
    /// retention.
    async fn sweep(&self, mapped_objects: &[MappedObject]) -> Result<SweepReport, StoreError>;

    /// Reads links and live rows of the records with these Salesforce ids, without locks.
    async fn observe(
        &self,
        mapped: &MappedObject,
        ids: &[SalesforceId],
    ) -> Result<Vec<ObservedRecord>, StoreError>;

    /// Returns linked records whose Salesforce id lies in `(after, upto]` and is not among `seen`: the scan
    /// did not show them. `upto = None`: to the end.
    async fn vanished(
        &self,
        mapped: &MappedObject,
        after: Option<&SalesforceId>,
        upto: Option<&SalesforceId>,
        seen: &[SalesforceId],
    ) -> Result<Vec<RecordId>, StoreError>;

    /// Marks records as to be looked at on both sides and makes their tasks ready. Never writes a record.
    async fn enqueue_repair(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<usize, StoreError>;

    /// Returns those of `records` that have no task, no open or unknown intent: drift on them is real.
    async fn idle_records(
        &self,
        mapped: &MappedObject,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError>;

    /// Publishes the result of a full comparison.
    async fn publish_comparison(
        &self,
        mapped: &MappedObject,
        compared: u64,
        differing: u64,
    ) -> Result<(), StoreError>;
}

/// Decides, on exactly the rows that are locked. Implemented by the engine over [`crate::planner`]; pure.
pub trait RecordPlanner: Send + Sync {
    /// Decides what one record needs.
    fn plan(&self, observed: &ObservedRecord) -> RecordDecision;

    /// Compares what was written with what the row holds after its triggers ran.
    fn settle_postgres(
        &self,
        observed: &ObservedRecord,
        decision: &RecordDecision,
        returned: &PostgresRow,
    ) -> PostgresSettlement;
}

/// The tenant's switches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Control {
    /// Somebody paused the tenant: nothing is leased, capture goes on.
    pub paused: bool,
    /// The org it belongs to, once known.
    pub org: Option<(SalesforceId, OrgEpoch)>,
    /// Objects whose `scan:` stream is stale or has never run: what Salesforce holds of them is not
    /// known as a whole, so that a record we never saw may exist there all the same.
    pub needs_resync: BTreeSet<ObjectName>,
}

/// What the database says of a mapped table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// Its columns; none if the table does not exist.
    pub columns: BTreeMap<ColumnName, ColumnFacts>,
    /// A unique index covers exactly the external id column, for all rows.
    pub external_id_unique: bool,
    /// The capture triggers stand as installed.
    pub triggers_installed: bool,
    /// Pairs of rows whose external ids are one for Salesforce; at most a few.
    pub duplicate_keys: Vec<(String, String)>,
}

/// What the database says of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    /// The type's name in the catalogue: `text`, `varchar`, `numeric`, `int4`, `timestamptz` …
    pub type_name: String,
    /// Longest content in characters, for `varchar(n)`.
    pub length: Option<u32>,
    /// Digits after the point, for `numeric(p, s)`.
    pub scale: Option<u32>,
    /// It refuses null.
    pub not_null: bool,
    /// It is computed by the database and cannot be written.
    pub generated: bool,
}

/// What became of the changes of one batch. The counts balance before a cursor moves:
/// `seen = journaled + duplicate + refused + out_of_scope`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureCounts {
    /// Changes seen.
    pub seen: usize,
    /// Journaled.
    pub journaled: usize,
    /// Seen before.
    pub duplicate: usize,
    /// Refused to the dead letter.
    pub refused: usize,
    /// Of no mapped object or field.
    pub out_of_scope: usize,
}

/// What draining the outbox did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutboxReport {
    /// The counts.
    pub counts: CaptureCounts,
    /// Records with new work.
    pub dirty: usize,
    /// More rows may be waiting.
    pub more: bool,
}

/// What recording observations did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservationReport {
    /// The counts.
    pub counts: CaptureCounts,
    /// Records with new work.
    pub dirty: usize,
    /// Observations that showed nothing but our own writes.
    pub echoes: usize,
    /// Observations that were older than the remote state.
    pub superseded: usize,
}

/// A stream: `outbox`, `events:<topic>`, `scan:<object>`, `poll:<object>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamName(pub String);

/// The right to read a stream and to move its checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamLease {
    /// The tenant.
    pub tenant: TenantId,
    /// The stream.
    pub stream: StreamName,
    /// The fence.
    pub token: FencingToken,
    /// The stored position; none for a stream that never had one.
    pub position: Option<SourceCursor>,
    /// The scope is not known to be whole up to the position.
    pub needs_resync: bool,
}

/// Where a stream stands after a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamPosition {
    /// The new position.
    pub cursor: SourceCursor,
    /// The scope is whole up to it (`Some(false)` clears staleness), or unchanged (`None`).
    pub needs_resync: Option<bool>,
    /// Changes of the batch that no observation stands for (unmapped objects or fields).
    pub out_of_scope: usize,
}

/// How an object wakes for work that falls due soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedWakeUp {
    /// The slot of that ring: none of those that rings for due work take, so that new work never waits
    /// behind it.
    pub permit: i32,
    /// What falls due later is left to the sweep.
    pub within_ms: i64,
}

/// When an object's bell rings after an answered ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextWakeUp {
    /// At once, by the slot that was answered: work is due.
    Now,
    /// By the wake-up slot, which was taken for it.
    After {
        /// From now.
        delay_ms: i64,
    },
    /// When somebody finds work: nothing falls due soon, or a ring is under way for it.
    Unneeded,
}

/// The right to work on one record.
#[derive(Debug, Clone, PartialEq)]
pub struct LeasedTask {
    /// The record.
    pub record_id: RecordId,
    /// The fence.
    pub token: FencingToken,
    /// The work as it was when leased.
    pub generation: Generation,
    /// How often it was tried before.
    pub attempt: u32,
    /// The record must be read in Salesforce before it is planned.
    pub needs_refresh: bool,
    /// Its Salesforce id, where it has one.
    pub salesforce_id: Option<SalesforceId>,
    /// Its external id.
    pub external_id: String,
    /// The Postgres transaction the work came from: a hint for graphs.
    pub transaction: Option<i64>,
}

/// A live row, raw: JSON as Postgres makes it, by column name.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresRow {
    /// The external id column's content.
    pub external_id: Option<String>,
    /// Mapped columns, the external id column included.
    pub columns: serde_json::Map<String, serde_json::Value>,
}

/// One record as the transaction sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedRecord {
    /// The lease it is planned under; none outside apply.
    pub lease: Option<LeasedTask>,
    /// What is known of it.
    pub link: SyncLink,
    /// Its writes that are not retired or refused.
    pub intents: Vec<Intent>,
    /// The live rows that carry its key; locked, inside apply. More than one is a duplicate key.
    pub rows: Vec<PostgresRow>,
    /// A row of it exists but somebody else holds its lock.
    pub row_locked: bool,
    /// When Postgres last changed it, by `clock_timestamp()` in the trigger.
    pub postgres_changed_at_ms: Option<i64>,
    /// External ids of the parents that the remote state points to, by Salesforce id, as far as linked.
    pub parents: BTreeMap<SalesforceId, String>,
    /// Clock skew measured between the sides.
    pub clock_skew_ms: i64,
    /// Values that Salesforce refused in the tries before this one: they are not sent again, so that
    /// the other fields arrive.
    pub refused: Vec<RefusedValue>,
}

/// What a plan was made of: kept beside it in the journal, so that it can be made again.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanEvidence {
    /// What was known of the record.
    pub facts: RecordFacts,
    /// The rules, as they were in force: with fields that nobody may write given to Salesforce.
    pub rules: Arc<PlanRules>,
}

/// The rules of an object as plans of one round are made by them.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRules {
    /// Hash of their canonical form: equal rules, equal hash.
    pub hash: String,
    /// The rules, an [`ObjectSync`] as JSON.
    pub rules: serde_json::Value,
}

impl PlanRules {
    /// Returns the rules with their hash.
    pub fn of(policy: &ObjectSync) -> Self {
        let rules = serde_json::to_value(policy).expect("rules are JSON");
        Self {
            hash: canonical_hash(&rules),
            rules,
        }
    }
}

/// What the planner says of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordDecision {
    /// Do this.
    Planned {
        /// The plan: base, conflicts and discarded values are recorded from it.
        plan: Box<RecordPlan>,
        /// The write to the row, in wire form.
        postgres: Option<PlannedPostgres>,
        /// The write to Salesforce to say now and make after the commit.
        intent: Option<NewIntent>,
        /// Bounces afterwards.
        automation_overrides: BTreeMap<FieldName, AutomationOverride>,
        /// What the plan was made of.
        evidence: Box<PlanEvidence>,
        /// Fields that the plan would write to Salesforce and that cannot be written: they stop, and
        /// the others go on.
        withheld: Vec<ParkReason>,
    },
    /// Not now: the row is locked, a parent is missing, a write is under way.
    Wait {
        /// Why, in words without values.
        reason: String,
        /// When to try again, from now.
        delay_ms: i64,
        /// It counts as an attempt (bounded waits do, a locked row does not).
        counts: bool,
    },
    /// Read the record in Salesforce first.
    Refresh,
    /// Stop this record.
    Park(ParkReason),
}

/// A write to a row, values raw for `jsonb_populate_record`.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedPostgres {
    /// Insert, `on conflict do nothing`; a conflict means plan again.
    Insert(serde_json::Map<String, serde_json::Value>),
    /// Change these columns of the locked row.
    Update(serde_json::Map<String, serde_json::Value>),
    /// Delete the locked row.
    Delete,
    /// Fill the soft-delete column of the locked row.
    SoftDelete,
}

/// A remote write to say.
#[derive(Debug, Clone, PartialEq)]
pub struct NewIntent {
    /// Its identity.
    pub intent_id: IntentId,
    /// What it does.
    pub action: WriteAction,
    /// What it writes: canonical, references as external ids.
    pub fields: Payload,
    /// The lane.
    pub lane: ApplyLane,
}

/// After a row was written.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresSettlement {
    /// Base values that the write confirms.
    pub base: Payload,
    /// The row holds something else than was sent: a trigger changed it, and that is a change of
    /// Postgres to be planned next.
    pub altered: bool,
}

/// What `plan_and_write` left of one lease.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedRecord {
    /// Nothing remains to be done; the task is gone, or ready again if it grew meanwhile.
    Settled {
        /// The record.
        record_id: RecordId,
        /// A row was written.
        wrote_row: bool,
    },
    /// The intent is committed: make the write now.
    Intended {
        /// The lease it is made under.
        lease: LeasedTask,
        /// The write.
        intent: NewIntent,
        /// The record's Salesforce id for an update or delete.
        salesforce_id: Option<SalesforceId>,
        /// A row was written too.
        wrote_row: bool,
        /// Fields that stop once the write is made.
        withheld: Vec<ParkReason>,
    },
    /// It is planned again later.
    Requeued {
        /// The record.
        record_id: RecordId,
    },
    /// Parked.
    Parked {
        /// The record.
        record_id: RecordId,
        /// The code of the reason.
        code: String,
        /// A row was written all the same: a field stopped, the others went on.
        wrote_row: bool,
    },
}

/// The result of a remote write.
#[derive(Debug, Clone, PartialEq)]
pub struct Settlement {
    /// The lease it was made under.
    pub lease: LeasedTask,
    /// The intent.
    pub intent_id: IntentId,
    /// What is known.
    pub outcome: SettledOutcome,
    /// Fields that could not be written with it: they stop the record now, unless news came.
    pub withheld: Vec<ParkReason>,
}

/// What is known of a remote write, and what follows.
#[derive(Debug, Clone, PartialEq)]
pub enum SettledOutcome {
    /// It took effect.
    Applied {
        /// The record's id.
        salesforce_id: SalesforceId,
    },
    /// It had no effect; try again after the delay.
    RetryLater {
        /// The refusal.
        refusal: Refusal,
        /// From now.
        delay_ms: i64,
    },
    /// It had no effect; read the record before planning it again.
    Reread {
        /// The refusal.
        refusal: Refusal,
    },
    /// It had no effect because of what these fields were to hold; try again at once without them.
    Withhold {
        /// The refusal.
        refusal: Refusal,
        /// The fields, none of them the external id; the write had others.
        fields: Vec<FieldName>,
    },
    /// It had no effect; stop the record.
    Park {
        /// The refusal.
        refusal: Refusal,
    },
    /// Nobody knows: the intent becomes unknown, the task looks.
    Unknown,
}

/// Whether a worker that gave up had begun to make the writes that it new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WritesSent {
    /// It had not: no write of its leases is on its way, whatever its intents say.
    No,
    /// It had: any write may be on its way.
    Perhaps,
}

/// A lease given back.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRelease {
    /// The lease.
    pub lease: LeasedTask,
    /// When the task is due again, from now.
    pub delay_ms: i64,
    /// Why, in words without values.
    pub reason: String,
    /// It counts as an attempt.
    pub counts: bool,
    /// Park it instead.
    pub park: Option<ParkReason>,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Leases that had lapsed.
    pub leases_expired: usize,
    /// Intents that became unknown.
    pub intents_unknown: usize,
    /// Applied intents whose echo never came: their records are looked at.
    pub echoes_missing: usize,
    /// Mapped tables whose triggers, identity or partitions changed, with what is wrong.
    pub capture_broken: Vec<String>,
    /// Journal, dedupe and settled rows removed.
    pub rows_removed: usize,
}

/// The store could not do it. Nothing of the call has happened, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else holds the lease now, or the position moved.
    #[error("the lease of {0} was lost to another worker")]
    LeaseLost(String),
    /// The database is out of reach or restarting: try again.
    #[error("Postgres cannot be reached: {0}")]
    Unreachable(String),
    /// The database said no.
    #[error("Postgres refused {what}")]
    Database {
        /// What was attempted.
        what: &'static str,
        /// What it new.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The mapping does not fit the database.
    #[error("{0}")]
    Mapping(String),
}
