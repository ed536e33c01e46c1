//! One mapped object of one tenant.

use std::sync::Arc;

use crate::config::ObjectSync;
use crate::model::ids::{OrgEpoch, SalesforceId, TenantId};
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
}
