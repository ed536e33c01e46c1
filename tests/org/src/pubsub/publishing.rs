//! Publishes platform events, in one call or as a stream.

use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::proto::{
    Error, ErrorCode, ProducerEvent, PublishRequest, PublishResponse, PublishResult,
};
use super::refusal::{
    PUBLISH_COUNT, PUBLISH_EMPTY_TOPIC, PUBLISH_IDLE, PUBLISH_MISMATCH, PUBLISH_REFRESH, Refusal,
    TOPIC_PERMISSION,
};
use super::rpc::Caller;
use crate::model::delivery::Topic;
use crate::model::log::{PlatformNo, Source, replay_bytes};
use crate::server::Shared;

/// Maximum number of events of one request.
const EVENTS_MAX: usize = 200;

/// Maximum size of a request in bytes: gRPC's default.
const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Maximum idle time of a stream (a comment in the official protocol file).
const IDLE: Duration = Duration::from_secs(70);

/// Publishes the events of one request. Each has its own result.
pub(super) fn publish(
    shared: &Shared,
    caller: Caller,
    request: PublishRequest,
) -> Result<PublishResponse, Status> {
    if request.encoded_len() > REQUEST_BYTES_MAX {
        let text = format!("gRPC message exceeds maximum size {REQUEST_BYTES_MAX}");
        return Err(Status::resource_exhausted(text));
    }
    let refused = |refusal: Refusal| refusal.status(caller.rpc_id);
    if request.topic_name.is_empty() {
        return Err(refused(PUBLISH_EMPTY_TOPIC));
    }
    if request.events.is_empty() || request.events.len() > EVENTS_MAX {
        return Err(refused(PUBLISH_COUNT));
    }
    let (response, head) = {
        let mut org = shared.lock();
        if !request.auth_refresh.is_empty() && org.user_of_token(&request.auth_refresh).is_none() {
            return Err(refused(PUBLISH_REFRESH));
        }
        let topic = org.model.topic(&request.topic_name);
        let event = match topic.map_err(|error| refused(error.into()))? {
            Topic::Platform(event) => event,
            Topic::Everything | Topic::One(_) | Topic::Channel(_) => {
                return Err(refused(TOPIC_PERMISSION));
            }
        };
        let results = request
            .events
            .into_iter()
            .map(|e| outcome(&mut org.model, event, e));
        let results = results.collect();
        let (_, layout) = org.model.log.layout(Source::Platform(event));
        let response = PublishResponse {
            results,
            schema_id: layout.schema.id.clone(),
            rpc_id: caller.rpc_id.to_string(),
        };
        (response, org.model.log.head())
    };
    shared.announce(head);
    Ok(response)
}

fn outcome(model: &mut crate::model::Model, no: PlatformNo, event: ProducerEvent) -> PublishResult {
    let correlation_key = if event.id.is_empty() {
        model.random.uuid().to_string()
    } else {
        event.id
    };
    match model.publish_datum(no, &event.schema_id, &event.payload) {
        Ok(published) => PublishResult {
            replay_id: replay_bytes(published.replay),
            error: None,
            correlation_key,
        },
        Err(msg) => PublishResult {
            replay_id: Vec::new(),
            error: Some(Error {
                code: ErrorCode::Publish.into(),
                msg,
            }),
            correlation_key,
        },
    }
}

/// A stream of publish requests for one topic.
pub(super) struct Publisher {
    pub(super) shared: Shared,
    pub(super) caller: Caller,
    pub(super) responses: mpsc::Sender<Result<PublishResponse, Status>>,
}

impl Publisher {
    /// Handles requests until the stream ends or one of them is refused.
    pub(super) async fn run(self, mut requests: Streaming<PublishRequest>) {
        let mut topic: Option<String> = None;
        loop {
            let request = match tokio::time::timeout(IDLE, requests.message()).await {
                Ok(Ok(Some(request))) => request,
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => return self.end(PUBLISH_IDLE).await,
            };
            let request = match &topic {
                Some(known) if request.topic_name.is_empty() => PublishRequest {
                    topic_name: known.clone(),
                    ..request
                },
                Some(known) if *known != request.topic_name => {
                    return self.end(PUBLISH_MISMATCH).await;
                }
                Some(_) | None => request,
            };
            topic = Some(request.topic_name.clone());
            let response = publish(&self.shared, self.caller, request);
            let ended = response.is_err();
            if self.responses.send(response).await.is_err() || ended {
                return;
            }
        }
    }

    async fn end(&self, refusal: Refusal) {
        // The publisher may be gone already, so a send error is ignored.
        let _ = self
            .responses
            .send(Err(refusal.status(self.caller.rpc_id)))
            .await;
    }
}
