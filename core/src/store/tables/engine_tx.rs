//! The engine's own transactions, which the capture triggers skip.

use crate::ports::StoreError;
use crate::store::transaction::Tx;

/// Marks this transaction as ours, so that the capture triggers skip its writes. They look for the mark only where the
/// setting is.
pub(crate) async fn mark_as_ours(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(
        "marking the transaction",
        sqlx::query(
            "insert into syncline.engine_tx (xid)
            values (pg_current_xact_id())
            returning set_config('syncline.is_engine', 'on', true)",
        ),
    )
    .await?;
    Ok(())
}

/// Removes the mark, before the commit: no other transaction ever sees it.
pub(crate) async fn unmark(tx: &mut Tx) -> Result<(), StoreError> {
    tx.run(
        "unmarking the transaction",
        sqlx::query("delete from syncline.engine_tx where xid = pg_current_xact_id()"),
    )
    .await?;
    Ok(())
}
