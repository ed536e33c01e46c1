//! What carries requests to Salesforce and brings the answers: a trait, and the network behind it.
//!
//! The client above it is the same whether it speaks over TLS or, in tests and simulations, to an org in
//! the same process. Knows nothing of sessions or of what is asked. Never logs an address, a header or
//! a body.

mod network;

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub(super) use self::network::Network;
use crate::ports::salesforce::{Disposition, SalesforceError};

/// The body of a gRPC message stream, in either direction.
pub type GrpcBody = tonic::body::Body;

/// Why a gRPC call has no answer.
pub type GrpcFailure = Box<dyn Error + Send + Sync>;

/// Carries requests to one org.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends an HTTP request and returns the whole answer, unpacked. Gives up after `timeout`.
    async fn send(
        &self,
        request: http::Request<Bytes>,
        timeout: Duration,
    ) -> Result<http::Response<Bytes>, HttpFailure>;

    /// Opens a gRPC call to the Pub/Sub API; the messages go on in both bodies. The request names the
    /// path alone, the address is this transport's.
    async fn open(
        &self,
        request: http::Request<GrpcBody>,
    ) -> Result<http::Response<GrpcBody>, GrpcFailure>;
}

/// No whole answer came.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct HttpFailure {
    /// Whether the request can have had an effect.
    pub effect: Effect,
    /// Which kind of failure, one word.
    pub code: &'static str,
    /// What happened, without addresses.
    pub message: String,
}

/// Whether a failed request can have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It was not sent.
    None,
    /// It may have arrived.
    Possible,
}

impl HttpFailure {
    /// Returns the failure of a request whose time was up before the whole answer came.
    pub fn timed_out() -> Self {
        Self {
            effect: Effect::Possible,
            code: "timeout",
            message: "the answer did not come in time".to_owned(),
        }
    }

    /// Returns the failure of a request whose connection ended without a whole answer.
    pub fn broken(message: &str) -> Self {
        Self {
            effect: Effect::Possible,
            code: "broken",
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a request that cannot be sent.
    pub(super) fn bad_request(message: &str) -> Self {
        Self {
            effect: Effect::None,
            code: "bad_request",
            message: message.to_owned(),
        }
    }

    /// Returns the failure of a request that was not sent because its time was up.
    pub(super) fn no_time_left() -> Self {
        Self {
            effect: Effect::None,
            code: "no_time_left",
            message: "too little time was left to send it".to_owned(),
        }
    }

    pub(super) fn into_error(self, what: &str) -> SalesforceError {
        SalesforceError {
            what: what.to_owned(),
            status: None,
            code: self.code.to_owned(),
            message: self.message,
            disposition: Disposition::RetryLater,
        }
    }
}
