//! The org in the process of its caller, without sockets: for tests and simulations.
//!
//! The same code answers as behind the servers, faults included. The clock stands still unless the
//! caller moves it. Bulk jobs and event relays, which move on by themselves, need the servers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service as _;

use crate::Org;
use crate::pubsub::KeepAlive;
use crate::pubsub::rpc::{self, Rpcs};
use crate::rest::message::{Delivery, Request};
use crate::server::{self, Shared, Time};

/// The address that the org names in its answers. Nothing listens there.
pub const BASE_URL: &str = "http://org.invalid";

/// An org that answers within the process. Clones are the same org.
#[derive(Clone)]
pub struct InProcess {
    shared: Shared,
    rpcs: Rpcs,
    told: watch::Sender<u64>,
}

impl InProcess {
    /// Wraps an org. After `keep_alive` a quiet subscription receives the newest position.
    #[must_use]
    pub fn new(org: Org, keep_alive: Duration) -> Self {
        Self::kept_alive(org, KeepAlive::After(keep_alive), watch::Sender::new(0))
    }

    /// Wraps an org. A quiet subscription receives the newest position at [`InProcess::keep_alive`] alone, so that
    /// nothing depends on the clock of the machine.
    #[must_use]
    pub fn kept_alive_by_the_caller(org: Org) -> Self {
        let told = watch::Sender::new(0);
        Self::kept_alive(org, KeepAlive::WhenTold(told.subscribe()), told)
    }

    fn kept_alive(mut org: Org, keep_alive: KeepAlive, told: watch::Sender<u64>) -> Self {
        org.set_base_url(BASE_URL);
        let shared = Shared::new(org, Time::OfTheCaller);
        Self {
            rpcs: rpc::service(shared.clone(), keep_alive),
            shared,
            told,
        }
    }

    /// Sends the newest position to every subscription that is quiet now, if that is the caller's to do.
    pub fn keep_alive(&self) {
        self.told.send_modify(|times| *times += 1);
    }

    /// Runs `act` on the org between requests, then notifies subscriptions of new events.
    pub fn with_org<T>(&self, act: impl FnOnce(&mut Org) -> T) -> T {
        self.shared.with_org(act)
    }

    /// Answers an HTTP request; `None` where the connection closes without an answer.
    pub async fn send(&self, request: http::Request<Bytes>) -> Option<http::Response<Bytes>> {
        let (head, body) = request.into_parts();
        let call = Request::of(&head, body, false);
        let response = server::answer(&self.shared, &call).await;
        if response.delivery == Delivery::Dropped {
            return None;
        }
        let mut answer = http::Response::builder().status(response.status.max(200));
        for (name, value) in &response.headers {
            answer = answer.header(name, value);
        }
        let answer = answer.body(response.body.into());
        Some(answer.expect("the org writes headers that are valid"))
    }

    /// Answers a gRPC call of the Pub/Sub API.
    pub async fn open(&self, request: http::Request<Body>) -> http::Response<Body> {
        let answer: Result<_, Infallible> = self.rpcs.clone().call(request).await;
        match answer {
            Ok(response) => response.map(|body| Body::new(body.boxed_unsync())),
            Err(never) => match never {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FaultAction, local};

    fn org() -> (InProcess, http::Request<Bytes>) {
        let org = InProcess::new(Org::default(), Duration::from_secs(270));
        let token = org.with_org(|org| org.open_session(local::INTEGRATION_USER));
        let request = http::Request::post("/services/data/v62.0/sobjects/Account")
            .header("Authorization", format!("Bearer {}", token.unwrap()))
            .header("Content-Type", "application/json")
            .body(Bytes::from_static(br#"{"Name": "Acme"}"#));
        (org, request.unwrap())
    }

    #[tokio::test]
    async fn a_call_is_answered_without_a_socket() {
        let (org, request) = org();
        let answer = org.send(request).await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(org.with_org(|org| org.count("Account")), 1);
    }

    #[tokio::test]
    async fn a_fault_after_the_write_leaves_no_answer() {
        let (org, request) = org();
        org.with_org(|org| org.declare(&FaultAction::FailAfterWrite.once()));
        assert!(org.send(request).await.is_none());
        assert_eq!(org.with_org(|org| org.count("Account")), 1);
    }

    #[tokio::test]
    async fn the_clock_stands_still() {
        let (org, request) = org();
        let before = org.with_org(|org| org.now_ms());
        org.send(request).await.unwrap();
        assert_eq!(org.with_org(|org| org.now_ms()), before);
    }
}
