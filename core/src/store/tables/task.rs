//! Tasks: one row per record that has work, and how a lease on it begins and ends.
//!
//! Ending a lease names its fencing token. A worker whose lease was lost still has the old token, so
//! its late answer changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow, Row as _};
use uuid::Uuid;

use crate::model::ids::{FencingToken, Generation, RecordId, SalesforceId};
use crate::planner::policy::Cause;
use crate::ports::job_store::WritesSent;
use crate::ports::record::{LeaseEnd, LeasedTask};
use crate::ports::{MappedObject, StoreError};
use crate::store::tables::dead_letter::{NewDeadLetter, insert_dead_letters};
use crate::store::transaction::{Tx, interval, recordset};

/// New work for a record.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NewWork {
    /// The record.
    pub(crate) record_id: RecordId,
    /// It must be read in Salesforce first.
    pub(crate) needs_refresh: bool,
}

impl NewWork {
    /// Returns the work of reading the record in Salesforce and planning it again.
    pub(crate) fn refresh(record_id: RecordId) -> Self {
        Self {
            record_id,
            needs_refresh: true,
        }
    }
}

/// Adds work to records.
pub(crate) async fn add_work(tx: &mut Tx, work: &[NewWork]) -> Result<(), StoreError> {
    if work.is_empty() {
        return Ok(());
    }
    let records = "select record_id, needs_refresh
        from jsonb_to_recordset($1) as work (record_id uuid, needs_refresh boolean)";
    tx.run(
        "adding work",
        sqlx::query(work_for(records)).bind(recordset(work)),
    )
    .await?;
    Ok(())
}

/// Returns the statement that adds work to records: a new task, or a new generation of their task. A parked
/// record becomes ready with no attempts, and its dead letter is closed.
///
/// `records` selects them, or changes their links and returns them: `record_id` and `needs_refresh`.
pub(crate) fn work_for(records: &str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!(
        "with work as (
            {records}
        ),
        closed as (
            update syncline.sync_dead_letter as letter
            set closed_at = syncline.clock(),
                outcome = 'superseded by a new change'
            from work
            where letter.record_id = work.record_id
            and letter.origin = 'task'
            and letter.closed_at is null
        )
        insert into syncline.sync_task as task (record_id, tenant, object, needs_refresh)
        select link.record_id, link.tenant, link.object, work.needs_refresh
        from work
        join syncline.sync_link as link using (record_id)
        order by link.record_id
        -- One task per record: what came meanwhile is a new generation of it, and a lease goes on.
        on conflict (record_id) do update
        set generation = task.generation + 1,
            state = case when task.state = 'leased' then 'leased' else 'ready' end,
            attempts = case when task.state = 'parked' then '{{}}' else task.attempts end,
            due_at = least(task.due_at, syncline.clock()),
            needs_refresh = task.needs_refresh or excluded.needs_refresh,
            code = null,
            reason = null,
            awaits = null,
            updated_at = syncline.clock()"
    ))
}

/// Makes tasks due that wait for any of these keys, parked ones too: Salesforce ids or external ids of records that
/// exist from now on, or whose rows have let go of others. May also wake another tenant's record; harmless. Their
/// attempts are counted from zero: a lookup that was withheld is sent again, and a task woken without need is not
/// closer to parking.
pub(crate) async fn wake_waiting(tx: &mut Tx, names: &[String]) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    tx.run(
        "waking records that wait for others",
        sqlx::query(
            "with waiting as materialized (
                select waiting.record_id
                from syncline.sync_task as waiting
                where waiting.awaits && $1
                order by waiting.record_id
                -- Skips tasks that another worker is leasing: they are being worked on.
                for update skip locked
            ),
            closed as (
                update syncline.sync_dead_letter as letter
                set closed_at = syncline.clock(),
                    outcome = 'a record that it waited for has come'
                from waiting
                where letter.record_id = waiting.record_id
                and letter.origin = 'task'
                and letter.closed_at is null
            )
            update syncline.sync_task as task
            set state = case when task.state = 'parked' then 'ready' else task.state end,
                due_at = syncline.clock(),
                attempts = '{}',
                code = case when task.state = 'parked' then null else task.code end,
                awaits = null,
                updated_at = syncline.clock()
            from waiting
            where task.record_id = waiting.record_id",
        )
        .bind(names),
    )
    .await?;
    Ok(())
}

