//! The three Lambda functions: decoding and wiring.
//!
//! Nothing here decides anything about a record: deleting this crate would lose wiring, not
//! knowledge. The command line shares its wiring.

pub mod attempt;
pub mod aws;
pub mod deadline;
mod jobs;
pub mod logs;
pub mod payload;
pub mod serve;
pub mod settings;
pub mod sqs;
pub mod wiring;

/// Returns an error with all its causes, as the answer of an invocation.
fn told(error: anyhow::Error) -> lambda_runtime::Error {
    format!("{error:#}").into()
}
