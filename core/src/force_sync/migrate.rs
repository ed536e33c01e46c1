//! Creates or updates the control plane.

use super::error::ForceSyncError;

/// A pool of connections to Postgres.
pub type Pool = sqlx::PgPool;

/// Brings the schema `syncline` up to date. Safe to repeat, and safe from two places at once.
pub async fn migrate(pool: &Pool) -> Result<(), ForceSyncError> {
    Ok(crate::PgStore::over(pool.clone()).migrate().await?)
}