/// Leases due tasks of the object, oldest first.
pub(crate) async fn lease_tasks(
    tx: &mut Tx,
    mapped: &MappedObject,
    limit: usize,
    worker: &str,
    lease_ms: i64,
) -> Result<Vec<LeasedTask>, StoreError> {
    tx.rows(
        "leasing tasks",
        sqlx::query_as(AssertSqlSafe(lease()))
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(worker)
            .bind(interval(lease_ms)),
    )
    .await
}

/// Which tasks of an object may be leased once they are due. A record with an open intent may not: its write may
/// still have an effect.
pub(crate) const LEASABLE: &str = "task.tenant = $1
    and task.object = $2
    and task.state = 'ready'
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
    )";

/// Returns the statement that leases due tasks, oldest first. A record with an unknown intent is refreshed first. The
/// lease ends by the database's clock.
fn lease() -> String {
    format!(
        "with due as materialized (
        select task.record_id, task.needs_refresh, task.due_at
        from syncline.sync_task as task
        where {LEASABLE}
        and task.due_at <= syncline.clock()
        order by task.due_at, task.record_id
        limit $3
        -- Skips tasks that another worker is leasing.
        for update of task skip locked
    ),
    leased as (
        update syncline.sync_task as task
        set state = 'leased',
            lease_owner = $4,
            -- By the wall clock: a lease must not begin before it is given.
            lease_until = syncline.wall_clock() + $5,
            fencing_token = default,
            -- The lease takes the request for a refresh; a later request is for the next lease.
            needs_refresh = false,
            awaits = null,
            updated_at = syncline.clock()
        from due
        where task.record_id = due.record_id
        returning task.record_id, task.fencing_token, task.generation, task.attempts, due.needs_refresh, due.due_at
    )
    select
        leased.record_id,
        leased.fencing_token,
        leased.generation,
        leased.attempts,
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
    order by leased.due_at, leased.record_id"
    )
}

impl FromRow<'_, PgRow> for LeasedTask {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let salesforce_id: Option<&str> = row.try_get("salesforce_id")?;
        let Json(attempts) = row.try_get("attempts")?;
        Ok(Self {
            record_id: RecordId(row.try_get("record_id")?),
            token: FencingToken(row.try_get("fencing_token")?),
            generation: Generation(row.try_get("generation")?),
            attempts,
            needs_refresh: row.try_get("needs_refresh")?,
            salesforce_id: salesforce_id
                .map(SalesforceId::parse)
                .transpose()
                .map_err(|error| sqlx::Error::Decode(error.into()))?,
            external_id: row.try_get("external_id")?,
        })
    }
}

/// Which leases [`lock_leased_tasks`] accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseTime {
    /// Leases with time left: a write may be recorded only under such a lease.
    Left,
    /// Expired leases too: the outcome of a write is recorded as long as no other worker has leased the
    /// record.
    Any,
}

/// A lease by its fencing token.
#[derive(Serialize)]
struct LeaseRef {
    record_id: RecordId,
    token: FencingToken,
}

/// The leases that stand, with the generation of work that a plan from now on covers: all work that came until
/// now, unless some of it needs a refresh first.
pub(crate) type StandingLeases = BTreeMap<(RecordId, FencingToken), Option<Generation>>;

/// Locks the tasks that are still leased under these fencing tokens, and returns them. A worker whose lease
/// was ended by a sweep or given to another worker has an old token. Excludes ending the same lease twice.
pub(crate) async fn lock_leased_tasks(
    tx: &mut Tx,
    leases: impl Iterator<Item = &LeasedTask>,
    time: LeaseTime,
) -> Result<StandingLeases, StoreError> {
    let references: Vec<LeaseRef> = leases
        .map(|lease| LeaseRef {
            record_id: lease.record_id,
            token: lease.token,
        })
        .collect();
    let rows: Vec<(Uuid, i64, Option<i64>)> = tx
        .rows(
            "locking leased tasks",
            sqlx::query_as(
                "select task.record_id, task.fencing_token,
                    case when not task.needs_refresh then task.generation end
                from jsonb_to_recordset($1) as leased (record_id uuid, token bigint)
                join syncline.sync_task as task using (record_id)
                where task.state = 'leased'
                and task.fencing_token = leased.token
                -- By the wall clock: the locks before may have waited.
                and (not $2 or task.lease_until > syncline.wall_clock())
                order by task.record_id
                -- Excludes the sweep and new work until the outcome is recorded.
                for update of task",
            )
            .bind(recordset(&references))
            .bind(time == LeaseTime::Left),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(record, token, generation)| {
            let lease = (RecordId(record), FencingToken(token));
            (lease, generation.map(Generation))
        })
        .collect())
}

