//! The engine in one process, as `syncline run` starts it: no queue, no schedules.

use std::sync::Arc;

use syncline::engine::{SyncEngine, in_process};
use syncline::host::instance::WakeUpTarget;
use tokio::task::JoinHandle;

use crate::world::{World, tenant};

/// A running engine. Dropping it stops it at once, like a crash.
pub struct InProcess {
    engine: SyncEngine,
    running: JoinHandle<()>,
}

impl InProcess {
    /// Starts all jobs.
    ///
    /// # Errors
    ///
    /// When the configuration or a secret cannot be read.
    pub async fn start(world: &World) -> anyhow::Result<Self> {
        let (wake_up, sent_wake_ups) = in_process::channel();
        let operator = world.operator(WakeUpTarget::Here(Arc::new(wake_up)));
        let engine = operator.engine(&tenant()).await?;
        let running = tokio::spawn({
            let engine = engine.clone();
            async move { engine.run(sent_wake_ups).await }
        });
        Ok(Self { engine, running })
    }

    /// Sweeps once, which wakes apply for whatever is due.
    ///
    /// # Errors
    ///
    /// When a side cannot be reached.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        self.engine.sweep(&tenant()).await?;
        Ok(())
    }

    /// Ends the jobs at their next safe point.
    pub async fn stop(mut self) {
        self.engine.stop();
        // A job that panicked has been logged already.
        let _ = (&mut self.running).await;
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.running.abort();
    }
}
