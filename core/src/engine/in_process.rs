//! A doorbell inside one process, for `syncline run`, benchmarks and tests.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::ports::{Doorbell, DoorbellError, DoorbellPort};

/// Returns a doorbell and the ear that hears it.
pub fn doorbell() -> (InProcessDoorbell, Bells) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (InProcessDoorbell { sender }, Bells { receiver })
}

/// Rings into the same process. Slots bound how many rings can be waiting, so the channel needs no
/// bound of its own.
#[derive(Debug, Clone)]
pub struct InProcessDoorbell {
    sender: mpsc::UnboundedSender<(Doorbell, u32)>,
}

/// Hears what an [`InProcessDoorbell`] rings.
#[derive(Debug)]
pub struct Bells {
    receiver: mpsc::UnboundedReceiver<(Doorbell, u32)>,
}

impl Bells {
    /// Waits for the next ring, with its delay in seconds. None when nobody can ring any more.
    pub async fn next(&mut self) -> Option<(Doorbell, u32)> {
        self.receiver.recv().await
    }

    /// Returns the next ring that is already there.
    pub fn try_next(&mut self) -> Option<(Doorbell, u32)> {
        self.receiver.try_recv().ok()
    }
}

#[async_trait]
impl DoorbellPort for InProcessDoorbell {
    async fn ring(&self, doorbells: &[(Doorbell, u32)]) -> Result<(), DoorbellError> {
        for (taken, ring) in doorbells.iter().enumerate() {
            self.sender
                .send(ring.clone())
                .map_err(|closed| DoorbellError {
                    count: doorbells.len() - taken,
                    reason: closed.to_string(),
                })?;
        }
        Ok(())
    }
}

/// Rings nowhere: the caller drives apply itself.
#[derive(Debug, Clone, Copy)]
pub struct SilentDoorbell;

#[async_trait]
impl DoorbellPort for SilentDoorbell {
    async fn ring(&self, _doorbells: &[(Doorbell, u32)]) -> Result<(), DoorbellError> {
        Ok(())
    }
}
