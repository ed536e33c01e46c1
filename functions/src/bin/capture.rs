//! The capture function: from both sides into journal, images and tasks. Woken by schedules, and by the
//! queue of the events that Salesforce relays.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use syncline_functions::deadline::Deadline;
use syncline_functions::payload::CaptureCall;
use syncline_functions::wiring::Instance;
use syncline_functions::{jobs, logs, told};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logs::start();
    let instance = Instance::from_environment();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = Deadline::of(&event.context);
        match CaptureCall::parse(event.payload)? {
            CaptureCall::Job(job) => Box::pin(jobs::capture(&instance, &job, deadline))
                .await
                .map_err(told),
            CaptureCall::Relayed(batch) => {
                Box::pin(jobs::capture_relayed(&instance, batch, deadline))
                    .await
                    .map(|response| json!(response))
                    .map_err(told)
            }
        }
    }))
    .await
}
