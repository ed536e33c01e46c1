//! The users' tables: their shape, their rows, their capture triggers.

pub(crate) mod capture_columns;
pub(crate) mod capture_functions;
pub(crate) mod columns;
pub(crate) mod facts;
pub(crate) mod fit;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod lookups;
pub(crate) mod privileges;
pub(crate) mod read;
pub(crate) mod references;
pub(crate) mod rejected_columns;
pub(crate) mod shape;
pub(crate) mod triggers;
pub(crate) mod vacate;
pub(crate) mod walk;
pub(crate) mod write;
