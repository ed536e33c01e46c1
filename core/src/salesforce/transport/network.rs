//! HTTP and gRPC over TLS, with their timeouts and limits.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::poll_fn;
use reqwest::{Client, redirect};
use tonic::codegen::Service;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{CONNECT, GrpcBody, GrpcFailure, HttpFailure, Transport};
use crate::ports::salesforce::{Disposition, SalesforceError};

/// The network: one pool of HTTP connections, one gRPC channel.
pub(in crate::salesforce) struct Network {
    http: Client,
    pubsub: Channel,
}

/// Longest wait for a connection, including TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest pause within a response. Salesforce ends a REST call after ten minutes; all our timeouts are
/// shorter.
const READ_TIMEOUT: Duration = Duration::from_secs(110);

/// How long an idle connection is kept: less than the idle timeout of load balancers, so that we close it
/// first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Largest decompressed response: 2,000 rows of 16 KB each.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

const USER_AGENT: &str = concat!("syncline/", env!("CARGO_PKG_VERSION"));

impl Network {
    /// Prepares both; they connect at first use. Follows no redirect: a bearer token goes only to the
    /// instance that the login returned. Fails if the Pub/Sub address is invalid.
    pub(in crate::salesforce) fn new(pubsub_url: &str) -> Result<Self, SalesforceError> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .user_agent(USER_AGENT)
            .gzip(true)
            .build()
            .map_err(|error| failure_of(&error).into_error("setting up HTTP"))?;
        Ok(Self {
            http,
            pubsub: endpoint(pubsub_url)?.connect_lazy(),
        })
    }
}

#[async_trait]
impl Transport for Network {
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeout: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure> {
        let mut request =
            reqwest::Request::try_from(request).map_err(|error| failure_of(&error))?;
        *request.timeout_mut() = Some(timeout);
        let response = self.http.execute(request).await;
        let mut response = response.map_err(|error| failure_of(&error))?;
        let mut answer = http::Response::new(Bytes::new());
        *answer.status_mut() = response.status();
        *answer.headers_mut() = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failure_of(&error))? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        *answer.body_mut() = body.into();
        Ok(answer)
    }

    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure> {
        let mut channel = self.pubsub.clone();
        poll_fn(|context| Service::<http::Request<GrpcBody>>::poll_ready(&mut channel, context))
            .await?;
        Ok(channel.call(request).await?)
    }
}

fn endpoint(url: &str) -> Result<Endpoint, SalesforceError> {
    let bad_address = || SalesforceError {
        what: "setting up the Pub/Sub client".to_owned(),
        status: None,
        code: "bad_address".to_owned(),
        message: "pubsub_url must be https://host:port or http://host:port".to_owned(),
        disposition: Disposition::Park,
    };
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|_| bad_address())?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_keepalive(Some(Duration::from_secs(30)))
        .user_agent(USER_AGENT)
        .map_err(|_| bad_address())?;
    match endpoint.uri().scheme_str() {
        Some("http") => Ok(endpoint),
        Some("https") => endpoint
            .tls_config(ClientTlsConfig::new().with_webpki_roots())
            .map_err(|_| bad_address()),
        Some(_) | None => Err(bad_address()),
    }
}

/// Converts a client error. Only a failure to connect proves that nothing was sent.
fn failure_of(error: &reqwest::Error) -> HttpFailure {
    let (may_have_arrived, code) = if error.is_builder() {
        (false, "bad_request")
    } else if error.is_connect() {
        (false, CONNECT)
    } else if error.is_timeout() {
        (true, "timeout")
    } else {
        (true, "broken")
    };
    HttpFailure {
        may_have_arrived,
        code,
        message: deepest_cause(error),
    }
}

fn too_large() -> HttpFailure {
    HttpFailure {
        may_have_arrived: true,
        code: "answer_too_large",
        message: format!("the response has more than {ANSWER_BYTES_MAX} bytes"),
    }
}

/// Returns the innermost error, which names the cause. The outer ones contain the address, which may
/// contain an external id.
fn deepest_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
