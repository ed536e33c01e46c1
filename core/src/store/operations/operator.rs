//! [`OperatorStore`] on Postgres.

use async_trait::async_trait;

use crate::model::ids::{TableName, TenantId};
use crate::ports::database::FoundDatabase;
use crate::ports::operator_store::{MissingGrant, Parent, TableFacts};
use crate::ports::{MappedObject, OperatorStore, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::{facts, privileges};
use crate::store::operations::usable_database::require_usable_database;
use crate::store::tables::database::{database_state, has_control_plane};

#[async_trait]
impl OperatorStore for PgStore {
    async fn require_usable_database(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        require_usable_database(&mut tx).await?;
        tx.rollback().await
    }

    async fn database_state(&self, tenant: &TenantId) -> Result<Option<FoundDatabase>, StoreError> {
        let mut tx = self.begin().await?;
        let state = if has_control_plane(&mut tx).await? {
            Some(database_state(&mut tx, tenant, &self.endpoint()).await?)
        } else {
            None
        };
        tx.rollback().await?;
        Ok(state)
    }

    async fn control_plane_grants(&self) -> Result<Vec<MissingGrant>, StoreError> {
        let mut tx = self.begin().await?;
        let missing = privileges::control_plane_grants(&mut tx).await?;
        tx.rollback().await?;
        Ok(missing.into_iter().map(MissingGrant::from).collect())
    }

    async fn table_facts(
        &self,
        mapped: &MappedObject,
        parents: &[Parent],
    ) -> Result<TableFacts, StoreError> {
        let mut tx = self.begin().await?;
        let facts = facts::table_facts(&mut tx, mapped, parents).await?;
        tx.rollback().await?;
        Ok(facts)
    }

    async fn table_names(&self) -> Result<Vec<TableName>, StoreError> {
        let mut tx = self.begin().await?;
        let names = facts::table_names(&mut tx).await?;
        tx.rollback().await?;
        Ok(names)
    }
}
