//! Handles batches of queue messages and builds their responses.
//!
//! The response decides which messages are deleted, so one function builds it for [`handle_batch`] and
//! [`handle_groups`], only from ids of the batch. It follows Lambda's rules: an id that is empty, misspelt or
//! not of the batch fails the whole batch; an empty list means that all messages succeeded; an invocation that
//! fails returns every message to the queue. This module knows nothing of the content of messages.

use std::collections::BTreeMap;
use std::future::Future;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures_util::{StreamExt, stream};
use tracing::{error, warn};

use crate::attempt::{Failure, attempt};
use crate::time_limits::TimeLimits;

/// Messages of a batch that are handled at a time. They are wake-ups of different tenants, objects or permits;
/// few enough to share one instance's connections.
const MESSAGES_AT_ONCE: usize = 4;

/// The response cannot name the failed messages of the batch. No message was handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A message has no id, so that its failure cannot be reported.
    #[error("message {0} of the batch has no id; the whole batch returns to the queue")]
    MissingId(usize),
}

/// Handles each message of a batch separately and returns which of them must be delivered again.
///
/// `handle` gets the unparsed body: an invalid body is one failed message. A panic in it fails only that
/// message. Messages that are not started when time runs out are reported as untried.
pub async fn handle_batch<H, F>(
    event: SqsEvent,
    limits: TimeLimits,
    handle: H,
) -> Result<SqsBatchResponse, BatchError>
where
    H: Fn(String) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let failed = stream::iter(identified(event.records)?)
        .map(|(id, body)| {
            let handled = attempt(limits, || handle(body));
            async move { Some((id, handled.await.err()?)) }
        })
        .buffer_unordered(MESSAGES_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    Ok(response(failed))
}

/// Handles a batch in groups: `parse` returns the group and the content of each body, `handle` handles all
/// messages of a group at once.
///
/// An invalid body is one failed message. If a group fails, each of its messages is tried alone, so that a
/// message that can never succeed does not fail others. Groups do not wait for each other.
pub async fn handle_groups<K, T, P, PF, H, HF>(
    event: SqsEvent,
    limits: TimeLimits,
    parse: P,
    handle: H,
) -> Result<SqsBatchResponse, BatchError>
where
    K: Ord + Clone,
    T: Clone,
    P: Fn(String) -> PF,
    PF: Future<Output = anyhow::Result<(K, T)>>,
    H: Fn(K, Vec<T>) -> HF,
    HF: Future<Output = anyhow::Result<()>>,
{
    let mut failed = Failures::new();
    let mut groups: BTreeMap<K, Vec<(String, T)>> = BTreeMap::new();
    for (id, body) in identified(event.records)? {
        match attempt(limits, || parse(body)).await {
            Ok((group, held)) => groups.entry(group).or_default().push((id, held)),
            Err(failure) => {
                failed.insert(id, failure);
            }
        }
    }
    let handle = &handle;
    let outcomes: Vec<Failures> = stream::iter(groups)
        .map(|(group, messages)| handle_group(limits, handle, group, messages))
        .buffer_unordered(MESSAGES_AT_ONCE)
        .collect()
        .await;
    failed.extend(outcomes.into_iter().flatten());
    Ok(response(failed))
}

/// Failures by message id.
type Failures = BTreeMap<String, Failure>;

async fn handle_group<K, T, H, F>(
    limits: TimeLimits,
    handle: &H,
    group: K,
    messages: Vec<(String, T)>,
) -> Failures
where
    K: Clone,
    T: Clone,
    H: Fn(K, Vec<T>) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let held = messages.iter().map(|(_, held)| held.clone()).collect();
    let Err(failure) = attempt(limits, || handle(group.clone(), held)).await else {
        return Failures::new();
    };
    if let [(id, _)] = messages.as_slice() {
        return Failures::from([(id.clone(), failure)]);
    }
    warn!(reason = %failure, count = messages.len(), "a group of messages failed; each is tried alone");
    let mut failed = Failures::new();
    for (id, held) in messages {
        if let Err(failure) = attempt(limits, || handle(group.clone(), vec![held])).await {
            failed.insert(id, failure);
        }
    }
    failed
}

/// Reports each failure and returns the response that names them.
fn response(failed: Failures) -> SqsBatchResponse {
    for (id, failure) in &failed {
        report(id, failure);
    }
    let mut response = SqsBatchResponse::default();
    response.set_failures(failed.into_keys());
    response
}

/// Returns bodies by message id. A message that is twice in a batch counts once.
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
        Failure::Panicked | Failure::Abandoned => {
            error!(message.id = id, reason = %failure, "a message was not handled and returns to the queue");
        }
    }
}
