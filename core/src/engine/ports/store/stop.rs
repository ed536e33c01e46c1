//! Why a record, or a field of it, stops.

use serde::{Deserialize, Serialize};

use crate::model::ids::FieldName;
use crate::model::value::Value;

/// Why a record stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkReason {
    /// A stable word: `duplicate_key`, `invalid_value`, `refused`, `attempts_exhausted`, `missing_parent` …
    pub code: String,
    /// The field, where one is to blame.
    pub field: Option<FieldName>,
    /// What to do about it, in words. May quote values: kept in the dead letter, never logged.
    pub message: String,
}

/// A value that Salesforce refused, with its reason.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedValue {
    /// The field.
    pub field: FieldName,
    /// The value, as it was sent.
    pub value: Value,
    /// Why.
    pub reason: ParkReason,
}
