//! How one HTTP request is sent and what is known when it fails: whether it can have had an effect.
//!
//! Knows nothing of sessions or of what is asked. Never logs an address, a header or a body.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, redirect};

use crate::ports::salesforce::{Disposition, SalesforceError};

/// The HTTP client with its bounds.
pub(super) struct HttpClient {
    client: Client,
}

/// A whole answer.
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    /// `Sforce-Limit-Info`.
    pub(super) limit_info: Option<String>,
    pub(super) body: Vec<u8>,
}

/// No whole answer came.
#[derive(Debug)]
pub(super) struct HttpFailure {
    /// Whether the request can have had an effect.
    pub(super) effect: Effect,
    /// Which kind of failure, one word.
    pub(super) code: &'static str,
    /// What happened, without addresses.
    pub(super) message: String,
}

/// Whether a failed request can have had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It never left.
    None,
    /// It may have arrived.
    Possible,
}

/// Longest wait for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest silence in mid-answer. Salesforce ends a REST call after ten minutes; no call of ours is
/// given that long.
const READ_TIMEOUT: Duration = Duration::from_secs(110);

/// How long an idle connection is kept: shorter than the idle timeout of load balancers, so that we
/// close it first.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// Largest answer that is read, unpacked: 2,000 rows of 16 KB each.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

impl HttpClient {
    /// Returns a client that follows no redirect: a bearer token goes only where the login new.
    pub(super) fn new() -> Result<Self, SalesforceError> {
        Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .user_agent(concat!("syncline/", env!("CARGO_PKG_VERSION")))
            .gzip(true)
            .build()
            .map(|client| Self { client })
            .map_err(|error| HttpFailure::of(&error).into_error("setting up HTTP"))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request and reads the whole answer within `timeout`.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<HttpAnswer, HttpFailure> {
        let mut response = request
            .timeout(timeout)
            .send()
            .await
            .map_err(|error| HttpFailure::of(&error))?;
        let status = response.status().as_u16();
        let limit_info = response
            .headers()
            .get("sforce-limit-info")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| HttpFailure::of(&error))?
        {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(HttpFailure::too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpAnswer {
            status,
            limit_info,
            body,
        })
    }
}

impl HttpFailure {
    /// Returns what a client error means. Only an error of connecting proves that nothing left.
    fn of(error: &reqwest::Error) -> Self {
        let (effect, code) = if error.is_builder() {
            (Effect::None, "bad_request")
        } else if error.is_connect() {
            (Effect::None, "connect")
        } else if error.is_timeout() {
            (Effect::Possible, "timeout")
        } else {
            (Effect::Possible, "broken")
        };
        Self {
            effect,
            code,
            message: deepest_cause(error),
        }
    }

    fn too_large() -> Self {
        Self {
            effect: Effect::Possible,
            code: "answer_too_large",
            message: format!("the answer has more than {ANSWER_BYTES_MAX} bytes"),
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

/// The outer errors name the address, which may hold an external id; the innermost one names the
/// cause.
fn deepest_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
