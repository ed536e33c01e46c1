//! The canonical identity of a record across both sides.

use super::ids::{ObjectName, TenantId};

/// Tenant, object and external id: the identity a person would name a record by.
///
/// Salesforce matches external ids without case (unless the field is case-sensitive) and trims
/// them, Postgres does not; so the key holds the id as given and the id as compared. Equality is on
/// the canonical one.
#[derive(Debug, Clone)]
pub struct SyncKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The external id as it was given.
    pub external_id: String,
    /// The external id as it is compared.
    pub canonical_id: String,
}

impl PartialEq for SyncKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.tenant, &self.object, &self.canonical_id)
            == (&other.tenant, &other.object, &other.canonical_id)
    }
}

impl Eq for SyncKey {}
