//! Counts the deletes of an object, and holds those that are too many.

use uuid::Uuid;

use super::PgStore;
use super::stream::interval;
use super::tasks::{NewWork, add_work, close_dead_letters_of};
use super::transaction::Tx;
use crate::engine::ports::store::ParkReason;
use crate::engine::ports::{MappedObject, StoreError};
use crate::model::ids::{ObjectName, RecordId, TenantId};
use crate::planner::policy::delete_guard::{MASS_DELETE, WINDOW_MS, holds};

/// How long a release holds: time enough for what was held, and no open door.
const RELEASE_MS: i64 = 60 * 60 * 1_000;

/// Returns why `deletes` more of the object must wait, or none, and counts them. Of workers side by side
/// one waits for the other here, so that together they do not delete more than one may.
pub(super) async fn withheld_by_delete_guard(
    tx: &mut Tx,
    mapped: &MappedObject,
    deletes: i64,
) -> Result<Option<ParkReason>, StoreError> {
    let (tenant, object) = (mapped.tenant.as_str(), mapped.sync.object.as_str());
    let (before, released) = open_window(tx, tenant, object).await?;
    let all = before.saturating_add(deletes);
    let max_per_hour = mapped.sync.deletes.max_per_hour();
    // The count of records is asked for only when it matters.
    if !released && holds(all, 0, max_per_hour) {
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

/// Returns the deletes of the window so far, and whether a person has released them.
async fn open_window(tx: &mut Tx, tenant: &str, object: &str) -> Result<(i64, bool), StoreError> {
    let row: Option<(i64, bool)> = tx
        .row(
            "opening the window of deletes",
            sqlx::query_as(
                "insert into syncline.sync_delete_guard as delete_guard (tenant, object)
                values ($1, $2)
                -- Locks the row, and begins a new window where the last one is over.
                on conflict (tenant, object) do update
                set deletes = case when delete_guard.window_began_at > now() - $3 then delete_guard.deletes else 0 end,
                    window_began_at = case
                        when delete_guard.window_began_at > now() - $3 then delete_guard.window_began_at
                        else now()
                    end
                returning deletes, coalesce(approved_until > now(), false)",
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

impl PgStore {
    /// Believes the deletes of an object for the next hour, and makes those ready that were held. Returns
    /// how many.
    pub async fn approve_deletes(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        tx.run(
            "releasing the delete guard",
            sqlx::query(
                "insert into syncline.sync_delete_guard as delete_guard (tenant, object, approved_until)
                values ($1, $2, now() + $3)
                -- Releasing again holds from now on.
                on conflict (tenant, object) do update
                set approved_until = excluded.approved_until",
            )
            .bind(tenant.as_str())
            .bind(object.as_str())
            .bind(interval(RELEASE_MS)),
        )
        .await?;
        let held: Vec<Uuid> = tx
            .values(
                "finding the deletes that are held",
                sqlx::query_scalar(
                    "select record_id
                    from syncline.sync_task
                    where tenant = $1
                    and object = $2
                    and state = 'parked'
                    and code = $3",
                )
                .bind(tenant.as_str())
                .bind(object.as_str())
                .bind(MASS_DELETE),
            )
            .await?;
        close_dead_letters_of(&mut tx, &held, "released").await?;
        let work: Vec<NewWork> = held
            .iter()
            .map(|record| NewWork {
                record_id: RecordId(*record),
                needs_refresh: true,
                xid: None,
            })
            .collect();
        add_work(&mut tx, &work).await?;
        tx.commit().await?;
        Ok(held.len())
    }
}
