//! The installed state of capture on a mapped table, to compare with the current one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::{MappedObject, StoreError};
use crate::store::error::corrupt;
use crate::store::tables::seen::{RELAY, SeenRow};
use crate::store::transaction::{Tx, recordset};

/// Capture of one mapped table is not as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaptureProblem {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// What is wrong, and with which relation.
    pub problem: String,
}

/// Stores the installed state of a mapped table, and replaces an earlier one. `complete`: the triggers missed
/// no change since then.
pub(crate) async fn remember(
    tx: &mut Tx,
    mapped: &MappedObject,
    oid: i64,
    partitions: &[i64],
    complete: bool,
) -> Result<(), StoreError> {
    tx.run(
        "remembering capture triggers",
        sqlx::query(
            "with tenant as (
                insert into syncline.sync_control (tenant)
                values ($1)
                -- A tenant that is known already keeps its switches.
                on conflict (tenant) do nothing
            )
            insert into syncline.sync_capture as capture (tenant, object, table_schema, table_name, table_oid, partitions)
            values ($1, $2, $3, $4, $5::oid, $6::oid[])
            -- Installing again makes what stands now the state to compare with.
            on conflict (tenant, object) do update
            set table_schema = excluded.table_schema,
                table_name = excluded.table_name,
                table_oid = excluded.table_oid,
                partitions = excluded.partitions,
                rows_enqueued = capture.rows_enqueued and $7,
                broken = null,
                installed_at = syncline.clock()",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(mapped.sync.table.schema.as_str())
        .bind(mapped.sync.table.table.as_str())
        .bind(oid)
        .bind(partitions)
        .bind(complete),
    )
    .await?;
    Ok(())
}

/// An object of which change events arrive from Salesforce, or the reason why none do.
#[derive(Debug, Serialize)]
struct FoundEvents<'a> {
    object: &'a ObjectName,
    problem: Option<&'a str>,
}

/// Stores of which objects change events arrive.
pub(crate) async fn note_events(
    tx: &mut Tx,
    tenant: &TenantId,
    found: &[(ObjectName, Option<String>)],
) -> Result<(), StoreError> {
    let found: Vec<FoundEvents<'_>> = found
        .iter()
        .map(|(object, problem)| FoundEvents {
            object,
            problem: problem.as_deref(),
        })
        .collect();
    tx.run(
        "noting of which objects events arrive",
        sqlx::query(
            "update syncline.sync_capture as capture
            set events_missing = found.problem
            from jsonb_to_recordset($2) as found (object text, problem text)
            where capture.tenant = $1
            and capture.object = found.object
            and capture.events_missing is distinct from found.problem",
        )
        .bind(tenant.as_str())
        .bind(recordset(&found)),
    )
    .await?;
    Ok(())
}

