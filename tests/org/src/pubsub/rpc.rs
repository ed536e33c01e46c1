//! The Pub/Sub API over gRPC: authenticates calls and dispatches them.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::proto::pub_sub_server::{PubSub, PubSubServer};
use super::proto::{
    FetchRequest, FetchResponse, ManagedFetchRequest, ManagedFetchResponse, PublishRequest,
    PublishResponse, SchemaInfo, SchemaRequest, TopicInfo, TopicRequest,
};
use super::publishing::{self, Publisher};
use super::refusal::{
    BAD_HEADERS, BAD_TOKEN, EMPTY_TOPIC, Refusal, TOO_MANY_CLIENTS, UNKNOWN_SCHEMA,
};
use super::subscription::{KeepAlive, Reply, StreamRequest, Subscription};
use crate::model::id::RecordId;
use crate::server::{Connections, Shared};

/// Maximum number of responses queued for a client that does not read.
const RESPONSES_MAX: usize = 4;

/// Maximum size of a request that is read. Above 4 MB it is refused with the org's own text.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Serves the Pub/Sub API until the task is aborted.
pub(crate) async fn serve(connections: Connections, shared: Shared, keep_alive: KeepAlive) {
    let server = Server::builder().add_service(service(shared, keep_alive));
    if let Err(error) = server.serve_with_incoming(connections).await {
        tracing::error!(%error, "the gRPC server ended");
    }
}

/// The rpcs of one org, as the server takes them.
pub(crate) type Rpcs = PubSubServer<Service>;

/// Returns what answers the rpcs of an org.
pub(crate) fn service(shared: Shared, keep_alive: KeepAlive) -> Rpcs {
    PubSubServer::new(Service { shared, keep_alive }).max_decoding_message_size(REQUEST_BYTES_MAX)
}

/// Answers rpcs.
pub(crate) struct Service {
    shared: Shared,
    keep_alive: KeepAlive,
}

/// The caller of an rpc.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) rpc_id: Uuid,
    pub(super) user: RecordId,
}

impl Service {
    /// Counts the rpc, checks the credentials in its metadata, and whether a refusal is planned.
    fn admit<T>(&self, request: &Request<T>, rpc: &str) -> Result<Caller, Status> {
        let mut org = self.shared.lock();
        *org.stats.calls.entry(format!("rpc {rpc}")).or_default() += 1;
        let rpc_id = org.model.random.uuid();
        let metadata = |name: &str| request.metadata().get(name)?.to_str().ok();
        let (Some(token), Some(_), Some(tenant)) = (
            metadata("accesstoken"),
            metadata("instanceurl"),
            metadata("tenantid"),
        ) else {
            return Err(BAD_HEADERS.status(rpc_id));
        };
        let tenant_known = matches!(tenant.len(), 15 | 18)
            && tenant.as_bytes()[..15] == org.org_id().as_bytes()[..15];
        if !tenant_known {
            return Err(BAD_HEADERS.status(rpc_id));
        }
        let user = org
            .user_of_token(token)
            .ok_or_else(|| BAD_TOKEN.status(rpc_id))?;
        match org.bus.take_refusal(rpc, false) {
            Some(refusal) => Err(refusal.status(rpc_id)),
            None => Ok(Caller { rpc_id, user }),
        }
    }

    /// Starts a subscription for either rpc and returns its replies.
    fn subscription(
        &self,
        rpc: &'static str,
        caller: Caller,
        requests: impl Stream<Item = Result<StreamRequest, Status>> + Send + Unpin + 'static,
    ) -> Result<ReceiverStream<Result<Reply, Status>>, Status> {
        let place = self.shared.lock().bus.admit();
        let place = place.ok_or_else(|| TOO_MANY_CLIENTS.status(caller.rpc_id))?;
        let (replies, receiver) = mpsc::channel(RESPONSES_MAX);
        let subscription = Subscription {
            rpc,
            shared: self.shared.clone(),
            head: self.shared.head(),
            caller,
            permissions: Arc::default(),
            keep_alive: self.keep_alive.of_a_new_subscription(),
            replies,
            _place: place,
        };
        tokio::spawn(subscription.run(requests));
        Ok(ReceiverStream::new(receiver))
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
        let caller = self.admit(&request, "Subscribe")?;
        let requests = request
            .into_inner()
            .map(|request| request.map(StreamRequest::from));
        let replies = self.subscription("Subscribe", caller, requests)?;
        let responses = replies.map(move |reply| reply.map(|reply| reply.fetch(caller.rpc_id)));
        Ok(Response::new(Box::pin(responses)))
    }

    async fn get_schema(
        &self,
        request: Request<SchemaRequest>,
    ) -> Result<Response<SchemaInfo>, Status> {
        let Caller { rpc_id, .. } = self.admit(&request, "GetSchema")?;
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
        let Caller { rpc_id, user } = self.admit(&request, "GetTopic")?;
        let name = &request.get_ref().topic_name;
        if name.is_empty() {
            return Err(EMPTY_TOPIC.status(rpc_id));
        }
        let org = self.shared.lock();
        let refused = |error| Refusal::from(error).status(rpc_id);
        let topic = org.get_topic(name).map_err(refused)?;
        Ok(Response::new(TopicInfo {
            topic_name: topic.topic_name,
            tenant_guid: topic.tenant_guid,
            can_publish: topic.can_publish,
            can_subscribe: org.topic_for(user, name).is_ok(),
            schema_id: topic.schema_id,
            rpc_id: rpc_id.to_string(),
        }))
    }

    async fn publish(
        &self,
        request: Request<PublishRequest>,
    ) -> Result<Response<PublishResponse>, Status> {
        let caller = self.admit(&request, "Publish")?;
        let published = publishing::publish(&self.shared, caller, request.into_inner());
        published.map(Response::new)
    }

    async fn publish_stream(
        &self,
        request: Request<Streaming<PublishRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let caller = self.admit(&request, "PublishStream")?;
        let (responses, receiver) = mpsc::channel(RESPONSES_MAX);
        let publisher = Publisher {
            shared: self.shared.clone(),
            caller,
            responses,
        };
        tokio::spawn(publisher.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn managed_subscribe(
        &self,
        request: Request<Streaming<ManagedFetchRequest>>,
    ) -> Result<Response<Self::ManagedSubscribeStream>, Status> {
        let caller = self.admit(&request, "ManagedSubscribe")?;
        let requests = request
            .into_inner()
            .map(|request| request.map(StreamRequest::from));
        let replies = self.subscription("ManagedSubscribe", caller, requests)?;
        let responses = replies.map(move |reply| reply.map(|reply| reply.managed(caller.rpc_id)));
        Ok(Response::new(Box::pin(responses)))
    }
}
