//! Subscribes to change events with the Pub/Sub API over gRPC.
//!
//! Positions are opaque bytes. Each batch, keep-alives included, has the position to store once the whole
//! batch is durable. A stream that ends is not reopened, except once when its session has expired.

mod credit;
mod stream;

/// Messages and client of `proto/eventbus.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    tonic::include_proto!("eventbus.v1");
}

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Once};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use self::credit::Credit;
use self::proto::pub_sub_client::PubSubClient;
use self::proto::{FetchRequest, FetchResponse, ReplayPreset, SchemaRequest, TopicRequest};
use self::stream::{Connection, OpenedStream, Subscription};
use super::auth::{Session, SessionCache};
use super::avro::{EventSchema, event_of_object};
use super::classify::Fault;
pub(super) use super::event::EventFilter;
use super::event::Ourselves;
use super::transport::{GrpcBody, GrpcFailure, Transport};
use crate::model::ids::ObjectName;
use crate::ports::salesforce::{ChangeEvents, Disposition, ReplayFrom, SalesforceError};

/// The event bus of one org. Cheap to clone.
#[derive(Clone)]
pub(super) struct EventBus {
    transport: Arc<dyn Transport>,
    sessions: Arc<SessionCache>,
    origin_suffix: String,
    /// Event schemas by id; the schema of an id never changes.
    schemas: Arc<Mutex<BTreeMap<String, Arc<EventSchema>>>>,
}

/// Largest message: twice the size that the API asks event batches to stay below.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest single allocation while decoding an event; events have at most 1 MB.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Timeout of one call: reading a schema, or opening a stream.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait for a refusal when a stream is opened. The server may send nothing until the first
/// event, so silence is not an error.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// Replay requests that can wait in the channel: one opens the stream, one tops it up.
const REQUESTS_WAITING: usize = 4;

impl EventBus {
    /// Prepares the event bus; nothing is sent yet.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        client_tag: &str,
        sessions: Arc<SessionCache>,
    ) -> Self {
        static BOUNDED: Once = Once::new();
        BOUNDED.call_once(|| {
            apache_avro::util::max_allocation_bytes(EVENT_BYTES_MAX);
        });
        Self {
            transport,
            sessions,
            origin_suffix: format!(";client={client_tag}"),
            schemas: Arc::default(),
        }
    }

    /// Opens a subscription, with a new session if the old one has expired. Fails if the topic does not
    /// exist or may not be read, or the bus cannot be reached. The stream itself reports a refusal that
    /// arrives late, and always reports a lost position.
    pub(super) async fn subscribe(
        &self,
        topic: &str,
        from: &ReplayFrom,
        mapped: EventFilter,
    ) -> Result<Subscription, SalesforceError> {
        let what = format!("subscribing to {topic}");
        let open = |session: Arc<Session>| async move { self.open(&session, topic, from).await };
        let (opened, session) = self.ask(&what, open).await?;
        Ok(Subscription {
            bus: self.clone(),
            topic: topic.to_owned(),
            resume: from.clone(),
            mapped,
            ourselves: Ourselves {
                origin_suffix: self.origin_suffix.clone(),
                user_id: session.user_id.clone(),
            },
            session,
            session_renewed: false,
            opened,
            waiting: VecDeque::new(),
            after_waiting: Vec::new(),
            ended: None,
            last_message: Instant::now(),
        })
    }

    /// Asks whether our user gets the change events of an object. Fails if the bus cannot be reached.
    pub(super) async fn change_events(
        &self,
        object: &ObjectName,
    ) -> Result<ChangeEvents, SalesforceError> {
        let what = format!("asking for the change events of {object}");
        let topic_name = format!("/data/{}", event_of_object(object));
        let ask = |session: Arc<Session>| {
            let (mut client, topic_name) = (self.client(), topic_name.clone());
            async move {
                let request = authorized(TopicRequest { topic_name }, &session)?;
                match client.get_topic(request).await.map(Response::into_inner) {
                    Ok(topic) if topic.can_subscribe => Ok(ChangeEvents::Available),
                    Ok(_) => Ok(ChangeEvents::NotAllowed),
                    Err(status) => match status.code() {
                        Code::NotFound => Ok(ChangeEvents::NotSelected),
                        Code::PermissionDenied => Ok(ChangeEvents::NotAllowed),
                        _ => Err(status),
                    },
                }
            }
        };
        self.ask(&what, ask).await.map(|(available, _)| available)
    }

    /// Returns the schema with this id, from the org the first time.
    async fn schema(&self, schema_id: &str) -> Result<Arc<EventSchema>, SalesforceError> {
        let known = {
            let schemas = self.schemas.lock().expect("no holder of this lock panics");
            schemas.get(schema_id).cloned()
        };
        if let Some(schema) = known {
            return Ok(schema);
        }
        let what = "reading an event schema";
        let request = SchemaRequest {
            schema_id: schema_id.to_owned(),
        };
        let ask = |session: Arc<Session>| {
            let (mut client, message) = (self.client(), request.clone());
            async move {
                let request = authorized(message, &session)?;
                client.get_schema(request).await.map(Response::into_inner)
            }
        };
        let (info, _) = self.ask(what, ask).await?;
        let schema = EventSchema::parse(&info.schema_json).map_err(|error| SalesforceError {
            what: what.to_owned(),
            status: None,
            code: SCHEMA_UNREADABLE.to_owned(),
            message: error.to_string(),
            disposition: Disposition::Park,
        })?;
        let schema = Arc::new(schema);
        let mut schemas = self.schemas.lock().expect("no holder of this lock panics");
        schemas.insert(schema_id.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    /// Makes a call, with a new session if the old one has expired. Returns the response and the session
    /// that was used.
    async fn ask<T, Call>(
        &self,
        what: &str,
        call: impl Fn(Arc<Session>) -> Call,
    ) -> Result<(T, Arc<Session>), SalesforceError>
    where
        Call: Future<Output = Result<T, Status>>,
    {
        let mut session = self.sessions.current().await?;
        let mut answer = within(CALL_TIMEOUT, call(Arc::clone(&session))).await;
        if answer
            .as_ref()
            .is_err_and(|status| status.code() == Code::Unauthenticated)
        {
            session = self.sessions.renew(Some(&session)).await?;
            answer = within(CALL_TIMEOUT, call(Arc::clone(&session))).await;
        }
        match answer {
            Ok(answer) => Ok((answer, session)),
            Err(status) => Err(fault_of(&status).into_error(what)),
        }
    }

    /// Opens the stream and waits a moment for a refusal.
    async fn open(
        &self,
        session: &Session,
        topic: &str,
        from: &ReplayFrom,
    ) -> Result<OpenedStream, Status> {
        let (requests, receiver) = mpsc::channel(REQUESTS_WAITING);
        let mut credit = Credit::default();
        let (preset, replay_id) = match from {
            ReplayFrom::Earliest => (ReplayPreset::Earliest, Vec::new()),
            ReplayFrom::After(position) => (ReplayPreset::Custom, position.clone()),
        };
        let first = FetchRequest {
            topic_name: topic.to_owned(),
            replay_preset: preset.into(),
            replay_id,
            num_requested: credit.ask().unwrap_or_default(),
            auth_refresh: String::new(),
        };
        requests
            .try_send(first)
            .expect("a new channel has room for one");
        let request = authorized(stream_of(receiver), session)?;
        let mut client = self.client();
        let mut opening: Opening =
            Box::pin(async move { client.subscribe(request).await.map(Response::into_inner) });
        let connection = match timeout(REFUSAL_WAIT, &mut opening).await {
            Ok(Ok(stream)) => Connection::Open(Box::new(stream)),
            Ok(Err(status)) if position_is_lost(&fault_of(&status).code) => {
                Connection::Opening(Box::pin(future::ready(Err(status))))
            }
            Ok(Err(status)) => return Err(status),
            Err(_) => Connection::Opening(opening),
        };
        Ok(OpenedStream {
            requests,
            connection,
            credit,
        })
    }

    fn client(&self) -> PubSubClient<Caller> {
        PubSubClient::new(Caller(Arc::clone(&self.transport)))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
    }
}

/// Makes the calls of the generated client through the transport.
#[derive(Clone)]
struct Caller(Arc<dyn Transport>);

impl Service<http::Request<GrpcBody>> for Caller {
    type Response = http::Response<GrpcBody>;
    type Error = GrpcFailure;
    type Future = future::BoxFuture<'static, Result<Self::Response, Self::Error>>;

    /// Always ready: `call` itself waits until the transport can send.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<GrpcBody>) -> Self::Future {
        let transport = Arc::clone(&self.0);
        Box::pin(async move { transport.open(request).await })
    }
}

