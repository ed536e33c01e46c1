//! Listing rows that share an external id.

use crate::ports::{MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::facts::{DuplicateKey, duplicates};
use crate::store::mapped_table::shape::read_shape;

impl PgStore {
    /// Returns external ids that several rows of the table share as Salesforce compares them: by case,
    /// by spaces around them, as numbers.
    pub async fn duplicate_keys(
        &self,
        mapped: &MappedObject,
        limit: i64,
    ) -> Result<Vec<DuplicateKey>, StoreError> {
        let mut tx = self.begin().await?;
        read_shape(&mut tx, mapped).await?;
        let found = duplicates(&mut tx, mapped, limit).await?;
        tx.rollback().await?;
        Ok(found)
    }
}
