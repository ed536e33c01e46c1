//! The link of one record: its ids, remote state and base.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::edit_time::EditTime;
use super::ids::{FieldName, IntentId, ObjectName, OrgEpoch, RecordId, SalesforceId, TenantId};
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
    /// When the value was set, while it differs from the base: which edit is later may have to be decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditTime>,
    /// The value is a late write, one of ours that was abandoned: the base is written again, and this value is
    /// never adopted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late_write: bool,
    /// The value was observed while this write of ours to the field was open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_write: Option<IntentId>,
    /// What a write of ours to the field replaced, or may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Replaced>,
    /// An edit that cannot be ordered against a write of ours yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contender: Option<Contender>,
    /// An edit that a write of ours replaced before it was seen: the next plan decides about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overwritten: Option<OverwrittenEdit>,
}

impl RemoteField {
    /// Returns a field that was seen for the first time.
    pub fn new(value: Value, version: Version) -> Self {
        Self {
            value,
            version,
            edited: None,
            late_write: false,
            concurrent_write: None,
            replaced: None,
            contender: None,
            overwritten: None,
        }
    }
}

/// What a write of ours replaced: an edit between the versions was overwritten, even if it becomes known later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// The version that was seen last before the write.
    pub after: Version,
    /// The version of the write, if a later edit has replaced it since; else it is the field's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Version>,
    /// The base before the write.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub base: Option<Value>,
    /// The value that was seen last before the write: the write was decided with it, so its event shows no edit that
    /// was overwritten unseen.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub seen: Option<Value>,
    /// When the row was edited as the write sent it, by the trigger's clock, milliseconds since the epoch. An edit that
    /// the write replaced may become known after everything else is settled, and be decided by times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_edited_ms: Option<i64>,
}

/// An edit that came before or after a write of ours: its echo or a read will show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contender {
    /// Its value.
    pub value: Value,
    /// Its version.
    pub version: Version,
    /// When it was made, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditTime>,
    /// A read has not shown the edit. The read may be older than the edit, so a second one decides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_not_shown: bool,
}

/// An edit in Salesforce that a write of ours replaced before it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverwrittenEdit {
    /// Its value.
    pub value: Value,
    /// Its version.
    pub version: Version,
    /// When it was made, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<EditTime>,
    /// The base that it was made from.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub base: Option<Value>,
}

/// Reads a value that is there: null is a value, unlike no value.
pub(crate) fn present<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(json).map(Some)
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
    /// The record as it was last seen before a delete of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_delete: Option<BeforeDelete>,
}

/// A record as it was last seen before a delete of ours, until it is seen alive. An edit that becomes known later
/// was overwritten by the delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeforeDelete {
    /// The id that was deleted; the record may have a new one since.
    pub salesforce_id: SalesforceId,
    /// Its fields. A contender is an edit that came before the delete, or after an undelete that was not seen.
    pub fields: BTreeMap<FieldName, RemoteField>,
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

impl AutomationOverride {
    /// Takes back the count of a write of these fields that had no effect: automation has not changed it back. Returns
    /// whether one was counted.
    pub fn uncount<'a>(
        counted: &mut BTreeMap<FieldName, Self>,
        fields: impl Iterator<Item = &'a FieldName>,
    ) -> bool {
        let mut is_counted = false;
        for field in fields {
            if let Some(counted) = counted.get_mut(field) {
                counted.count = counted.count.saturating_sub(1);
                is_counted = true;
            }
        }
        counted.retain(|_, counted| counted.count > 0);
        is_counted
    }
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
