//! Lists rows with equal external ids.

use crate::ports::{MappedObject, StoreError};
use crate::store::PgStore;
use crate::store::mapped_table::facts::{DuplicateKey, duplicates};
use crate::store::mapped_table::shape::read_shape;

impl PgStore {
    /// Returns external ids of several rows of the table that are equal for Salesforce, which ignores case
    /// and spaces around them, and compares numbers as numbers.
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
