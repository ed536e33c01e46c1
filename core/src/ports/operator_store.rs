//! The store's call for `syncline check`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::column::ColumnType;
use crate::model::ids::ColumnName;

use super::mapped_object::MappedObject;
use super::store_error::StoreError;

/// The calls of an operator on one tenant's Postgres.
#[async_trait]
pub trait OperatorStore: Send + Sync {
    /// Reads the definition of a mapped table, for `syncline check`; needs no control plane.
    async fn table_facts(&self, mapped: &MappedObject) -> Result<TableFacts, StoreError>;
}

/// The definition of a mapped table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// Its columns; empty if the table does not exist.
    pub columns: BTreeMap<ColumnName, ColumnFacts>,
    /// A unique index covers exactly the external id column, for all rows.
    pub external_id_unique: bool,
    /// The capture triggers are as installed.
    pub triggers_installed: bool,
    /// Row security hides rows from our role; what lets it see them all.
    pub hidden_rows_fix: Option<String>,
    /// Pairs of rows whose external ids are the same for Salesforce; at most a few.
    pub duplicate_keys: Vec<(String, String)>,
}

/// The definition of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Its type.
    pub column_type: ColumnType,
    /// It does not accept null.
    pub not_null: bool,
    /// It is computed by the database and cannot be written.
    pub generated: bool,
}
