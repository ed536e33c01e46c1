//! Tasks: one row per record that has work, and how a lease on it ends.
//!
//! Whoever ends a lease names its epoch. A worker whose lease was lost still holds the old number, so
//! its late answer touches nothing.

use serde::Serialize;
use uuid::Uuid;

use super::dead_letters::{NewDeadLetter, insert_dead_letters};
use super::transaction::{Tx, recordset};
use crate::engine::ports::store::{LeasedTask, ParkReason};
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{FencingToken, Generation, RecordId};

/// New work for a record.
#[derive(Debug, Clone, Serialize)]
pub(super) struct NewWork {
    /// The record.
    pub(super) record_id: RecordId,
    /// It must be read in Salesforce first.
    pub(super) needs_refresh: bool,
    /// The Postgres transaction the work came from.
    pub(super) xid: Option<i64>,
}

/// Gives records new work: a task where there was none, else a new generation of it. A parked record
/// is ready again, and its dead letter is closed.
pub(super) async fn add_work(tx: &mut Tx, work: &[NewWork]) -> Result<(), StoreError> {
    if work.is_empty() {
        return Ok(());
    }
    tx.run(
        "adding work",
        sqlx::query(
            "insert into syncline.sync_task as task (record_id, tenant, object, needs_refresh, xid)
            select link.record_id, link.tenant, link.object, work.needs_refresh, work.xid
            from jsonb_to_recordset($1) as work (record_id uuid, needs_refresh boolean, xid bigint)
            join syncline.sync_link as link using (record_id)
            order by link.record_id
            -- One task per record: what came meanwhile is a new generation of it, and a lease goes on.
            on conflict (record_id) do update
            set generation = task.generation + 1,
                state = case when task.state = 'leased' then 'leased' else 'ready' end,
                attempts = case when task.state = 'parked' then 0 else task.attempts end,
                due_at = least(task.due_at, now()),
                needs_refresh = task.needs_refresh or excluded.needs_refresh,
                xid = coalesce(excluded.xid, task.xid),
                code = null,
                reason = null,
                awaits = null,
                updated_at = now()",
        )
        .bind(recordset(work)),
    )
    .await?;
    let ids: Vec<Uuid> = work.iter().map(|work| work.record_id.0).collect();
    close_dead_letters_of(tx, &ids, "superseded by a new change").await
}

/// Wakes the tasks that wait for any of these names: Salesforce ids or external ids that records go by
/// from now on. A record of another tenant that waits for the same name is woken in vain, which harms
/// nobody. The try that this brings does not count: a task that is woken in vain is not closer to
/// giving up.
pub(super) async fn wake_children(tx: &mut Tx, names: &[String]) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    tx.run(
        "waking children",
        sqlx::query(
            "update syncline.sync_task as task
            set due_at = now(),
                attempts = greatest(task.attempts - 1, 0),
                awaits = null,
                updated_at = now()
            from (
                select waiting.record_id
                from syncline.sync_task as waiting
                where waiting.awaits && $1
                order by waiting.record_id
                -- One that is being leased right now needs no waking.
                for update skip locked
            ) as waiting
            where task.record_id = waiting.record_id",
        )
        .bind(names),
    )
    .await?;
    Ok(())
}

/// Closes the open dead letters of these records' tasks.
pub(super) async fn close_dead_letters_of(
    tx: &mut Tx,
    records: &[Uuid],
    outcome: &str,
) -> Result<(), StoreError> {
    tx.run(
        "closing dead letters",
        sqlx::query(
            "update syncline.sync_dead_letter
            set closed_at = now(),
                outcome = $2
            where record_id = any($1)
            and origin = 'task'
            and closed_at is null",
        )
        .bind(records)
        .bind(outcome),
    )
    .await?;
    Ok(())
}

