//! Streams: their owners and positions.
//!
//! A stream has one owner and one position. The position moves by compare-and-set under the owner's
//! fencing token.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::cursor::SourceCursor;
use crate::model::ids::{FencingToken, ObjectName, TenantId};
use crate::ports::capture_store::StreamPosition;
use crate::ports::job_store::StreamLease;
use crate::ports::{MappedObject, StoreError, StreamName};
use crate::store::error::corrupt;
use crate::store::transaction::{Tx, interval};

#[derive(sqlx::FromRow)]
struct LeaseRow {
    fencing_token: i64,
    position: Option<String>,
    needs_resync: bool,
    age_ms: Option<i64>,
}

/// Leases the stream to `owner`, or renews its lease. Returns `None` if another owner has it.
pub(crate) async fn lease_stream(
    tx: &mut Tx,
    tenant: &TenantId,
    stream: &StreamName,
    owner: &str,
    lease_ms: i64,
) -> Result<Option<StreamLease>, StoreError> {
    let row: Option<LeaseRow> = tx
            .row(
                "leasing a stream",
                sqlx::query_as(
                    "insert into syncline.sync_checkpoint as known (tenant, stream, lease_owner, fencing_token, lease_until)
                    values ($1, $2, $3, 1, syncline.wall_clock() + $4)
                    -- Leases run by the wall clock, because this statement may have waited for the row.
                    -- The owner renews under its fencing token; an expired or free lease goes to a new owner
                    -- under a new token; the lease of another owner is left alone and nothing is returned.
                    on conflict (tenant, stream) do update
                    set fencing_token = case
                            when known.lease_owner = excluded.lease_owner and known.lease_until > syncline.wall_clock()
                                then known.fencing_token
                            else known.fencing_token + 1
                        end,
                        lease_owner = excluded.lease_owner,
                        lease_until = excluded.lease_until,
                        -- An owner that renews its lease reads the stream.
                        read_at = case
                            when known.lease_owner = excluded.lease_owner then syncline.wall_clock()
                            else known.read_at
                        end
                    where known.lease_owner is null
                    or known.lease_owner = excluded.lease_owner
                    or known.lease_until <= syncline.wall_clock()
                    returning fencing_token, position, needs_resync,
                        (extract(epoch from syncline.wall_clock() - read_at) * 1000)::bigint as age_ms",
                )
                .bind(tenant.as_str())
                .bind(stream.to_string())
                .bind(owner)
                .bind(interval(lease_ms)),
            )
            .await?;
    row.map(|row| {
        Ok(StreamLease {
            tenant: tenant.clone(),
            stream: stream.clone(),
            token: FencingToken(row.fencing_token),
            position: parse_position(row.position.as_deref())?,
            needs_resync: row.needs_resync,
            drained: false,
            age_ms: row.age_ms,
        })
    })
    .transpose()
}

