//! Status: counts and ages per object, streams, one record's history.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::SyncLink;
use crate::model::ids::{FieldName, ObjectName, OrgEpoch, SalesforceId, TenantId};
use crate::model::intent::Intent;
use crate::ports::comparison::{Comparison, RecordClass};
use crate::ports::database::DatabaseState;
use crate::ports::job_store::{Outage, WithheldField};
use crate::ports::{StoreError, StreamName};
use crate::store::PgStore;
use crate::store::error::corrupt;
use crate::store::tables::checkpoint::{CheckpointState, read_checkpoints};
use crate::store::tables::comparison::read_comparisons;
use crate::store::tables::database::database_state;
use crate::store::tables::intent::live_intents;
use crate::store::tables::job::{JobStatus, read_jobs};
use crate::store::tables::journal::{JournalEntry, record_journal};
use crate::store::tables::link::{FIND_BY_NAME, KnownRecord, LinkRow};
use crate::store::tables::outage::read_outage;
use crate::store::tables::schema::withheld_fields;
use crate::store::transaction::Tx;

/// The status of a tenant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// The tenant.
    pub tenant: TenantId,
    /// How the connected database stands to the tenant's.
    pub database: DatabaseState,
    /// Why the fence cannot be used, if it cannot.
    pub fence_problem: Option<String>,
    /// The reason why it is paused; absent if it is not.
    pub paused: Option<String>,
    /// Why its org cannot be used, and since when; absent if it can.
    pub outage: Option<Outage>,
    /// Mapped fields that a side lacks: their changes are withheld.
    pub withheld: Vec<WithheldField>,
    /// Its org, once known.
    pub organization_id: Option<SalesforceId>,
    /// The org's epoch.
    pub org_epoch: OrgEpoch,
    /// How far the clocks of both sides are apart; absent until it was measured or set.
    pub clock_skew: Option<ClockSkewStatus>,
    /// The org's API requests of 24 hours; absent until the first answer.
    pub api_requests: Option<ApiRequestsStatus>,
    /// Rows that wait in the outbox.
    pub outbox: OutboxStatus,
    /// Its objects.
    pub objects: Vec<ObjectStatus>,
    /// Its streams.
    pub streams: Vec<CheckpointState>,
    /// Its jobs.
    pub jobs: Vec<JobStatus>,
    /// Since when capture is installed on a table of it; absent if it never was.
    pub installed_at: Option<DateTime<Utc>>,
    /// The database's time when this was read.
    pub read_at: DateTime<Utc>,
}

/// How far the clocks of both sides are apart. Where the later edit wins, edits count as made at the same time
/// unless they are further apart than two seconds and this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct ClockSkewStatus {
    /// Milliseconds by which Salesforce's clock is ahead of the database's, as last measured.
    #[sqlx(rename = "clock_skew_ms")]
    pub skew_ms: Option<i64>,
    /// By how much that may be wrong, in both directions.
    #[sqlx(rename = "clock_uncertainty_ms")]
    pub uncertainty_ms: Option<i64>,
    /// When it was measured.
    #[sqlx(rename = "clock_measured_at")]
    pub measured_at: Option<DateTime<Utc>>,
    /// Milliseconds that a person has set; they count instead.
    #[sqlx(rename = "clock_skew_set_ms")]
    pub set_ms: Option<i64>,
}

/// The API requests of 24 hours that all users of an org have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRequestsStatus {
    /// Requests used.
    pub used: i64,
    /// Requests that the org may use.
    pub max: i64,
    /// When Salesforce counted them.
    pub measured_at: DateTime<Utc>,
}

/// Rows that wait in the outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct OutboxStatus {
    /// Rows.
    pub waiting: i64,
    /// Age of the oldest, seconds.
    pub oldest_seconds: Option<f64>,
}

