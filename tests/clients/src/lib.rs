//! Other people's Salesforce clients, unchanged, against the local org.
//!
//! A test starts an org of its own on free ports ([`Stage`]) and has a client play a scenario
//! against it. The scenario is a small program in the client's language: it asserts on what the
//! client returned. The test asserts on what then stands in the org. Neither side believes the
//! other.

mod installed;
mod scenario;
mod stage;
mod tunnel;

pub use installed::Client;
pub use stage::{Calls, Stage};
