//! Serves the invocations of one function instance.

use std::sync::Arc;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use syncline::host::instance::Instance;
use syncline::host::logs;
use syncline::host::renewal::{FUNCTION_CONFIG_MAX, RenewedInstance};

use crate::time_limits::TimeLimits;
use crate::{error_chain, jobs};

/// Serves the capture function, until Lambda ends it.
///
/// Fails if Lambda cannot be reached.
pub async fn capture() -> Result<(), Error> {
    serve(jobs::capture).await
}

/// Serves the apply function, until Lambda ends it.
///
/// Fails if Lambda cannot be reached.
pub async fn apply() -> Result<(), Error> {
    serve(jobs::apply).await
}

/// Serves the reconcile function, until Lambda ends it.
///
/// Fails if Lambda cannot be reached.
pub async fn reconcile() -> Result<(), Error> {
    serve(jobs::reconcile).await
}

/// Serves invocations. Releases leases of failed jobs before it responds, even after a failure: after the
/// response Lambda may freeze the process for ever.
async fn serve<E, A>(
    work: impl AsyncFn(&Instance, E, TimeLimits) -> anyhow::Result<A>,
) -> Result<(), Error>
where
    E: DeserializeOwned,
    A: Serialize,
{
    logs::start_json();
    let instance = Arc::new(Instance::from_environment());
    let renewed = RenewedInstance::new(instance, FUNCTION_CONFIG_MAX);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<E>| {
        let limits = TimeLimits::of(&event.context);
        let instance = Box::pin(renewed.current()).await;
        let answer = Box::pin(work(&instance, event.payload, limits)).await;
        instance.release_orphaned_leases().await;
        answer.map_err(error_chain)
    }))
    .await
}
