//! What a queue is told about a batch of its messages.
//!
//! The response decides which messages are deleted, so it is built in one place, [`handle_batch`], and
//! only from ids that came in. Lambda's rules that it minds: an id that is empty, misspelt or not of
//! the batch fails the whole batch; an empty list says that everything succeeded; an invocation that
//! dies returns every message. This module knows nothing of what a message means.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{FutureExt, StreamExt, stream};
use tracing::{error, warn};

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

/// Why one message returns to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// The handler said so.
    Refused(String),
    /// The handler panicked.
    Panicked,
    /// The handler had not ended at the hard end.
    GivenUp,
    /// The soft end came before its turn.
    Untried,
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
            let attempt = handle_one(deadline, body, &handle);
            async move {
                let failure = attempt.await.err()?;
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

async fn handle_one<H, F>(deadline: Deadline, body: String, handle: &H) -> Result<(), Failure>
where
    H: Fn(String) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    if deadline.is_over() {
        return Err(Failure::Untried);
    }
    // The panic may come when the future is made or when it is polled. Whatever state it leaves behind
    // belongs to this message: leases and intents outlive it in Postgres and lapse there.
    let attempt = AssertUnwindSafe(async { handle(body).await }).catch_unwind();
    match tokio::time::timeout_at(deadline.hard().into(), attempt).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(refused))) => Err(Failure::Refused(format!("{refused}"))),
        Ok(Err(panic)) => {
            forget(panic);
            Err(Failure::Panicked)
        }
        Err(_elapsed) => Err(Failure::GivenUp),
    }
}

/// Drops a panic's payload unread: it may quote values. The panic hook has logged where it happened.
fn forget(panic: Box<dyn Any + Send>) {
    drop(panic);
}

fn report(id: &str, failure: &Failure) {
    match failure {
        Failure::Refused(reason) => {
            warn!(
                message.id = id,
                reason, "a message failed and returns to the queue"
            );
        }
        Failure::Panicked => {
            error!(
                message.id = id,
                "a message panicked and returns to the queue"
            );
        }
        Failure::GivenUp => {
            error!(
                message.id = id,
                "a message was not done at the deadline and returns to the queue"
            );
        }
        Failure::Untried => {
            warn!(
                message.id = id,
                "no time was left for a message; it returns to the queue"
            );
        }
    }
}
