//! Topics, schemas and subscriptions over gRPC.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::proto::pub_sub_server::{PubSub, PubSubServer};
use super::proto::{
    ConsumerEvent, FetchRequest, FetchResponse, ManagedFetchRequest, ManagedFetchResponse,
    ProducerEvent, PublishRequest, PublishResponse, ReplayPreset, SchemaInfo, SchemaRequest,
    TopicInfo, TopicRequest,
};
use super::refusal::{
    BAD_HEADERS, BAD_REQUEST_COUNT, BAD_TOKEN, EMPTY_TOPIC, IDLE, NO_REQUEST, Refusal,
    TOPIC_MISMATCH, UNKNOWN_SCHEMA,
};
use crate::faults::Delivered;
use crate::model::log::{ChangeEvent, Position, StreamError, Topic, replay_bytes};
use crate::server::{Connections, Shared};
use crate::unconfirmed::IDLE_SUBSCRIPTION_MS;

/// Most events that a subscriber can be owed.
const PENDING_MAX: usize = 100;

/// Responses on their way to a subscriber that does not read.
const RESPONSES_MAX: usize = 4;

/// Serves the Pub/Sub API until the task is aborted.
pub(crate) async fn serve(connections: Connections, shared: Shared, keep_alive: Duration) {
    let service = PubSubServer::new(Service { shared, keep_alive });
    let server = Server::builder().add_service(service);
    if let Err(error) = server.serve_with_incoming(connections).await {
        tracing::error!(%error, "the gRPC server ended");
    }
}

struct Service {
    shared: Shared,
    keep_alive: Duration,
}

