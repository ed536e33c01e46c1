//! Sends requests to Salesforce: a trait, and its implementation over the network.
//!
//! Tests and simulations implement the trait with an org in the same process. A transport knows nothing of
//! sessions or of the content of requests. It never logs an address, a header or a body.

mod network;

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;

pub(super) use self::network::Network;
use crate::ports::salesforce::{Disposition, SalesforceError};

/// The body of a gRPC message stream, in either direction.
pub type GrpcBody = tonic::body::Body;

/// Why a gRPC call got no response.
pub type GrpcFailure = Box<dyn Error + Send + Sync>;

/// Sends requests to one org.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends an HTTP request and returns the complete response, decompressed. Fails after `timeout`.
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeout: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure>;

    /// Opens a gRPC call to the Pub/Sub API; both bodies are message streams. The request has only a path;
    /// the transport has the address.
    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure>;

    /// Returns the time by the clock with which the org's is compared: this machine's.
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// No complete response arrived.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HttpFailure {
    /// The request may have arrived, and may have had an effect.
    pub may_have_arrived: bool,
    /// The kind of failure, one word.
    pub code: &'static str,
    /// The cause, without addresses.
    pub message: String,
}

/// Code of a request that found no connection.
const CONNECT: &str = "connect";

impl HttpFailure {
    /// Returns the failure of a request that timed out before the complete response arrived.
    pub fn timed_out() -> Self {
        Self {
            may_have_arrived: true,
            code: "timeout",
            message: "the response did not arrive in time".to_owned(),
        }
    }

    /// Returns the failure of a request whose connection ended before the complete response arrived.
    pub fn broken(message: &str) -> Self {
        Self {
            may_have_arrived: true,
            code: "broken",
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a request that cannot be sent.
    pub(super) fn bad_request(message: &str) -> Self {
        Self {
            may_have_arrived: false,
            code: "bad_request",
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a request that was not sent because too little time was left.
    pub(super) fn no_time_left() -> Self {
        Self {
            may_have_arrived: false,
            code: "no_time_left",
            message: "too little time was left to send it".to_owned(),
        }
    }

    pub(super) fn into_error(self, what: &str) -> SalesforceError {
        SalesforceError {
            what: what.to_owned(),
            status: None,
            code: self.code.to_owned(),
            disposition: match self.code {
                // Nothing answers at the org's address.
                CONNECT => Disposition::WaitForOrg,
                _ => Disposition::RetryLater,
            },
            message: self.message,
        }
    }
}
