//! Approves deletes that the delete guard withholds.

use uuid::Uuid;

use crate::model::ids::{ObjectName, RecordId, TenantId};
use crate::planner::policy::delete_guard::MASS_DELETE;
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::tables::dead_letter::close_dead_letters_of;
use crate::store::tables::task::{NewWork, add_work};
use crate::store::transaction::interval;

/// How long an approval lasts: enough for the withheld deletes, and not much longer.
const APPROVAL_MS: i64 = 60 * 60 * 1_000;

impl PgStore {
    /// Approves the deletes of an object for the next hour, and makes the withheld ones ready. Returns how
    /// many.
    pub async fn approve_deletes(
        &self,
        tenant: &TenantId,
        object: &ObjectName,
    ) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
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
        let withheld: Vec<Uuid> = tx
            .values(
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
                .bind(MASS_DELETE),
            )
            .await?;
        close_dead_letters_of(&mut tx, &withheld, "approved").await?;
        let work: Vec<NewWork> = withheld
            .iter()
            .map(|record| NewWork {
                record_id: RecordId(*record),
                needs_refresh: true,
                xid: None,
            })
            .collect();
        add_work(&mut tx, &work).await?;
        tx.commit().await?;
        Ok(withheld.len())
    }
}
