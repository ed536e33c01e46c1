//! Wake-ups inside one process, for `syncline run`, benchmarks and tests.

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::ports::{WakeUp, WakeUpError, WakeUpPort};

/// Returns the two ends of a queue: its sender and its receiver.
pub fn channel() -> (InProcessWakeUps, SentWakeUps) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (InProcessWakeUps { sender }, SentWakeUps { receiver })
}

/// Sends wake-ups within the process. Permits limit how many can wait, so the channel needs no limit.
#[derive(Debug, Clone)]
pub struct InProcessWakeUps {
    sender: mpsc::UnboundedSender<(WakeUp, u32)>,
}

/// Receives what [`InProcessWakeUps`] sends.
#[derive(Debug)]
pub struct SentWakeUps {
    receiver: mpsc::UnboundedReceiver<(WakeUp, u32)>,
}

impl SentWakeUps {
    /// Waits for the next wake-up, with its delay in seconds. Returns `None` when every sender is dropped.
    pub async fn next(&mut self) -> Option<(WakeUp, u32)> {
        self.receiver.recv().await
    }

    /// Returns the next wake-up, if one has arrived.
    pub fn try_next(&mut self) -> Option<(WakeUp, u32)> {
        self.receiver.try_recv().ok()
    }
}

#[async_trait]
impl WakeUpPort for InProcessWakeUps {
    async fn send(&self, wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError> {
        for (taken, wake_up) in wake_ups.iter().enumerate() {
            self.sender
                .send(wake_up.clone())
                .map_err(|closed| WakeUpError {
                    count: wake_ups.len() - taken,
                    reason: closed.to_string(),
                })?;
        }
        Ok(())
    }
}

/// Sends nothing: the caller runs apply itself.
#[derive(Debug, Clone, Copy)]
pub struct NoWakeUps;

#[async_trait]
impl WakeUpPort for NoWakeUps {
    async fn send(&self, _wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError> {
        Ok(())
    }
}
