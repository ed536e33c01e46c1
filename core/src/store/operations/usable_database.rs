//! What a database must be before anything of ours runs in it.

use crate::ports::StoreError;
use crate::store::transaction::Tx;

/// Fails if the database cannot hold every text of Salesforce, or cannot be written: the error names the fix.
pub(crate) async fn require_usable_database(tx: &mut Tx) -> Result<(), StoreError> {
    let database: Option<(String, String, bool)> = tx
        .row(
            "looking at the database",
            sqlx::query_as(
                "select datname::text, pg_encoding_to_char(encoding)::text, pg_is_in_recovery()
                from pg_database
                where datname = current_database()",
            ),
        )
        .await?;
    let Some((name, encoding, is_replica)) = database else {
        return Ok(());
    };
    if encoding != "UTF8" {
        return Err(StoreError::Mapping(format!(
            "database {name} has the encoding {encoding}, which cannot hold every text of Salesforce: create a \
             database with encoding 'UTF8' and move the tables into it"
        )));
    }
    if is_replica {
        return Err(StoreError::Mapping(format!(
            "database {name} is a read-only replica: let postgres.url point to the primary server"
        )));
    }
    Ok(())
}
