//! Counts the deletes of an object and withholds them when there are too many.

use uuid::Uuid;

use crate::config::OnFilterExit;
use crate::model::ids::{FieldName, RecordId};
use crate::planner::policy::delete_guard::{
    DAY_MS, DeleteCounts, Exceeded, FEW, HOUR_MS, MASS_DELETE, exceeded,
};
use crate::ports::record::ParkReason;
use crate::ports::{MappedObject, StoreError};
use crate::store::transaction::{Tx, interval};

/// Waiting tasks that are examined: enough for several rounds of several workers, in constant time.
const EXAMINED_MAX: i64 = 10_000;

/// Counts the deletes of these records, or returns why they must wait. Concurrent workers wait for each other
/// here, so that together they cannot exceed the limit.
pub(crate) async fn withheld_by_delete_guard(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[RecordId],
) -> Result<Option<ParkReason>, StoreError> {
    // Deletes that a person approved, or that have no limit, do not count against later ones.
    if lets_all_pass(tx, mapped).await? {
        return Ok(None);
    }
    let ids: Vec<Uuid> = records.iter().map(|record| record.0).collect();
    let counts = count(tx, mapped, &ids).await?;
    if let Some(limit) = exceeded(&mapped.sync.deletes, counts) {
        let all = count_agreed(tx, mapped, None, i64::MAX).await?;
        return Ok(Some(reason(mapped, limit, counts, all)));
    }
    remember(tx, mapped, &ids).await?;
    Ok(None)
}

/// Returns whether nothing is withheld: the object has no limit, or a person has approved deletes. Locks the object's
/// guard, so that concurrent workers wait for each other.
pub(crate) async fn lets_all_pass(tx: &mut Tx, mapped: &MappedObject) -> Result<bool, StoreError> {
    Ok(mapped.sync.deletes.max_per_hour() == 0 || is_approved(tx, mapped).await?)
}