/// How the work of one lease ended.
#[derive(Debug, Clone)]
pub(super) enum LeaseEnd {
    /// Nothing remains, unless the task grew meanwhile or `again` says so.
    Done {
        /// There is more to do all the same.
        again: bool,
    },
    /// Try again later.
    Later {
        /// From now.
        delay_ms: i64,
        /// It was an attempt.
        counts: bool,
        /// Read the record in Salesforce first.
        needs_refresh: bool,
        /// A stable word, where there is one.
        code: Option<String>,
        /// Why, in words without values.
        reason: String,
        /// Parents it waits for, by any name: their arrival wakes it.
        awaits: Vec<String>,
    },
    /// Stop the record, unless the task grew meanwhile.
    Park(Parking),
}

/// Why a record stops.
#[derive(Debug, Clone)]
pub(super) struct Parking {
    /// A stable word.
    pub(super) code: String,
    /// The field to blame.
    pub(super) field: Option<String>,
    /// What to do about it. May quote values.
    pub(super) message: String,
    /// Evidence for whoever looks.
    pub(super) payload: Option<serde_json::Value>,
}

impl From<ParkReason> for Parking {
    fn from(reason: ParkReason) -> Self {
        Self {
            code: reason.code,
            field: reason.field.map(|field| field.to_string()),
            message: reason.message,
            payload: None,
        }
    }
}

#[derive(Serialize)]
struct Ended<'a> {
    record_id: RecordId,
    token: FencingToken,
    generation: Generation,
    again: bool,
    park: bool,
    delay_ms: i64,
    counts: bool,
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
pub(super) async fn end_leases(
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
            "giving leases back",
            sqlx::query_as(END_LEASES).bind(recordset(&rows)),
        )
        .await?;
    let dead_letters: Vec<NewDeadLetter> = parked
        .iter()
        .filter_map(|row| dead_letter(mapped, row, ends))
        .collect();
    insert_dead_letters(tx, &dead_letters).await
}

/// Gives back the leases that did not finish, and returns the records that were parked. A lease that
/// is gone draws a new epoch, so that nobody can end it twice.
const END_LEASES: &str = "with ended as (
        select *
        from jsonb_to_recordset($1) as ended (
            record_id uuid, token bigint, generation bigint, again boolean, park boolean, delay_ms bigint,
            counts boolean, needs_refresh boolean, code text, reason text, awaits text[]
        )
    ),
    returned as (
        update syncline.sync_task as task
        set state = case when ended.park and task.generation = ended.generation then 'parked' else 'ready' end,
            due_at = case
                when ended.delay_ms < 0 or task.generation > ended.generation then now()
                else now() + ended.delay_ms * interval '1 millisecond'
            end,
            attempts = case
                when ended.counts then task.attempts + 1
                when ended.delay_ms < 0 and not ended.park then 0
                else task.attempts
            end,
            needs_refresh = task.needs_refresh or ended.needs_refresh,
            code = ended.code,
            reason = ended.reason,
            awaits = ended.awaits,
            lease_owner = null,
            lease_until = null,
            fencing_token = default,
            updated_at = now()
        from ended
        where task.record_id = ended.record_id
        and task.state = 'leased'
        and task.fencing_token = ended.token
        returning task.record_id, task.state, task.attempts
    )
    select record_id, attempts
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
        counts: false,
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
            counts,
            needs_refresh,
            code,
            reason,
            awaits,
        } => Ended {
            awaits: (!awaits.is_empty()).then_some(awaits),
            delay_ms: (*delay_ms).max(0),
            counts: *counts,
            needs_refresh: *needs_refresh,
            code: code.as_deref(),
            reason: Some(reason),
            ..blank
        },
        LeaseEnd::Park(parking) => Ended {
            park: true,
            counts: true,
            code: Some(&parking.code),
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
    let LeaseEnd::Park(parking) = end else {
        return None;
    };
    Some(NewDeadLetter {
        tenant: mapped.tenant.to_string(),
        object: mapped.sync.object.to_string(),
        record_id: Some(RecordId(row.record_id)),
        origin: "task",
        code: parking.code.clone(),
        field: parking.field.clone(),
        message: parking.message.clone(),
        payload: parking.payload.clone(),
        attempts: row.attempts,
    })
}
