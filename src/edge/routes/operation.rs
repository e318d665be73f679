//! What whoever runs the edge asks it: `GET /health/live` and `GET /health/ready`, which publish nothing,
//! and `GET /openapi.json`, what it takes and answers, for tools.

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

/// What is told besides the checks.
#[derive(Serialize)]
pub(in crate::edge) struct Spooled {
    spool: Depth,
}

/// 503 when who works alongside in this process is stuck, else 200.
pub(in crate::edge) async fn live(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<()>>) {
    health::live(checks(&edge, edge.sink.health()))
}

/// 200 while what is posted now would be durably accepted: `degraded`, with the reasons, when that
/// is not the usual way, or when who works alongside in this process has a problem. A load balancer
/// must go on sending then.
pub(in crate::edge) async fn ready(State(edge): State<Arc<Edge>>) -> (StatusCode, Json<Health<Spooled>>) {
    let health = edge.sink.health();
    let accepts = health.accepts && !edge.shutdown.is_cancelled();
    let spool = health.spool;
    let checks = checks(&edge, health);
    let all_is_well = checks.iter().all(|check| check.finding.reasons.is_empty());
    let spooled = spool.filter(|_| !all_is_well).map(|spool| Spooled { spool });
    health::ready(accepts, checks, spooled)
}

fn checks(edge: &Edge, health: SinkHealth) -> Vec<Check> {
    let mut checks = edge.record.checks(edge.findings(health));
    checks.extend(edge.alongside.iter().flat_map(|report| report()));
    checks
}

/// The document is the same for every edge of this version.
pub(in crate::edge) async fn openapi() -> Response {
    static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| contract::openapi().to_string().into());
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.clone()).into_response()
}
