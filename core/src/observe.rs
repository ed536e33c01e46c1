//! Reads a record of either side into what the planner wants. Apply, capture and reconcile share it, so
//! that all three mean the same by "equal".
//!
//! [`read`] reads Salesforce, [`sides`] makes canonical values of rows and remote states, [`planner`] asks the
//! planner about locked records. None of them writes.

pub(crate) mod planner;
pub(crate) mod read;
pub(crate) mod sides;
