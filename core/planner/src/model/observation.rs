//! What was seen on the Salesforce side, and how two sightings are ordered.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::cursor::SourceCursor;
use super::ids::{ObjectName, SalesforceId};
use super::value::Payload;

/// The version of an observation.
///
/// Events carry both parts and are ordered by commit number within one org epoch; a read carries
/// only the stamp. Equal stamps are incomparable: Salesforce shows whole seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    /// LastModifiedDate or SystemModstamp in milliseconds since the epoch.
    pub modified_ms: Option<i64>,
    /// commitNumber of a change event.
    pub commit_number: Option<i64>,
}

impl Version {
    /// Returns the version of a read: it has a stamp alone.
    pub fn stamped(modified_ms: i64) -> Self {
        Self {
            modified_ms: Some(modified_ms),
            commit_number: None,
        }
    }

    /// Returns how this version stands to `other`, both of one org epoch.
    ///
    /// Commit numbers decide where both have one; else stamps, whose equality says nothing: within
    /// one second anything may have happened.
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

/// How one version stands to another.
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
    /// A read made under the record's lease, with no write of ours under way: authoritative.
    Refresh,
    /// DELETE event, or a deleted row in a queryAll.
    Deleted,
    /// A look that found neither the id nor the external id, deleted rows included.
    Missing,
    /// GAP_* or an undecodable event: the record changed, nobody knows how.
    Gap,
    /// A change or a poll of a record that the object's filter does not show. Nothing of its content
    /// is told; a record that we know is looked at.
    Unmatched,
    /// A look that found the record outside the object's filter: authoritative. Its fields tell only
    /// what became of writes of ours.
    FilteredOut,
}

/// One sighting of one Salesforce record.
#[derive(Debug, Clone, PartialEq)]
pub struct SalesforceObservation {
    /// The object.
    pub object: ObjectName,
    /// The record's Salesforce id. A [`ObservationKind::Missing`] names the id that was looked for.
    pub salesforce_id: SalesforceId,
    /// The external id, where the observation carried it.
    pub external_id: Option<String>,
    /// How it was seen.
    pub kind: ObservationKind,
    /// Canonical values; references hold the 18-character id of the parent.
    pub fields: Payload,
    /// Its version.
    pub version: Version,
    /// Where it was seen.
    pub cursor: SourceCursor,
    /// Place within one event (an event may carry many record ids).
    pub ordinal: i32,
    /// A hint that the change came from our own write (client tag or user), never a proof.
    pub ours: bool,
    /// transactionKey of the event.
    pub transaction_key: Option<String>,
}
