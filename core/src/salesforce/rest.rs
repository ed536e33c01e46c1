//! Makes REST calls with the shared session, within a deadline, and renews an expired session once.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use http::{Method, Request, Response};
use secrecy::{ExposeSecret, SecretString};

use super::allowance::Allowance;
use super::auth::{Session, SessionCache};
use super::classify::Fault;
use super::clock::ClockMeter;
use super::transport::{HttpFailure, Transport};
use crate::ports::salesforce::{Disposition, OrgClock, SalesforceError};

/// Makes REST calls.
pub(super) struct RestClient {
    transport: Arc<dyn Transport>,
    sessions: Arc<SessionCache>,
    /// `/services/data/v68.0`.
    base_path: String,
    /// Value of `Sforce-Call-Options`.
    call_options: String,
    pub(super) allowance: Allowance,
    clock: ClockMeter,
}

/// One REST call.
#[derive(Debug, Clone)]
pub(super) struct RestCall {
    pub(super) method: Method,
    /// Path below the instance URL, encoded, including the query.
    pub(super) path: String,
    /// JSON.
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) deadline: Instant,
}

/// A complete response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// A call without a complete response.
#[derive(Debug)]
pub(super) struct CallFailure {
    pub(super) may_have_arrived: bool,
    pub(super) error: SalesforceError,
}

/// Least remaining time with which a call is started: about one round trip.
const CALL_MS_MIN: u128 = 50;

impl RestClient {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        sessions: Arc<SessionCache>,
        api_version: &str,
        client_tag: &str,
        allowance: Allowance,
    ) -> Self {
        Self {
            transport,
            sessions,
            base_path: format!("/services/data/v{api_version}"),
            call_options: format!("client={client_tag}"),
            allowance,
            clock: ClockMeter::default(),
        }
    }

    /// Returns the path of a resource below the API version.
    pub(super) fn path(&self, resource: &str) -> String {
        format!("{}{resource}", self.base_path)
    }

    /// Returns the org's time, as its last answers show it.
    pub(super) fn clock(&self) -> Option<OrgClock> {
        self.clock.read(self.transport.now_ms())
    }

    /// Makes a call, unless only requests are left that others may use. Renews an expired session once and repeats
    /// the call: Salesforce refused it before it had any effect.
    pub(super) async fn perform(&self, what: &str, call: &RestCall) -> Result<Answer, CallFailure> {
        let unsent = |error| CallFailure {
            may_have_arrived: false,
            error,
        };
        self.allowance.take(what).map_err(unsent)?;
        let session = self.sessions.current().await.map_err(unsent)?;
        let answer = self.send(what, call, &session).await?;
        if !session_is_refused(answer.status) {
            return Ok(answer);
        }
        let session = self.sessions.renew(Some(&session)).await.map_err(unsent)?;
        self.send(what, call, &session).await
    }

    /// Makes a call and returns the body. Fails if the status is not 200.
    pub(super) async fn fetch(&self, what: &str, call: &RestCall) -> Result<Bytes, Fetched> {
        let answer = self
            .perform(what, call)
            .await
            .map_err(|failure| Fetched::Failed(failure.error))?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(Fetched::Refused(Fault::from_body(status, &answer.body))),
        }
    }

    async fn send(
        &self,
        what: &str,
        call: &RestCall,
        session: &Session,
    ) -> Result<Answer, CallFailure> {
        let failed = |failure: HttpFailure| CallFailure {
            may_have_arrived: failure.may_have_arrived,
            error: failure.into_error(what),
        };
        let left = call.deadline.saturating_duration_since(Instant::now());
        if left.as_millis() < CALL_MS_MIN {
            return Err(failed(HttpFailure::no_time_left()));
        }
        let request = self.request(call, session).map_err(failed)?;
        let sent_ms = self.transport.now_ms();
        let answer = self.transport.send(request, left).await.map_err(failed)?;
        if let Some(date) = text_of(&answer, DATE.as_str()) {
            self.clock.note(sent_ms, self.transport.now_ms(), date);
        }
        if let Some(usage) = text_of(&answer, "sforce-limit-info") {
            self.allowance.note(usage);
        }
        Ok(Answer {
            status: answer.status().as_u16(),
            body: answer.into_body(),
        })
    }

    fn request(&self, call: &RestCall, session: &Session) -> Result<Request<Bytes>, HttpFailure> {
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", session.instance_url, call.path))
            .header(AUTHORIZATION, bearer(&session.access_token)?)
            .header("Sforce-Call-Options", &self.call_options);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(call.body.clone().unwrap_or_default())
            .map_err(|error| HttpFailure::bad_request(&error.to_string()))
    }
}

/// Returns a header of an answer, if it has one that is text.
fn text_of<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    let header = answer.headers().get(name)?;
    header.to_str().ok()
}

/// Why a fetch failed.
#[derive(Debug)]
pub(super) enum Fetched {
    /// No complete response arrived.
    Failed(SalesforceError),
    /// Salesforce refused it.
    Refused(Fault),
}

impl Fetched {
    pub(super) fn into_error(self, what: &str) -> SalesforceError {
        match self {
            Self::Failed(error) => error,
            Self::Refused(fault) => fault.into_error(what),
        }
    }

    /// Like [`Self::into_error`], for a call whose path names no record and no object: if it is not found, the org does
    /// not have the API version.
    pub(super) fn into_error_of_org(self, what: &str) -> SalesforceError {
        let error = self.into_error(what);
        match error.status {
            Some(404) => SalesforceError {
                disposition: Disposition::WaitForOrg,
                ..error
            },
            Some(_) | None => error,
        }
    }
}

/// Returns the authorization header, hidden from Debug output.
pub(super) fn bearer(token: &SecretString) -> Result<HeaderValue, HttpFailure> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        .map_err(|_| HttpFailure::bad_request("the access token is not a header value"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns whether a new login is needed: 401 means that the session has expired, a redirect that the org
/// has moved to an address that the next login returns.
fn session_is_refused(status: u16) -> bool {
    matches!(status, 401 | 301 | 302 | 307 | 308)
}
