//! Wake-up slots: a ring needs a free one, so that wake-ups cannot multiply.

use super::PgStore;
use super::records::corrupt;
use super::stream::interval;
use crate::engine::ports::StoreError;
use crate::engine::ports::store::{DelayedWakeUp, NextWakeUp};
use crate::model::ids::{ObjectName, TenantId};

/// Objects with due work, by a loose scan of the index; for each as many slots as its work is worth,
/// counted no further than the slots go.
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
        select working.object, (due.tasks + $3 - 1) / $3 as slots
        from working
        cross join lateral (
            select count(*) as tasks
            from (
                select
                from syncline.sync_task as task
                where task.tenant = $1
                and task.object = working.object
                and task.state = 'ready'
                and task.due_at <= now()
                limit $2 * $3
            ) as counted
        ) as due
        where working.object is not null
    )
    insert into syncline.sync_wake_up_permit as held (tenant, object, permit, expires_at)
    select $1, worth.object, permit::integer, clock_timestamp() + $4
    from worth
    cross join lateral generate_series(0, least($2, worth.slots) - 1) as permit
    where not exists (
        select
        from syncline.sync_control as control
        where control.tenant = $1
        and control.paused_at is not null
    )
    order by worth.object, permit
    -- A permit that somebody was rung for is held until that ring lapses.
    on conflict (tenant, object, permit) do update
    set expires_at = excluded.expires_at
    where held.expires_at <= clock_timestamp()
    returning object, permit";

/// The next task of the object decides: it is due, soon due, or none. The statement touches a slot once,
/// also when the answered one is the wake-up slot.
const KEEP_OR_FREE: &str = "with next as (
        select task.due_at
        from syncline.sync_task as task
        where task.tenant = $1
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
        )
        order by task.due_at
        limit 1
    ),
    due as (
        select coalesce(min(next.due_at) <= now(), false) as work,
            min(next.due_at) filter (
                where next.due_at > now()
                and next.due_at <= now() + $6
            ) as wake_at
        from next
    ),
    kept as (
        insert into syncline.sync_wake_up_permit (tenant, object, permit, expires_at)
        select $1, $2, $3, clock_timestamp() + $4
        from due
        where due.work
        -- Its own permit, whether or not it lapsed meanwhile.
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
        insert into syncline.sync_wake_up_permit as held (tenant, object, permit, expires_at)
        select $1, $2, $5, due.wake_at + $4
        from due
        where due.wake_at is not null
        -- Its own permit, or a ring that is under way but would come later by more than a queue's delay
        -- can tell: each further ring is earlier than the one before it, so they cannot multiply.
        on conflict (tenant, object, permit) do update
        set expires_at = excluded.expires_at
        where $3 = $5
        or excluded.expires_at < held.expires_at - interval '1 second'
        or held.expires_at <= clock_timestamp()
        returning expires_at - $4 as wake_at
    )
    select due.work,
        (extract(epoch from woken.wake_at - clock_timestamp()) * 1000)::bigint as delay_ms
    from due
    left join woken on true";

impl PgStore {
    /// See [`crate::engine::ports::StorePort::claim_permits`].
    pub(super) async fn claim_permits(
        &self,
        tenant: &TenantId,
        permits_max: i32,
        tasks_per_permit: i64,
        permit_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError> {
        let mut tx = self.begin().await?;
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
        tx.commit().await?;
        rows.into_iter()
            .map(|(object, permit)| Ok((ObjectName::parse(&object).map_err(corrupt)?, permit)))
            .collect()
    }

    /// See [`crate::engine::ports::StorePort::keep_or_free_permit`].
    pub(super) async fn keep_or_free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
        permit_ms: i64,
        delayed: DelayedWakeUp,
    ) -> Result<NextWakeUp, StoreError> {
        let mut tx = self.begin().await?;
        let next: Vec<(bool, Option<i64>)> = tx
            .rows(
                "keeping or freeing a wake-up",
                sqlx::query_as(KEEP_OR_FREE)
                    .bind(tenant.as_str())
                    .bind(object.as_str())
                    .bind(permit)
                    .bind(interval(permit_ms))
                    .bind(delayed.permit)
                    .bind(interval(delayed.within_ms)),
            )
            .await?;
        tx.commit().await?;
        Ok(match next.first() {
            Some((true, _)) => NextWakeUp::Now,
            Some((false, Some(delay_ms))) => NextWakeUp::After {
                delay_ms: *delay_ms,
            },
            Some((false, None)) | None => NextWakeUp::Unneeded,
        })
    }

    /// See [`crate::engine::ports::StorePort::free_permit`].
    pub(super) async fn free_permit(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        permit: i32,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
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
        tx.commit().await
    }
}
