//! Pauses a tenant, and sets its clock skew.

use crate::model::ids::TenantId;
use crate::ports::StoreError;
use crate::store::PgStore;
use crate::store::tables::control;

impl PgStore {
    /// Pauses the tenant (nothing is leased, capture continues) or resumes it.
    pub async fn set_paused(
        &self,
        tenant: &TenantId,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        control::set_paused(&mut tx, tenant, paused, reason).await?;
        tx.commit().await
    }

    /// Sets by how many milliseconds the clocks of the two sides may differ, instead of what is measured; `None`
    /// lets the measurement count again.
    pub async fn set_clock_skew(
        &self,
        tenant: &TenantId,
        skew_ms: Option<i64>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        control::set_clock_skew(&mut tx, tenant, skew_ms).await?;
        tx.commit().await
    }
}
