//! A queue function that panics on the message `panic` and accepts every other one.
//!
//! A test deploys it, to prove with the real build and runtime that a panic fails one message, and not the
//! batch, the process or the next invocation.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use syncline::host::logs;
use syncline_functions::sqs;
use syncline_functions::time_limits::TimeLimits;

#[tokio::main]
async fn main() -> Result<(), Error> {
    logs::start_json();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let limits = TimeLimits::of(&event.context);
        let response = sqs::handle_batch(event.payload, limits, |body| async move {
            assert_ne!(body, "panic", "a message asked for it");
            Ok(())
        })
        .await?;
        Ok::<_, Error>(response)
    }))
    .await
}
