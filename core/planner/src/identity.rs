//! Finds the record that a change of either side belongs to.
//!
//! Rows and Salesforce records are matched to records by their keys: external ids, primary keys, Salesforce
//! ids. [`rows`] tracks the keys of rows when they are set, changed, swapped and cleared, in the order of [`nested`]. [`observations`]
//! does the same for observations of Salesforce, and absorbs each into its record. Both process a batch in
//! order, without SQL and clock; the store loads and saves the records.

pub mod nested;
pub mod observations;
pub mod rows;

use std::collections::BTreeMap;

use crate::model::SyncLink;
use crate::model::ids::FieldName;
use crate::model::link::Presence;

/// A record: its link, and what the link does not contain.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownRecord {
    /// The link.
    pub link: SyncLink,
    /// Its external id was generated and neither side has confirmed it.
    pub generated: bool,
    /// Its row took the external id of another live record.
    pub key_conflict: bool,
    /// Whether the row existed when it was last seen.
    pub postgres_presence: Presence,
    /// When the row last changed, by the trigger's clock.
    pub postgres_changed_at_ms: Option<i64>,
    /// When mapped columns of the row were last edited, by field and by the trigger's clock. Kept only while the
    /// record has work: it decides which of two edits is later.
    pub postgres_edited: BTreeMap<FieldName, i64>,
}

impl KnownRecord {
    /// Keeps the times of row edits that writes of ours have sent with what those writes replaced: from now on they may
    /// be forgotten.
    pub fn keep_sent_times(&mut self) {
        for (name, at_ms) in &self.postgres_edited {
            let remote = self.link.remote_state.fields.get_mut(name);
            let replaced = remote.and_then(|remote| remote.replaced.as_mut());
            // An edit after the write has replaced it: about what that hides nothing is decided by times.
            if let Some(replaced) = replaced.filter(|replaced| replaced.before.is_none()) {
                replaced.row_edited_ms = Some(*at_ms);
            }
        }
    }
}
