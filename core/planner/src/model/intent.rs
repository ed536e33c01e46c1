//! A remote write, recorded before it is made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ids::{FencingToken, FieldName, IntentId, RecordId};
use super::value::Payload;

/// What the write does to the Salesforce record.
#[derive(
    Debug,
    Clone,
    Copy,
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
pub enum WriteAction {
    /// First create, by upsert on the external id, with the full payload.
    Create,
    /// Update by Salesforce id.
    Update,
    /// Delete by Salesforce id.
    Delete,
}

/// The state of a write.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IntentState {
    /// Recorded; it may or may not have been sent.
    Open,
    /// Salesforce returned success; some fields may still wait for their echo.
    Applied,
    /// Confirmed, and every field echoed or read back.
    Confirmed,
    /// It had no effect: Salesforce refused it, or it was not sent.
    Refused,
    /// The outcome is unknown: the record must be refreshed before it is written again.
    Unknown,
    /// A refresh showed another value: the write may still take effect late. Kept to recognise that.
    Abandoned,
}

/// One remote write of one record.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Its identity.
    pub intent_id: IntentId,
    /// The record it writes.
    pub record_id: RecordId,
    /// The lease it was made under.
    pub fencing_token: FencingToken,
    /// What it does.
    pub action: WriteAction,
    /// Canonical values it sends. References hold the parent's external id.
    pub fields: Payload,
    /// Its state.
    pub state: IntentState,
    /// Fields whose echo was seen.
    pub echoed: BTreeSet<FieldName>,
}

impl Intent {
    /// Returns whether the write may still have an effect, or its echo is awaited.
    pub fn is_pending(&self) -> bool {
        match self.state {
            IntentState::Open | IntentState::Unknown | IntentState::Applied => true,
            IntentState::Confirmed | IntentState::Refused | IntentState::Abandoned => false,
        }
    }
}