impl Service {
    /// Checks the credentials in the metadata and returns the id of this rpc.
    fn admit<T>(&self, request: &Request<T>) -> Result<Uuid, Status> {
        let mut org = self.shared.lock();
        let rpc_id = org.model.dice.uuid();
        let metadata = |name: &str| request.metadata().get(name)?.to_str().ok();
        let (Some(token), Some(_), Some(tenant)) = (
            metadata("accesstoken"),
            metadata("instanceurl"),
            metadata("tenantid"),
        ) else {
            return Err(BAD_HEADERS.status(rpc_id));
        };
        let tenant_known = matches!(tenant.len(), 15 | 18) && tenant[..15] == org.org_id()[..15];
        if !tenant_known {
            return Err(BAD_HEADERS.status(rpc_id));
        }
        org.user_behind(token)
            .map(|_| rpc_id)
            .ok_or_else(|| BAD_TOKEN.status(rpc_id))
    }
}

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl PubSub for Service {
    type SubscribeStream = Responses<FetchResponse>;
    type PublishStreamStream = Responses<PublishResponse>;
    type ManagedSubscribeStream = Responses<ManagedFetchResponse>;

    async fn subscribe(
        &self,
        request: Request<Streaming<FetchRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let rpc_id = self.admit(&request)?;
        let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
        let subscription = Subscription {
            shared: self.shared.clone(),
            head: self.shared.head(),
            rpc_id,
            keep_alive: self.keep_alive,
            responses,
        };
        tokio::spawn(subscription.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_schema(
        &self,
        request: Request<SchemaRequest>,
    ) -> Result<Response<SchemaInfo>, Status> {
        let rpc_id = self.admit(&request)?;
        let found = self.shared.lock().get_schema(&request.get_ref().schema_id);
        let schema = found.ok_or_else(|| UNKNOWN_SCHEMA.status(rpc_id))?;
        Ok(Response::new(SchemaInfo {
            schema_json: schema.schema_json,
            schema_id: schema.schema_id,
            rpc_id: rpc_id.to_string(),
        }))
    }

    async fn get_topic(
        &self,
        request: Request<TopicRequest>,
    ) -> Result<Response<TopicInfo>, Status> {
        let rpc_id = self.admit(&request)?;
        let name = &request.get_ref().topic_name;
        if name.is_empty() {
            return Err(EMPTY_TOPIC.status(rpc_id));
        }
        let found = self.shared.lock().get_topic(name);
        let topic = found.map_err(|error| Refusal::from(error).status(rpc_id))?;
        Ok(Response::new(TopicInfo {
            topic_name: topic.topic_name,
            tenant_guid: topic.tenant_guid,
            can_publish: false,
            can_subscribe: true,
            schema_id: topic.schema_id,
            rpc_id: rpc_id.to_string(),
        }))
    }

    async fn publish(
        &self,
        _request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        Err(Status::unimplemented("The local org does not publish."))
    }

    async fn publish_stream(
        &self,
        _request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Status::unimplemented("The local org does not publish."))
    }

    async fn managed_subscribe(
        &self,
        _request: Request<Streaming<ManagedFetchRequest>>,
    ) -> Result<Response<Self::ManagedSubscribeStream>, Status> {
        Err(Status::unimplemented(
            "The local org has no managed subscriptions.",
        ))
    }
}

/// One subscription with its subscriber's grants.
struct Subscription {
    shared: Shared,
    head: watch::Receiver<u64>,
    rpc_id: Uuid,
    keep_alive: Duration,
    responses: mpsc::Sender<Result<FetchResponse, Status>>,
}

/// Where a running subscription stands.
struct Cursor {
    topic: Topic,
    topic_name: String,
    after: u64,
    pending: usize,
}

impl Subscription {
    async fn run(mut self, mut requests: Streaming<FetchRequest>) {
        let end = match requests.message().await {
            Ok(Some(first)) => match self.start(&first) {
                Ok(cursor) => self.deliver(cursor, &mut requests).await,
                Err(refusal) => Some(refusal.status(self.rpc_id)),
            },
            Ok(None) => Some(NO_REQUEST.status(self.rpc_id)),
            Err(_) => None,
        };
        if let Some(status) = end {
            // The subscriber may be gone already; then nobody needs the status.
            let _ = self.responses.send(Err(status)).await;
        }
    }

    /// Resolves the first request.
    fn start(&self, first: &FetchRequest) -> Result<Cursor, Refusal> {
        if first.topic_name.is_empty() {
            return Err(EMPTY_TOPIC);
        }
        let mut org = self.shared.lock();
        let topic = org.topic(&first.topic_name)?;
        let position = match first.replay_preset() {
            ReplayPreset::Latest => Position::Latest,
            ReplayPreset::Earliest => Position::Earliest,
            ReplayPreset::Custom => Position::After(first.replay_id.clone()),
        };
        let now_ms = org.now_ms();
        let stored = matches!(position, Position::After(_));
        if stored && org.faults.fire_subscription(&first.topic_name, now_ms) {
            return Err(StreamError::ReplayIdCorrupted.into());
        }
        let after = org.model.log.resolve(&position)?;
        let pending = granted(0, first)?;
        Ok(Cursor {
            topic,
            topic_name: first.topic_name.clone(),
            after,
            pending,
        })
    }

    /// Sends what is owed until either side ends; returns the status to end with.
    async fn deliver(
        &mut self,
        mut cursor: Cursor,
        requests: &mut Streaming<FetchRequest>,
    ) -> Option<Status> {
        let mut quiet_since = Instant::now();
        let mut open = true;
        loop {
            self.head.borrow_and_update();
            if cursor.pending > 0 {
                match self.send_events(&mut cursor).await {
                    Ok(true) => {
                        quiet_since = Instant::now();
                        continue;
                    }
                    Ok(false) => {}
                    Err(end) => return end,
                }
            }
            let idle = Duration::from_millis(IDLE_SUBSCRIPTION_MS);
            let wait = if cursor.pending > 0 {
                self.keep_alive
            } else {
                idle
            };
            tokio::select! {
                request = requests.message(), if open => match request {
                    Ok(Some(request)) => match self.grant(&cursor, &request) {
                        Ok(pending) => {
                            if cursor.pending == 0 {
                                quiet_since = Instant::now();
                            }
                            cursor.pending = pending;
                        }
                        Err(refusal) => return Some(refusal.status(self.rpc_id)),
                    },
                    Ok(None) if cursor.pending == 0 => return None,
                    Ok(None) => open = false,
                    Err(_) => return None,
                },
                changed = self.head.changed(), if cursor.pending > 0 => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(quiet_since + wait) => {
                    if cursor.pending == 0 {
                        return Some(IDLE.status(self.rpc_id));
                    }
                    quiet_since = Instant::now();
                    if self.send_keep_alive(&mut cursor).await.is_err() {
                        return None;
                    }
                }
                () = self.responses.closed() => return None,
            }
        }
    }

    fn grant(&self, cursor: &Cursor, request: &FetchRequest) -> Result<usize, Refusal> {
        if !request.topic_name.is_empty() && request.topic_name != cursor.topic_name {
            return Err(TOPIC_MISMATCH);
        }
        granted(cursor.pending, request)
    }

    /// Sends one response with events; `Ok(false)` if there are none, `Err` ends the stream.
    async fn send_events(&self, cursor: &mut Cursor) -> Result<bool, Option<Status>> {
        let (due, delivered, read_to) = {
            let mut org = self.shared.lock();
            let (events, read_to) = org
                .model
                .log
                .read(cursor.topic, cursor.after, cursor.pending);
            let due = events.len();
            org.stats.events_delivered += due as u64;
            (due, org.weathered(events), read_to)
        };
        let Delivered::Events(events) = delivered else {
            return Err(Some(Status::unavailable("Received RST_STREAM with code 0")));
        };
        cursor.after = read_to;
        if due == 0 {
            return Ok(false);
        }
        cursor.pending -= due;
        let events = events.into_iter().map(consumer_event).collect();
        self.respond(events, cursor)
            .await
            .map(|()| true)
            .map_err(|()| None)
    }

    /// Tells the subscriber that all is well up to the newest position.
    async fn send_keep_alive(&self, cursor: &mut Cursor) -> Result<(), ()> {
        // Locking moves the clock of the log, and with it the position that may be stored.
        let (events, read_to) = {
            let org = self.shared.lock();
            org.model
                .log
                .read(cursor.topic, cursor.after, cursor.pending)
        };
        if !events.is_empty() {
            return Ok(());
        }
        cursor.after = read_to;
        self.respond(Vec::new(), cursor).await
    }

    async fn respond(&self, events: Vec<ConsumerEvent>, cursor: &Cursor) -> Result<(), ()> {
        let response = FetchResponse {
            events,
            latest_replay_id: replay_bytes(cursor.after),
            rpc_id: self.rpc_id.to_string(),
            pending_num_requested: i32::try_from(cursor.pending).unwrap_or(i32::MAX),
        };
        self.responses.send(Ok(response)).await.map_err(|_| ())
    }
}

/// Adds a grant to what is owed; more than the maximum counts as the maximum.
fn granted(pending: usize, request: &FetchRequest) -> Result<usize, Refusal> {
    match usize::try_from(request.num_requested) {
        Ok(0) | Err(_) => Err(BAD_REQUEST_COUNT),
        Ok(more) => Ok(PENDING_MAX.min(pending + more)),
    }
}

fn consumer_event(event: ChangeEvent) -> ConsumerEvent {
    ConsumerEvent {
        event: Some(ProducerEvent {
            id: event.id.to_string(),
            schema_id: event.schema_id,
            payload: event.payload.to_vec(),
            headers: Vec::new(),
        }),
        replay_id: event.replay_id,
    }
}
