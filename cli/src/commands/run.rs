//! Runs all jobs in this process.

use std::sync::Arc;

use serde_json::json;
use syncline::engine::in_process;
use syncline::host::instance::WakeUpTarget;

use crate::arguments::Common;
use crate::outcome::Outcome;

use super::wired;

/// Runs until Ctrl-C, then ends every job at its next safe point.
pub(super) async fn run(common: &Common) -> anyhow::Result<Outcome> {
    let (wake_up, sent_wake_ups) = in_process::wake_up();
    let context = wired(common, WakeUpTarget::Here(Arc::new(wake_up))).await?;
    let engine = context.instance.engine_of(&context.tenants).await?;
    // Reports a mistake on either side now, not in the log of the third retry.
    for tenant in &context.tenants {
        engine.mapped_objects(tenant).await?;
    }
    let names: Vec<&str> = context
        .tenants
        .iter()
        .map(|tenant| tenant.as_str())
        .collect();
    eprintln!("running for {}; Ctrl-C ends it", names.join(", "));
    let stopper = engine.clone();
    let stopping = tokio::spawn(async move {
        // If no handler can be set, Ctrl-C ends the process at once; this loses nothing either.
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.stop();
        }
    });
    engine.run(sent_wake_ups).await;
    stopping.abort();
    Ok(Outcome::well(json!({"ended": true}), "ended".to_owned()))
}