#[derive(Serialize)]
struct Ended<'a> {
    record_id: RecordId,
    token: FencingToken,
    generation: Generation,
    again: bool,
    park: bool,
    delay_ms: i64,
    cause: Option<Cause>,
    needs_refresh: bool,
    code: Option<&'a str>,
    reason: Option<&'a str>,
    awaits: Option<&'a [String]>,
}

#[derive(sqlx::FromRow)]
struct ParkedRow {
    record_id: Uuid,
    attempts: i32,
}

/// Ends leases: three statements for any number of them. Ends of leases that were lost are ignored.
pub(crate) async fn end_leases(
    tx: &mut Tx,
    mapped: &MappedObject,
    ends: &[(LeasedTask, LeaseEnd)],
) -> Result<(), StoreError> {
    if ends.is_empty() {
        return Ok(());
    }
    let rows: Vec<Ended<'_>> = ends.iter().map(|(lease, end)| ended(lease, end)).collect();
    tx.run(
        "deleting finished tasks",
        sqlx::query(
            "delete from syncline.sync_task as task
            using jsonb_to_recordset($1) as ended (
                record_id uuid, token bigint, generation bigint, again boolean, park boolean, delay_ms bigint
            )
            where task.record_id = ended.record_id
            and task.state = 'leased'
            and task.fencing_token = ended.token
            -- Work that came while it was leased keeps the task.
            and task.generation = ended.generation
            and not ended.again
            and not ended.park
            and ended.delay_ms < 0",
        )
        .bind(recordset(&rows)),
    )
    .await?;
    let parked: Vec<ParkedRow> = tx
        .rows(
            "ending leases",
            sqlx::query_as(END_LEASES).bind(recordset(&rows)),
        )
        .await?;
    let dead_letters: Vec<NewDeadLetter> = parked
        .iter()
        .filter_map(|row| dead_letter(mapped, row, ends))
        .collect();
    insert_dead_letters(tx, &dead_letters).await
}

/// Ends the leases with unfinished work, and returns the parked records. Each ended lease gets a new fencing
/// token, so that it cannot be ended twice.
const END_LEASES: &str = "with ended as (
        select *
        from jsonb_to_recordset($1) as ended (
            record_id uuid, token bigint, generation bigint, again boolean, park boolean, delay_ms bigint,
            cause text, needs_refresh boolean, code text, reason text, awaits text[]
        )
    ),
    returned as (
        update syncline.sync_task as task
        set state = case when ended.park and task.generation = ended.generation then 'parked' else 'ready' end,
            due_at = case
                when ended.delay_ms < 0 or task.generation > ended.generation then syncline.clock()
                else syncline.clock() + ended.delay_ms * interval '1 millisecond'
            end,
            attempts = case
                when ended.cause is not null then task.attempts || jsonb_build_object(
                    ended.cause, coalesce((task.attempts ->> ended.cause)::integer, 0) + 1
                )
                when ended.delay_ms < 0 and not ended.park then '{}'
                else task.attempts
            end,
            needs_refresh = task.needs_refresh or ended.needs_refresh,
            code = ended.code,
            reason = ended.reason,
            awaits = ended.awaits,
            lease_owner = null,
            lease_until = null,
            fencing_token = default,
            updated_at = syncline.clock()
        from ended
        where task.record_id = ended.record_id
        and task.state = 'leased'
        and task.fencing_token = ended.token
        returning task.record_id, task.state, task.attempts
    )
    select record_id,
        (
            -- The attempt that parked it is one more.
            select 1 + coalesce(sum(failed.value::integer), 0)::integer
            from jsonb_each_text(returned.attempts) as failed
        ) as attempts
    from returned
    where state = 'parked'";