async fn is_approved(tx: &mut Tx, mapped: &MappedObject) -> Result<bool, StoreError> {
    let row: Option<(bool,)> = tx
        .row(
            "locking the delete guard",
            sqlx::query_as(
                "insert into syncline.sync_delete_guard as delete_guard (tenant, object)
                values ($1, $2)
                -- Locks the row.
                on conflict (tenant, object) do update
                set approved_until = delete_guard.approved_until
                returning coalesce(approved_until > syncline.clock(), false)",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str()),
        )
        .await?;
    Ok(row.is_some_and(|(approved,)| approved))
}

/// Counts what was deleted, what waits and these records, each once.
async fn count(
    tx: &mut Tx,
    mapped: &MappedObject,
    records: &[Uuid],
) -> Result<DeleteCounts, StoreError> {
    let exits = match mapped.sync.on_filter_exit {
        OnFilterExit::Keep => false,
        OnFilterExit::SoftDelete | OnFilterExit::Delete => true,
    };
    let counted: Option<(i64, i64, i64)> = tx
        .row(
            "counting deletes",
            sqlx::query_as(COUNT)
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(records)
                .bind(exits)
                .bind(MASS_DELETE)
                .bind(EXAMINED_MAX)
                .bind(interval(HOUR_MS))
                .bind(interval(DAY_MS)),
        )
        .await?;
    let (in_hour, in_day, gone) = counted.unwrap_or_default();
    // Beyond twice the deletes the number of records does not matter.
    let records = if in_day > FEW {
        let enough = in_day.saturating_mul(2);
        count_agreed(tx, mapped, None, enough)
            .await?
            .saturating_add(gone)
    } else {
        in_day
    };
    Ok(DeleteCounts {
        in_hour,
        in_day,
        records,
    })
}

/// A task waits for its delete if one side lost the record. Captured presence is only a hint, which is why the
/// records at hand are given: the planner has decided about those.
const COUNT: &str = "
    with examined as (
        (
            select record_id
            from syncline.sync_task
            where tenant = $1
            and object = $2
            and state = 'ready'
            order by due_at, record_id
            limit $6
        )
        union all
        (
            select record_id
            from syncline.sync_task
            where tenant = $1
            and object = $2
            and state = 'leased'
            limit $6
        )
    ),
    waiting as (
        select record_id from unnest($3::uuid[]) as planned (record_id)
        union
        select link.record_id
        from examined
        join syncline.sync_link as link using (record_id)
        where link.agreed
        and case link.remote_state ->> 'presence'
            when 'deleted' then link.postgres_presence <> 'deleted'
            when 'unreadable' then false
            when 'filtered_out' then $4 and link.postgres_presence <> 'deleted'
            else link.postgres_presence = 'deleted'
        end
        union
        (
            select record_id
            from syncline.sync_task
            where tenant = $1
            and object = $2
            and state = 'parked'
            and code = $5
            limit $6
        )
    ),
    done as (
        select record_id, deleted_at
        from syncline.sync_delete
        where tenant = $1
        and object = $2
        and deleted_at > syncline.clock() - $8
    )
    select
        (select count(*) from waiting)
            + count(*) filter (
                where done.deleted_at > syncline.clock() - $7
                and not exists (select from waiting where waiting.record_id = done.record_id)
            ),
        (select count(*) from waiting)
            + count(*) filter (
                where not exists (select from waiting where waiting.record_id = done.record_id)
            ),
        count(*)
    from done";

/// Counts the records on which both sides agreed, or those on whose value of the field they did; at most `enough`.
pub(crate) async fn count_agreed(
    tx: &mut Tx,
    mapped: &MappedObject,
    field: Option<&FieldName>,
    enough: i64,
) -> Result<i64, StoreError> {
    let counted: Option<(i64,)> = tx
        .row(
            "counting the records of the object",
            sqlx::query_as(
                "select count(*)
                from (
                    select
                    from syncline.sync_link
                    where tenant = $1
                    and object = $2
                    and agreed
                    and ($3::text is null or base ->> $3 is not null)
                    limit $4
                ) as counted",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(field.map(FieldName::as_str))
            .bind(enough),
        )
        .await?;
    Ok(counted.map_or(0, |(records,)| records))
}

/// Remembers the deletes for a day, and forgets older ones.
async fn remember(tx: &mut Tx, mapped: &MappedObject, records: &[Uuid]) -> Result<(), StoreError> {
    tx.run(
        "remembering deletes",
        sqlx::query(
            "with forgotten as (
                delete from syncline.sync_delete
                where tenant = $1
                and object = $2
                and deleted_at <= syncline.clock() - $4
                and record_id <> all($3)
            )
            insert into syncline.sync_delete (record_id, tenant, object)
            select record_id, $1, $2
            from unnest($3::uuid[]) as planned (record_id)
            order by record_id
            -- An attempt that is repeated deletes one record.
            on conflict (record_id) do update
            set deleted_at = excluded.deleted_at",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(records)
        .bind(interval(DAY_MS)),
    )
    .await?;
    Ok(())
}

fn reason(
    mapped: &MappedObject,
    limit: Exceeded,
    counts: DeleteCounts,
    records: i64,
) -> ParkReason {
    let object = &mapped.sync.object;
    let deletes = &mapped.sync.deletes;
    let (counted, limit) = match limit {
        Exceeded::Hour => (
            format!("{} in an hour", counts.in_hour),
            format!("{} an hour (deletes.max_per_hour)", deletes.max_per_hour()),
        ),
        Exceeded::Day => (
            format!("{} in a day", counts.in_day),
            format!("{} a day (deletes.max_per_day)", deletes.max_per_day()),
        ),
        Exceeded::Half => (
            format!("{} in a day", counts.in_day),
            "half of the records".to_owned(),
        ),
    };
    ParkReason {
        code: MASS_DELETE.to_owned(),
        field: None,
        message: format!(
            "too many deletes: {counted}, {object} has {records} records, and without approval go at most \
             {limit}. None of those that wait is deleted. If they are meant, run `syncline deletes approve \
             {object}`; if not, bring them back: what stands again on the side that lost it is not deleted on \
             the other"
        ),
    }
}
