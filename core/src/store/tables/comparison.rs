//! The result of the last full comparison of each object.

use crate::ports::{MappedObject, StoreError};
use crate::store::transaction::Tx;

/// Stores the result of a full comparison.
pub(crate) async fn publish_comparison(
    tx: &mut Tx,
    mapped: &MappedObject,
    compared: u64,
    differing: u64,
) -> Result<(), StoreError> {
    tx.run(
            "publishing a comparison",
            sqlx::query(
                "insert into syncline.sync_comparison (tenant, object, compared, differing, config_hash)
                values ($1, $2, $3, $4, $5)
                -- The last comparison is the one that counts.
                on conflict (tenant, object) do update
                set compared = excluded.compared,
                    differing = excluded.differing,
                    config_hash = excluded.config_hash,
                    compared_at = syncline.clock()",
            )
            .bind(mapped.tenant.as_str())
            .bind(mapped.sync.object.as_str())
            .bind(i64::try_from(compared).unwrap_or(i64::MAX))
            .bind(i64::try_from(differing).unwrap_or(i64::MAX))
            .bind(&*mapped.config_hash),
        )
        .await?;
    Ok(())
}
