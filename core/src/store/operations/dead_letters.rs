//! Lists and replays dead letters.

use crate::model::ids::{ObjectName, TenantId};
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::tables::control::count_replay;
use crate::store::tables::dead_letter::{DeadLetter, DeadLetterRow, REPLAY};

impl PgStore {
    /// Returns the tenant's open dead letters, oldest first, of one object or of all.
    pub async fn dead_letters(
        &self,
        tenant: &TenantId,
        object: Option<&ObjectName>,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let mut tx = self.begin().await?;
        let rows: Vec<DeadLetterRow> = tx
            .rows(
                "listing dead letters",
                sqlx::query_as(
                    "select letter.*, link.external_id
                    from syncline.sync_dead_letter as letter
                    left join syncline.sync_link as link on link.record_id = letter.record_id
                    where letter.tenant = $1
                    and ($2::text is null or letter.object = $2)
                    and letter.closed_at is null
                    order by letter.dead_letter_id
                    limit $3",
                )
                .bind(tenant.as_str())
                .bind(object.map(ObjectName::as_str))
                .bind(limit),
            )
            .await?;
        tx.rollback().await?;
        rows.into_iter().map(DeadLetter::try_from).collect()
    }

    /// Replays a dead letter: makes its task ready with no attempts counted, or returns its refused row to
    /// the outbox. Returns false if the tenant has no such open dead letter.
    pub async fn replay_dead_letter(
        &self,
        tenant: &TenantId,
        dead_letter_id: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        // With the task: whoever leases it can read this count.
        count_replay(&mut tx, tenant).await?;
        let replayed: Vec<i64> = tx
            .values(
                "replaying a dead letter",
                sqlx::query_scalar(REPLAY)
                    .bind(tenant.as_str())
                    .bind(dead_letter_id),
            )
            .await?;
        match replayed.is_empty() {
            true => tx.rollback().await?,
            false => tx.commit().await?,
        }
        Ok(!replayed.is_empty())
    }
}
