//! Switches of a tenant, and its org.

use crate::model::ids::{ObjectName, OrgEpoch, SalesforceId, TenantId};
use crate::ports::StoreError;
use crate::ports::job_store::{ClockSkew, Control};
use crate::ports::salesforce::ApiUsage;
use crate::store::error::corrupt;
use crate::store::tables::checkpoint::stream_ages;
use crate::store::tables::database::{DatabaseColumns, KNOWN_AND_FOUND};
use crate::store::transaction::Tx;

#[derive(sqlx::FromRow)]
struct ControlRow {
    paused: bool,
    organization_id: Option<String>,
    org_epoch: i64,
    needs_resync: Vec<String>,
    database_ms: i64,
    clock_skew_ms: Option<i64>,
    clock_uncertainty_ms: Option<i64>,
    clock_skew_age_ms: Option<i64>,
    api_requests_used: Option<i64>,
    api_requests_max: Option<i64>,
    replays: i64,
    #[sqlx(flatten)]
    database: DatabaseColumns,
}

impl ControlRow {
    /// Returns the stored skew of the clocks and its age, if it was measured.
    fn clock_skew(&self) -> Option<(ClockSkew, i64)> {
        let skew = ClockSkew {
            skew_ms: self.clock_skew_ms?,
            uncertainty_ms: self.clock_uncertainty_ms?,
        };
        Some((skew, self.clock_skew_age_ms?))
    }

    fn api_usage(&self) -> Option<ApiUsage> {
        Some(ApiUsage {
            used: self.api_requests_used?,
            max: self.api_requests_max?,
        })
    }
}

/// Reads the tenant's switches, and compares its database with the connected one.
pub(crate) async fn read_control(
    tx: &mut Tx,
    tenant: &TenantId,
    endpoint: &str,
) -> Result<Control, StoreError> {
    let sql = format!(
        "select
            coalesce(bool_or(control.paused_at is not null or control.other_organization_id is not null), false) as paused,
            min(control.organization_id) as organization_id,
            coalesce(min(control.org_epoch), 0) as org_epoch,
            (
                select coalesce(array_agg(capture.object order by capture.object), '{{}}')
                from syncline.sync_capture as capture
                left join syncline.sync_checkpoint as scan
                    on scan.tenant = capture.tenant
                    and scan.stream = 'scan:' || capture.object
                where capture.tenant = $1
                and coalesce(scan.needs_resync, true)
            ) as needs_resync,
            (extract(epoch from syncline.wall_clock()) * 1000)::bigint as database_ms,
            min(control.clock_skew_ms) as clock_skew_ms,
            min(control.clock_uncertainty_ms) as clock_uncertainty_ms,
            (extract(epoch from syncline.clock() - min(control.clock_measured_at)) * 1000)::bigint as clock_skew_age_ms,
            min(control.api_requests_used) as api_requests_used,
            min(control.api_requests_max) as api_requests_max,
            coalesce(min(control.replays), 0) as replays,
            {KNOWN_AND_FOUND}
        from syncline.sync_control as control
        where control.tenant = $1"
    );
    let row: Option<ControlRow> = tx
        .row(
            "reading the tenant's switches",
            sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(tenant.as_str())
                .bind(endpoint),
        )
        .await?;
    let row = row.ok_or_else(|| corrupt("an aggregate without a row"))?;
    let stream_ages_ms = stream_ages(tx, tenant).await?;
    let (clock_skew, api_usage) = (row.clock_skew(), row.api_usage());
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
        fence_age_ms: row.database.fence_age_ms(),
        clock_skew,
        api_usage,
        database: row.database.state(),
        paused: row.paused,
        org,
        needs_resync,
        stream_ages_ms,
        outage: None,
        database_ms: Some(row.database_ms),
        replays: row.replays,
    })
}

/// Stores the tenant's first org, and returns the epoch that it starts.
pub(crate) async fn set_first_org(
    tx: &mut Tx,
    tenant: &TenantId,
    organization: &SalesforceId,
) -> Result<Option<OrgEpoch>, StoreError> {
    let first: Option<(i64,)> = tx
        .row(
            "recording the org",
            sqlx::query_as(
                "insert into syncline.sync_control as control (tenant, organization_id, org_epoch)
                    values ($1, $2, 1)
                    -- An org that is known stays.
                    on conflict (tenant) do update
                    set organization_id = excluded.organization_id,
                        org_epoch = control.org_epoch + 1,
                        updated_at = syncline.clock()
                    where control.organization_id is null
                    returning org_epoch",
            )
            .bind(tenant.as_str())
            .bind(organization.as_str()),
        )
        .await?;
    Ok(first.map(|(epoch,)| OrgEpoch(epoch)))
}

/// Records which org the login leads to: nothing if it is the tenant's, else the one that holds the tenant.
pub(crate) async fn note_login(
    tx: &mut Tx,
    tenant: &TenantId,
    organization: &SalesforceId,
) -> Result<(), StoreError> {
    tx.run(
        "recording where the login leads",
        sqlx::query(
            "update syncline.sync_control
                set other_organization_id = nullif($2, organization_id),
                    updated_at = syncline.clock()
                where tenant = $1
                and other_organization_id is distinct from nullif($2, organization_id)",
        )
        .bind(tenant.as_str())
        .bind(organization.as_str()),
    )
    .await?;
    Ok(())
}

