//! Which record a change belongs to, on either side.
//!
//! A row and a Salesforce record find their record by the names they go by: external ids, primary
//! keys, Salesforce ids. [`rows`] follows the names of rows: keys that are given, changed, swapped and
//! given up. [`observations`] does the same for what Salesforce was seen to hold, and absorbs each
//! observation into its record. Both take a batch in order, know no SQL and no clock, and leave it to
//! the store to load and save what they work on.

pub mod observations;
pub mod rows;

use crate::model::SyncLink;
use crate::model::link::Presence;

/// A record with what its link does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownRecord {
    /// The link.
    pub link: SyncLink,
    /// Its external id was generated and neither side has confirmed it.
    pub generated: bool,
    /// Its row took the external id of another live record.
    pub key_conflict: bool,
    /// What was last seen of the row.
    pub postgres_presence: Presence,
    /// When the row last changed, by the trigger's clock.
    pub postgres_changed_at_ms: Option<i64>,
}
