//! The store's calls for `syncline check`.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::column::ColumnType;
use crate::model::ids::{ColumnName, FieldName, TableName, TenantId};

use super::database::FoundDatabase;
use super::mapped_object::MappedObject;
use super::store_error::StoreError;

/// The calls of an operator on one tenant's Postgres.
#[async_trait]
pub trait OperatorStore: Send + Sync {
    /// Fails if the database cannot hold every text of Salesforce (its encoding is not UTF8), or is a read-only
    /// replica; the error names the fix.
    async fn require_usable_database(&self) -> Result<(), StoreError>;

    /// Returns what is known of the connected database; `None` without a control plane.
    async fn database_state(&self, tenant: &TenantId) -> Result<Option<FoundDatabase>, StoreError>;

    /// Returns the privileges that our role lacks on the control plane, or to create it.
    async fn control_plane_grants(&self) -> Result<Vec<MissingGrant>, StoreError>;

    /// Reads the definition of a mapped table and counts its rows, for `syncline check`; needs no control plane.
    /// `parents` has the column that each mapped lookup takes its values from.
    async fn table_facts(
        &self,
        mapped: &MappedObject,
        parents: &[Parent],
    ) -> Result<TableFacts, StoreError>;

    /// Returns the names of the database's tables, of at most a thousand, without our own.
    async fn table_names(&self) -> Result<Vec<TableName>, StoreError>;
}

/// A privilege that our role lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingGrant {
    /// Its name, such as `SELECT`.
    pub privilege: String,
    /// On what.
    pub place: String,
    /// The SQL that gives it.
    pub grant: String,
}

/// Where the values of a lookup column come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The lookup column.
    pub column: ColumnName,
    /// The parent's table.
    pub table: TableName,
    /// The parent's external id column.
    pub external_id: ColumnName,
}

/// What a mapped relation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RelationKind {
    /// There is no relation of that name.
    #[default]
    Missing,
    /// An ordinary table.
    Table,
    /// A partitioned table: its unique indexes include the partition key.
    Partitioned,
    /// A view, foreign table or sequence: it cannot be captured.
    Other,
}

/// The definition of a mapped table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// What kind of relation it is.
    pub kind: RelationKind,
    /// Its columns; empty if it is not a table.
    pub columns: BTreeMap<ColumnName, ColumnFacts>,
    /// A unique index covers exactly the external id column, for all rows.
    pub external_id_unique: bool,
    /// The capture triggers are as installed.
    pub triggers_installed: bool,
    /// Capture was installed on the object before, on this table or another.
    pub was_installed: bool,
    /// Why it is not the table that capture was installed on.
    pub other_table: Option<String>,
    /// Row security hides rows from our role; what lets it see them all.
    pub hidden_rows_fix: Option<String>,
    /// Privileges on it that our role lacks.
    pub missing_grants: Vec<MissingGrant>,
    /// The role that owns it, unless ours may act as it.
    pub other_owner: Option<String>,
    /// If it does not exist: names of tables that may have been meant.
    pub other_tables: Vec<String>,
    /// Foreign keys of one column: the column, and the table and column that it references.
    pub foreign_keys: Vec<(ColumnName, TableName, ColumnName)>,
    /// Lookup columns with values, none of which is an external id of a parent.
    pub strange_lookups: Vec<ColumnName>,
    /// How many rows there are; `None` if our role cannot read them.
    pub content: Option<TableContent>,
    /// Pairs of rows whose external ids are the same for Salesforce; at most a few.
    pub duplicate_keys: Vec<(String, String)>,
}

/// Rows of a mapped table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableContent {
    /// All rows.
    pub rows: u64,
    /// Rows without an external id.
    pub without_id: u64,
    /// Rows whose text is longer than the field holds, by field; only fields with such rows.
    pub too_long: BTreeMap<FieldName, u64>,
    /// Rows without a value of a field that Salesforce requires, by field; only fields with such rows.
    pub empty_required: BTreeMap<FieldName, u64>,
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
    /// The database fills it when a row is inserted without it.
    pub has_default: bool,
    /// It is part of the primary key.
    pub in_primary_key: bool,
    /// The values of its enum type; empty for other types.
    pub enum_values: Vec<String>,
    /// Its type is one of Postgres's own, no domain either.
    pub builtin: bool,
}
