//! Generates ids for records without an external id: the same record always gets the same id.

use uuid::Uuid;

use super::hash::canonical_json;
use super::ids::{SalesforceId, TableName, TenantId};

/// Returns the generated id of a record that was created in Salesforce without an external id.
pub fn for_salesforce(organization: &SalesforceId, record: &SalesforceId) -> String {
    let organization = Uuid::new_v5(&namespace(), organization.as_str().as_bytes());
    Uuid::new_v5(&organization, record.as_str().as_bytes()).to_string()
}

/// Returns the generated id of a row that has no external id. `local_key` is the JSON object of
/// its primary key columns.
pub fn for_postgres(tenant: &TenantId, table: &TableName, local_key: &serde_json::Value) -> String {
    let place = serde_json::json!([tenant.as_str(), table.schema.as_str(), table.table.as_str()]);
    let table = Uuid::new_v5(&namespace(), canonical_json(&place).as_bytes());
    Uuid::new_v5(&table, canonical_json(local_key).as_bytes()).to_string()
}

/// Returns the namespace of every generated id.
fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, b"syncline:external-id")
}