/// The status of an object. A record is counted once: parked, else in conflict, else pending, else filtered
/// out, else in sync.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// The object.
    pub object: ObjectName,
    /// Records of either side.
    pub records: i64,
    /// Records whose sides agree.
    pub in_sync: i64,
    /// Records with work or a write in flight; all agreeing records while the object needs a resync.
    pub pending: i64,
    /// Records in Salesforce that do not match the object's filter and are left alone.
    pub filtered_out: i64,
    /// Records that a person must decide.
    pub conflicts: i64,
    /// Records that stopped with a reason.
    pub parked: i64,
    /// Parked records whose delete waits for approval, because there were too many deletes at once.
    pub withheld_deletes: i64,
    /// Records with a field that Salesforce automation keeps changing back.
    pub automation_overrides: i64,
    /// Writes with an unknown outcome.
    pub unknown_writes: i64,
    /// Age of the oldest work, seconds.
    pub oldest_work_seconds: Option<f64>,
    /// For how long a record has been due without a worker, seconds.
    pub oldest_due_seconds: Option<f64>,
    /// All its records must be read again.
    pub needs_resync: bool,
    /// It is captured by polling or comparison, so an edit that our write overwrites between two of them is not
    /// detected.
    pub detection_narrowed: bool,
    /// Capture of its table was installed.
    pub capture_installed: bool,
    /// How capture of its table differs from what was installed.
    pub capture_broken: Option<String>,
    /// Why no change events of it arrive from Salesforce.
    pub events_missing: Option<String>,
    /// The last full comparison that was finished.
    pub last_comparison: Option<PublishedComparison>,
    /// Since when a full comparison is under way.
    pub comparing_since: Option<DateTime<Utc>>,
}

/// The result of a full comparison, without the keys of records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedComparison {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it had compared everything.
    pub finished_at: DateTime<Utc>,
    /// The configuration under which it compared.
    pub config_hash: String,
    /// Every row and every record was met, and is equal or deleted on both sides.
    pub verified_equal: bool,
    /// Records of either side; the sum of the classes.
    pub records: u64,
    /// Records by class.
    pub classes: BTreeMap<RecordClass, u64>,
    /// By field, the records in which it differs or cannot be compared.
    pub fields: BTreeMap<FieldName, u64>,
}

/// Link, state, writes and journal of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordHistory {
    /// Its link.
    pub link: SyncLink,
    /// Its state: `in_sync`, `filtered_out`, `pending`, `conflict`, `parked`; absent if neither side has it.
    pub state: Option<String>,
    /// Why, without values.
    pub reason: Option<String>,
    /// Its writes that may still echo.
    pub intents: Vec<Intent>,
    /// Its journal, newest first.
    pub journal: Vec<JournalEntry>,
}

#[derive(sqlx::FromRow)]
struct ControlRow {
    paused_reason: Option<String>,
    organization_id: Option<String>,
    org_epoch: i64,
    #[sqlx(flatten)]
    clock_skew: ClockSkewStatus,
    api_requests_used: Option<i64>,
    api_requests_max: Option<i64>,
    api_requests_measured_at: Option<DateTime<Utc>>,
}

