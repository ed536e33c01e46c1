//! The three Lambda functions: decoding and wiring.
//!
//! This crate decides nothing about a record; it only connects the engine to Lambda. The parts that the
//! command line needs too are in `syncline::host`.

pub mod attempt;
pub mod jobs;
pub mod payload;
pub mod serve;
pub mod sqs;
pub mod time_limits;

/// Returns an error with all its causes, as the response of an invocation.
fn error_chain(error: anyhow::Error) -> lambda_runtime::Error {
    format!("{error:#}").into()
}
