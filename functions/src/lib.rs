//! The three Lambda functions: decoding and wiring.
//!
//! Nothing here decides anything about a record: deleting this crate would lose wiring, not
//! knowledge. The command line shares its wiring.

pub mod aws;
pub mod deadline;
pub mod logs;
pub mod payload;
pub mod settings;
pub mod sqs;
