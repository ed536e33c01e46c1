//! Observations of Salesforce, and their order.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cursor::SourceCursor;
use super::ids::{FieldName, ObjectName, SalesforceId};
use super::value::{Payload, Value};

/// The version of an observation.
///
/// Events have both parts and are ordered by commit number within one org epoch; a read has only the
/// timestamp. Equal timestamps are incomparable: Salesforce returns whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// LastModifiedDate or SystemModstamp in milliseconds since the epoch.
    pub modified_ms: Option<i64>,
    /// commitNumber of a change event.
    pub commit_number: Option<i64>,
}

impl Version {
    /// Returns the version of a read, which has only a timestamp.
    pub fn stamped(modified_ms: i64) -> Self {
        Self {
            modified_ms: Some(modified_ms),
            commit_number: None,
        }
    }

    /// Compares this version with `other`, of the same org epoch.
    ///
    /// Compares commit numbers if both have one, else timestamps. Equal timestamps have no order: several
    /// changes may have been made within one second.
    pub fn order(self, other: Self) -> VersionOrder {
        if let (Some(this), Some(other)) = (self.commit_number, other.commit_number) {
            return match this.cmp(&other) {
                Ordering::Less => VersionOrder::Older,
                Ordering::Equal => VersionOrder::Same,
                Ordering::Greater => VersionOrder::Newer,
            };
        }
        match (self.modified_ms, other.modified_ms) {
            (Some(this), Some(other)) if this < other => VersionOrder::Older,
            (Some(this), Some(other)) if this > other => VersionOrder::Newer,
            (_, _) => VersionOrder::Incomparable,
        }
    }
}

/// The order of two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionOrder {
    /// The first is older.
    Older,
    /// Both are the same event.
    Same,
    /// The first is newer.
    Newer,
    /// They cannot be ordered: read the record again.
    Incomparable,
}

/// How a Salesforce record was seen.
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
pub enum ObservationKind {
    /// A change event: only the changed fields are present.
    Changed,
    /// CREATE or UNDELETE event: every mapped field is present, cleared ones as null.
    Created,
    /// Brought back: every mapped field is present.
    Undeleted,
    /// A read by poll, scan or reconcile: every mapped field is present, but the read may be older
    /// than our own last write.
    Snapshot,
    /// A read made under the record's lease, with no write of ours in flight: authoritative.
    Refresh,
    /// DELETE event, or a deleted row in a queryAll.
    Deleted,
    /// A read under the lease that found neither the id nor the external id, and Salesforce's log of deletes has
    /// the id.
    Missing,
    /// A read that found no record with this id (under the lease, nor with the external id), without evidence of a
    /// delete: our user may not see the record any more.
    Unreadable,
    /// GAP_* or an undecodable event: the record changed in an unknown way.
    Gap,
    /// A change or a poll of a record that does not match the object's filter. It has no values; a known record
    /// is refreshed.
    Unmatched,
    /// A read under the lease of a record that does not match the object's filter: authoritative. Its fields
    /// are only used to settle our writes.
    FilteredOut,
}

/// One observation of one Salesforce record.
#[derive(Debug, Clone, PartialEq)]
pub struct SalesforceObservation {
    /// The object.
    pub object: ObjectName,
    /// The record's Salesforce id. For [`ObservationKind::Missing`], the requested id.
    pub salesforce_id: SalesforceId,
    /// The external id, if the observation has it.
    pub external_id: Option<String>,
    /// How it was seen.
    pub kind: ObservationKind,
    /// Canonical values; references hold the 18-character id of the parent.
    pub fields: Payload,
    /// Fields whose values cannot be read, with the reason. It holds no value.
    pub unreadable: BTreeMap<FieldName, String>,
    /// Its version.
    pub version: Version,
    /// Where it was seen.
    pub cursor: SourceCursor,
    /// Index within one event (an event may have many record ids).
    pub ordinal: i32,
    /// A hint that the change came from our own write (client tag or user), never a proof.
    pub ours: bool,
}

/// Bytes of an observation apart from its texts, roughly.
const OBSERVATION_BYTES: usize = 512;

impl SalesforceObservation {
    /// Returns roughly how much memory it takes, by which batches are limited.
    pub fn rough_bytes(&self) -> usize {
        let texts = self.fields.values().map(|value| match value {
            Value::Text(text) => text.len(),
            Value::Null | Value::Boolean(_) | Value::Number(_) => 0,
        });
        OBSERVATION_BYTES + texts.sum::<usize>()
    }
}
