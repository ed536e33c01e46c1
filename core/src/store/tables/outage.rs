//! Outages: why a tenant's org cannot be used, since when, and when it is tried again.

use chrono::{DateTime, Utc};

use crate::model::ids::TenantId;
use crate::ports::StoreError;
use crate::ports::job_store::{NewOutage, Outage};
use crate::store::transaction::Tx;

#[derive(sqlx::FromRow)]
struct OutageRow {
    code: String,
    message: String,
    quota: bool,
    since: DateTime<Utc>,
    tries: i32,
    retry_in_ms: i64,
}

impl From<OutageRow> for Outage {
    fn from(row: OutageRow) -> Self {
        Self {
            code: row.code,
            message: row.message,
            quota: row.quota,
            since: row.since,
            tries: u32::try_from(row.tries).unwrap_or(u32::MAX),
            retry_in_ms: row.retry_in_ms,
        }
    }
}

/// Returns the tenant's outage, if there is one.
pub(crate) async fn read_outage(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Option<Outage>, StoreError> {
    let row: Option<OutageRow> = tx
        .row(
            "reading the tenant's outage",
            sqlx::query_as(
                "select code, message, quota, since, tries,
                    (extract(epoch from retry_at - syncline.clock()) * 1000)::bigint as retry_in_ms
                from syncline.sync_outage
                where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    Ok(row.map(Outage::from))
}

/// Begins an outage, or records that another try of the org failed. Workers that fail at the same time count
/// as one try.
pub(crate) async fn note_outage(
    tx: &mut Tx,
    tenant: &TenantId,
    outage: &NewOutage,
) -> Result<Option<Outage>, StoreError> {
    let row: Option<OutageRow> = tx
        .row(
            "recording an outage",
            sqlx::query_as(
                "insert into syncline.sync_outage as outage (tenant, code, message, quota, retry_at)
                values ($1, $2, $3, $5, syncline.clock() + interval '1 millisecond' * ($4::bigint[])[1])
                -- An outage goes on, perhaps for another cause. Before its next try is due it was noted already.
                on conflict (tenant) do update
                set code = excluded.code,
                    message = excluded.message,
                    quota = excluded.quota,
                    tries = outage.tries + (outage.retry_at <= syncline.clock())::integer,
                    retry_at = case
                        when outage.retry_at > syncline.clock() then outage.retry_at
                        else syncline.clock()
                            + interval '1 millisecond' * ($4::bigint[])[least(outage.tries + 1, cardinality($4))]
                    end
                returning code, message, quota, since, tries,
                    (extract(epoch from retry_at - syncline.clock()) * 1000)::bigint as retry_in_ms",
            )
            .bind(tenant.as_str())
            .bind(&outage.code)
            .bind(&outage.message)
            .bind(&outage.waits_ms)
            .bind(outage.quota),
        )
        .await?;
    Ok(row.map(Outage::from))
}

/// Ends the tenant's outage. Returns false if there was none.
pub(crate) async fn end_outage(tx: &mut Tx, tenant: &TenantId) -> Result<bool, StoreError> {
    let ended = tx
        .run(
            "ending an outage",
            sqlx::query("delete from syncline.sync_outage where tenant = $1").bind(tenant.as_str()),
        )
        .await?;
    Ok(ended > 0)
}
