//! Which rules of planted bugs were reached: none, as nothing is planted here. The tree with the bugs has another file.

use std::collections::BTreeSet;

/// Returns the bugs whose rules were reached since the last call.
pub(super) fn take() -> BTreeSet<&'static str> {
    BTreeSet::new()
}
