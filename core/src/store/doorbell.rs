//! Doorbell slots: a ring needs a free one, so that doorbells cannot multiply.

use super::PgStore;
use super::records::corrupt;
use super::stream::interval;
use crate::engine::ports::StoreError;
use crate::engine::ports::store::{NextRing, WakeUp};
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
    insert into syncline.sync_doorbell as held (tenant, object, slot, rung_until)
    select $1, worth.object, slot::integer, clock_timestamp() + $4
    from worth
    cross join lateral generate_series(0, least($2, worth.slots) - 1) as slot
    where not exists (
        select
        from syncline.sync_control as control
        where control.tenant = $1
        and control.paused_at is not null
    )
    order by worth.object, slot
    -- A slot that somebody was rung for is held until that ring lapses.
    on conflict (tenant, object, slot) do update
    set rung_until = excluded.rung_until
    where held.rung_until <= clock_timestamp()
    returning object, slot";

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
        insert into syncline.sync_doorbell (tenant, object, slot, rung_until)
        select $1, $2, $3, clock_timestamp() + $4
        from due
        where due.work
        -- Its own slot, whether or not it lapsed meanwhile.
        on conflict (tenant, object, slot) do update
        set rung_until = excluded.rung_until
    ),
    freed as (
        delete from syncline.sync_doorbell
        using due
        where tenant = $1
        and object = $2
        and slot = $3
        and not due.work
        and (slot <> $5 or due.wake_at is null)
    ),
    woken as (
        insert into syncline.sync_doorbell as held (tenant, object, slot, rung_until)
        select $1, $2, $5, due.wake_at + $4
        from due
        where due.wake_at is not null
        -- Its own slot, or a ring that is under way but would come later by more than a queue's delay
        -- can tell: each further ring is earlier than the one before it, so they cannot multiply.
        on conflict (tenant, object, slot) do update
        set rung_until = excluded.rung_until
        where $3 = $5
        or excluded.rung_until < held.rung_until - interval '1 second'
        or held.rung_until <= clock_timestamp()
        returning rung_until - $4 as wake_at
    )
    select due.work,
        (extract(epoch from woken.wake_at - clock_timestamp()) * 1000)::bigint as delay_ms
    from due
    left join woken on true";

impl PgStore {
    /// See [`crate::engine::ports::StorePort::claim_doorbells`].
    pub(super) async fn take_doorbells(
        &self,
        tenant: &TenantId,
        slots_max: i32,
        tasks_per_slot: i64,
        rung_ms: i64,
    ) -> Result<Vec<(ObjectName, i32)>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<(String, i32)> = tx
            .rows(
                "claiming doorbells",
                sqlx::query_as(CLAIM)
                    .bind(tenant.as_str())
                    .bind(i64::from(slots_max))
                    .bind(tasks_per_slot.max(1))
                    .bind(interval(rung_ms)),
            )
            .await?;
        tx.commit().await?;
        rows.into_iter()
            .map(|(object, slot)| Ok((ObjectName::parse(&object).map_err(corrupt)?, slot)))
            .collect()
    }

    /// See [`crate::engine::ports::StorePort::keep_or_free_doorbell`].
    pub(super) async fn renew_doorbell(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        slot: i32,
        rung_ms: i64,
        wake_up: WakeUp,
    ) -> Result<NextRing, StoreError> {
        let mut tx = self.begin().await?;
        let next: Vec<(bool, Option<i64>)> = tx
            .rows(
                "keeping or freeing a doorbell",
                sqlx::query_as(KEEP_OR_FREE)
                    .bind(tenant.as_str())
                    .bind(object.as_str())
                    .bind(slot)
                    .bind(interval(rung_ms))
                    .bind(wake_up.slot)
                    .bind(interval(wake_up.within_ms)),
            )
            .await?;
        tx.commit().await?;
        Ok(match next.first() {
            Some((true, _)) => NextRing::Now,
            Some((false, Some(delay_ms))) => NextRing::After {
                delay_ms: *delay_ms,
            },
            Some((false, None)) | None => NextRing::Unneeded,
        })
    }

    /// See [`crate::engine::ports::StorePort::free_doorbell`].
    pub(super) async fn drop_doorbell(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
        slot: i32,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "freeing a doorbell",
            sqlx::query(
                "delete from syncline.sync_doorbell
                where tenant = $1
                and object = $2
                and slot = $3",
            )
            .bind(tenant.as_str())
            .bind(object.as_str())
            .bind(slot),
        )
        .await?;
        tx.commit().await
    }
}
