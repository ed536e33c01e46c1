//! A remote write, said before it is made.

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

/// How far a write has come.
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
    /// Said; it may or may not have left.
    Open,
    /// Confirmed by an answer; some fields may still wait for their echo.
    Applied,
    /// Confirmed, and every field echoed or read back.
    Confirmed,
    /// Refused by Salesforce: it had no effect.
    Refused,
    /// Nobody knows: the record must be looked at before anything else is written.
    Unknown,
    /// A look showed another value: it may still land late. Kept to recognise that.
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
    /// How far it has come.
    pub state: IntentState,
    /// Fields whose echo was seen.
    pub echoed: BTreeSet<FieldName>,
}
