//! The link of one record: its ids, remote state and base.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::{FieldName, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
use super::observation::Version;
use super::value::{Payload, Value};

/// Whether a side holds the record.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Presence {
    /// Never seen there.
    #[default]
    Unseen,
    /// It exists there.
    Present,
    /// It existed there and is deleted.
    Deleted,
    /// It exists but does not match the object's filter; it is left alone, and its values are not kept. Only
    /// for Salesforce, which alone can evaluate the filter.
    FilteredOut,
    /// It existed there, our user cannot read it any more, and nothing shows that it was deleted. Only for
    /// Salesforce.
    Unreadable,
}

/// One field of the remote state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteField {
    /// The value last seen. References hold the parent's 18-character id.
    pub value: Value,
    /// The version of that observation.
    pub version: Version,
    /// The value is a late write, one of ours that was abandoned: the base is written again, and this value is
    /// never adopted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late_write: bool,
    /// The value was observed while a write of ours to the field was open: if that write is confirmed, it has
    /// replaced this value unseen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub written_concurrently: bool,
}

/// The last observed state of the record in Salesforce.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteState {
    /// Whether the record exists there.
    pub presence: Presence,
    /// The version of the observation that showed this.
    pub presence_version: Version,
    /// Its fields.
    pub fields: BTreeMap<FieldName, RemoteField>,
    /// Fields whose value could not be read last, with the reason. They are not planned: whatever is
    /// known of them from before may be out of date.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<FieldName, String>,
}

/// Salesforce automation stored another value than the one we sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AutomationOverride {
    /// How often in a row.
    pub count: u32,
    /// The value we sent last.
    pub sent: Value,
    /// The value that was stored instead.
    pub stored: Value,
}

/// One record: its aliases, remote states, bases and tombstone.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncLink {
    /// Its surrogate identity.
    pub record_id: RecordId,
    /// The tenant.
    pub tenant: TenantId,
    /// The object.
    pub object: ObjectName,
    /// The org epoch its Salesforce side was observed in.
    pub org_epoch: OrgEpoch,
    /// The external id as given (generated when the record had none).
    pub external_id: String,
    /// The external id as compared; unique per tenant and object.
    pub canonical_id: String,
    /// The current Salesforce id; none before the first create and after a settled delete.
    pub salesforce_id: Option<SalesforceId>,
    /// Primary key of the row, kept for rows inserted without an external id (JSON object of the key
    /// columns).
    pub local_key: Option<serde_json::Value>,
    /// Per field, the last value both sides agreed on. References hold the parent's external id.
    pub base: Payload,
    /// Both sides have held this record and agreed at least once since it was last deleted.
    pub agreed: bool,
    /// The last observed state in Salesforce.
    pub remote_state: RemoteState,
    /// Fields that Salesforce automation changes back.
    pub automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    /// Grows with every change of this row.
    pub version: i64,
}
