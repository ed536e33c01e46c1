//! Leasing tasks and giving leases back.

use uuid::Uuid;

use super::PgStore;
use super::records::corrupt;
use super::stream::interval;
use super::tasks::{LeaseEnd, end_leases};
use crate::engine::ports::store::{LeasedTask, TaskRelease, WritesSent};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{FencingToken, Generation, RecordId, SalesforceId};

#[derive(sqlx::FromRow)]
struct TaskRow {
    record_id: Uuid,
    fencing_token: i64,
    generation: i64,
    attempts: i32,
    needs_refresh: bool,
    salesforce_id: Option<String>,
    external_id: String,
    xid: Option<i64>,
}

/// Leases due tasks, oldest first. A record with an open intent is not leasable: its write may still
/// land. One with an unknown intent is, to be looked at. The lease's time runs by the database's clock.
const LEASE: &str = "with due as materialized (
        select task.record_id, task.needs_refresh, task.due_at
        from syncline.sync_task as task
        where task.tenant = $1
        and task.object = $2
        and task.state = 'ready'
        and task.due_at <= now()
        and not exists (
            select
            from syncline.sync_intent as intent
            where intent.record_id = task.record_id
            and intent.state = 'open'
        )
        and not exists (
            select
            from syncline.sync_control as control
            where control.tenant = $1
            and control.paused_at is not null
        )
        order by task.due_at, task.record_id
        limit $3
        -- What another worker is leasing right now is its.
        for update of task skip locked
    ),
    leased as (
        update syncline.sync_task as task
        set state = 'leased',
            lease_owner = $4,
            lease_until = clock_timestamp() + $5,
            fencing_token = default,
            -- The needs_refresh goes with the lease; what is asked for from now on is for the next one.
            needs_refresh = false,
            awaits = null,
            updated_at = now()
        from due
        where task.record_id = due.record_id
        returning task.record_id, task.fencing_token, task.generation, task.attempts, task.xid, due.needs_refresh, due.due_at
    )
    select
        leased.record_id,
        leased.fencing_token,
        leased.generation,
        leased.attempts,
        leased.xid,
        link.salesforce_id,
        link.external_id,
        leased.needs_refresh or exists (
            select
            from syncline.sync_intent as intent
            where intent.record_id = leased.record_id
            and intent.state = 'unknown'
        ) as needs_refresh
    from leased
    join syncline.sync_link as link on link.record_id = leased.record_id
    order by leased.due_at, leased.record_id";

/// Ends leases under which nothing is on its way. What was said and, as far as its worker knows, never
/// left is in doubt all the same: the record is looked at first. A record that makes its workers give
/// up again and again is not tried for ever: the try counts.
const ABANDON: &str = "with abandoned as (
        select *
        from unnest($2::uuid[], $3::bigint[], $4::boolean[]) as abandoned (record_id, fencing_token, needs_refresh)
    ),
    doubted as (
        update syncline.sync_intent as intent
        set state = 'unknown',
            updated_at = now()
        from abandoned
        where intent.record_id = abandoned.record_id
        and intent.fencing_token = abandoned.fencing_token
        and intent.tenant = $1
        and intent.state = 'open'
        and not $5
        returning intent.record_id
    )
    update syncline.sync_task as task
    set state = 'ready',
        lease_owner = null,
        lease_until = null,
        -- The number that the worker holds opens nothing any more.
        fencing_token = default,
        attempts = task.attempts + 1,
        due_at = now(),
        needs_refresh = task.needs_refresh or abandoned.needs_refresh or task.record_id in (select record_id from doubted),
        code = 'lease_abandoned',
        reason = 'its worker gave up',
        updated_at = now()
    from abandoned
    where task.record_id = abandoned.record_id
    and task.tenant = $1
    and task.state = 'leased'
    and task.fencing_token = abandoned.fencing_token
    and not exists (
        select
        from syncline.sync_intent as intent
        where intent.record_id = task.record_id
        and intent.state = 'open'
        and $5
    )";

impl PgStore {
    /// See [`crate::engine::ports::StorePort::lease_tasks`].
    pub(super) async fn lease_tasks(
        &self,
        mapped: &MappedObject,
        limit: usize,
        worker: &str,
        lease_ms: i64,
    ) -> Result<Vec<LeasedTask>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<TaskRow> = tx
            .rows(
                "leasing tasks",
                sqlx::query_as(LEASE)
                    .bind(mapped.tenant.as_str())
                    .bind(mapped.sync.object.as_str())
                    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                    .bind(worker)
                    .bind(interval(lease_ms)),
            )
            .await?;
        tx.commit().await?;
        rows.into_iter().map(LeasedTask::try_from).collect()
    }

    /// See [`crate::engine::ports::StorePort::release_tasks`].
    pub(super) async fn release_tasks(
        &self,
        mapped: &MappedObject,
        releases: &[TaskRelease],
    ) -> Result<(), StoreError> {
        let ends: Vec<(LeasedTask, LeaseEnd)> = releases
            .iter()
            .map(|release| (release.lease.clone(), lease_end(release)))
            .collect();
        let mut tx = self.begin().await?;
        end_leases(&mut tx, mapped, &ends).await?;
        tx.commit().await
    }

    /// See [`crate::engine::ports::StorePort::abandon_tasks`].
    pub(super) async fn abandon_tasks(
        &self,
        mapped: &MappedObject,
        leases: &[LeasedTask],
        writes_sent: WritesSent,
    ) -> Result<(), StoreError> {
        let (records, epochs): (Vec<Uuid>, Vec<i64>) = leases
            .iter()
            .map(|lease| (lease.record_id.0, lease.token.0))
            .unzip();
        let refreshes: Vec<bool> = leases.iter().map(|lease| lease.needs_refresh).collect();
        let mut tx = self.begin().await?;
        tx.run(
            "ending abandoned leases",
            sqlx::query(ABANDON)
                .bind(mapped.tenant.as_str())
                .bind(records)
                .bind(epochs)
                .bind(refreshes)
                .bind(writes_sent == WritesSent::Perhaps),
        )
        .await?;
        tx.commit().await
    }
}

fn lease_end(release: &TaskRelease) -> LeaseEnd {
    match &release.park {
        Some(reason) => LeaseEnd::Park(reason.clone().into()),
        None => LeaseEnd::Later {
            delay_ms: release.delay_ms,
            counts: release.counts,
            // The look that was asked for was perhaps not made.
            needs_refresh: release.lease.needs_refresh,
            code: None,
            reason: release.reason.clone(),
            awaits: Vec::new(),
        },
    }
}

impl TryFrom<TaskRow> for LeasedTask {
    type Error = StoreError;

    fn try_from(row: TaskRow) -> Result<Self, StoreError> {
        Ok(Self {
            record_id: RecordId(row.record_id),
            token: FencingToken(row.fencing_token),
            generation: Generation(row.generation),
            attempt: u32::try_from(row.attempts).unwrap_or(0),
            needs_refresh: row.needs_refresh,
            salesforce_id: row
                .salesforce_id
                .map(|id| SalesforceId::parse(&id))
                .transpose()
                .map_err(corrupt)?,
            external_id: row.external_id,
            transaction: row.xid,
        })
    }
}
