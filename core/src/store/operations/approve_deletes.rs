//! Approves deletes that wait for a person: withheld by the delete guard, or without evidence.

use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId, TenantId};
use crate::planner::policy::UNREADABLE_RECORD;
use crate::planner::policy::delete_guard::{MASS_CLEAR, MASS_DELETE};
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::tables::dead_letter::close_dead_letters_of;
use crate::store::tables::task::{NewWork, add_work};
use crate::store::transaction::{Tx, interval};

/// How long an approval lasts: enough for the withheld deletes, and not much longer.
const APPROVAL_MS: i64 = 60 * 60 * 1_000;

impl PgStore {
    /// Approves the deletes and cleared values of an object for the next hour, and makes the withheld ones ready.
    /// Returns how many.
    pub async fn approve_deletes(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        lift_guard(&mut tx, tenant, object).await?;
        let withheld = parked(&mut tx, tenant, object, MASS_DELETE).await?;
        make_ready(&mut tx, &withheld, true).await?;
        let cleared = parked(&mut tx, tenant, object, MASS_CLEAR).await?;
        make_ready(&mut tx, &cleared, true).await?;
        tx.commit().await?;
        Ok(withheld.len() + cleared.len())
    }

    /// Declares the records of an object that our user cannot read any more as deleted in Salesforce, which also
    /// approves their deletes. Returns how many.
    pub async fn approve_unreadable(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        lift_guard(&mut tx, tenant, object).await?;
        let held = parked(&mut tx, tenant, object, UNREADABLE_RECORD).await?;
        tx.run(
            "declaring records as deleted",
            sqlx::query(
                "update syncline.sync_link
                set remote_state = jsonb_set(remote_state, '{presence}', '\"deleted\"'),
                    version = version + 1,
                    updated_at = syncline.clock()
                where record_id = any($1)
                and remote_state ->> 'presence' = 'unreadable'",
            )
            .bind(&held),
        )
        .await?;
        // Another read would not find them either.
        make_ready(&mut tx, &held, false).await?;
        tx.commit().await?;
        Ok(held.len())
    }
}

async fn lift_guard(tx: &mut Tx, tenant: &TenantId, object: &ObjectName) -> Result<(), StoreError> {
    tx.run(
        "approving deletes",
        sqlx::query(
            "insert into syncline.sync_delete_guard as delete_guard (tenant, object, approved_until)
            values ($1, $2, syncline.clock() + $3)
            -- Approving again counts from now on.
            on conflict (tenant, object) do update
            set approved_until = excluded.approved_until",
        )
        .bind(tenant.as_str())
        .bind(object.as_str())
        .bind(interval(APPROVAL_MS)),
    )
    .await?;
    Ok(())
}

/// Returns the parked records of this code.
async fn parked(
    tx: &mut Tx,
    tenant: &TenantId,
    object: &ObjectName,
    code: &str,
) -> Result<Vec<Uuid>, StoreError> {
    tx.values(
        "finding withheld deletes",
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
        .bind(code),
    )
    .await
}

async fn make_ready(tx: &mut Tx, records: &[Uuid], needs_refresh: bool) -> Result<(), StoreError> {
    close_dead_letters_of(tx, records, "approved").await?;
    let work: Vec<NewWork> = records
        .iter()
        .map(|record| NewWork {
            record_id: RecordId(*record),
            needs_refresh,
        })
        .collect();
    add_work(tx, &work).await
}
