//! Wake-ups through an SQS queue.

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::stream::{self, StreamExt};

use crate::ports::{WakeUp, WakeUpError, WakeUpPort};

/// Most messages of one SendMessageBatch call (SQS API reference).
const BATCH_MESSAGES_MAX: usize = 10;
/// Longest delay of a message in seconds (SQS API reference).
const DELAY_SECONDS_MAX: u32 = 900;
/// Concurrent calls: a wake-up is never urgent enough for more connections.
const CALLS_IN_FLIGHT: usize = 4;

/// Sends wake-ups to one standard queue, message group = tenant.
#[derive(Debug, Clone)]
pub struct SqsWakeUps {
    client: Client,
    queue_url: String,
}

impl SqsWakeUps {
    /// Returns a sender to the queue at `queue_url`.
    pub fn new(client: Client, queue_url: &str) -> Self {
        Self {
            client,
            queue_url: queue_url.to_owned(),
        }
    }

    /// Sends one batch. Returns how many of its messages were refused, and why.
    async fn send(&self, entries: Vec<SendMessageBatchRequestEntry>) -> Option<(usize, String)> {
        let count = entries.len();
        let sent = self
            .client
            .send_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries))
            .send()
            .await;
        match sent {
            Ok(answer) => answer
                .failed()
                .first()
                .map(|failed| (answer.failed().len(), failed.code().to_owned())),
            Err(error) => Some((
                count,
                aws_sdk_sqs::error::DisplayErrorContext(error).to_string(),
            )),
        }
    }
}

#[async_trait]
impl WakeUpPort for SqsWakeUps {
    async fn send(&self, wake_ups: &[(WakeUp, u32)]) -> Result<(), WakeUpError> {
        let batches: Vec<_> = wake_ups
            .chunks(BATCH_MESSAGES_MAX)
            .map(|chunk| chunk.iter().enumerate().map(entry).collect::<Vec<_>>())
            .collect();
        let refused: Vec<(usize, String)> = stream::iter(batches)
            .map(|entries| self.send(entries))
            .buffer_unordered(CALLS_IN_FLIGHT)
            .filter_map(std::future::ready)
            .collect()
            .await;
        let count = refused.iter().map(|(count, _)| count).sum();
        match refused.into_iter().next() {
            None => Ok(()),
            Some((_, reason)) => Err(WakeUpError { count, reason }),
        }
    }
}

fn entry((place, (wake_up, delay)): (usize, &(WakeUp, u32))) -> SendMessageBatchRequestEntry {
    let WakeUp::Apply { tenant, .. } = wake_up;
    let body = serde_json::to_string(wake_up).expect("a wake-up is plain text and numbers");
    let delay = (*delay).min(DELAY_SECONDS_MAX);
    SendMessageBatchRequestEntry::builder()
        .id(place.to_string())
        .message_body(body)
        .message_group_id(tenant.as_str())
        .set_delay_seconds((delay > 0).then_some(i32::try_from(delay).unwrap_or(0)))
        .build()
        .expect("id and body are given")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{ObjectName, TenantId};

    #[test]
    fn message_has_version_job_tenant_object_and_permit() {
        let wake_up = WakeUp::Apply {
            v: 1,
            tenant: TenantId::parse("acme").unwrap(),
            object: ObjectName::parse("Account").unwrap(),
            permit: 2,
        };
        let entry = entry((3, &(wake_up, 5_000)));
        assert_eq!(
            entry.message_body(),
            r#"{"job":"apply","v":1,"tenant":"acme","object":"Account","permit":2}"#
        );
        assert_eq!(entry.message_group_id(), Some("acme"));
        assert_eq!(entry.delay_seconds(), Some(900));
        assert_eq!(entry.id(), "3");
    }
}
