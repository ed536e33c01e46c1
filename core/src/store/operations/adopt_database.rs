//! Adopts another database as the tenant's, or declares this one a copy.

use crate::model::ids::TenantId;
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::mapped_table::triggers::{run_all, tenant_triggers};
use crate::store::operations::install::drop_unused_functions;
use crate::store::tables::capture::captured;
use crate::store::tables::checkpoint::mark_scans_need_resync;
use crate::store::tables::database::{remember_database, replace_database};
use crate::store::transaction::Tx;

impl PgStore {
    /// Makes the connected database the tenant's, unless it has one.
    pub async fn remember_database(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        remember_database(&mut tx, tenant, &self.endpoint()).await?;
        tx.commit().await
    }

    /// Makes the connected database the tenant's, in place of the known one. Nothing that was known is trusted
    /// without a look: writes that were under way may have been made, so that their records are refreshed, and every
    /// object is read again, so that what changed since the copy was made is found.
    ///
    /// Waiting changes in the outbox stay. They are edits of users, and what is done about one is decided by the row and
    /// the record as they are now: one that the former database has synchronised already changes nothing.
    pub async fn adopt_database(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        replace_database(&mut tx, tenant, &self.endpoint(), false).await?;
        tx.script(
            "moving the sequences past their tables",
            "select syncline.advance_sequences()",
        )
        .await?;
        number_waiting_edits(&mut tx, tenant).await?;
        end_work(&mut tx, tenant).await?;
        let objects: Vec<_> = captured(&mut tx, tenant).await?.into_keys().collect();
        mark_scans_need_resync(&mut tx, tenant, &objects, "another database was adopted").await?;
        tx.commit().await
    }

    /// Declares the connected database a copy: nothing of the tenant is done in it any more. Its tables are no longer
    /// captured, so that its outbox does not grow.
    pub async fn declare_copy(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        replace_database(&mut tx, tenant, &self.endpoint(), true).await?;
        end_work(&mut tx, tenant).await?;
        let drops = tenant_triggers(&mut tx, tenant).await?;
        run_all(&mut tx, "removing capture triggers of a copy", drops).await?;
        drop_unused_functions(&mut tx).await?;
        tx.commit().await
    }
}

/// Numbers the waiting edits of the tenant in the order in which they were made: where numbers began again, edits of this
/// database stand before those that came from the former one, and of two renames the later one would be taken first.
async fn number_waiting_edits(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    tx.run(
        "numbering the waiting edits",
        sqlx::query(
            "with waiting as (
                delete from syncline.sync_outbox
                where tenant = $1
                returning *
            )
            insert into syncline.sync_outbox
            -- Every row gets a new id.
            overriding user value
            select *
            from waiting
            order by coalesce(changed_at, entered_at), outbox_id",
        )
        .bind(tenant.as_str()),
    )
    .await?;
    Ok(())
}

/// Ends what was given in another database: leases, permits and approvals.
async fn end_work(tx: &mut Tx, tenant: &TenantId) -> Result<(), StoreError> {
    for (what, sql) in END_WORK {
        tx.run(what, sqlx::query(*sql).bind(tenant.as_str()))
            .await?;
    }
    Ok(())
}

/// Statements that end the work of a tenant. Tasks come before streams and permits, as everywhere.
const END_WORK: &[(&str, &str)] = &[
    (
        "ending the leases of another database",
        "with waiting as materialized (
            select record_id
            from syncline.sync_task
            where tenant = $1
            order by record_id
            -- Excludes a worker that is settling right now.
            for update
        )
        update syncline.sync_task as task
        set state = case when task.state = 'leased' then 'ready' else task.state end,
            lease_owner = null,
            lease_until = null,
            -- Invalidates the tokens of the workers.
            fencing_token = default,
            needs_refresh = true,
            updated_at = syncline.clock()
        from waiting
        where task.record_id = waiting.record_id",
    ),
    (
        "marking the writes of another database as unknown",
        "update syncline.sync_intent
        set state = 'unknown',
            updated_at = syncline.clock()
        where tenant = $1
        and state = 'open'",
    ),
    (
        "ending the streams of another database",
        "update syncline.sync_checkpoint
        set lease_owner = null,
            lease_until = null,
            -- Invalidates the tokens of the owners. The positions stay: events after them are read again.
            fencing_token = fencing_token + 1,
            -- How recent the remote states are is not known before the stream is read.
            read_at = null,
            updated_at = syncline.clock()
        where tenant = $1",
    ),
    (
        "freeing the wake-ups of another database",
        "delete from syncline.sync_wake_up_permit where tenant = $1",
    ),
    (
        "ending the approvals of another database",
        "update syncline.sync_delete_guard
        set approved_until = null
        where tenant = $1",
    ),
    (
        "forgetting the comparisons of another database",
        "delete from syncline.sync_comparison where tenant = $1",
    ),
];
