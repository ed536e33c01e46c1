//! The capture function: from both sides into journal, images and tasks.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;
use syncline_functions::deadline::Deadline;
use syncline_functions::payload::CaptureJob;
use syncline_functions::wiring::Instance;
use syncline_functions::{jobs, logs, told};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logs::start();
    let instance = Instance::from_environment();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let deadline = Deadline::of(&event.context);
        let job = CaptureJob::parse(event.payload)?;
        Box::pin(jobs::capture(&instance, &job, deadline))
            .await
            .map_err(told)
    }))
    .await
}
