//! The routes for operators: `GET /health/live` and `GET /health/ready`, which publish nothing, and
//! `GET /openapi.json`, the description of the edge's requests and responses for tools.

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::contract;
use crate::edge::sink::{Depth, SinkHealth};
use crate::edge::state::Edge;
use crate::http::health::{self, Check, Health};

/// What the response has in addition to the checks.
#[derive(Serialize)]
pub(in crate::edge) struct Spooled {
    spool: Depth,
}

/// Responds with 503 if the other role in this process is stuck, otherwise with 200.
pub(in crate::edge) async fn live(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<()>>) {
    health::live(checks(&edge, edge.sink.health()))
}

/// Responds with 200 while an event posted now would be durably accepted. The status is `degraded`, with the
/// reasons, if events are not accepted in the usual way, or if the other role in this process has a problem. A
/// load balancer must keep sending requests in this state.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<Spooled>>) {
    let health = edge.sink.health();
    let accepts = health.accepts && !edge.shutdown.is_cancelled();
    let spool = health.spool;
    let checks = checks(&edge, health);
    let is_ok = checks.iter().all(|check| check.finding.reasons.is_empty());
    let spooled = spool.filter(|_| !is_ok).map(|spool| Spooled { spool });
    health::ready(accepts, checks, spooled)
}

fn checks(edge: &Edge, health: SinkHealth) -> Vec<Check> {
    let mut checks = edge.record.checks(edge.findings(health));
    checks.extend(edge.other_role.iter().flat_map(|report| report()));
    checks
}

/// Returns the OpenAPI document, which is the same for every edge of this version.
pub(in crate::edge) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| contract::openapi().to_string().into());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}
