//! Counts the values of a field that are cleared, and withholds that when there are too many.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::model::ids::{FieldName, RecordId};
use crate::planner::policy::delete_guard::{FEW_CLEARS, HOUR_MS, MASS_CLEAR, too_many_clears};
use crate::ports::record::ParkReason;
use crate::ports::{MappedObject, StoreError};
use crate::store::tables::delete_guard::{count_agreed, lets_all_pass};
use crate::store::transaction::{Tx, interval};

/// Counts these cleared values, or returns why those of a field must wait. An approval of deletes approves them too.
pub(crate) async fn withheld_by_clear_guard(
    tx: &mut Tx,
    mapped: &MappedObject,
    clears: &[(RecordId, FieldName)],
) -> Result<BTreeMap<FieldName, ParkReason>, StoreError> {
    let mut withheld = BTreeMap::new();
    if clears.is_empty() || lets_all_pass(tx, mapped).await? {
        return Ok(withheld);
    }
    for (field, count) in counts(tx, mapped, clears).await? {
        if count.in_hour < FEW_CLEARS {
            continue;
        }
        let enough = count.in_hour.saturating_mul(2);
        let values = count_agreed(tx, mapped, Some(&field), enough).await?;
        if too_many_clears(count.in_hour, values.saturating_add(count.done)) {
            let reason = reason(mapped, &field, count.in_hour);
            withheld.insert(field, reason);
        }
    }
    let passed = clears
        .iter()
        .filter(|(_, field)| !withheld.contains_key(field));
    remember(tx, mapped, &split(passed)).await?;
    Ok(withheld)
}

/// The clears of one field.
struct Count {
    /// Made within the hour, planned now, or waiting for approval: each record once.
    in_hour: i64,
    /// Those that were made.
    done: i64,
}

fn split<'a>(
    clears: impl IntoIterator<Item = &'a (RecordId, FieldName)>,
) -> (Vec<Uuid>, Vec<&'a str>) {
    clears
        .into_iter()
        .map(|(record, field)| (record.0, field.as_str()))
        .unzip()
}

async fn counts(
    tx: &mut Tx,
    mapped: &MappedObject,
    clears: &[(RecordId, FieldName)],
) -> Result<Vec<(FieldName, Count)>, StoreError> {
    let (records, fields) = split(clears);
    let rows: Vec<(String, i64, i64)> = tx
        .rows(
            "counting cleared values",
            sqlx::query_as(COUNT)
                .bind(mapped.tenant.as_str())
                .bind(mapped.sync.object.as_str())
                .bind(records)
                .bind(fields)
                .bind(MASS_CLEAR)
                .bind(interval(HOUR_MS)),
        )
        .await?;
    let known: BTreeSet<&FieldName> = clears.iter().map(|(_, field)| field).collect();
    let counts = rows.into_iter().filter_map(|(name, in_hour, done)| {
        let field = known.iter().find(|field| field.as_str() == name)?;
        Some(((*field).clone(), Count { in_hour, done }))
    });
    Ok(counts.collect())
}

const COUNT: &str = "with planned as (
        select *
        from unnest($3::uuid[], $4::text[]) as planned (record_id, field)
    ),
    waiting as (
        select letter.record_id, letter.field
        from syncline.sync_task as task
        join syncline.sync_dead_letter as letter
            on letter.record_id = task.record_id
            and letter.closed_at is null
            and letter.code = $5
        where task.tenant = $1
        and task.object = $2
        and task.state = 'parked'
        and task.code = $5
    ),
    done as (
        select record_id, field
        from syncline.sync_clear
        where tenant = $1
        and object = $2
        and cleared_at > syncline.clock() - $6
    )
    select one.field, count(distinct one.record_id), count(distinct one.record_id) filter (where one.done)
    from (
        select record_id, field, false as done from planned
        union all
        select record_id, field, false from waiting
        union all
        select record_id, field, true from done
    ) as one
    where one.field in (select planned.field from planned)
    group by one.field";

/// Remembers cleared values for an hour, and forgets older ones.
async fn remember(
    tx: &mut Tx,
    mapped: &MappedObject,
    (records, fields): &(Vec<Uuid>, Vec<&str>),
) -> Result<(), StoreError> {
    tx.run(
        "remembering cleared values",
        sqlx::query(
            "with forgotten as (
                delete from syncline.sync_clear
                where tenant = $1
                and object = $2
                and cleared_at <= syncline.clock() - $5
                and record_id <> all($3)
            )
            insert into syncline.sync_clear (record_id, field, tenant, object)
            select record_id, field, $1, $2
            from unnest($3::uuid[], $4::text[]) as planned (record_id, field)
            order by record_id, field
            -- An attempt that is repeated clears one value.
            on conflict (record_id, field) do update
            set cleared_at = excluded.cleared_at",
        )
        .bind(mapped.tenant.as_str())
        .bind(mapped.sync.object.as_str())
        .bind(records)
        .bind(fields)
        .bind(interval(HOUR_MS)),
    )
    .await?;
    Ok(())
}

fn reason(mapped: &MappedObject, field: &FieldName, in_hour: i64) -> ParkReason {
    let object = &mapped.sync.object;
    ParkReason {
        code: MASS_CLEAR.to_owned(),
        field: Some(field.clone()),
        message: format!(
            "too many cleared values: {in_hour} of {object}.{field} in an hour, more than half of all. The field is not \
             written; everything else is. If this is meant, run `syncline deletes approve {object}`; if not, set the \
             values again on the side that lost them"
        ),
    }
}