fn ended<'a>(lease: &LeasedTask, end: &'a LeaseEnd) -> Ended<'a> {
    let blank = Ended {
        record_id: lease.record_id,
        token: lease.token,
        generation: lease.generation,
        again: false,
        park: false,
        delay_ms: -1,
        cause: None,
        needs_refresh: false,
        code: None,
        reason: None,
        awaits: None,
    };
    match end {
        LeaseEnd::Done { again } => Ended {
            again: *again,
            ..blank
        },
        LeaseEnd::Later {
            delay_ms,
            cause,
            needs_refresh,
            code,
            reason,
            awaits,
        } => Ended {
            awaits: (!awaits.is_empty()).then_some(awaits),
            delay_ms: (*delay_ms).max(0),
            cause: *cause,
            needs_refresh: *needs_refresh,
            code: code.as_deref(),
            reason: Some(reason),
            ..blank
        },
        LeaseEnd::Park { reason, awaits } => Ended {
            awaits: (!awaits.is_empty()).then_some(awaits),
            park: true,
            code: Some(&reason.code),
            ..blank
        },
    }
}

fn dead_letter(
    mapped: &MappedObject,
    row: &ParkedRow,
    ends: &[(LeasedTask, LeaseEnd)],
) -> Option<NewDeadLetter> {
    let (_, end) = ends
        .iter()
        .find(|(lease, _)| lease.record_id.0 == row.record_id)?;
    let LeaseEnd::Park { reason, .. } = end else {
        return None;
    };
    Some(NewDeadLetter {
        tenant: mapped.tenant.to_string(),
        object: mapped.sync.object.to_string(),
        record_id: Some(RecordId(row.record_id)),
        origin: "task",
        code: reason.code.clone(),
        field: reason.field.as_ref().map(ToString::to_string),
        message: reason.message.clone(),
        payload: None,
        attempts: row.attempts,
    })
}

/// Ends the leases of a worker that gave up.
pub(crate) async fn abandon_leases(
    tx: &mut Tx,
    mapped: &MappedObject,
    leases: &[LeasedTask],
    writes_sent: WritesSent,
) -> Result<(), StoreError> {
    let (records, tokens): (Vec<Uuid>, Vec<i64>) = leases
        .iter()
        .map(|lease| (lease.record_id.0, lease.token.0))
        .unzip();
    let refreshes: Vec<bool> = leases.iter().map(|lease| lease.needs_refresh).collect();
    tx.run(
        "ending abandoned leases",
        sqlx::query(ABANDON)
            .bind(mapped.tenant.as_str())
            .bind(records)
            .bind(tokens)
            .bind(refreshes)
            .bind(writes_sent == WritesSent::Maybe)
            .bind(Cause::Abandoned.longest_waits_ms()),
    )
    .await?;
    Ok(())
}

/// Ends leases under which no write is in flight. Their open intents become unknown even if the worker
/// reports that nothing was sent, so the record is refreshed first. The attempt counts, so that a record that
/// makes its workers give up repeatedly parks in the end.
const ABANDON: &str = "with abandoned as (
        select *
        from unnest($2::uuid[], $3::bigint[], $4::boolean[]) as abandoned (record_id, fencing_token, needs_refresh)
    ),
    now_unknown as (
        update syncline.sync_intent as intent
        set state = 'unknown',
            updated_at = syncline.clock()
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
        -- Invalidates the worker's token.
        fencing_token = default,
        attempts = task.attempts || jsonb_build_object(
            'abandoned', coalesce((task.attempts ->> 'abandoned')::integer, 0) + 1
        ),
        due_at = syncline.clock() + interval '1 millisecond' * ($6::bigint[])[
            least(coalesce((task.attempts ->> 'abandoned')::integer, 0) + 1, cardinality($6))
        ],
        needs_refresh = task.needs_refresh or abandoned.needs_refresh or task.record_id in (select record_id from now_unknown),
        code = 'lease_abandoned',
        reason = 'its worker gave up',
        updated_at = syncline.clock()
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
