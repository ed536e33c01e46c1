//! Counts the deletes of an object and withholds them when there are too many.

use crate::planner::policy::delete_guard::{MASS_DELETE, WINDOW_MS, holds};
use crate::ports::record::ParkReason;
use crate::ports::{MappedObject, StoreError};
use crate::store::transaction::{Tx, interval};

/// Counts `deletes` more of the object, or returns why they must wait. Concurrent workers wait for each other
/// here, so that together they cannot exceed the limit.
pub(crate) async fn withheld_by_delete_guard(
    tx: &mut Tx,
    mapped: &MappedObject,
    deletes: i64,
) -> Result<Option<ParkReason>, StoreError> {
    let (tenant, object) = (mapped.tenant.as_str(), mapped.sync.object.as_str());
    let (before, approved) = open_window(tx, tenant, object).await?;
    let all = before.saturating_add(deletes);
    let max_per_hour = mapped.sync.deletes.max_per_hour();
    // Records are counted only if the count matters.
    if !approved && holds(all, 0, max_per_hour) {
        let records = agreed_records(tx, tenant, object)
            .await?
            .saturating_add(before);
        if holds(all, records, max_per_hour) {
            return Ok(Some(reason(mapped, all, records)));
        }
    }
    tx.run(
        "counting deletes",
        sqlx::query(
            "update syncline.sync_delete_guard
            set deletes = $3
            where tenant = $1
            and object = $2",
        )
        .bind(tenant)
        .bind(object)
        .bind(all),
    )
    .await?;
    Ok(None)
}

/// Returns the deletes of the window so far, and whether a person has approved them.
async fn open_window(tx: &mut Tx, tenant: &str, object: &str) -> Result<(i64, bool), StoreError> {
    let row: Option<(i64, bool)> = tx
        .row(
            "opening the window of deletes",
            sqlx::query_as(
                "insert into syncline.sync_delete_guard as delete_guard (tenant, object)
                values ($1, $2)
                -- Locks the row, and begins a new window where the last one is over.
                on conflict (tenant, object) do update
                set deletes = case when delete_guard.window_began_at > syncline.clock() - $3 then delete_guard.deletes else 0 end,
                    window_began_at = case
                        when delete_guard.window_began_at > syncline.clock() - $3 then delete_guard.window_began_at
                        else syncline.clock()
                    end
                returning deletes, coalesce(approved_until > syncline.clock(), false)",
            )
            .bind(tenant)
            .bind(object)
            .bind(interval(WINDOW_MS)),
        )
        .await?;
    Ok(row.unwrap_or_default())
}

async fn agreed_records(tx: &mut Tx, tenant: &str, object: &str) -> Result<i64, StoreError> {
    let counted: Vec<i64> = tx
        .values(
            "counting the records of the object",
            sqlx::query_scalar(
                "select count(*)
                from syncline.sync_link
                where tenant = $1
                and object = $2
                and agreed",
            )
            .bind(tenant)
            .bind(object),
        )
        .await?;
    Ok(counted.first().copied().unwrap_or(0))
}

fn reason(mapped: &MappedObject, deletes: i64, records: i64) -> ParkReason {
    let object = &mapped.sync.object;
    ParkReason {
        code: MASS_DELETE.to_owned(),
        field: None,
        message: format!(
            "{deletes} of {records} {object} records were to be deleted within an hour. If that is meant, \
             run `syncline deletes approve {object}`; if not, bring them back: what stands again on the side \
             that lost it is not deleted on the other"
        ),
    }
}
