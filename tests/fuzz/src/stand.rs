//! A client of an org that gives prepared answers: the bytes of a target, as if Salesforce had sent them.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use secrecy::SecretString;
use syncline::model::ids::{FieldName, ObjectName, SalesforceId};
use syncline::model::schema::ObjectSchema;
use syncline::ports::salesforce::SalesforcePort;
use syncline::salesforce::{
    GrpcBody, GrpcFailure, HttpFailure, HttpSalesforce, Login, MemoryTokenStore, SalesforceOptions,
    Session, TokenStore, Transport,
};

/// Runs a future to its end on this thread. Nothing that a target does waits.
pub(crate) fn finished<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without threads and sockets needs nothing");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// What an org answers.
#[derive(Default)]
pub(crate) struct Answers {
    /// To REST calls, in order; the last one is repeated.
    rest: Mutex<VecDeque<http::Response<Bytes>>>,
    /// To the call for a schema, and to a subscription: one message each.
    messages: Mutex<(Vec<u8>, Vec<u8>)>,
    /// The targets of the REST requests.
    requests: Mutex<Vec<String>>,
}

impl Answers {
    /// Answers REST calls in this order from now on, and the last one again and again.
    pub(crate) fn prepare(&self, answers: impl IntoIterator<Item = http::Response<Bytes>>) {
        let mut rest = self.rest.lock().expect("no holder of this lock panics");
        *rest = answers.into_iter().collect();
        let mut requests = self.requests.lock().expect("no holder of this lock panics");
        requests.clear();
    }

    /// Answers the call for a schema and a subscription with one message each.
    pub(crate) fn prepare_stream(&self, schema: Vec<u8>, stream: Vec<u8>) {
        let mut messages = self.messages.lock().expect("no holder of this lock panics");
        *messages = (schema, stream);
    }

    /// Returns where the REST requests went.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("no holder of this lock panics");
        requests.clone()
    }
}

#[async_trait]
impl Transport for Answers {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        _: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure> {
        let mut requests = self.requests.lock().expect("no holder of this lock panics");
        requests.push(request.uri().to_string());
        let mut answers = self.rest.lock().expect("no holder of this lock panics");
        match answers.len() {
            0 => Err(HttpFailure::broken("there is no further answer")),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().expect("there are several")),
        }
    }

    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure> {
        let body = {
            let messages = self.messages.lock().expect("no holder of this lock panics");
            match request.uri().path().rsplit('/').next() {
                Some("GetSchema") => frame(&messages.0),
                _ => frame(&messages.1),
            }
        };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let body = Full::new(Bytes::from(body)).with_trailers(async { Some(Ok(trailers)) });
        http::Response::builder()
            .header("content-type", "application/grpc")
            .body(GrpcBody::new(body))
            .map_err(Into::into)
    }
}

/// Returns a message as gRPC frames it: not compressed, with its length.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// A response with this status and body.
pub(crate) fn response(status: u16, body: &[u8]) -> http::Response<Bytes> {
    http::Response::builder()
        .status(status)
        .body(Bytes::copy_from_slice(body))
        .expect("it has only a status and a body")
}

/// An org and a client for it.
pub(crate) struct Stand {
    pub(crate) answers: Arc<Answers>,
    pub(crate) org: HttpSalesforce,
}

/// Returns the stand of this thread. What a client learns from one input must not matter for the next.
pub(crate) fn stand() -> Rc<Stand> {
    thread_local! {
        static STAND: Rc<Stand> = Rc::new(new_stand());
    }
    STAND.with(Rc::clone)
}

/// Returns a new org, and a client for it that knows the schema and has a session.
pub(crate) fn new_stand() -> Stand {
    let answers = Arc::new(Answers::default());
    let org = client(&answers);
    Stand { answers, org }
}

fn client(answers: &Arc<Answers>) -> HttpSalesforce {
    let tokens = MemoryTokenStore::default();
    let session = Session {
        access_token: SecretString::from(TOKEN),
        instance_url: "https://acme.my.salesforce.com".to_owned(),
        organization_id: id("00DRM000000Gv5X2AS"),
        user_id: id("005D0000001LjdWIAS"),
    };
    finished(tokens.store(&session)).expect("memory takes a session");
    let client = client_without_session(answers, tokens);
    client.know_schema(account());
    client
}

/// The token of the client's session.
pub(crate) const TOKEN: &str = "00D!the-token-of-this-session";

pub(crate) fn client_without_session(
    answers: &Arc<Answers>,
    tokens: MemoryTokenStore,
) -> HttpSalesforce {
    let login = Login::ClientCredentials {
        secret: SecretString::from("the-secret-of-this-client"),
    };
    let options = SalesforceOptions::new("https://login.salesforce.com", "client", login, "62.0");
    let transport: Arc<dyn Transport> = Arc::<Answers>::clone(answers);
    HttpSalesforce::over(transport, options, Arc::new(tokens))
        .expect("a client secret needs no key")
}

/// Returns an object with fields of every kind. External_Id__c is the external id.
pub(crate) fn account() -> &'static ObjectSchema {
    static ACCOUNT: LazyLock<ObjectSchema> = LazyLock::new(|| {
        serde_json::from_str(include_str!("account.json")).expect("it is a schema")
    });
    &ACCOUNT
}

/// The mapped fields of that object.
pub(crate) fn mapped() -> &'static [FieldName] {
    static MAPPED: LazyLock<Vec<FieldName>> = LazyLock::new(|| {
        let names = account().fields.keys();
        let names =
            names.filter(|name| !["Id", "IsDeleted", "SystemModstamp"].contains(&name.as_str()));
        names.cloned().collect()
    });
    &MAPPED
}

pub(crate) fn id(text: &str) -> SalesforceId {
    SalesforceId::parse(text).expect("it is an id")
}

pub(crate) fn object(name: &str) -> ObjectName {
    ObjectName::parse(name).expect("it is an object name")
}

pub(crate) fn field(name: &str) -> FieldName {
    FieldName::parse(name).expect("it is a field name")
}
