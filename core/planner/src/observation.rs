//! Absorbs observations of Salesforce into records.
//!
//! Start at [`absorb`]: each kind of observation has its own file, and its effects are a closed list that is
//! applied in one place. Observations are ordered by their version, not by their arrival. Our own writes are
//! recognised by value, not by origin alone. A record with observations that cannot be ordered is read again.

mod after_delete;
mod changed;
mod created;
mod deleted;
mod edit_time;
mod effect;
mod fields;
mod filter;
mod gap;
mod missing;
mod overwritten;
mod presence;
mod refresh;
mod settle;
mod snapshot;
mod unreadable;
mod writes;

use std::collections::BTreeMap;

use crate::model::ids::{FieldName, IntentId, SalesforceId};
use crate::model::intent::{Intent, IntentState};
use crate::model::link::{AutomationOverride, RemoteState, SyncLink};
use crate::model::observation::{ObservationKind, SalesforceObservation};
use crate::model::value::{Payload, Value};

use effect::Absorbing;

pub use settle::{Settled, base_after_delete, settle_applied};

/// The result of absorbing an observation.
#[derive(Debug, Clone, PartialEq)]
pub struct Absorbed {
    /// The remote state afterwards.
    pub remote_state: RemoteState,
    /// The record's Salesforce id afterwards.
    pub salesforce_id: Option<SalesforceId>,
    /// Base values that the observation confirms: a write with an unknown outcome had an effect.
    pub base_advance: Payload,
    /// Fields that Salesforce automation changed back, afterwards.
    pub automation_overrides: BTreeMap<FieldName, AutomationOverride>,
    /// Fields of intents that the observation echoed.
    pub echoed: Vec<(IntentId, FieldName)>,
    /// Intents whose state the observation settles.
    pub intents: Vec<(IntentId, IntentState)>,
    /// Values that a write of ours replaced unseen, and about which nothing is left to decide: logged.
    pub overwritten: Vec<(FieldName, Value)>,
    /// The status of the observation.
    pub status: AbsorbStatus,
    /// The record has new work: its task gets a new generation.
    pub dirty: bool,
    /// The record must be read again under its lease before it is planned.
    pub needs_refresh: bool,
}

/// The status of an observation.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum AbsorbStatus {
    /// It changed the remote state.
    Taken,
    /// It contained only our own write.
    Echo,
    /// It was older than the remote state.
    Superseded,
    /// It equals the remote state.
    Unchanged,
    /// It cannot be ordered: the record must be read again.
    NeedsRefresh,
}

/// Absorbs one observation into the record's link.
///
/// `intents` are those of the record that are neither confirmed nor refused, oldest first. `parents` are the
/// external ids of the linked records that references point to.
pub fn absorb(
    link: &SyncLink,
    intents: &[Intent],
    seen: &SalesforceObservation,
    parents: &BTreeMap<SalesforceId, String>,
) -> Absorbed {
    let mut record = Absorbing::new(link, intents, seen, parents);
    match seen.kind {
        ObservationKind::Changed => changed::absorb(&mut record),
        ObservationKind::Created | ObservationKind::Undeleted => created::absorb(&mut record),
        ObservationKind::Snapshot => snapshot::absorb(&mut record),
        ObservationKind::Refresh => refresh::absorb(&mut record),
        ObservationKind::Deleted => deleted::absorb(&mut record),
        ObservationKind::Missing => missing::absorb(&mut record),
        ObservationKind::Unreadable => unreadable::absorb(&mut record),
        ObservationKind::Gap => gap::absorb(&mut record),
        ObservationKind::Unmatched => filter::absorb_unmatched(&mut record),
        ObservationKind::FilteredOut => filter::absorb_filtered_out(&mut record),
    }
    record.finish()
}
