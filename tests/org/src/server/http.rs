//! The thin HTTP shell: bytes in, [`Org::request`](crate::Org::request), bytes out.

use std::any::Any;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::Response as HttpResponse;
use http_body_util::LengthLimitError;
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompressionLayer;

use super::Shared;
use super::connection::{Connections, Origin};
use crate::model::error::SfError;
use crate::rest::message::{Delivery, Request, Response};
use crate::rest::refusal;

/// Largest request body: more than any documented request, less than memory.
const BODY_BYTES_MAX: usize = 160 * 1024 * 1024;

/// Shortest body that is packed.
const PACKED_BYTES_MIN: u64 = 1_024;

/// Serves REST until the task is aborted.
pub(super) async fn serve(connections: Connections, shared: Shared) {
    let app = Router::new()
        .fallback(handle)
        .with_state(shared)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(compression())
        .layer(RequestDecompressionLayer::new())
        .into_make_service_with_connect_info::<Origin>();
    if let Err(error) = axum::serve(connections, app).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

/// Returns how answers are packed for callers who ask for that.
///
/// Whoever calls a local org is near: time counts, not bytes. To set up the packing of a short
/// answer takes longer than all other work on it.
fn compression() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(PACKED_BYTES_MIN))
}

async fn handle(
    State(shared): State<Shared>,
    ConnectInfo(origin): ConnectInfo<Origin>,
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
    let door = call.path.starts_with("/_org/");
    if door || call.path.contains("/jobs/") || call.path.starts_with("/services/async/") {
        shared.wake_jobs();
    }
    let wait_ms = response.delay_ms + if door { 0 } else { latency_ms };
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    if let Some(mut released) = released {
        // The other end lives as long as the server.
        let _ = released.changed().await;
    }
    drop(in_flight);
    response
}

/// A call whose answer has not left; when it has, or its caller has gone, its locks are free.
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

/// Answers a body that is too large, or not what its `Content-Encoding` says.
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

/// Answers for a request that met a fault of the org itself; the others go on.
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
