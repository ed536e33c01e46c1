//! One mapped object of one tenant.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::ObjectSync;
use crate::model::ids::{ColumnName, FieldName, OrgEpoch, SalesforceId, TenantId};
use crate::model::schema::ObjectSchema;

/// One mapped object of one tenant, with everything that the store's calls need.
#[derive(Debug, Clone)]
pub struct MappedObject {
    /// The tenant.
    pub tenant: TenantId,
    /// Table, columns, rules, of the fields that both sides have.
    pub sync: Arc<ObjectSync>,
    /// The same with every mapped field, as configured.
    pub configured: Arc<ObjectSync>,
    /// Field types.
    pub schema: Arc<ObjectSchema>,
    /// The org.
    pub organization_id: SalesforceId,
    /// The org's epoch.
    pub org_epoch: OrgEpoch,
    /// The configuration that decisions are made under.
    pub config_hash: Arc<str>,
    /// Every mapped table of the tenant, its own included: a write to one table may change rows of another.
    pub tables: Arc<[MappedTable]>,
}

/// A mapped table of the tenant.
#[derive(Debug, Clone)]
pub struct MappedTable {
    /// Its object, with every mapped field, as configured.
    pub sync: Arc<ObjectSync>,
    /// Field types.
    pub schema: Arc<ObjectSchema>,
}

impl MappedTable {
    /// Returns the mapped fields of these columns.
    pub fn fields_of<'a>(
        &'a self,
        columns: &'a BTreeSet<&str>,
    ) -> impl Iterator<Item = (&'a FieldName, &'a ColumnName)> {
        let fields = self.sync.fields.iter();
        fields
            .filter(|(_, field)| columns.contains(field.column.as_str()))
            .map(|(name, field)| (name, &field.column))
    }
}
