//! Runs all jobs in this process.

use std::io;
use std::sync::Arc;

use serde_json::json;
use syncline::engine::in_process;
use syncline::host::instance::WakeUpTarget;
use syncline::job::error::error_chain;

#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Common;
use crate::outcome::Outcome;

use super::wired;

/// The exit status of a process that was interrupted.
const INTERRUPTED: i32 = 130;

/// Runs until Ctrl-C or SIGTERM, then ends every job at its next safe point.
pub(super) async fn run(common: &Common) -> anyhow::Result<Outcome> {
    let (wake_up, sent_wake_ups) = in_process::wake_up();
    let context = wired(common, WakeUpTarget::Here(Arc::new(wake_up))).await?;
    let engine = context.instance.engine_of(&context.tenants).await?;
    // Reports a mistake on either side now, not in the log of the third retry. The other tenants run anyway.
    for tenant in &context.tenants {
        if let Err(error) = engine.mapped_objects(tenant).await {
            eprintln!(
                "{tenant} cannot run yet and is tried again: {}",
                error_chain(&error)
            );
        }
    }
    let names: Vec<&str> = context
        .tenants
        .iter()
        .map(|tenant| tenant.as_str())
        .collect();
    eprintln!("running for {}; Ctrl-C ends it", names.join(", "));
    let stopper = engine.clone();
    let stopping = tokio::spawn(async move {
        // If no handler can be set, a signal ends the process at once; this loses nothing either.
        if stop_signal().await.is_err() {
            return;
        }
        stopper.stop();
        eprintln!("ending; a second signal ends it at once");
        if stop_signal().await.is_ok() {
            std::process::exit(INTERRUPTED);
        }
    });
    engine.run(sent_wake_ups).await;
    stopping.abort();
    Ok(Outcome::well(json!({"ended": true}), "ended".to_owned()))
}

/// Waits for Ctrl-C, or for SIGTERM, by which services, containers and clusters end a process.
async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
