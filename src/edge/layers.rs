//! The layers around every route: the log line, and the limit on requests in progress.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::intake::Receipt;
use super::metrics;
use super::problem;
use super::state::Edge;
use super::trace::{self, RequestSpan};
use crate::telemetry::loggable_id;

/// What a route adds to the log line.
#[derive(Clone, Debug)]
pub(super) struct RequestSummary {
    events: usize,
    event_id: Option<String>,
    bytes: usize,
}

impl RequestSummary {
    /// Summarizes a request with any number of events; the id is logged only if there is exactly one.
    pub(super) fn of(receipts: &[Receipt], bytes: usize) -> Self {
        let event_id = if let [receipt] = receipts { Some(receipt.id.clone()) } else { None };
        Self { events: receipts.len(), event_id, bytes }
    }
}

/// Logs one line for each request (of those that fail by our fault, one in 10 s), with the route instead of the
/// path, because a client may choose any path.
pub(super) async fn log(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let span = RequestSpan::prepare(&method, route.as_ref());
    request.extensions_mut().insert(span.clone());
    let response = next.run(request).await;
    let span = span.begin(None);
    trace::record_status(span, response.status());
    let _entered = span.enter();
    let refused = response.extensions().get();
    metrics::count_request(&method, route.as_ref(), response.status(), refused, start.elapsed());
    let status = response.status().as_u16();
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let summary = response.extensions().get::<RequestSummary>();
    let (events, bytes) = (summary.map(|summary| summary.events), summary.map(|summary| summary.bytes));
    let event_id = summary.and_then(|summary| summary.event_id.as_deref()).and_then(loggable_id);
    if response.status().is_server_error() {
        if let Some(suppressed) = edge.failures.admit() {
            tracing::warn!(
                %method, route, status, ms, events, event_id, bytes, suppressed, "request failed"
            );
        }
    } else if route.starts_with("/health/") {
        tracing::debug!(%method, route, status, ms, "request");
    } else {
        tracing::info!(%method, route, status, ms, events, event_id, bytes, "request");
    }
    response
}

/// Admits a request if there is room, or if another one gives up its permit; otherwise responds with 429 at once,
/// before its body is read. Responds with 408 if it has to give up its permit, or its body is too slow.
pub(super) async fn admit(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    let Some(permit) = edge.permits.take().await else { return problem::busy().into_response() };
    let mut request = request.map(|body| permit.count(body));
    request.extensions_mut().insert(Arc::clone(&permit));
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = edge.permits.cut_off(&permit) => problem::too_slow().into_response(),
    }
}