type Opening = future::BoxFuture<'static, Result<Streaming<FetchResponse>, Status>>;

/// Code of a schema that is not the Avro schema of a change event.
const SCHEMA_UNREADABLE: &str = "schema_unreadable";

/// Returns a request with the metadata that every RPC carries.
fn authorized<T>(message: T, session: &Session) -> Result<Request<T>, Status> {
    let value = |text: &str| {
        MetadataValue::<Ascii>::try_from(text)
            .map_err(|_| Status::invalid_argument("the session is not valid header text"))
    };
    let mut token = value(session.access_token.expose_secret())?;
    token.set_sensitive(true);
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("accesstoken", token);
    metadata.insert("instanceurl", value(&session.instance_url)?);
    metadata.insert("tenantid", value(session.organization_id.as_str())?);
    Ok(request)
}

fn stream_of(
    mut receiver: mpsc::Receiver<FetchRequest>,
) -> impl futures_util::Stream<Item = FetchRequest> + Send + 'static {
    futures_util::stream::poll_fn(move |context| receiver.poll_recv(context))
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    timeout(limit, call).await.unwrap_or_else(|_| {
        Err(Status::deadline_exceeded(
            "the response did not arrive in time",
        ))
    })
}

/// Returns whether the position is malformed, or older than the retained events.
fn position_is_lost(code: &str) -> bool {
    matches!(
        code,
        "subscription.fetch.replayid.corrupted" | "subscription.fetch.replayid.validation.failed"
    )
}

/// Returns the fault of a status, from the trailer `error-code`, else from its gRPC code.
fn fault_of(status: &Status) -> Fault {
    let trailer = status
        .metadata()
        .get("error-code")
        .and_then(|code| code.to_str().ok());
    let code = trailer.unwrap_or(match status.code() {
        Code::Unauthenticated => "service.auth.error",
        Code::ResourceExhausted => "service.protection.triggered",
        // When a server restarts, streams end without a trailer.
        Code::Unavailable
        | Code::Internal
        | Code::Unknown
        | Code::Cancelled
        | Code::Aborted
        | Code::DeadlineExceeded => "service.unavailable",
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => "rpc.refused",
    });
    Fault::of_stream(code, status.message())
}