impl ControlRow {
    fn api_requests(&self) -> Option<ApiRequestsStatus> {
        Some(ApiRequestsStatus {
            used: self.api_requests_used?,
            max: self.api_requests_max?,
            measured_at: self.api_requests_measured_at?,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ObjectRow {
    object: String,
    records: i64,
    in_sync: i64,
    filtered_out: i64,
    conflicts: i64,
    parked: i64,
    withheld_deletes: i64,
    automation_overrides: i64,
    unknown_writes: i64,
    oldest_work_seconds: Option<f64>,
    oldest_due_seconds: Option<f64>,
    needs_resync: bool,
    detection_narrowed: bool,
    capture_installed: bool,
    capture_broken: Option<String>,
    events_missing: Option<String>,
}

impl PgStore {
    /// Returns the status of the tenant.
    pub async fn status(&self, tenant: &TenantId) -> Result<TenantStatus, StoreError> {
        let mut tx = self.begin().await?;
        let control: Option<ControlRow> = tx
            .row(
                "reading the tenant's switches",
                sqlx::query_as(
                    "select
                        case
                            when other_organization_id is not null then
                                'the login leads to org ' || other_organization_id || '; correct it, or run syncline adopt'
                            when paused_at is not null then coalesce(paused_reason, '')
                        end as paused_reason,
                        organization_id,
                        org_epoch,
                        clock_skew_ms,
                        clock_uncertainty_ms,
                        clock_measured_at,
                        clock_skew_set_ms,
                        api_requests_used,
                        api_requests_max,
                        api_requests_measured_at
                    from syncline.sync_control
                    where tenant = $1",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        let outbox = outbox(&mut tx, tenant).await?;
        let found = database_state(&mut tx, tenant, &self.endpoint()).await?;
        let objects = objects(&mut tx, tenant).await?;
        let streams = read_checkpoints(&mut tx, tenant, None).await?;
        let jobs = read_jobs(&mut tx, tenant).await?;
        let (read_at, installed_at) = installed_since(&mut tx, tenant).await?;
        let outage = read_outage(&mut tx, tenant).await?;
        let withheld = withheld_fields(&mut tx, tenant).await?;
        tx.rollback().await?;
        let organization_id = control
            .as_ref()
            .and_then(|control| control.organization_id.as_deref())
            .map(SalesforceId::parse)
            .transpose()
            .map_err(corrupt)?;
        Ok(TenantStatus {
            tenant: tenant.clone(),
            database: found.state,
            fence_problem: found.fence_problem,
            outage,
            withheld,
            organization_id,
            clock_skew: control
                .as_ref()
                .map(|control| control.clock_skew)
                .filter(|clock| clock.skew_ms.is_some() || clock.set_ms.is_some()),
            api_requests: control.as_ref().and_then(ControlRow::api_requests),
            org_epoch: OrgEpoch(control.as_ref().map_or(0, |control| control.org_epoch)),
            paused: control.and_then(|control| control.paused_reason),
            outbox,
            objects,
            streams,
            jobs,
            installed_at,
            read_at,
        })
    }

    /// Returns the tenant's full comparisons: of each object the last finished one, and the one under way.
    pub async fn comparisons(&self, tenant: &TenantId) -> Result<Vec<Comparison>, StoreError> {
        let mut tx = self.begin().await?;
        let comparisons = read_comparisons(&mut tx, tenant).await?;
        tx.rollback().await?;
        Ok(comparisons)
    }

    /// Returns the positions of the tenant's streams.
    pub async fn checkpoints(&self, tenant: &TenantId) -> Result<Vec<CheckpointState>, StoreError> {
        let mut tx = self.begin().await?;
        let streams = read_checkpoints(&mut tx, tenant, None).await?;
        tx.rollback().await?;
        Ok(streams)
    }

    /// Returns the position of one stream, or `None` if it was never read.
    pub async fn checkpoint(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
    ) -> Result<Option<CheckpointState>, StoreError> {
        let mut tx = self.begin().await?;
        let streams = read_checkpoints(&mut tx, tenant, Some(stream)).await?;
        tx.rollback().await?;
        Ok(streams.into_iter().next())
    }

    /// Returns the history of one record, found by any spelling of its external id or by its Salesforce id,
    /// with at most `limit` lines of its journal; `None` if there is no such record.
    pub async fn record_history(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        name: &str,
        limit: i64,
    ) -> Result<Option<RecordHistory>, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<LinkRow> = tx
            .row(
                "finding a record by its name",
                sqlx::query_as(FIND_BY_NAME)
                    .bind(tenant.as_str())
                    .bind(object.as_str())
                    .bind(name),
            )
            .await?;
        let Some(known) = row.map(KnownRecord::try_from).transpose()? else {
            return Ok(None);
        };
        let record_id = known.link.record_id;
        let mut intents = live_intents(&mut tx, &[record_id]).await?;
        let state: Option<(String, Option<String>)> = tx
            .row(
                "reading a record's state",
                sqlx::query_as(
                    "select state, reason
                    from syncline.record_status
                    where record_id = $1",
                )
                .bind(record_id.0),
            )
            .await?;
        let journal = record_journal(&mut tx, record_id.0, limit).await?;
        tx.rollback().await?;
        let (state, reason) = state.unzip();
        Ok(Some(RecordHistory {
            link: known.link,
            state,
            reason: reason.flatten(),
            intents: intents.remove(&record_id).unwrap_or_default(),
            journal,
        }))
    }
}

/// Measures the tenant's outbox.
async fn outbox(tx: &mut Tx, tenant: &TenantId) -> Result<OutboxStatus, StoreError> {
    let outbox: Option<OutboxStatus> = tx
        .row(
            "measuring the outbox",
            sqlx::query_as(
                "select
                    count(*) as waiting,
                    extract(epoch from syncline.wall_clock() - min(coalesce(entered_at, changed_at)))::double precision
                        as oldest_seconds
                from syncline.sync_outbox
                where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    Ok(outbox.unwrap_or_default())
}

/// Returns the database's time, and since when capture is installed on a table of the tenant.
async fn installed_since(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<(DateTime<Utc>, Option<DateTime<Utc>>), StoreError> {
    let row: Option<(DateTime<Utc>, Option<DateTime<Utc>>)> = tx
        .row(
            "reading since when capture is installed",
            sqlx::query_as(
                "select syncline.wall_clock(), min(installed_at)
                from syncline.sync_capture
                where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    row.ok_or_else(|| corrupt("an aggregate without a row"))
}

/// Counts the records of each object, and adds its comparisons.
async fn objects(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<ObjectStatus>, StoreError> {
    let rows: Vec<ObjectRow> = tx
        .rows(
            "counting records",
            sqlx::query_as(COUNT_RECORDS).bind(tenant.as_str()),
        )
        .await?;
    let mut objects: Vec<ObjectStatus> = rows
        .into_iter()
        .map(ObjectStatus::try_from)
        .collect::<Result<_, _>>()?;
    for comparison in read_comparisons(tx, tenant).await? {
        let mut known = objects.iter_mut();
        if let Some(object) = known.find(|object| object.object == comparison.object) {
            object.publish(comparison);
        }
    }
    Ok(objects)
}

impl TryFrom<ObjectRow> for ObjectStatus {
    type Error = StoreError;

    fn try_from(row: ObjectRow) -> Result<Self, StoreError> {
        // While an object needs a resync, no record of it is known to be in sync.
        let in_sync = if row.needs_resync { 0 } else { row.in_sync };
        Ok(Self {
            object: ObjectName::parse(&row.object).map_err(corrupt)?,
            records: row.records,
            in_sync,
            pending: row.records - in_sync - row.filtered_out - row.conflicts - row.parked,
            filtered_out: row.filtered_out,
            conflicts: row.conflicts,
            parked: row.parked,
            withheld_deletes: row.withheld_deletes,
            automation_overrides: row.automation_overrides,
            unknown_writes: row.unknown_writes,
            oldest_work_seconds: row.oldest_work_seconds,
            oldest_due_seconds: row.oldest_due_seconds,
            needs_resync: row.needs_resync,
            detection_narrowed: row.detection_narrowed,
            capture_installed: row.capture_installed,
            capture_broken: row.capture_broken,
            events_missing: row.events_missing,
            last_comparison: None,
            comparing_since: None,
        })
    }
}

impl ObjectStatus {
    fn publish(&mut self, comparison: Comparison) {
        let Some(finished_at) = comparison.finished_at else {
            self.comparing_since = Some(comparison.started_at);
            return;
        };
        let tally = comparison.tally;
        self.last_comparison = Some(PublishedComparison {
            started_at: comparison.started_at,
            finished_at,
            config_hash: comparison.config_hash,
            verified_equal: tally.is_verified_equal(),
            records: tally.records(),
            classes: tally.classes,
            fields: tally.fields,
        });
    }
}

/// Counts by object, each record in one state only.
const COUNT_RECORDS: &str = "with known as (
        select
            link.object,
            -- The row of a record that was deleted in Salesforce stays, marked as deleted.
            link.agreed or link.remote_state ->> 'presence' = 'deleted' as agreed,
            task.state as task_state,
            task.state = 'parked' and task.code = 'mass_delete' as withheld_delete,
            extract(epoch from syncline.wall_clock() - task.dirty_since)::double precision as work_seconds,
            case when task.state = 'ready' and task.due_at <= syncline.clock()
                then extract(epoch from syncline.clock() - greatest(task.due_at, task.dirty_since))::double precision
            end as due_seconds,
            conflict.record_id is not null as conflicting,
            writing.record_id is not null as writing,
            coalesce(writing.unknown_write, false) as unknown_write,
            link.remote_state ->> 'presence' = 'filtered_out' as filtered_out,
            link.automation_overrides <> '{}' and exists (
                select
                from jsonb_each(link.automation_overrides) as automation
                where (automation.value ->> 'count')::integer >= 2
            ) as automation_overrides,
            link.agreed
                or link.postgres_presence = 'present'
                or link.remote_state ->> 'presence' = 'present'
                or task.record_id is not null
                or conflict.record_id is not null as shown
        from syncline.sync_link as link
        left join syncline.sync_task as task using (record_id)
        left join (
            select distinct record_id
            from syncline.sync_conflict
            where tenant = $1
            and state = 'open'
        ) as conflict using (record_id)
        left join (
            select record_id, bool_or(state = 'unknown') as unknown_write
            from syncline.sync_intent
            where tenant = $1
            and state in ('open', 'unknown')
            group by record_id
        ) as writing using (record_id)
        where link.tenant = $1
    ),
    counted as (
        select
            object,
            count(*) as records,
            count(*) filter (
                where agreed and not filtered_out and task_state is null and not conflicting and not writing
            ) as in_sync,
            count(*) filter (
                where filtered_out and task_state is null and not conflicting and not writing
            ) as filtered_out,
            count(*) filter (where conflicting and task_state is distinct from 'parked') as conflicts,
            count(*) filter (where task_state = 'parked') as parked,
            count(*) filter (where withheld_delete) as withheld_deletes,
            count(*) filter (where automation_overrides) as automation_overrides,
            count(*) filter (where unknown_write) as unknown_writes,
            max(work_seconds) filter (where task_state <> 'parked') as oldest_work_seconds,
            max(due_seconds) as oldest_due_seconds
        from known
        where shown
        group by object
    ),
    mapped as (
        select object
        from counted
        union
        select object
        from syncline.sync_capture
        where tenant = $1
    )
    select
        mapped.object,
        coalesce(counted.records, 0) as records,
        coalesce(counted.in_sync, 0) as in_sync,
        coalesce(counted.filtered_out, 0) as filtered_out,
        coalesce(counted.conflicts, 0) as conflicts,
        coalesce(counted.parked, 0) as parked,
        coalesce(counted.withheld_deletes, 0) as withheld_deletes,
        coalesce(counted.automation_overrides, 0) as automation_overrides,
        coalesce(counted.unknown_writes, 0) as unknown_writes,
        counted.oldest_work_seconds,
        counted.oldest_due_seconds,
        coalesce(scan.needs_resync, true) as needs_resync,
        capture.events_missing is not null or exists (
            select
            from syncline.sync_checkpoint as poll
            where poll.tenant = $1
            and poll.stream = 'poll:' || mapped.object
            and poll.captured_at > syncline.clock() - interval '1 hour'
        ) as detection_narrowed,
        capture.object is not null as capture_installed,
        capture.broken as capture_broken,
        capture.events_missing
    from mapped
    left join counted using (object)
    left join syncline.sync_checkpoint as scan
        on scan.tenant = $1
        and scan.stream = 'scan:' || mapped.object
    left join syncline.sync_capture as capture
        on capture.tenant = $1
        and capture.object = mapped.object
    order by mapped.object";
