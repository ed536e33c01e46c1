//! Reads a record of either side into the planner's form. Apply, capture and reconcile share it, so that
//! all three compare records in the same way.
//!
//! [`read`] reads Salesforce, [`sides`] converts rows and remote states to canonical values, [`planner`]
//! plans locked records. They do not write.

pub(crate) mod planner;
pub(crate) mod read;
pub(crate) mod sides;
