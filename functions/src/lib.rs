//! The three Lambda functions: decoding and wiring.
//!
//! Nothing here decides anything about a record: deleting this crate would lose wiring, not
//! knowledge. What the command line needs, too, is in `syncline::host`.

pub mod attempt;
mod jobs;
pub mod payload;
pub mod serve;
pub mod sqs;
pub mod time_limits;

/// Returns an error with all its causes, as the answer of an invocation.
fn error_chain(error: anyhow::Error) -> lambda_runtime::Error {
    format!("{error:#}").into()
}