/// Ends the lease, if it is still valid.
pub(crate) async fn end_stream_lease(tx: &mut Tx, lease: &StreamLease) -> Result<(), StoreError> {
    tx.run(
        "releasing a stream",
        sqlx::query(
            "update syncline.sync_checkpoint
                set lease_owner = null,
                    lease_until = null,
                    read_at = case when $4 then syncline.wall_clock() else read_at end
                where tenant = $1
                and stream = $2
                -- A lease that was lost meanwhile belongs to another worker.
                and fencing_token = $3",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.stream.to_string())
        .bind(lease.token.0)
        .bind(lease.drained),
    )
    .await?;
    Ok(())
}

/// Ends every lease of the owner, who has ended.
pub(crate) async fn end_leases_of(
    tx: &mut Tx,
    tenant: &TenantId,
    owner: &str,
) -> Result<(), StoreError> {
    tx.run(
        "ending the leases of an ended worker",
        sqlx::query(
            "update syncline.sync_checkpoint
                set lease_owner = null,
                    lease_until = null
                where tenant = $1
                and lease_owner = $2",
        )
        .bind(tenant.as_str())
        .bind(owner),
    )
    .await?;
    Ok(())
}

/// Returns how long ago the owner of each stream last read it, in milliseconds.
pub(crate) async fn stream_ages(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<BTreeMap<StreamName, i64>, StoreError> {
    let rows: Vec<(String, i64)> = tx
        .rows(
            "measuring the ages of the streams",
            sqlx::query_as(
                "select stream, (extract(epoch from syncline.wall_clock() - read_at) * 1000)::bigint
                from syncline.sync_checkpoint
                where tenant = $1
                and read_at is not null",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|(stream, age_ms)| (StreamName::from(stream), age_ms))
        .collect())
}

/// Clears the positions of every Salesforce stream: another org has other positions.
pub(crate) async fn forget_positions(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "forgetting the positions of another org",
        sqlx::query(
            "update syncline.sync_checkpoint
            set position = null,
                needs_resync = true,
                resync_reason = 'the org changed',
                lease_owner = null,
                lease_until = null,
                -- Invalidates the tokens of those that still read streams of the old org.
                fencing_token = fencing_token + 1,
                updated_at = syncline.clock()
            where tenant = $1
            and stream <> 'outbox'",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Marks objects as needing a resync.
pub(crate) async fn mark_scans_need_resync(
    tx: &mut Tx,
    tenant: &TenantId,
    objects: &[ObjectName],
    reason: &str,
) -> Result<(), StoreError> {
    let streams: Vec<String> = objects
        .iter()
        .map(|object| StreamName::Scan(object.clone()).to_string())
        .collect();
    tx.run(
        "marking objects for a resync",
        sqlx::query(
            "insert into syncline.sync_checkpoint (tenant, stream, needs_resync, resync_reason)
            select $1, stream, true, $3
            from unnest($2::text[]) as stream
            order by stream
            -- The scan starts over: a scan under way no longer finds the position that it compares with.
            on conflict (tenant, stream) do update
            set position = null,
                needs_resync = true,
                resync_reason = excluded.resync_reason,
                updated_at = syncline.clock()",
        )
        .bind(tenant.as_str())
        .bind(streams)
        .bind(reason),
    )
    .await?;
    Ok(())
}

fn parse_position(position: Option<&str>) -> Result<Option<SourceCursor>, StoreError> {
    position
        .map(|position| position.parse().map_err(corrupt))
        .transpose()
}

fn lost(lease: &StreamLease) -> StoreError {
    StoreError::LeaseLost(format!("stream {} of {}", lease.stream, lease.tenant))
}

/// Locks the checkpoint until the end of the transaction, if the lease and its position are still current.
/// Excludes other owners.
pub(crate) async fn lock_checkpoint(tx: &mut Tx, lease: &StreamLease) -> Result<(), StoreError> {
    let locked: Vec<i64> = tx
        .values(
            "locking a checkpoint",
            sqlx::query_scalar(
                "select fencing_token
                from syncline.sync_checkpoint
                where tenant = $1
                and stream = $2
                and fencing_token = $3
                and position is not distinct from $4
                -- Excludes a new owner until this batch is recorded.
                for update",
            )
            .bind(lease.tenant.as_str())
            .bind(lease.stream.to_string())
            .bind(lease.token.0)
            .bind(lease.position.as_ref().map(ToString::to_string)),
        )
        .await?;
    if locked.is_empty() {
        return Err(lost(lease));
    }
    Ok(())
}

/// Moves the checkpoint from the lease's position. This transaction has locked it.
pub(crate) async fn move_checkpoint(
    tx: &mut Tx,
    lease: &StreamLease,
    position: &StreamPosition,
) -> Result<(), StoreError> {
    let moved = tx
        .run(
            "moving a checkpoint",
            sqlx::query(
                "update syncline.sync_checkpoint
                set position = $5,
                    needs_resync = coalesce($6, needs_resync),
                    resync_reason = case when not coalesce($6, needs_resync) then null else resync_reason end,
                    captured_at = syncline.wall_clock(),
                    read_at = syncline.wall_clock(),
                    updated_at = syncline.clock()
                where tenant = $1
                and stream = $2
                and fencing_token = $3
                -- Compare-and-set on the bytes: positions have no order.
                and position is not distinct from $4",
            )
            .bind(lease.tenant.as_str())
            .bind(lease.stream.to_string())
            .bind(lease.token.0)
            .bind(lease.position.as_ref().map(ToString::to_string))
            .bind(position.cursor.to_string())
            .bind(position.needs_resync),
        )
        .await?;
    if moved == 1 { Ok(()) } else { Err(lost(lease)) }
}

/// Notes that the owner of a stream without a position has moved on. Fails if its lease is lost, and excludes other
/// owners until the end of the transaction.
pub(crate) async fn note_progress(tx: &mut Tx, lease: &StreamLease) -> Result<(), StoreError> {
    let noted = tx
        .run(
            "noting the progress of a stream",
            sqlx::query(
                "update syncline.sync_checkpoint
                set needs_resync = false,
                    captured_at = syncline.wall_clock(),
                    read_at = syncline.wall_clock(),
                    updated_at = syncline.clock()
                where tenant = $1
                and stream = $2
                and fencing_token = $3",
            )
            .bind(lease.tenant.as_str())
            .bind(lease.stream.to_string())
            .bind(lease.token.0),
        )
        .await?;
    if noted == 1 { Ok(()) } else { Err(lost(lease)) }
}

/// Clears the position of a stream, which this transaction has locked: the next owner begins at the oldest
/// event that is kept.
pub(crate) async fn clear_position(tx: &mut Tx, lease: &StreamLease) -> Result<(), StoreError> {
    tx.run(
        "clearing a position",
        sqlx::query(
            "update syncline.sync_checkpoint
            set position = null,
                read_at = syncline.wall_clock(),
                updated_at = syncline.clock()
            where tenant = $1
            and stream = $2",
        )
        .bind(lease.tenant.as_str())
        .bind(lease.stream.to_string()),
    )
    .await?;
    Ok(())
}

/// Locks the outboxes of those tenants that have rows, and returns the tenants. Skips outboxes that another
/// transaction drains.
pub(crate) async fn lock_outbox(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
) -> Result<Vec<String>, StoreError> {
    let tenants: BTreeSet<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let tenants: Vec<&str> = tenants.into_iter().collect();
    let waiting: Vec<bool> = tx
        .values(
            "looking into the outbox",
            sqlx::query_scalar(
                "select exists (
                    select
                    from syncline.sync_outbox
                    where tenant = any($1)
                    or coalesce(btrim(tenant), '') = ''
                )",
            )
            .bind(&tenants),
        )
        .await?;
    if waiting != [true] {
        return Ok(Vec::new());
    }
    tx.run(
        "opening the outbox stream",
        sqlx::query(
            "insert into syncline.sync_checkpoint (tenant, stream, needs_resync)
            select tenant, $2, false
            from unnest($1::text[]) as tenant
            order by tenant
            -- A stream that exists keeps its position and its lease.
            on conflict (tenant, stream) do nothing",
        )
        .bind(&tenants)
        .bind(StreamName::Outbox.to_string()),
    )
    .await?;
    tx.values(
        "locking the outbox stream",
        sqlx::query_scalar(
            "select tenant
            from syncline.sync_checkpoint
            where tenant = any($1)
            and stream = $2
            order by tenant
            -- One capture drains a tenant's outbox at a time; a second one has nothing to do.
            for update skip locked",
        )
        .bind(&tenants)
        .bind(StreamName::Outbox.to_string()),
    )
    .await
}

/// Notes that the tenants' outboxes were drained just now.
pub(crate) async fn note_capture(tx: &mut Tx, tenants: &[String]) -> Result<(), StoreError> {
    tx.run(
        "noting the capture",
        sqlx::query(
            "update syncline.sync_checkpoint
            set captured_at = syncline.clock(),
                updated_at = syncline.clock()
            where tenant = any($1)
            and stream = $2",
        )
        .bind(tenants)
        .bind(StreamName::Outbox.to_string()),
    )
    .await?;
    Ok(())
}

/// The state of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// The stream.
    pub stream: StreamName,
    /// Its stored position.
    pub position: Option<SourceCursor>,
    /// Changes before the position may be missing.
    pub needs_resync: bool,
    /// Why it needs a resync, if a reason was given.
    pub resync_reason: Option<String>,
    /// Its owner.
    pub owner: Option<String>,
    /// The fencing token.
    pub fencing_token: FencingToken,
    /// When its lease ends.
    pub leased_until: Option<DateTime<Utc>>,
    /// When it moved last.
    pub captured_at: Option<DateTime<Utc>>,
    /// When its owner last read it, with or without new changes.
    pub read_at: Option<DateTime<Utc>>,
}

#[derive(sqlx::FromRow)]
struct CheckpointRow {
    stream: String,
    position: Option<String>,
    needs_resync: bool,
    resync_reason: Option<String>,
    lease_owner: Option<String>,
    fencing_token: i64,
    lease_until: Option<DateTime<Utc>>,
    captured_at: Option<DateTime<Utc>>,
    read_at: Option<DateTime<Utc>>,
}

/// Returns the state of one stream of the tenant, or of each of them.
pub(crate) async fn read_checkpoints(
    tx: &mut Tx,
    tenant: &TenantId,
    stream: Option<&StreamName>,
) -> Result<Vec<CheckpointState>, StoreError> {
    let rows: Vec<CheckpointRow> = tx
        .rows(
            "reading checkpoints",
            sqlx::query_as(
                "select stream, position, needs_resync, resync_reason, lease_owner, fencing_token, lease_until, captured_at,
                    read_at
                from syncline.sync_checkpoint
                where tenant = $1
                and ($2::text is null or stream = $2)
                order by stream",
            )
            .bind(tenant.as_str())
            .bind(stream.map(StreamName::to_string)),
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(CheckpointState {
                stream: StreamName::from(row.stream),
                position: row
                    .position
                    .map(|position| position.parse())
                    .transpose()
                    .map_err(corrupt)?,
                needs_resync: row.needs_resync,
                resync_reason: row.resync_reason,
                owner: row.lease_owner,
                fencing_token: FencingToken(row.fencing_token),
                leased_until: row.lease_until,
                captured_at: row.captured_at,
                read_at: row.read_at,
            })
        })
        .collect()
}
