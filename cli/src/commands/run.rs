//! All jobs in this process.

use std::sync::Arc;

use serde_json::json;
use syncline::engine::in_process;
use syncline_functions::wiring::SentWakeUp;

use crate::arguments::Common;
use crate::outcome::Outcome;

use super::wired;

/// Runs until Ctrl-C, then until every job has reached a safe point.
pub(super) async fn run(common: &Common) -> anyhow::Result<Outcome> {
    let (wake_up, sent_wake_ups) = in_process::wake_up();
    let context = wired(common, SentWakeUp::Here(Arc::new(wake_up))).await?;
    let engine = context.instance.engine_of(&context.tenants).await?;
    // What is wrong with a side is told now, not in the log of the third retry.
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
        // Without a signal handler the default action of Ctrl-C remains, which loses nothing either.
        if tokio::signal::ctrl_c().await.is_ok() {
            stopper.stop();
        }
    });
    engine.run(sent_wake_ups).await;
    stopping.abort();
    Ok(Outcome::well(json!({"ended": true}), "ended".to_owned()))
}
