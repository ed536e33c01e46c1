//! A wake-up inside one process, for `syncline run`, benchmarks and tests.

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::ports::{WakeUp, WakeUpError, WakeUpPort};

/// Returns a wake-up and the ear that hears it.
pub fn wake_up() -> (InProcessWakeUps, SentWakeUps) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (InProcessWakeUps { sender }, SentWakeUps { receiver })
}

/// Rings into the same process. Slots bound how many rings can be waiting, so the channel needs no
/// bound of its own.
#[derive(Debug, Clone)]
pub struct InProcessWakeUps {
    sender: mpsc::UnboundedSender<(WakeUp, u32)>,
}

/// Hears what an [`InProcessWakeUps`] rings.
#[derive(Debug)]
pub struct SentWakeUps {
    receiver: mpsc::UnboundedReceiver<(WakeUp, u32)>,
}

impl SentWakeUps {
    /// Waits for the next ring, with its delay in seconds. None when nobody can ring any more.
    pub async fn next(&mut self) -> Option<(WakeUp, u32)> {
        self.receiver.recv().await
    }

    /// Returns the next ring that is already there.
    pub fn try_next(&mut self) -> Option<(WakeUp, u32)> {
        self.receiver.try_recv().ok()
    }
}

#[async_trait]
impl WakeUpPort for InProcessWakeUps {
    async fn send(&self, wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError> {
        for (taken, send) in wake_ups.iter().enumerate() {
            self.sender
                .send(send.clone())
                .map_err(|closed| WakeUpError {
                    count: wake_ups.len() - taken,
                    reason: closed.to_string(),
                })?;
        }
        Ok(())
    }
}

/// Rings nowhere: the caller drives apply itself.
#[derive(Debug, Clone, Copy)]
pub struct NoWakeUps;

#[async_trait]
impl WakeUpPort for NoWakeUps {
    async fn send(&self, _doorbells: &[(WakeUp, u32)]) -> Result<(), WakeUpError> {
        Ok(())
    }
}
