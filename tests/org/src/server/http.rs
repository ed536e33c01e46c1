//! The thin HTTP shell: bytes in, [`Org::request`](crate::Org::request), bytes out.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::{Request as HttpRequest, StatusCode};
use axum::response::Response as HttpResponse;
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use super::Shared;
use super::connection::{Cut, CuttableListener};
use crate::rest::message::{Delivery, Request, Response};

/// Largest request body: more than any documented request, less than memory.
const BODY_BYTES_MAX: usize = 160 * 1024 * 1024;

/// Serves REST until the task is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Shared) {
    let app = Router::new()
        .fallback(handle)
        .with_state(shared)
        .layer(CompressionLayer::new())
        .into_make_service_with_connect_info::<Cut>();
    if let Err(error) = axum::serve(CuttableListener(listener), app).await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

async fn handle(
    State(shared): State<Shared>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: HttpRequest<Body>,
) -> HttpResponse {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let headers = head.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let call = Request {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
    };
    let (response, latency_ms, log_head) = {
        let mut org = shared.lock();
        let response = org.request(&call);
        (response, org.latency_ms, org.model.log.head())
    };
    shared.announce(log_head);
    let door = call.path.starts_with("/_org/");
    let wait_ms = response.delay_ms + if door { 0 } else { latency_ms };
    if wait_ms > 0 {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    }
    if response.delivery == Delivery::Dropped {
        cut.now();
    }
    into_http(response)
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

fn plain(status: StatusCode) -> HttpResponse {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}
