//! Adopts another org: everything that was known of the old one is forgotten, and nothing is deleted.

use sqlx::types::Json;

use crate::model::ids::{OrgEpoch, SalesforceId, TenantId};
use crate::model::link::RemoteState;
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::tables::{checkpoint, control};
use crate::store::transaction::Tx;

impl PgStore {
    /// Makes the org that the login leads to the tenant's. It is a new mapping: its records have other ids, and both
    /// sides have agreed on nothing. Returns the org, or `None` if the login leads to the known one.
    pub async fn adopt_org(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<(SalesforceId, OrgEpoch)>, StoreError> {
        let mut tx = self.begin().await?;
        let Some((organization, epoch)) = control::adopt_other_org(&mut tx, tenant).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        checkpoint::forget_positions(&mut tx, tenant).await?;
        end_writes(&mut tx, tenant).await?;
        close_dead_letters(&mut tx, tenant).await?;
        forget_records(&mut tx, tenant, epoch).await?;
        tx.commit().await?;
        Ok(Some((organization, epoch)))
    }
}

/// Ends the writes that were not settled: they can have an effect in the old org alone.
async fn end_writes(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "ending the writes to another org",
        sqlx::query(
            "update syncline.sync_intent
            set state = 'refused',
                updated_at = syncline.clock()
            where tenant = $1
            and state in ('open', 'applied', 'unknown', 'abandoned')",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Closes what waits for a person because of the old org.
async fn close_dead_letters(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "closing dead letters of another org",
        sqlx::query(
            "update syncline.sync_dead_letter
            set closed_at = syncline.clock(),
                outcome = 'another org was adopted'
            where tenant = $1
            and origin = 'task'
            and closed_at is null",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Forgets ids, remote states and agreements, and gives every record work.
async fn forget_records(tx: &mut Tx, tenant: &TenantId, epoch: OrgEpoch) -> Result<(), StoreError> {
    tx.run(
        "forgetting the ids of another org",
        sqlx::query(
            "update syncline.sync_link_alias
            set is_current = false,
                valid_to = syncline.clock()
            where tenant = $1
            and kind = 'salesforce_id'
            and is_current",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    tx.run(
        "forgetting what was agreed with another org",
        sqlx::query(
            "with forgotten as (
                update syncline.sync_link
                set org_epoch = $2,
                    salesforce_id = null,
                    base = '{}',
                    agreed = false,
                    remote_state = $3,
                    automation_overrides = '{}',
                    version = version + 1,
                    updated_at = syncline.clock()
                where tenant = $1
                returning record_id, tenant, object
            )
            insert into syncline.sync_task as task (record_id, tenant, object)
            select record_id, tenant, object
            from forgotten
            order by record_id
            -- One task per record. A lease of work on the old org ends: its token is no longer valid. Only here, because
            -- links are locked before tasks.
            on conflict (record_id) do update
            set generation = task.generation + 1,
                state = 'ready',
                lease_owner = null,
                lease_until = null,
                fencing_token = excluded.fencing_token,
                due_at = syncline.clock(),
                needs_refresh = false,
                attempts = '{}',
                code = null,
                reason = null,
                updated_at = syncline.clock()",
        )
        .bind(tenant.as_str())
        .bind(epoch.0)
        .bind(Json(RemoteState::default())),
    )
    .await?;
    Ok(())
}