/// Notes that no event told a change of the object, unless a relayed event of it has arrived since the change.
pub(crate) async fn note_unheard(
    tx: &mut Tx,
    mapped: &MappedObject,
    changed_ms: i64,
) -> Result<(), StoreError> {
    tx.run(
        "noting a change that no event told",
        sqlx::query(
            "update syncline.sync_capture as capture
            set events_missing = format(
                'no event told the change of %s at %s UTC, which a comparison found; if no event arrives, see that the '
                    'event relay runs and delivers to the queue',
                capture.object, to_char(changed.at at time zone 'utc', 'YYYY-MM-DD HH24:MI')
            )
            from (select to_timestamp($4 / 1000.0) as at) as changed
            where capture.tenant = $1
            and capture.object = $2
            and not exists (
                select
                from syncline.sync_seen as seen
                where seen.tenant = $1
                and seen.object = $2
                and seen.stream = $3
                and seen.seen_at > changed.at
            )",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(RELAY)
        .bind(changed_ms),
    )
    .await?;
    Ok(())
}

/// Notes that these events have arrived: of their objects none are missing any more.
pub(crate) async fn note_heard(tx: &mut Tx, events: &[SeenRow<'_>]) -> Result<(), StoreError> {
    tx.run(
        "noting that events arrive",
        sqlx::query(
            "update syncline.sync_capture as capture
            set events_missing = null
            where capture.events_missing is not null
            and exists (
                select
                from jsonb_to_recordset($1) as event (tenant text, object text)
                where event.tenant = capture.tenant
                and event.object = capture.object
            )",
        )
        .bind(recordset(events)),
    )
    .await?;
    Ok(())
}

/// Returns why of which objects no change events arrive.
pub(crate) async fn missing_events(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<Vec<String>, StoreError> {
    tx.values(
        "reading of which objects no events arrive",
        sqlx::query_scalar(
            "select events_missing
            from syncline.sync_capture
            where tenant = $1
            and events_missing is not null
            order by object",
        )
        .bind(tenant.as_str()),
    )
    .await
}

/// Notes that all existing rows of the object are in the outbox.
pub(crate) async fn note_rows_enqueued(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<(), StoreError> {
    tx.run(
        "noting that all rows are enqueued",
        sqlx::query(
            "update syncline.sync_capture
            set rows_enqueued = true
            where tenant = $1
            and object = $2",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str()),
    )
    .await?;
    Ok(())
}

/// Returns the captured objects of a tenant, and whether all existing rows of each are in the outbox.
pub(crate) async fn captured(
    tx: &mut Tx,
    tenant: &TenantId,
) -> Result<BTreeMap<ObjectName, bool>, StoreError> {
    let rows: Vec<(String, bool)> = tx
        .rows(
            "reading which objects are captured",
            sqlx::query_as(
                "select object, rows_enqueued
                from syncline.sync_capture
                where tenant = $1",
            )
            .bind(tenant.as_str()),
        )
        .await?;
    rows.into_iter()
        .map(|(object, enqueued)| Ok((ObjectName::parse(&object).map_err(corrupt)?, enqueued)))
        .collect()
}

/// The table that capture of an object was installed on.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Installed {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) oid: i64,
    /// A partition that capture was installed on is not part of the table any more.
    pub(crate) lost_partitions: bool,
}

/// Whether a partition of the alias `capture` was detached or dropped since.
const LOST_PARTITIONS: &str = "exists (
        select
        from unnest(capture.partitions) as known (oid)
        where known.oid <> capture.table_oid
        and known.oid not in (select tree.relid from pg_partition_tree(capture.table_oid) as tree)
    )";

/// Returns the table that capture of the object was installed on.
pub(crate) async fn installed(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<Option<Installed>, StoreError> {
    tx.row(
        "reading which table is captured",
        sqlx::query_as(AssertSqlSafe(format!(
            "select table_schema as schema, table_name as \"table\", table_oid::bigint as oid,
                {LOST_PARTITIONS} as lost_partitions
            from syncline.sync_capture as capture
            where tenant = $1
            and object = $2"
        )))
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str()),
    )
    .await
}

/// Returns by how much the clocks of the tenant's sides may differ, and the table that capture of the object was
/// installed on.
pub(crate) async fn skew_and_installed(
    tx: &mut Tx,
    mapped: &MappedObject,
) -> Result<(i64, Option<Installed>), StoreError> {
    type Row = (i64, Option<String>, Option<String>, Option<i64>, bool);
    let row: Option<Row> = tx
        .row(
            "reading the clock skew and which table is captured",
            sqlx::query_as(AssertSqlSafe(format!(
                "select
                    coalesce(control.clock_skew_set_ms, abs(control.clock_skew_ms) + control.clock_uncertainty_ms, 0),
                    capture.table_schema,
                    capture.table_name,
                    capture.table_oid::bigint,
                    {LOST_PARTITIONS}
                from (values ($1, $2)) as mapped (tenant, object)
                left join syncline.sync_control as control using (tenant)
                left join syncline.sync_capture as capture using (tenant, object)"
            )))
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str()),
        )
        .await?;
    let (skew_ms, schema, table, oid, lost_partitions) = row.unwrap_or_default();
    let installed = match (schema, table, oid) {
        (Some(schema), Some(table), Some(oid)) => Some(Installed {
            schema,
            table,
            oid,
            lost_partitions,
        }),
        (_, _, _) => None,
    };
    Ok((skew_ms, installed))
}

/// Returns another tenant that captures the table.
pub(crate) async fn other_tenant(
    tx: &mut Tx,
    mapped: &MappedObject,
    oid: i64,
) -> Result<Option<String>, StoreError> {
    let others: Vec<String> = tx
        .values(
            "looking for another tenant of a table",
            sqlx::query_scalar(
                "select tenant
                from syncline.sync_capture
                where table_oid = $2::oid
                and tenant <> $1
                limit 1",
            )
            .bind(mapped.tenant.as_str())
            .bind(oid),
        )
        .await?;
    Ok(others.into_iter().next())
}

/// Stores which captures are broken, and returns the objects whose capture was not broken before.
pub(crate) async fn note_problems(
    tx: &mut Tx,
    mapped_objects: &[MappedObject],
    problems: &[CaptureProblem],
) -> Result<Vec<(TenantId, Vec<ObjectName>)>, StoreError> {
    let tenants: Vec<&str> = mapped_objects
        .iter()
        .map(|mapped| mapped.tenant.as_str())
        .collect();
    let rows: Vec<(String, String)> = tx
        .rows(
            "noting broken captures",
            sqlx::query_as(
                "with found as (
                    select tenant, object, string_agg(problem, '; ' order by problem) as problem
                    from jsonb_to_recordset($2) as found (tenant text, object text, problem text)
                    group by tenant, object
                ),
                changed as (
                    select capture.tenant, capture.object, capture.broken as before, found.problem as now
                    from syncline.sync_capture as capture
                    left join found using (tenant, object)
                    where capture.tenant = any($1)
                    and capture.broken is distinct from found.problem
                ),
                noted as (
                    update syncline.sync_capture as capture
                    set broken = changed.now
                    from changed
                    where capture.tenant = changed.tenant
                    and capture.object = changed.object
                )
                select tenant, object
                from changed
                where before is null",
            )
            .bind(tenants)
            .bind(recordset(problems)),
        )
        .await?;
    rows.into_iter()
        .map(|(tenant, object)| {
            Ok((
                TenantId::parse(&tenant).map_err(corrupt)?,
                vec![ObjectName::parse(&object).map_err(corrupt)?],
            ))
        })
        .collect()
}