/// Makes the org that the login leads to the tenant's, and returns it; `None` if the login leads to the known one.
pub(crate) async fn adopt_other_org(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Option<(SalesforceId, OrgEpoch)>, StoreError> {
    let adopted: Option<(String, i64)> = tx
        .row(
            "adopting another org",
            sqlx::query_as(
                "update syncline.sync_control
                    set organization_id = other_organization_id,
                        other_organization_id = null,
                        org_epoch = org_epoch + 1,
                        updated_at = syncline.clock()
                    where tenant = $1
                    and other_organization_id is not null
                    returning organization_id, org_epoch",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    adopted
        .map(|(id, epoch)| Ok((SalesforceId::parse(&id).map_err(corrupt)?, OrgEpoch(epoch))))
        .transpose()
}

/// Returns the tenant's org and its epoch.
pub(crate) async fn known_org(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Option<(SalesforceId, OrgEpoch)>, StoreError> {
    let known: Option<(Option<String>, i64)> = tx
        .row(
            "reading the org",
            sqlx::query_as(
                "select organization_id, org_epoch from syncline.sync_control where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    let Some((Some(id), epoch)) = known else {
        return Ok(None);
    };
    Ok(Some((
        SalesforceId::parse(&id).map_err(corrupt)?,
        OrgEpoch(epoch),
    )))
}

/// Pauses or resumes the tenant.
pub(crate) async fn set_paused(
    tx: &mut Tx,
    tenant: &TenantId,
    paused: bool,
    reason: Option<&str>,
) -> Result<(), StoreError> {
    tx.run(
        "switching the tenant",
        sqlx::query(
            "insert into syncline.sync_control as control (tenant, paused_at, paused_reason)
                values ($1, case when $2 then syncline.clock() end, $3)
                -- Pausing twice keeps the time of the first.
                on conflict (tenant) do update
                set paused_at = case when $2 then coalesce(control.paused_at, syncline.clock()) end,
                    paused_reason = case when $2 then $3 end,
                    updated_at = syncline.clock()",
        )
        .bind(tenant.as_str())
        .bind(paused)
        .bind(reason),
    )
    .await?;
    Ok(())
}

/// Records that something of the tenant has changed just now.
pub(crate) async fn note_activity(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "noting the tenant's activity",
        sqlx::query(
            "update syncline.sync_control set active_at = syncline.clock() where tenant = $1",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Returns how long ago something of the tenant last changed, in milliseconds.
pub(crate) async fn idle_ms(tx: &mut Tx, tenant: &TenantId) -> Result<Option<i64>, StoreError> {
    let row: Option<(Option<i64>,)> = tx
        .row(
            "measuring how long the tenant is idle",
            sqlx::query_as(
                "select (extract(epoch from syncline.clock() - active_at) * 1000)::bigint
                    from syncline.sync_control
                    where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    Ok(row.and_then(|(idle_ms,)| idle_ms))
}

/// Counts a replay of stopped work.
pub(crate) async fn count_replay(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "counting a replay",
        sqlx::query(
            "insert into syncline.sync_control as control (tenant, replays)
                values ($1, 1)
                -- The other switches stay as they are.
                on conflict (tenant) do update
                set replays = control.replays + 1,
                    updated_at = syncline.clock()",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Returns how often stopped work of the tenant was replayed.
pub(crate) async fn replays(tx: &mut Tx, tenant: &TenantId) -> Result<i64, StoreError> {
    let row: Option<(i64,)> = tx
        .row(
            "reading how often work was replayed",
            sqlx::query_as("select replays from syncline.sync_control where tenant = $1")
                .bind(tenant.as_str()),
        )
        .await?;
    Ok(row.map_or(0, |(replays,)| replays))
}

/// Stores the measured clock skew.
pub(crate) async fn note_clock_skew(
    tx: &mut Tx,
    tenant: &TenantId,
    skew: ClockSkew,
) -> Result<(), StoreError> {
    tx.run(
        "recording the clock skew",
        sqlx::query(
            "update syncline.sync_control
                set clock_skew_ms = $2,
                    clock_uncertainty_ms = $3,
                    clock_measured_at = syncline.clock()
                where tenant = $1",
        )
        .bind(tenant.as_str())
        .bind(skew.skew_ms)
        .bind(skew.uncertainty_ms),
    )
    .await?;
    Ok(())
}

/// Stores the API requests that the org's users have used.
pub(crate) async fn note_api_usage(
    tx: &mut Tx,
    tenant: &TenantId,
    usage: ApiUsage,
) -> Result<(), StoreError> {
    tx.run(
        "recording the API requests used",
        sqlx::query(
            "update syncline.sync_control
                set api_requests_used = $2,
                    api_requests_max = $3,
                    api_requests_measured_at = syncline.clock()
                where tenant = $1",
        )
        .bind(tenant.as_str())
        .bind(usage.used)
        .bind(usage.max),
    )
    .await?;
    Ok(())
}

/// Sets the clock skew that counts instead of the measured one.
pub(crate) async fn set_clock_skew(
    tx: &mut Tx,
    tenant: &TenantId,
    skew_ms: Option<i64>,
) -> Result<(), StoreError> {
    tx.run(
        "setting the clock skew",
        sqlx::query(
            "insert into syncline.sync_control (tenant, clock_skew_set_ms)
                values ($1, $2)
                -- The other switches stay as they are.
                on conflict (tenant) do update
                set clock_skew_set_ms = excluded.clock_skew_set_ms,
                    updated_at = syncline.clock()",
        )
        .bind(tenant.as_str())
        .bind(skew_ms),
    )
    .await?;
    Ok(())
}
