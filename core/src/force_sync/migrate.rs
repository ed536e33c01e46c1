//! Creates or updates the control plane.

use super::error::ForceSyncError;

/// A pool of connections to Postgres.
pub type Pool = sqlx::PgPool;

/// Creates the schema `syncline` or updates it. Safe to repeat and to run twice at the same time.
pub async fn migrate(pool: &Pool) -> Result<(), ForceSyncError> {
    Ok(crate::PgStore::over(pool.clone()).migrate().await?)
}
