//! External ids for records that were born without one: minting twice gives the same.

use uuid::Uuid;

use super::hash::canonical_json;
use super::ids::{SalesforceId, TableName, TenantId};

/// Returns the external id of a record that was born in Salesforce without one.
pub fn for_salesforce(organization: &SalesforceId, record: &SalesforceId) -> String {
    let organization = Uuid::new_v5(&namespace(), organization.as_str().as_bytes());
    Uuid::new_v5(&organization, record.as_str().as_bytes()).to_string()
}

/// Returns the external id of a row that was born without one. `local_key` is the JSON object of
/// its primary key columns.
pub fn for_postgres(tenant: &TenantId, table: &TableName, local_key: &serde_json::Value) -> String {
    let place = serde_json::json!([tenant.as_str(), table.schema.as_str(), table.table.as_str()]);
    let table = Uuid::new_v5(&namespace(), canonical_json(&place).as_bytes());
    Uuid::new_v5(&table, canonical_json(local_key).as_bytes()).to_string()
}

/// Returns the name space of every generated id.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, b"syncline:external-id")
}
