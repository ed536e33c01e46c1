//! Brings a tenant's control plane up to date.

use crate::job::error::Error;
use crate::store::PgStore;

/// Brings the schema `syncline` up to date. Doing it twice, or from two places at once, does it once.
pub async fn migrate(store: &PgStore) -> Result<(), Error> {
    Ok(store.migrate().await?)
}
