//! The last known schema of each mapped object, and the fields that are withheld because a side lacks them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::model::ids::{ObjectName, SalesforceId, TenantId};
use crate::model::schema::ObjectSchema;
use crate::ports::StoreError;
use crate::ports::job_store::{KnownSchema, KnownSchemas, MappedSchemas, WithheldField};
use crate::store::error::corrupt;
use crate::store::tables::task::work_for;
use crate::store::transaction::{Tx, recordset};

#[derive(sqlx::FromRow)]
struct OrgRow {
    organization_id: String,
    user_id: String,
}

/// Returns what was last known of the org and its objects.
pub(crate) async fn known_schemas(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<KnownSchemas, StoreError> {
    let org: Option<OrgRow> = tx
        .row(
            "reading the known org",
            sqlx::query_as(
                "select organization_id, user_id
                from syncline.sync_control
                where tenant = $1
                and organization_id is not null
                and user_id is not null",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    let org = match org {
        Some(row) => Some((
            SalesforceId::parse(&row.organization_id).map_err(corrupt)?,
            SalesforceId::parse(&row.user_id).map_err(corrupt)?,
        )),
        None => None,
    };
    let rows: Vec<(String, Json<ObjectSchema>, i64, i64)> = tx
        .rows(
            "reading known schemas",
            sqlx::query_as(
                "select object, described,
                    (extract(epoch from syncline.clock() - described_at) * 1000)::bigint, replays
                from syncline.sync_schema
                where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    let objects: Result<BTreeMap<ObjectName, KnownSchema>, StoreError> = rows
        .into_iter()
        .map(|(object, Json(schema), age_ms, replays)| {
            let known = KnownSchema {
                schema,
                age_ms,
                replays,
            };
            Ok((ObjectName::parse(&object).map_err(corrupt)?, known))
        })
        .collect();
    Ok(KnownSchemas {
        org,
        objects: objects?,
    })
}

/// Stores what is known now. Reads and plans every record of an object again of which a field is mapped newly or a
/// withheld field has come back, and the parked ones if our user may write a field again: nothing is known of the field in Salesforce, and both sides may have changed it.
pub(crate) async fn keep_schemas(
    tx: &mut Tx,
    tenant: &TenantId,
    schemas: &MappedSchemas,
) -> Result<(), StoreError> {
    tx.run(
        "keeping the user of the org",
        sqlx::query(
            "update syncline.sync_control
            set user_id = $2
            where tenant = $1
            and user_id is distinct from $2",
        )
        .bind(tenant.as_str())
        .bind(schemas.user.as_str()),
    )
    .await?;
    let (objects, described): (Vec<&str>, Vec<Json<&ObjectSchema>>) = schemas
        .changed
        .iter()
        .map(|schema| (schema.object.as_str(), Json(schema)))
        .unzip();
    tx.run(
        "keeping schemas",
        sqlx::query(
            "insert into syncline.sync_schema as known (tenant, object, described)
            select $1, object, described
            from unnest($2::text[], $3::jsonb[]) as now (object, described)
            order by object
            -- An unchanged schema is not written again.
            on conflict (tenant, object) do update
            set described = excluded.described
            where known.described is distinct from excluded.described",
        )
        .bind(tenant.as_str())
        .bind(objects)
        .bind(described),
    )
    .await?;
    note_described(tx, tenant, schemas).await?;
    let mut again = newly_used(tx, tenant, schemas).await?;
    again.extend(end_withheld(tx, tenant, schemas).await?);
    plan_again(tx, tenant, ALL_RECORDS, &again).await?;
    let regained: Vec<String> = schemas.regained.iter().map(ToString::to_string).collect();
    plan_again(tx, tenant, PARKED_RECORDS, &regained).await?;
    tx.run(
        "withholding fields",
        sqlx::query(
            "insert into syncline.sync_withheld_field as known (tenant, object, field, problem)
            select $1, object, field, problem
            from jsonb_to_recordset($2) as now (object text, field text, problem text)
            order by object, field
            -- It stays since when it began.
            on conflict (tenant, object, field) do update
            set problem = excluded.problem
            where known.problem <> excluded.problem",
        )
        .bind(tenant.as_str())
        .bind(recordset(&schemas.withheld)),
    )
    .await?;
    Ok(())
}

async fn note_described(
    tx: &mut Tx,
    tenant: &TenantId,
    schemas: &MappedSchemas,
) -> Result<(), StoreError> {
    let asked: Vec<&str> = schemas.asked.iter().map(ObjectName::as_str).collect();
    tx.run(
        "noting when objects were described",
        sqlx::query(
            "update syncline.sync_schema
            set described_at = syncline.clock(),
                replays = $3
            where tenant = $1
            and object = any($2)",
        )
        .bind(tenant.as_str())
        .bind(asked)
        .bind(schemas.replays),
    )
    .await?;
    Ok(())
}

const ALL_RECORDS: &str = "select record_id, true as needs_refresh
    from syncline.sync_link
    where tenant = $1
    and object = any($2)";

/// Some of them were parked because our user could not write.
const PARKED_RECORDS: &str = "select record_id, true as needs_refresh
    from syncline.sync_task
    where tenant = $1
    and object = any($2)
    and state = 'parked'";

/// Reads and plans records of these objects.
async fn plan_again(
    tx: &mut Tx,
    tenant: &TenantId,
    records: &str,
    objects: &[String],
) -> Result<(), StoreError> {
    if objects.is_empty() {
        return Ok(());
    }
    tx.run(
        "planning records again whose fields have changed",
        sqlx::query(work_for(records))
            .bind(tenant.as_str())
            .bind(objects),
    )
    .await?;
    Ok(())
}

/// Stores the fields that are used, and returns the objects that use another one than before.
async fn newly_used(
    tx: &mut Tx,
    tenant: &TenantId,
    schemas: &MappedSchemas,
) -> Result<Vec<String>, StoreError> {
    tx.values(
        "finding fields that are mapped newly",
        sqlx::query_scalar(
            "with now as (
                select object, fields
                from jsonb_to_recordset($2) as now (object text, fields text[])
            ),
            kept as (
                update syncline.sync_schema as known
                set used_fields = now.fields
                from now
                where known.tenant = $1
                and known.object = now.object
                and known.used_fields is distinct from now.fields
            )
            -- Sees the fields as they were before.
            select known.object
            from syncline.sync_schema as known
            join now using (object)
            where known.tenant = $1
            and not known.used_fields @> now.fields",
        )
        .bind(tenant.as_str())
        .bind(recordset(&schemas.usable)),
    )
    .await
}

/// Ends what is withheld no more, and returns the objects.
async fn end_withheld(
    tx: &mut Tx,
    tenant: &TenantId,
    schemas: &MappedSchemas,
) -> Result<Vec<String>, StoreError> {
    tx.values(
        "ending what is withheld no more",
        sqlx::query_scalar(
            "delete from syncline.sync_withheld_field as known
            where known.tenant = $1
            and not exists (
                select
                from jsonb_to_recordset($2) as now (object text, field text, problem text)
                where now.object = known.object
                and now.field = known.field
            )
            returning known.object",
        )
        .bind(tenant.as_str())
        .bind(recordset(&schemas.withheld)),
    )
    .await
}

#[derive(sqlx::FromRow)]
struct WithheldRow {
    object: String,
    field: String,
    problem: String,
    since: DateTime<Utc>,
}

/// Returns the withheld fields of a tenant.
pub(crate) async fn withheld_fields(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Vec<WithheldField>, StoreError> {
    let rows: Vec<WithheldRow> = tx
        .rows(
            "reading withheld fields",
            sqlx::query_as(
                "select object, field, problem, since
                from syncline.sync_withheld_field
                where tenant = $1
                order by object, field",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| WithheldField {
            object: row.object,
            field: row.field,
            problem: row.problem,
            since: Some(row.since),
        })
        .collect())
}
