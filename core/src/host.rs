//! Configuration, secrets, AWS clients and logs of a process, shared by the functions and the command line.
//!
//! Nothing here decides anything about a record.

pub mod aws;
pub mod error;
pub mod fence;
pub mod instance;
pub mod logs;
pub mod process;
pub mod renewal;
pub mod settings;
