//! Capturing the changes of both sides.

use futures_util::{Stream, StreamExt};
use serde_json::{Value as Json, json};

use super::config::ObjectSync;
use super::error::ForceSyncError;
use super::store::{PgStore, known_tenant};
use crate::capture::{events, postgres};
use crate::model::SourceCursor;
use crate::model::ids::ObjectName;
use crate::ports::StreamName;
use crate::salesforce::RelayedEvent;

/// Why an event stream ended.
pub use crate::ports::salesforce::StreamEnd as PubSubError;

/// A position in an event stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayId {
    bytes: Vec<u8>,
}

impl ReplayId {
    /// Returns the replay id with these bytes.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns true if there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// One decoded event.
#[derive(Debug, Clone)]
pub struct EventMessage<T> {
    /// The decoded content.
    pub payload: T,
    /// Its position in the stream.
    pub replay_id: ReplayId,
    /// The id of its Avro schema.
    pub schema_id: String,
    /// Its id.
    pub event_id: String,
}

/// One item of an event stream.
#[derive(Debug, Clone)]
pub enum PubSubEvent<T> {
    /// An event.
    Event(EventMessage<T>),
    /// The client subscribed again.
    Reconnected {
        /// The position from which it continues.
        replay_id: ReplayId,
        /// How many times it has subscribed again.
        attempt: u32,
    },
    /// No event arrived for a while.
    KeepAlive,
}

/// Captures at most `limit` rows of the outbox, oldest first. Returns the number of journaled changes.
/// `priority` has no effect.
pub async fn capture_batch(
    store: &PgStore,
    limit: i64,
    _priority: i32,
) -> Result<usize, ForceSyncError> {
    let linked = store.linked().await?;
    let limit = usize::try_from(limit).unwrap_or(0);
    let job = linked.engine.job(&linked.tenant).await?;
    let report = postgres::capture_once(&job, limit).await?;
    Ok(report.counts.journaled)
}

/// Captures change events, given as decoded JSON with their `ChangeEventHeader`, and advances the stored
/// position of the stream. Returns the number of journaled events; 0 if another worker reads the stream.
pub async fn capture_stream<S>(
    store: &PgStore,
    stream_name: &str,
    tenant: &str,
    object: &ObjectSync,
    mut stream: S,
) -> Result<usize, ForceSyncError>
where
    S: Stream<Item = Result<PubSubEvent<Json>, PubSubError>> + Unpin,
{
    let linked = store.linked().await?;
    let job = linked.engine.job(&known_tenant(tenant)?).await?;
    let object = ObjectName::parse(object.object_name())
        .map_err(|error| ForceSyncError::invalid("object sync", error))?;
    job.mapped(&object)?;
    let Some(mut lease) = job.acquire(&StreamName::from(stream_name)).await? else {
        return Ok(0);
    };
    let mut captured = 0;
    while let Some(item) = stream.next().await {
        let PubSubEvent::Event(message) = item? else {
            continue;
        };
        let organization = &job.loaded().organization_id;
        let envelope = json!({
            "source": format!("aws.partner/salesforce.com/{organization}/stream"),
            "detail": {"payload": message.payload},
        });
        let event = RelayedEvent::parse(&envelope.to_string())
            .map_err(|error| ForceSyncError::invalid("event", error))?;
        let position = SourceCursor::SalesforceReplayId(message.replay_id.bytes);
        let report = events::record_streamed(&job, &event, &mut lease, position).await?;
        captured += report.counts.journaled;
    }
    job.release(lease).await;
    Ok(captured)
}

/// Returns the stored position of a stream, if there is one.
pub async fn load_replay_id(
    store: &PgStore,
    stream_name: &str,
) -> Result<Option<ReplayId>, ForceSyncError> {
    let linked = store.linked().await?;
    let stream = StreamName::from(stream_name);
    let checkpoint = store.store().checkpoint(&linked.tenant, &stream).await?;
    Ok(checkpoint.and_then(|checkpoint| match checkpoint.position {
        Some(SourceCursor::SalesforceReplayId(bytes)) => Some(ReplayId { bytes }),
        Some(SourceCursor::OutboxId(_) | SourceCursor::Snapshot(_)) | None => None,
    }))
}
