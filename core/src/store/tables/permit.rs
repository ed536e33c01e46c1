//! Wake-up permits: a wake-up needs a free one, so that wake-ups cannot multiply.

use sqlx::AssertSqlSafe;

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::StoreError;
use crate::ports::job_store::{DelayedWakeUp, NextWakeUp};
use crate::store::error::corrupt;
use crate::store::tables::task::LEASABLE;
use crate::store::transaction::{Tx, interval};

/// Finds objects with due work, by a loose scan of the index, and claims as many permits for each as its tasks
/// need. Counts no more tasks than the permits can cover.
const CLAIM: &str = "with recursive working as (
        (
            select min(task.object) as object
            from syncline.sync_task as task
            where task.tenant = $1
            and task.state = 'ready'
        )
        union all
        select (
            select min(task.object)
            from syncline.sync_task as task
            where task.tenant = $1
            and task.state = 'ready'
            and task.object > working.object
        )
        from working
        where working.object is not null
    ),
    worth as (
        select working.object, (due.tasks + $3 - 1) / $3 as permits
        from working
        cross join lateral (
            select count(*) as tasks
            from (
                select
                from syncline.sync_task as task
                where task.tenant = $1
                and task.object = working.object
                and task.state = 'ready'
                and task.due_at <= syncline.clock()
                limit $2 * $3
            ) as counted
        ) as due
        where working.object is not null
    )
    insert into syncline.sync_wake_up_permit as taken (tenant, object, permit, expires_at)
    select $1, worth.object, permit::integer, syncline.wall_clock() + $4
    from worth
    cross join lateral generate_series(0, least($2, worth.permits) - 1) as permit
    where not exists (
        select
        from syncline.sync_control as control
        where control.tenant = $1
        and control.paused_at is not null
    )
    order by worth.object, permit
    -- A permit of a wake-up that is under way stays taken until it expires.
    on conflict (tenant, object, permit) do update
    set expires_at = excluded.expires_at
    where taken.expires_at <= syncline.wall_clock()
    returning object, permit";

/// Returns the statement that decides by the object's next task: due, due soon, or absent. It writes a permit only
/// once, even if the wake-up's permit is the delayed one.
fn keep_or_free() -> String {
    format!(
        "with next as (
        select task.due_at
        from syncline.sync_task as task
        where {LEASABLE}
        order by task.due_at
        limit 1
    ),
    due as (
        select coalesce(min(next.due_at) <= syncline.clock(), false) as work,
            min(next.due_at) filter (
                where next.due_at > syncline.clock()
                and next.due_at <= syncline.clock() + $6
            ) as wake_at
        from next
    ),
    kept as (
        insert into syncline.sync_wake_up_permit (tenant, object, permit, expires_at)
        select $1, $2, $3, syncline.wall_clock() + $4
        from due
        where due.work
        -- Its own permit, whether or not it expired meanwhile.
        on conflict (tenant, object, permit) do update
        set expires_at = excluded.expires_at
    ),
    freed as (
        delete from syncline.sync_wake_up_permit
        using due
        where tenant = $1
        and object = $2
        and permit = $3
        and not due.work
        and (permit <> $5 or due.wake_at is null)
    ),
    woken as (
        insert into syncline.sync_wake_up_permit as taken (tenant, object, permit, expires_at)
        select $1, $2, $5, due.wake_at + $4
        from due
        where due.wake_at is not null
        -- Its own permit, or one of a wake-up under way that would come later by more than the resolution
        -- of a queue's delay: each further wake-up is earlier than the one before it, so they cannot
        -- multiply.
        on conflict (tenant, object, permit) do update
        set expires_at = excluded.expires_at
        where $3 = $5
        or excluded.expires_at < taken.expires_at - interval '1 second'
        or taken.expires_at <= syncline.wall_clock()
        returning expires_at - $4 as wake_at
    )
    select due.work,
        (extract(epoch from woken.wake_at - syncline.wall_clock()) * 1000)::bigint as delay_ms
    from due
    left join woken on true"
    )
}

/// Claims permits of the objects that have due work.
pub(crate) async fn claim_permits(
    tx: &mut Tx,
    tenant: &TenantId,
    permits_max: i32,
    tasks_per_permit: i64,
    permit_ms: i64,
) -> Result<Vec<(ObjectName, i32)>, StoreError> {
    let rows: Vec<(String, i32)> = tx
        .rows(
            "claiming wake-ups",
            sqlx::query_as(CLAIM)
                .bind(tenant.as_str())
                .bind(i64::from(permits_max))
                .bind(tasks_per_permit.max(1))
                .bind(interval(permit_ms)),
        )
        .await?;
    rows.into_iter()
        .map(|(object, permit)| Ok((ObjectName::parse(&object).map_err(corrupt)?, permit)))
        .collect()
}

/// Keeps the wake-up's permit while work is due, else frees it; claims the delayed permit for work that is due
/// soon.
pub(crate) async fn keep_or_free_permit(
    tx: &mut Tx,
    tenant: &TenantId,
    object: &ObjectName,
    permit: i32,
    permit_ms: i64,
    delayed: DelayedWakeUp,
) -> Result<NextWakeUp, StoreError> {
    let next: Vec<(bool, Option<i64>)> = tx
        .rows(
            "keeping or freeing a wake-up",
            sqlx::query_as(AssertSqlSafe(keep_or_free()))
                .bind(tenant.as_str())
                .bind(object.as_str())
                .bind(permit)
                .bind(interval(permit_ms))
                .bind(delayed.permit)
                .bind(interval(delayed.within_ms)),
        )
        .await?;
    Ok(match next.first() {
        Some((true, _)) => NextWakeUp::Now,
        Some((false, Some(delay_ms))) => NextWakeUp::After {
            delay_ms: *delay_ms,
        },
        Some((false, None)) | None => NextWakeUp::Unneeded,
    })
}

/// Frees every permit of the tenant.
pub(crate) async fn free_permits(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "freeing the permits of a tenant",
        sqlx::query("delete from syncline.sync_wake_up_permit where tenant = $1")
            .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Frees a permit.
pub(crate) async fn free_permit(
    tx: &mut Tx,
    tenant: &TenantId,
    object: &ObjectName,
    permit: i32,
) -> Result<(), StoreError> {
    tx.run(
        "freeing a wake-up",
        sqlx::query(
            "delete from syncline.sync_wake_up_permit
                where tenant = $1
                and object = $2
                and permit = $3",
        )
        .bind(tenant.as_str())
        .bind(object.as_str())
        .bind(permit),
    )
    .await?;
    Ok(())
}
