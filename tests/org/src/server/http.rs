//! Converts between HTTP and [`Org::request`](crate::Org::request).

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::Response as HttpResponse;
use axum::{Extension, Router};
use http_body_util::LengthLimitError;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use super::Shared;
use super::connection::{Connection, Connections, Origin};
use crate::model::error::SfError;
use crate::model::stamp;
use crate::rest::message::{Delivery, Request, Response};
use crate::rest::refusal;

/// Maximum size of a request body: above every documented limit, but bounded.
const BODY_BYTES_MAX: usize = 160 * 1024 * 1024;

/// Minimum size of a compressed body.
const PACKED_BYTES_MIN: u64 = 1_024;

/// Serves REST until the task is aborted.
pub(super) async fn serve(mut connections: Connections, shared: Shared) {
    let app = Router::new()
        .fallback(handle)
        .with_state(shared)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(compression())
        .layer(RequestDecompressionLayer::new());
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            connection = connections.next() => {
                open.spawn(serve_connection(connection, app.clone()));
            }
            Some(_) = open.join_next() => {}
        }
    }
}

/// Serves one connection until it is closed.
async fn serve_connection(connection: Connection, app: Router) {
    let origin = connection.origin();
    let app = app.layer(Extension(origin));
    let served = http1::Builder::new()
        // Salesforce writes `Content-Type`; clients exist that depend on it.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(app))
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Returns the compression of answers for callers that accept it.
///
/// Callers of a local org are near, so time matters more than bytes. Compressing a short answer
/// takes longer than all other work on it.
fn compression() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(PACKED_BYTES_MIN))
}

async fn handle(
    State(shared): State<Shared>,
    Extension(origin): Extension<Origin>,
    request: HttpRequest<Body>,
) -> HttpResponse {
    let (head, body) = request.into_parts();
    let body = match to_bytes(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return unreadable(&error),
    };
    let response = answer(&shared, &Request::of(&head, body, origin.secure)).await;
    if response.delivery == Delivery::Dropped {
        origin.cut.now();
    }
    into_http(response)
}

/// Answers a call, after whatever holds the answer back.
pub(crate) async fn answer(shared: &Shared, call: &Request) -> Response {
    let (response, latency_ms, log_head, released) = {
        let mut org = shared.lock();
        let response = org.request(call);
        let date = stamp::http_date(org.now_ms());
        let response = response.with_header("date", &date);
        let released = response.hold.then(|| shared.released());
        let head = org.model.log.head();
        shared.release(org.releases);
        (response, org.latency_ms, head, released)
    };
    shared.announce(log_head);
    let in_flight = InFlight {
        shared,
        response: &response,
    };
    let is_control = call.path.starts_with("/_org/");
    if is_control || call.path.contains("/jobs/") || call.path.starts_with("/services/async/") {
        shared.wake_jobs();
    }
    let wait_ms = response.delay_ms + if is_control { 0 } else { latency_ms };
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    if let Some(mut released) = released {
        // The sender lives as long as the server, so an error is ignored.
        let _ = released.changed().await;
    }
    drop(in_flight);
    response
}

/// A call whose answer was not sent yet. Its locks are released when the answer is sent or the
/// caller disconnects.
struct InFlight<'a> {
    shared: &'a Shared,
    response: &'a Response,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.response.in_flight.is_some() {
            self.shared.lock().answered(self.response);
        }
    }
}

fn into_http(response: Response) -> HttpResponse {
    let mut builder = HttpResponse::builder().status(response.status.max(200));
    for (name, value) in &response.headers {
        builder = builder.header(name, value);
    }
    builder
        .body(Body::from(response.body))
        .unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

/// Returns the answer to a body that is too large or does not match its `Content-Encoding`.
fn unreadable(error: &axum::Error) -> HttpResponse {
    let too_large = error
        .source()
        .is_some_and(<dyn Error>::is::<LengthLimitError>);
    if too_large {
        return into_http(refusal(
            &SfError::new(
                "REQUEST_TOO_LARGE",
                "The request body is larger than any request may be.",
            )
            .with_status(413),
        ));
    }
    into_http(refusal(&SfError::new(
        "BAD_REQUEST",
        "The request body cannot be read in the encoding that its headers name.",
    )))
}

/// Returns the answer to a request that panicked in the org. Other requests continue.
fn panicked(_: Box<dyn Any + Send>) -> HttpResponse {
    into_http(refusal(&SfError::new(
        "UNKNOWN_EXCEPTION",
        "An unexpected error occurred. Please include this ErrorId if you contact support: 0 (0)",
    )))
}

fn plain(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}
