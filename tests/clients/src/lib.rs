//! Third-party Salesforce clients, unchanged, against the local org.
//!
//! A test starts its own org on free ports ([`Stage`]) and runs a scenario of a client against it.
//! The scenario is a small program in the client's language that checks what the client returned.
//! The test then checks the records of the org, so neither side has to be trusted.

mod installed;
mod report;
mod scenario;
mod stage;
mod tunnel;

pub use installed::Client;
pub use stage::{Calls, Stage};
