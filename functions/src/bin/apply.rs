//! The apply function: answers doorbells.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use syncline_functions::deadline::Deadline;
use syncline_functions::wiring::Instance;
use syncline_functions::{jobs, logs, told};

#[tokio::main]
async fn main() -> Result<(), Error> {
    logs::start();
    let instance = Instance::from_environment();
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = Deadline::of(&event.context);
        Box::pin(jobs::apply(&instance, event.payload, deadline))
            .await
            .map_err(told)
    }))
    .await
}
