//! Switches, the org's identity, and streams: who reads one, and how far it has come.

use sqlx::postgres::types::PgInterval;

use super::PgStore;
use super::records::corrupt;
use super::transaction::Tx;
use crate::engine::ports::StoreError;
use crate::engine::ports::store::{Control, StreamLease, StreamName, StreamPosition};
use crate::model::cursor::SourceCursor;
use crate::model::ids::{FencingToken, ObjectName, OrgEpoch, SalesforceId, TenantId};

#[derive(sqlx::FromRow)]
struct ControlRow {
    paused: bool,
    organization_id: Option<String>,
    org_epoch: i64,
    needs_resync: Vec<String>,
}

#[derive(sqlx::FromRow)]
struct LeaseRow {
    fencing_token: i64,
    position: Option<String>,
    needs_resync: bool,
}

/// Returns milliseconds as an interval, by which the database's own clock is moved.
pub(super) fn interval(ms: i64) -> PgInterval {
    PgInterval {
        months: 0,
        days: 0,
        microseconds: ms.saturating_mul(1_000),
    }
}

impl PgStore {
    /// See [`crate::engine::ports::StorePort::control`].
    pub(super) async fn control(&self, tenant: &TenantId) -> Result<Control, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<ControlRow> = tx
            .row(
                "reading the tenant's switches",
                sqlx::query_as(
                    "select
                        coalesce(bool_or(control.paused_at is not null), false) as paused,
                        min(control.organization_id) as organization_id,
                        coalesce(min(control.org_epoch), 0) as org_epoch,
                        (
                            select coalesce(array_agg(capture.object order by capture.object), '{}')
                            from syncline.sync_capture as capture
                            left join syncline.sync_checkpoint as scan
                                on scan.tenant = capture.tenant
                                and scan.stream = 'scan:' || capture.object
                            where capture.tenant = $1
                            and coalesce(scan.needs_resync, true)
                        ) as needs_resync
                    from syncline.sync_control as control
                    where control.tenant = $1",
                )
                .bind(tenant.as_str()),
            )
            .await?;
        tx.rollback().await?;
        let Some(row) = row else {
            return Ok(Control::default());
        };
        let org = row
            .organization_id
            .map(|id| SalesforceId::parse(&id).map(|id| (id, OrgEpoch(row.org_epoch))))
            .transpose()
            .map_err(corrupt)?;
        let needs_resync = row
            .needs_resync
            .iter()
            .map(|object| ObjectName::parse(object))
            .collect::<Result<_, _>>()
            .map_err(corrupt)?;
        Ok(Control {
            paused: row.paused,
            org,
            needs_resync,
        })
    }

    /// See [`crate::engine::ports::StorePort::adopt_org`].
    pub(super) async fn adopt_org(
        &self,
        tenant: &TenantId,
        organization: &SalesforceId,
    ) -> Result<OrgEpoch, StoreError> {
        let mut tx = self.begin().await?;
        let changed: Option<(i64,)> = tx
            .row(
                "adopting the org",
                sqlx::query_as(
                    "insert into syncline.sync_control as control (tenant, organization_id, org_epoch)
                    values ($1, $2, 1)
                    -- The same org again changes nothing; another one starts a new epoch.
                    on conflict (tenant) do update
                    set organization_id = excluded.organization_id,
                        org_epoch = control.org_epoch + 1,
                        updated_at = now()
                    where control.organization_id is distinct from excluded.organization_id
                    returning org_epoch",
                )
                .bind(tenant.as_str())
                .bind(organization.as_str()),
            )
            .await?;
        if let Some((epoch,)) = changed {
            forget_positions(&mut tx, tenant).await?;
            tx.commit().await?;
            return Ok(OrgEpoch(epoch));
        }
        let known: Option<(i64,)> = tx
            .row(
                "reading the org epoch",
                sqlx::query_as("select org_epoch from syncline.sync_control where tenant = $1")
                    .bind(tenant.as_str()),
            )
            .await?;
        tx.rollback().await?;
        Ok(OrgEpoch(known.map_or(0, |(epoch,)| epoch)))
    }

    /// See [`crate::engine::ports::StorePort::acquire_stream`].
    pub(super) async fn acquire_stream(
        &self,
        tenant: &TenantId,
        stream: &StreamName,
        owner: &str,
        lease_ms: i64,
    ) -> Result<Option<StreamLease>, StoreError> {
        let mut tx = self.begin().await?;
        let row: Option<LeaseRow> = tx
            .row(
                "leasing a stream",
                sqlx::query_as(
                    "insert into syncline.sync_checkpoint as known (tenant, stream, lease_owner, fencing_token, lease_until)
                    values ($1, $2, $3, 1, clock_timestamp() + $4)
                    -- The owner renews under its epoch; a lapsed or free lease goes to a new owner under a
                    -- new one; a held one is left alone and nothing is returned.
                    on conflict (tenant, stream) do update
                    set fencing_token = case
                            when known.lease_owner = excluded.lease_owner and known.lease_until > clock_timestamp()
                                then known.fencing_token
                            else known.fencing_token + 1
                        end,
                        lease_owner = excluded.lease_owner,
                        lease_until = excluded.lease_until
                    where known.lease_owner is null
                    or known.lease_owner = excluded.lease_owner
                    or known.lease_until <= clock_timestamp()
                    returning fencing_token, position, needs_resync",
                )
                .bind(tenant.as_str())
                .bind(&stream.0)
                .bind(owner)
                .bind(interval(lease_ms)),
            )
            .await?;
        tx.commit().await?;
        row.map(|row| {
            Ok(StreamLease {
                tenant: tenant.clone(),
                stream: stream.clone(),
                token: FencingToken(row.fencing_token),
                position: parse_position(row.position.as_deref())?,
                needs_resync: row.needs_resync,
            })
        })
        .transpose()
    }

    /// See [`crate::engine::ports::StorePort::release_stream`].
    pub(super) async fn release_stream(&self, lease: &StreamLease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "releasing a stream",
            sqlx::query(
                "update syncline.sync_checkpoint
                set lease_owner = null,
                    lease_until = null
                where tenant = $1
                and stream = $2
                -- A lease that was lost meanwhile is somebody else's.
                and fencing_token = $3",
            )
            .bind(lease.tenant.as_str())
            .bind(&lease.stream.0)
            .bind(lease.token.0),
        )
        .await?;
        tx.commit().await
    }

    /// See [`crate::engine::ports::StorePort::mark_needs_resync`].
    pub(super) async fn mark_needs_resync(
        &self,
        tenant: &TenantId,
        objects: &[ObjectName],
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        mark_scans_need_resync(&mut tx, tenant, objects, reason).await?;
        tx.commit().await
    }

    /// Pauses the tenant (nothing is leased, capture goes on) or lets it go on.
    pub async fn set_paused(
        &self,
        tenant: &TenantId,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "switching the tenant",
            sqlx::query(
                "insert into syncline.sync_control as control (tenant, paused_at, paused_reason)
                values ($1, case when $2 then now() end, $3)
                -- Pausing twice keeps the time of the first.
                on conflict (tenant) do update
                set paused_at = case when $2 then coalesce(control.paused_at, now()) end,
                    paused_reason = case when $2 then $3 end,
                    updated_at = now()",
            )
            .bind(tenant.as_str())
            .bind(paused)
            .bind(reason),
        )
        .await?;
        tx.commit().await
    }

    /// Records by how much the two sides' clocks were measured to differ.
    pub async fn set_clock_skew(&self, tenant: &TenantId, skew_ms: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "recording the clock skew",
            sqlx::query(
                "insert into syncline.sync_control (tenant, clock_skew_ms)
                values ($1, $2)
                on conflict (tenant) do update
                set clock_skew_ms = excluded.clock_skew_ms,
                    updated_at = now()",
            )
            .bind(tenant.as_str())
            .bind(skew_ms),
        )
        .await?;
        tx.commit().await
    }
}

