//! What a process needs around the engine: where its configuration and secrets are, the clients of AWS,
//! and its logs. The functions and the command line share it.
//!
//! Nothing here decides anything about a record.

pub mod aws;
pub mod error;
pub mod instance;
pub mod logs;
pub mod settings;
