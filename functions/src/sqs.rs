//! What a queue is told about a batch of its messages.
//!
//! The response decides which messages are deleted, so it is built in one place, [`handle_batch`], and
//! only from ids that came in. Lambda's rules that it minds: an id that is empty, misspelt or not of
//! the batch fails the whole batch; an empty list says that everything succeeded; an invocation that
//! dies returns every message. This module knows nothing of what a message means.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, stream};
use tracing::{error, warn};

use crate::attempt::{Failure, attempt};
use crate::deadline::Deadline;

/// Messages of a batch that are handled at once. They are doorbells of different tenants, objects or
/// slots; few enough to share one instance's connections.
const MESSAGES_AT_ONCE: usize = 4;

/// The batch cannot be answered message by message. Nothing of it was handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A message has no id, so that its failure could not be told.
    #[error("message {0} of the batch has no id; the whole batch returns to the queue")]
    MissingId(usize),
}

/// Handles each message of a batch by itself and returns which of them are to be delivered again.
///
/// `handle` gets the body as it came: what it cannot parse is one failed message. A panic in it fails
/// that message alone. Messages whose turn has not come when the deadline nears are reported untried.
pub async fn handle_batch<H, F>(
    event: SqsEvent,
    deadline: Deadline,
    handle: H,
) -> Result<SqsBatchResponse, BatchError>
where
    H: Fn(String) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let messages = identified(event.records)?;
    let failed: BTreeSet<String> = stream::iter(messages)
        .map(|(id, body)| {
            let handled = attempt(deadline, || handle(body));
            async move {
                let failure = handled.await.err()?;
                report(&id, &failure);
                Some(id)
            }
        })
        .buffer_unordered(MESSAGES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let mut response = SqsBatchResponse::default();
    response.set_failures(failed);
    Ok(response)
}

/// Returns bodies by message id. A message that came twice in one batch is one message.
fn identified(records: Vec<SqsMessage>) -> Result<BTreeMap<String, String>, BatchError> {
    records
        .into_iter()
        .enumerate()
        .map(|(place, message)| match message.message_id {
            Some(id) if !id.is_empty() => Ok((id, message.body.unwrap_or_default())),
            Some(_) | None => Err(BatchError::MissingId(place)),
        })
        .collect()
}

fn report(id: &str, failure: &Failure) {
    match failure {
        Failure::Refused(_) | Failure::Untried => {
            warn!(message.id = id, reason = %failure, "a message failed and returns to the queue");
        }
        Failure::Panicked | Failure::GivenUp => {
            error!(message.id = id, reason = %failure, "a message broke and returns to the queue");
        }
    }
}