async fn forget_positions(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "forgetting the positions of another org",
        sqlx::query(
            "update syncline.sync_checkpoint
            set position = null,
                needs_resync = true,
                resync_reason = 'the org changed',
                lease_owner = null,
                lease_until = null,
                -- Whoever reads a stream of the old org may not move it any more.
                fencing_token = fencing_token + 1,
                updated_at = now()
            where tenant = $1
            and stream <> 'outbox'",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Marks objects as to be read again as a whole.
pub(super) async fn mark_scans_need_resync(
    tx: &mut Tx,
    tenant: &TenantId,
    objects: &[ObjectName],
    reason: &str,
) -> Result<(), StoreError> {
    let streams: Vec<String> = objects
        .iter()
        .map(|object| format!("scan:{object}"))
        .collect();
    tx.run(
        "marking objects for a resync",
        sqlx::query(
            "insert into syncline.sync_checkpoint (tenant, stream, needs_resync, resync_reason)
            select $1, stream, true, $3
            from unnest($2::text[]) as stream
            order by stream
            -- The scan starts over: whoever is in the middle of one loses the position it compares with.
            on conflict (tenant, stream) do update
            set position = null,
                needs_resync = true,
                resync_reason = excluded.resync_reason,
                updated_at = now()",
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
    StoreError::LeaseLost(format!("stream {} of {}", lease.stream.0, lease.tenant))
}

/// Holds the checkpoint until the end of the transaction, if the lease and its position still stand.
pub(super) async fn hold_checkpoint(tx: &mut Tx, lease: &StreamLease) -> Result<(), StoreError> {
    let held: Vec<i64> = tx
        .values(
            "holding a checkpoint",
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
            .bind(&lease.stream.0)
            .bind(lease.token.0)
            .bind(lease.position.as_ref().map(ToString::to_string)),
        )
        .await?;
    if held.is_empty() {
        return Err(lost(lease));
    }
    Ok(())
}

/// Moves the checkpoint from where the lease has it. It is held by this transaction.
pub(super) async fn move_checkpoint(
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
                    captured_at = clock_timestamp(),
                    updated_at = now()
                where tenant = $1
                and stream = $2
                and fencing_token = $3
                -- Compare-and-set on the bytes: positions have no order.
                and position is not distinct from $4",
            )
            .bind(lease.tenant.as_str())
            .bind(&lease.stream.0)
            .bind(lease.token.0)
            .bind(lease.position.as_ref().map(ToString::to_string))
            .bind(position.cursor.to_string())
            .bind(position.needs_resync),
        )
        .await?;
    if moved == 1 { Ok(()) } else { Err(lost(lease)) }
}
