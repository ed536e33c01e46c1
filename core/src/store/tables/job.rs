//! Jobs: when each last succeeded, and why it fails.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::StoreError;
use crate::ports::job_store::JobKind;
use crate::store::enum_text::parse_enum;
use crate::store::error::corrupt;
use crate::store::transaction::Tx;

/// How a job fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// The job.
    pub job: JobKind,
    /// The object that it works on; absent for a job of the whole tenant.
    pub object: Option<ObjectName>,
    /// When it last ended well.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When it failed first after that; absent if it does not fail.
    pub failing_since: Option<DateTime<Utc>>,
    /// When it failed last.
    pub failed_at: Option<DateTime<Utc>>,
    /// Why it failed last, without values; absent if it does not fail.
    pub error: Option<String>,
}

#[derive(sqlx::FromRow)]
struct JobRow {
    job: String,
    object: String,
    succeeded_at: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
    error: Option<String>,
}

/// Notes that a job ended, well or with an error.
pub(crate) async fn note_job(
    tx: &mut Tx,
    tenant: &TenantId,
    (job, object): (JobKind, Option<&ObjectName>),
    error: Option<&str>,
) -> Result<(), StoreError> {
    let name: &str = job.into();
    tx.run(
        "noting how a job ended",
        sqlx::query(
            "insert into syncline.sync_job as job (
                tenant, job, object, succeeded_at, failing_since, failed_at, error
            )
            select $1, $2, $4,
                case when $3::text is null then syncline.wall_clock() end,
                case when $3 is not null then syncline.wall_clock() end,
                case when $3 is not null then syncline.wall_clock() end,
                $3
            on conflict (tenant, job, object) do update
            set succeeded_at = coalesce(excluded.succeeded_at, job.succeeded_at),
                failing_since = case when $3 is not null then coalesce(job.failing_since, excluded.failing_since) end,
                failed_at = coalesce(excluded.failed_at, job.failed_at),
                error = excluded.error
            -- A job that ends well every few seconds need not write each time.
            where $3 is not null
            or job.error is not null
            or job.succeeded_at is null
            or job.succeeded_at < syncline.wall_clock() - interval '20 seconds'",
        )
        .bind(tenant.as_str())
        .bind(name)
        .bind(error)
        .bind(object.map_or("", ObjectName::as_str)),
    )
    .await?;
    Ok(())
}

/// Returns the tenant's jobs that have ever run.
pub(crate) async fn read_jobs(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Vec<JobStatus>, StoreError> {
    let rows: Vec<JobRow> = tx
        .rows(
            "reading how the jobs fare",
            sqlx::query_as(
                "select job, object, succeeded_at, failing_since, failed_at, error
                from syncline.sync_job
                where tenant = $1
                order by job, object",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    rows.into_iter()
        .map(|row| {
            let object = Some(row.object).filter(|object| !object.is_empty());
            Ok(JobStatus {
                job: parse_enum(&row.job)?,
                object: object
                    .map(|object| ObjectName::parse(&object).map_err(corrupt))
                    .transpose()?,
                succeeded_at: row.succeeded_at,
                failing_since: row.failing_since,
                failed_at: row.failed_at,
                error: row.error,
            })
        })
        .collect()
}
