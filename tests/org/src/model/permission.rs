//! What a subscriber may see of change events.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::schema::{FieldNo, ObjectNo};

/// Objects and fields hidden from one user; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permissions {
    denied: BTreeSet<ObjectNo>,
    hidden: BTreeMap<ObjectNo, Vec<FieldNo>>,
}

impl Permissions {
    /// Removes the permission to view all records of an object.
    pub(crate) fn deny(&mut self, object: ObjectNo) {
        self.denied.insert(object);
    }

    /// Hides a field.
    pub(crate) fn hide(&mut self, object: ObjectNo, field: FieldNo) {
        self.hidden.entry(object).or_default().push(field);
    }

    /// Returns whether the user lacks "View All Records" for an object.
    pub(crate) fn denies(&self, object: ObjectNo) -> bool {
        self.denied.contains(&object)
    }

    /// Returns the fields of an object that the user may not see.
    pub(crate) fn hidden(&self, object: ObjectNo) -> &[FieldNo] {
        self.hidden.get(&object).map_or(&[], Vec::as_slice)
    }
}
